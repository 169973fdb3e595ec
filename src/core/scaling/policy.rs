//! What an operator promises and allows; checked once, when settings are read.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::room::RoomMode;

/// How often consumers commit when they commit automatically (Kafka's `auto.commit.interval.ms`).
const DEFAULT_COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// Quiet time before the group may shrink: long against the pauses of devices that report every minute.
const DEFAULT_DOWN_AFTER: Duration = Duration::from_mins(5);
/// Replicas given back at once: a wrong step down costs a start and a rebalance, so it is kept small.
const DEFAULT_DOWN_MAX_STEP: u32 = 4;
/// Age of an observation above which nothing is concluded from it: three ticks of 5 s.
const DEFAULT_STALE_AFTER: Duration = Duration::from_secs(15);

/// Time between two looks, as the controller's own default.
const DEFAULT_TICK: Duration = Duration::from_secs(5);
/// Time without any message before the last replica is given back, if `min` is 0.
const DEFAULT_TO_ZERO_AFTER: Duration = Duration::from_mins(10);

/// Whether forecasts count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForecastMode {
    /// None are made.
    Off,
    /// They are made and shown, and change nothing.
    Shadow,
    /// They may add, while they are proven to be better than assuming that nothing changes.
    #[default]
    Auto,
}

/// What to run while Kafka has told nothing for long. It never lowers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Time without a known lag.
    pub after: Duration,
    /// Replicas, if fewer are there.
    pub replicas: u32,
}

/// Parts of the rule that can be switched off, so that a simulation can measure what each is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each switches one independent part of the rule")]
pub struct Knobs {
    /// Demand counts what is forecast for when an order would be ready.
    pub forecast: bool,
    /// Capacity counts the backlog, and what arrives during a start.
    pub catch_up: bool,
    /// Capacity counts what a rebalance stops, and what it saves must be worth it.
    pub rebalance_price: bool,
    /// A count is judged by its hottest member; without it by its mean.
    pub packing: bool,
    /// Nodes' room and the scheduler's refusals bound the count.
    pub room: bool,
    /// Entry to Kafka is limited by a budget (`core::control`); without it the caller asks for none.
    pub budget: bool,
}

impl Knobs {
    /// All parts of the rule.
    pub const ALL: Self = Self {
        forecast: true,
        catch_up: true,
        rebalance_price: true,
        packing: true,
        room: true,
        budget: true,
    };
}

impl Default for Knobs {
    fn default() -> Self {
        Self::ALL
    }
}

/// Limits and promises of one scaled consumer group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Promised delay between a record's arrival in Kafka and its processing.
    pub slo_delay: Duration,
    /// Fewest replicas; 0 lets a group without work end.
    pub min: u32,
    /// Most replicas, at least `min`.
    pub max: u32,
    /// Messages per second that one replica is said to do; used until it has been measured.
    pub capacity_per_replica: Option<f64>,
    /// Most replicas added at once.
    pub up_max_step: u32,
    /// Time for which fewer replicas must have been enough before some are given back.
    pub down_after: Duration,
    /// Most replicas given back at once, at least 1; steps are a minute apart, or `down_after` if that is shorter.
    pub down_max_step: u32,
    /// How often the consumers commit.
    pub commit_interval: Duration,
    /// Age of an observation above which the group is held as it is.
    pub stale_after: Duration,
    /// Time between two looks.
    pub tick: Duration,
    /// Messages that may wait without waking a group that has ended (`min` 0).
    pub activation_lag: u64,
    /// Time without any message after which the last replica is given back (`min` 0).
    pub to_zero_after: Duration,
    /// Whether forecasts count.
    pub forecast: ForecastMode,
    /// What room on nodes means.
    pub room: RoomMode,
    /// What to run while Kafka has told nothing for long; `None`: what there is.
    pub fallback: Option<Fallback>,
    /// Parts of the rule that are on.
    pub knobs: Knobs,
}

/// A policy that contradicts itself; the text names the field and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: allowed is {allowed}")]
pub struct PolicyError {
    /// Name of the field.
    pub field: &'static str,
    /// What it may be.
    pub allowed: &'static str,
}

impl Policy {
    /// Returns a policy with every optional field at its default.
    #[must_use]
    pub const fn new(slo_delay: Duration, min: u32, max: u32) -> Self {
        Self {
            slo_delay,
            min,
            max,
            capacity_per_replica: None,
            up_max_step: u32::MAX,
            down_after: DEFAULT_DOWN_AFTER,
            down_max_step: DEFAULT_DOWN_MAX_STEP,
            commit_interval: DEFAULT_COMMIT_INTERVAL,
            stale_after: DEFAULT_STALE_AFTER,
            tick: DEFAULT_TICK,
            activation_lag: 0,
            to_zero_after: DEFAULT_TO_ZERO_AFTER,
            forecast: ForecastMode::Auto,
            room: RoomMode::Respect,
            fallback: None,
            knobs: Knobs::ALL,
        }
    }

