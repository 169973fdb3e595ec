//! The policy file of a simulation: the parts of a controller's settings that the rule knows, the others ignored.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_controller::config::{self as controller, RawBehavior, RawCapacity, RawReplicas, RawSlo};
use tidegate_core::scaling::Policy;
use tidegate_runtime::config::{self, ConfigError, Problem};
use tidegate_simulator::{Site, default_policy};

/// The promise of a simulation without a policy file.
const DEFAULT_SLO: Duration = Duration::from_secs(10);

/// What is read. A whole controller's settings file is one, so what a simulation has no use for may be there.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    slo: RawSlo,
    replicas: RawReplicas,
    #[serde(default)]
    capacity: RawCapacity,
    #[serde(default)]
    behavior: RawBehavior,
    #[serde(default)]
    kafka: RawKafka,
    #[serde(default)]
    listen: Option<toml::Value>,
    #[serde(default)]
    key_file: Option<toml::Value>,
    #[serde(default)]
    tick: Option<toml::Value>,
    #[serde(default)]
    record: Option<toml::Value>,
    #[serde(default)]
    target: Option<toml::Value>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct RawKafka {
    #[serde(default, with = "humantime_serde")]
    commit_interval: Option<Duration>,
}

struct Checked(Policy);

impl TryFrom<Raw> for Checked {
    type Error = Problem;

    fn try_from(raw: Raw) -> Result<Self, Problem> {
        let Raw { slo, replicas, capacity, behavior, kafka, .. } = &raw;
        let commit_interval = kafka.commit_interval.unwrap_or_else(controller::default_commit_interval);
        let policy = controller::policy(slo, replicas, capacity, behavior, commit_interval);
        policy.check().map_err(|wrong| Problem::new(wrong.field, "as given", wrong.allowed))?;
        Ok(Self(policy))
    }
}

/// Reads the policy; `None` if no file is named.
///
/// # Errors
/// The first wrong setting.
pub(super) fn load(file: Option<&Path>) -> Result<Option<Policy>, ConfigError> {
    let Some(file) = file else { return Ok(None) };
    let Checked(policy) = config::load::<Raw, Checked>(Some(file), &mut std::iter::empty())?;
    Ok(Some(policy))
}

/// Returns the policy, or the default one of the site.
pub(super) fn for_site(policy: Option<Policy>, site: &Site) -> Policy {
    policy.unwrap_or_else(|| default_policy(DEFAULT_SLO, site))
}
