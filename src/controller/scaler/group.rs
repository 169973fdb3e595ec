//! What is asked of one scaler, checked: the group, and the promises and limits it is scaled by.

use std::time::Duration;

use tidegate_core::scaling::Policy;
use tidegate_runtime::config::Problem;

/// Bound on the topics of one group: each is asked for in every tick.
pub(crate) const TOPICS_MAX: usize = 1000;

/// Observations that may fail in a row before the lag counts as stale.
const STALE_TICKS: u32 = 3;

/// Settings of one scaler.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    /// `HOST:PORT,...`.
    pub bootstrap_servers: String,
    /// Kafka's `group.id`.
    pub consumer_group: String,
    /// Topics whose lag counts; not empty.
    pub topics: Vec<String>,
    /// Limits and promises.
    pub policy: Policy,
}

impl GroupSettings {
    /// Returns the settings for a group that is looked at every `tick`: what was seen is not stale before three looks
    /// have failed.
    #[must_use]
    pub fn looked_at_every(mut self, tick: Duration) -> Self {
        self.policy.stale_after = self.policy.stale_after.max(STALE_TICKS * tick);
        self
    }

    /// Returns the settings themselves if all of them are allowed.
    ///
    /// # Errors
    /// The first that is not, under its name in the settings file; the API object has the same names in camel case.
    pub fn checked(self) -> Result<Self, Problem> {
        let topics = &self.topics;
        let rules = [
            (
                !self.bootstrap_servers.trim().is_empty(),
                "kafka.bootstrap_servers",
                String::new(),
                "HOST:PORT,...",
            ),
            (!self.consumer_group.is_empty(), "kafka.consumer_group", String::new(), "a name"),
            (
                (1..=TOPICS_MAX).contains(&topics.len()) && topics.iter().all(|topic| !topic.is_empty()),
                "kafka.topics",
                format!("{topics:?}"),
                "1 to 1000 names",
            ),
        ];
        // The rule itself can go to none; waking up again is not built yet.
        let (min, max) = (self.policy.min, self.policy.max);
        let some = ((1..=max).contains(&min), "replicas.min", min.to_string(), "1 to replicas.max");
        if let Some((_, key, value, allowed)) = rules.into_iter().chain([some]).find(|(holds, ..)| !holds) {
            return Err(Problem::new(key, value, allowed));
        }
        self.policy
            .check()
            .map_err(|wrong| Problem::new(wrong.field, written(&self.policy, wrong.field), wrong.allowed))?;
        Ok(self)
    }
}

fn written(policy: &Policy, field: &str) -> String {
    match field {
        "slo.delay" => format!("{:?}", policy.slo_delay),
        "replicas.min" => policy.min.to_string(),
        "replicas.max" => policy.max.to_string(),
        "capacity.per_replica" => policy.capacity_per_replica.map_or_else(String::new, |mu| mu.to_string()),
        "behavior.up.max_step" => policy.up_max_step.to_string(),
        "behavior.down.after" => format!("{:?}", policy.down_after),
        "behavior.down.max_step" => policy.down_max_step.to_string(),
        "kafka.commit_interval" => format!("{:?}", policy.commit_interval),
        _ => String::new(),
    }
}
