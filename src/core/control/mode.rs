//! What a site may still do while part of its surroundings is away.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time without a known lag after which the controller is blind: a dozen looks.
const BLIND_AFTER: Duration = Duration::from_mins(1);

/// What can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Time for which no lag has been known; zero if it is known now.
    pub lag_unknown_for: Duration,
    /// Whether Kafka takes records, by what gateways say; `None` without a report.
    pub delivering: Option<bool>,
    /// Whether the target of scaling can be written to.
    pub target_reachable: bool,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Scale and admit.
    #[default]
    Online,
    /// The target cannot be written to: admit, and let what has been ordered stand.
    LinkDown,
    /// Kafka is away for gateways too: hold the replicas, the gateways spool.
    KafkaDown,
    /// Kafka works, and its lag has not been known for a minute: hold the replicas, and let in less and less.
    Blind,
}

impl Mode {
    /// Every mode, for metric labels.
    pub const ALL: [Self; 4] = [Self::Online, Self::LinkDown, Self::KafkaDown, Self::Blind];

    /// Returns the mode that `health` calls for. What is known of Kafka comes first: without it, whether orders would arrive
    /// makes no difference.
    #[must_use]
    pub fn of(health: Health) -> Self {
        if !health.lag_unknown_for.is_zero() && health.delivering == Some(false) {
            Self::KafkaDown
        } else if health.lag_unknown_for >= BLIND_AFTER {
            Self::Blind
        } else if health.target_reachable {
            Self::Online
        } else {
            Self::LinkDown
        }
    }

    /// Returns the name that labels and JSON use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::LinkDown => "link-down",
            Self::KafkaDown => "kafka-down",
            Self::Blind => "blind",
        }
    }

    /// Returns whether a decision may be acted on.
    #[must_use]
    pub const fn may_scale(self) -> bool {
        matches!(self, Self::Online)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(unknown_secs: u64, delivering: Option<bool>, target_reachable: bool) -> Mode {
        Mode::of(Health { lag_unknown_for: Duration::from_secs(unknown_secs), delivering, target_reachable })
    }

    #[test]
    fn each_failure_has_its_mode_and_kafka_comes_first() {
        assert_eq!(mode(0, Some(true), true), Mode::Online);
        assert_eq!(mode(59, Some(true), true), Mode::Online);
        assert_eq!(mode(60, Some(true), true), Mode::Blind);
        assert_eq!(mode(60, None, false), Mode::Blind);
        assert_eq!(mode(5, Some(false), true), Mode::KafkaDown);
        assert_eq!(mode(600, Some(false), false), Mode::KafkaDown);
        assert_eq!(mode(0, Some(true), false), Mode::LinkDown);
        // Kafka answers us: one gateway that cannot deliver is that gateway's trouble.
        assert_eq!(mode(0, Some(false), true), Mode::Online);
    }

    #[test]
    fn replicas_are_held_in_every_mode_but_online() {
        assert_eq!(Mode::ALL.map(Mode::may_scale), [true, false, false, false]);
    }
}