    /// Checks what [`super::decide()`] relies on.
    ///
    /// # Errors
    /// Names the first field that is out of its range.
    pub fn check(&self) -> Result<(), PolicyError> {
        let secs = |low: u64, high: u64| Duration::from_secs(low)..=Duration::from_secs(high);
        let rules = [
            (secs(1, 3600).contains(&self.slo_delay), "slo.delay", "1s to 1h"),
            (self.min <= self.max, "replicas.min", "0 to replicas.max"),
            (self.max >= 1, "replicas.max", "replicas.min to 10000, and not 0"),
            (self.max <= MAX_REPLICAS, "replicas.max", "replicas.min to 10000"),
            (
                self.capacity_per_replica.is_none_or(|mu| (0.001..=1e9).contains(&mu)),
                "capacity.per_replica",
                "0.001 to 1000000000 (messages per second)",
            ),
            (self.up_max_step >= 1, "behavior.up.max_step", "1 or more"),
            (secs(1, 86_400).contains(&self.down_after), "behavior.down.after", "1s to 24h"),
            (self.down_max_step >= 1, "behavior.down.max_step", "1 or more"),
            (self.commit_interval <= Duration::from_mins(5), "kafka.commit_interval", "0s to 5m"),
            (secs(1, 3600).contains(&self.stale_after), "stale_after", "1s to 1h"),
            (
                self.tick >= Duration::from_millis(100) && self.tick <= Duration::from_mins(10),
                "tick",
                "100ms to 10m",
            ),
            (secs(1, 86_400).contains(&self.to_zero_after), "behavior.down.to_zero_after", "1s to 24h"),
            (
                self.fallback.is_none_or(|fallback| fallback.replicas <= self.max),
                "fallback.replicas",
                "0 to replicas.max",
            ),
            (
                self.fallback.is_none_or(|fallback| secs(1, 86_400).contains(&fallback.after)),
                "fallback.after",
                "1s to 24h",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, allowed)) => Err(PolicyError { field, allowed }),
            None => Ok(()),
        }
    }

    /// Returns the time within which a backlog is worked off: `max(2 x slo, 30 s)`, and never less than two commit
    /// intervals, because progress cannot be seen faster than it is committed.
    #[must_use]
    pub fn drain_time(&self) -> Duration {
        (2 * self.slo_delay).max(Duration::from_secs(30)).max(2 * self.commit_interval)
    }

    /// Returns the time constants of the two demand averages, shorter first.
    ///
    /// 15 s and 60 s; a `down_after` below five minutes shortens them (to 5 s at least), since an average that
    /// remembers longer than the operator wants to wait would overrule that setting.
    #[must_use]
    pub fn demand_windows(&self) -> (Duration, Duration) {
        let shortest = Duration::from_secs(5);
        let short = self.down_after.clamp(shortest, Duration::from_secs(15));
        let long = (self.down_after / 5).clamp(short, Duration::from_mins(1));
        (short, long)
    }
}

/// Bound on `replicas.max`: sizing tries every count once a tick, and Kafka groups are far smaller.
const MAX_REPLICAS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contradiction_names_its_field() {
        let good = Policy::new(Duration::from_secs(10), 1, 8);
        assert_eq!(good.check(), Ok(()));
        let field = |p: Policy| p.check().unwrap_err().field;
        assert_eq!(field(Policy { min: 9, ..good.clone() }), "replicas.min");
        assert_eq!(Policy { min: 0, ..good.clone() }.check(), Ok(()), "a group may end");
        assert_eq!(field(Policy { min: 0, max: 0, ..good.clone() }), "replicas.max");
        let fallback = Fallback { after: Duration::from_mins(3), replicas: 9 };
        assert_eq!(field(Policy { fallback: Some(fallback), ..good.clone() }), "fallback.replicas");
        assert_eq!(
            field(Policy { capacity_per_replica: Some(-5.0), ..good.clone() }),
            "capacity.per_replica"
        );
        assert_eq!(
            field(Policy { capacity_per_replica: Some(f64::NAN), ..good.clone() }),
            "capacity.per_replica"
        );
        assert_eq!(field(Policy { down_max_step: 0, ..good.clone() }), "behavior.down.max_step");
        assert_eq!(field(Policy { slo_delay: Duration::ZERO, ..good }), "slo.delay");
    }

    #[test]
    fn the_default_quiet_time_keeps_the_averages_at_15_and_60_seconds() {
        let policy = Policy::new(Duration::from_secs(10), 1, 8);
        assert_eq!(policy.demand_windows(), (Duration::from_secs(15), Duration::from_mins(1)));
        let hasty = Policy { down_after: Duration::from_secs(5), ..policy };
        assert_eq!(hasty.demand_windows(), (Duration::from_secs(5), Duration::from_secs(5)));
    }
}
