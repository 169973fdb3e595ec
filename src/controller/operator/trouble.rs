//! What keeps a scaler from scaling, in the words that conditions and events use.
//!
//! A closed set: each kind belongs to one condition and says what a person can do about it.

use std::time::Duration;

use crate::target::{TargetError, TargetErrorKind};
use crate::view::View;

/// Condition: Kafka tells about the group.
pub(super) const KAFKA_OBSERVED: &str = "KafkaObserved";
/// Condition: the target exists and may be scaled by this object.
pub(super) const TARGET_SCALABLE: &str = "TargetScalable";
/// Condition: the scaler does its work.
pub(super) const READY: &str = "Ready";

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The stored spec breaks a rule: an older CRD let it in.
    InvalidSpec,
    /// More objects than one controller runs.
    TooManyScalers,
    /// The scaler's task died and waits to be made again.
    ScalerDied,
    /// Another object scales the target.
    TargetOwned,
    /// There is no such target.
    TargetNotFound,
    /// It cannot be scaled at all.
    TargetUnsupported,
    /// The controller has no right to look at it or to scale it.
    Forbidden,
    /// The API server does not answer.
    ApiUnavailable,
    /// Kafka has no such topic.
    UnknownTopic,
    /// Kafka refuses to tell.
    KafkaForbidden,
    /// No broker answers, or not for all partitions.
    KafkaUnreachable,
}

impl Kind {
    /// Every kind, the ones that matter most first.
    pub(super) const ALL: [Self; 11] = [
        Self::InvalidSpec,
        Self::TooManyScalers,
        Self::ScalerDied,
        Self::TargetOwned,
        Self::TargetNotFound,
        Self::TargetUnsupported,
        Self::Forbidden,
        Self::ApiUnavailable,
        Self::UnknownTopic,
        Self::KafkaForbidden,
        Self::KafkaUnreachable,
    ];

    /// Returns the reason that conditions, events and the column WHY show.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::TooManyScalers => "TooManyScalers",
            Self::ScalerDied => "ScalerDied",
            Self::TargetOwned => "TargetOwned",
            Self::TargetNotFound => "TargetNotFound",
            Self::TargetUnsupported => "TargetUnsupported",
            Self::Forbidden => "Forbidden",
            Self::ApiUnavailable => "ApiUnavailable",
            Self::UnknownTopic => "UnknownTopic",
            Self::KafkaForbidden => "KafkaForbidden",
            Self::KafkaUnreachable => "KafkaUnreachable",
        }
    }

    /// Returns the condition that it makes false.
    pub(super) const fn condition(self) -> &'static str {
        match self {
            Self::InvalidSpec | Self::TooManyScalers | Self::ScalerDied => READY,
            Self::TargetOwned
            | Self::TargetNotFound
            | Self::TargetUnsupported
            | Self::Forbidden
            | Self::ApiUnavailable => TARGET_SCALABLE,
            Self::UnknownTopic | Self::KafkaForbidden | Self::KafkaUnreachable => KAFKA_OBSERVED,
        }
    }

    /// Returns how long it must last before anybody is told: a coordinator that moves and an API server that restarts are
    /// back before a person could look.
    pub(super) const fn patience(self) -> Duration {
        match self {
            Self::ApiUnavailable | Self::KafkaUnreachable => Duration::from_secs(10),
            _ => Duration::ZERO,
        }
    }

    /// Returns what a person can do; empty where the message itself says it.
    const fn advice(self) -> &'static str {
        match self {
            Self::InvalidSpec => "apply charts/manifests/crd.yaml of this version and correct the spec",
            Self::TooManyScalers => "run another controller in another namespace",
            Self::ScalerDied => "it is made again by itself; the controller's log has the panic",
            Self::TargetNotFound => "create it, or correct spec.scaleTargetRef",
            Self::TargetUnsupported => "name a Deployment, a StatefulSet or something else with /scale",
            Self::ApiUnavailable => "replicas stay as they are until the API server answers",
            Self::UnknownTopic => "create it, or correct spec.kafka.topics",
            Self::KafkaForbidden => "grant DESCRIBE on the topics and the consumer group",
            Self::KafkaUnreachable => {
                "check spec.kafka.bootstrapServers and the network; replicas stay as they are until Kafka answers"
            }
            // Which owner has to go, and which right is missing, is in their messages.
            Self::TargetOwned | Self::Forbidden => "",
        }
    }
}

