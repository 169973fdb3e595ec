//! From the spec of an object to the settings of its scaler.

use tidegate_core::scaling::Policy;
use tidegate_runtime::config::Problem;

use super::spec::{IngestScalerSpec, ScaleTargetRef};
use crate::scaler::GroupSettings;

impl TryFrom<&IngestScalerSpec> for GroupSettings {
    type Error = Problem;

    /// Returns the settings, or the first field of the spec that is not allowed.
    fn try_from(spec: &IngestScalerSpec) -> Result<Self, Problem> {
        let IngestScalerSpec { scale_target_ref: target, kafka, slo, replicas, capacity, behavior } = spec;
        target.check()?;
        let defaults = Policy::new(slo.delay, replicas.min, replicas.max);
        let policy = Policy {
            capacity_per_replica: capacity.as_ref().and_then(|capacity| capacity.per_replica),
            up_max_step: behavior.up.as_ref().and_then(|up| up.max_step).unwrap_or(defaults.up_max_step),
            down_after: behavior.down.after,
            down_max_step: behavior.down.max_step,
            commit_interval: kafka.commit_interval,
            ..defaults
        };
        let settings = Self {
            bootstrap_servers: kafka.bootstrap_servers.clone(),
            consumer_group: kafka.consumer_group.clone(),
            topics: kafka.topics.clone(),
            policy,
        };
        settings.checked().map_err(|wrong| Problem { key: camel_case(&wrong.key), ..wrong })
    }
}

impl ScaleTargetRef {
    /// Checks what becomes part of the path of a request: nothing that could lead it elsewhere.
    fn check(&self) -> Result<(), Problem> {
        let made_of = |text: &str, more: &str| {
            text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
                && text.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
        };
        let (group, version) = self.api_version.rsplit_once('/').unwrap_or(("core", &self.api_version));
        let rules = [
            (
                made_of(group, "-.") && made_of(version, ""),
                "apiVersion",
                &self.api_version,
                "GROUP/VERSION, such as apps/v1",
            ),
            (made_of(&self.kind, ""), "kind", &self.kind, "the name of a kind, such as Deployment"),
            (
                made_of(&self.name, "-."),
                "name",
                &self.name,
                "the name of an object: lower-case letters, digits, - and .",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, key, value, allowed)) => {
                Err(Problem::new(format!("scaleTargetRef.{key}"), format!("{value:?}"), allowed))
            }
            None => Ok(()),
        }
    }
}

/// Returns the path of a setting as the object writes it: `behavior.down.max_step` is `behavior.down.maxStep` there.
fn camel_case(path: &str) -> String {
    let mut upper = false;
    path.chars()
        .filter_map(|letter| {
            let written = if upper { letter.to_ascii_uppercase() } else { letter };
            upper = letter == '_';
            (!upper).then_some(written)
        })
        .collect()
}