/// One trouble of one scaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// What is wrong, without what to do about it.
    pub(super) what: String,
}

impl Trouble {
    pub(super) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    /// Returns the trouble of a target; `None` if it passes with the next look.
    pub(super) fn of_target(error: &TargetError) -> Option<Self> {
        let kind = match error.kind {
            TargetErrorKind::NotFound => Kind::TargetNotFound,
            TargetErrorKind::Forbidden => Kind::Forbidden,
            TargetErrorKind::Unsupported => Kind::TargetUnsupported,
            TargetErrorKind::Owned => Kind::TargetOwned,
            TargetErrorKind::Unavailable => Kind::ApiUnavailable,
            TargetErrorKind::Conflict => return None,
        };
        Some(Self::new(kind, &error.message))
    }

    /// Returns the trouble with Kafka that the observer describes as `problem`.
    ///
    /// The observer's problems come as the sentences of [`tidegate_kafka::observe::Problem`]; a test holds them together.
    pub(super) fn of_kafka(problem: &str) -> Self {
        let kind = if problem.contains("does not exist") {
            Kind::UnknownTopic
        } else if problem.contains("not authorized") {
            Kind::KafkaForbidden
        } else {
            Kind::KafkaUnreachable
        };
        Self::new(kind, problem)
    }

    /// Returns everything that is wrong in a scaler's last look.
    pub(super) fn of_view(view: &View) -> Vec<Self> {
        let target = view.target_problem.as_ref().and_then(Self::of_target);
        let kafka = view.kafka_problem.as_deref().map(Self::of_kafka);
        target.into_iter().chain(kafka).collect()
    }

    /// Returns a sentence: what is wrong and what to do.
    pub(super) fn sentence(&self) -> String {
        match self.kind.advice() {
            "" => self.what.clone(),
            advice => format!("{}: {advice}", self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_that_the_api_server_takes_and_belongs_to_one_condition() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert!(names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_alphanumeric())));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len(), "two kinds share a name");
        assert!(Kind::ALL.is_sorted(), "the order of importance is the order of the enum");
    }

    #[test]
    fn what_kafka_lacks_is_told_apart_from_kafka_that_is_away() {
        use tidegate_kafka::observe::{ObserveError, Problem};
        let kind = |problem: &dyn ToString| Trouble::of_kafka(&problem.to_string()).kind;
        assert_eq!(kind(&Problem::UnknownTopic { topic: "t".to_owned() }), Kind::UnknownTopic);
        assert_eq!(kind(&Problem::TopicAuthorization { topic: "t".to_owned() }), Kind::KafkaForbidden);
        assert_eq!(kind(&Problem::GroupAuthorization), Kind::KafkaForbidden);
        let away = ObserveError::Unreachable { tried: "127.0.0.1:1: connection refused".to_owned() };
        assert_eq!(kind(&away), Kind::KafkaUnreachable);
        let no_leader = Problem::NoLeader { topic: "t".to_owned(), partition: 1 };
        assert_eq!(kind(&no_leader), Kind::KafkaUnreachable);
    }

    #[test]
    fn a_target_that_somebody_changed_meanwhile_is_no_trouble() {
        let error = |kind| TargetError { kind, message: "deployment consumer".to_owned() };
        assert_eq!(Trouble::of_target(&error(TargetErrorKind::Conflict)), None);
        let missing = Trouble::of_target(&error(TargetErrorKind::NotFound)).expect("it is one");
        assert_eq!(missing.kind.as_str(), "TargetNotFound");
        assert_eq!(missing.sentence(), "deployment consumer: create it, or correct spec.scaleTargetRef");
    }
}
