//! Why something is not known, and who must act.

use kafka_protocol::ResponseError;

/// Nothing at all could be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The bootstrap list names no broker.
    #[error("no bootstrap server is named")]
    NoBootstrapServer,
    /// No broker said what the cluster looks like.
    #[error("no broker answers: {tried}")]
    Unreachable {
        /// Each address tried, with its error.
        tried: String,
    },
}

/// Why a part of an observation is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// Kafka has no such topic.
    #[error("topic {topic} does not exist")]
    UnknownTopic {
        /// Its name.
        topic: String,
    },
    /// An ACL on the topic (DESCRIBE) is missing.
    #[error("not authorized to describe topic {topic}")]
    TopicAuthorization {
        /// Its name.
        topic: String,
    },
    /// An ACL on the group (DESCRIBE) is missing.
    #[error("not authorized to describe the group")]
    GroupAuthorization,
    /// The partition has no leader now.
    #[error("partition {partition} of topic {topic} has no leader")]
    NoLeader {
        /// Topic.
        topic: String,
        /// Partition number.
        partition: u32,
    },
    /// The partition's leader moved while we asked; the next observation asks the new one.
    #[error("the leader of partition {partition} of topic {topic} moved")]
    LeaderMoved {
        /// Topic.
        topic: String,
        /// Partition number.
        partition: u32,
    },
    /// The group's coordinator is starting, moving, or not elected yet; the next observation looks for it again.
    #[error("the group's coordinator is not available: {error}")]
    CoordinatorUnavailable {
        /// Kafka's name of the error.
        error: String,
    },
    /// A broker that had to be asked did not answer.
    #[error("broker {broker} does not answer: {error}")]
    BrokerUnreachable {
        /// Its address.
        broker: String,
        /// What happened.
        error: String,
    },
    /// Any other refusal by Kafka.
    #[error("kafka refused {what}: {error}")]
    Refused {
        /// What was asked.
        what: String,
        /// Kafka's name of the error.
        error: String,
    },
}

/// Who can put a problem right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// It passes by itself.
    Nobody,
    /// Whoever wrote the name of the topic or group into our settings.
    SettingsAuthor,
    /// Whoever runs Kafka: ACLs, brokers, network.
    KafkaOperator,
}

impl Problem {
    /// Returns who must act.
    #[must_use]
    pub const fn actor(&self) -> Actor {
        match self {
            Self::LeaderMoved { .. } | Self::CoordinatorUnavailable { .. } => Actor::Nobody,
            Self::UnknownTopic { .. } => Actor::SettingsAuthor,
            Self::TopicAuthorization { .. }
            | Self::GroupAuthorization
            | Self::NoLeader { .. }
            | Self::BrokerUnreachable { .. }
            | Self::Refused { .. } => Actor::KafkaOperator,
        }
    }

    pub(super) fn of_topic(topic: &str, error: ResponseError) -> Self {
        let topic = topic.to_owned();
        match error {
            ResponseError::UnknownTopicOrPartition | ResponseError::InvalidTopicException => {
                Self::UnknownTopic { topic }
            }
            ResponseError::TopicAuthorizationFailed => Self::TopicAuthorization { topic },
            error => Self::Refused { what: format!("metadata of topic {topic}"), error: error.to_string() },
        }
    }

    pub(super) fn of_partition(topic: &str, partition: u32, error: ResponseError) -> Self {
        match error {
            ResponseError::LeaderNotAvailable => Self::NoLeader { topic: topic.to_owned(), partition },
            error if moved(error) => Self::LeaderMoved { topic: topic.to_owned(), partition },
            ResponseError::TopicAuthorizationFailed => Self::TopicAuthorization { topic: topic.to_owned() },
            error => Self::Refused {
                what: format!("offsets of partition {partition} of topic {topic}"),
                error: error.to_string(),
            },
        }
    }

    pub(super) fn of_group(what: &str, error: ResponseError) -> Self {
        match error {
            ResponseError::GroupAuthorizationFailed => Self::GroupAuthorization,
            error if coordinator_moved(error) => Self::CoordinatorUnavailable { error: error.to_string() },
            error => Self::Refused { what: what.to_owned(), error: error.to_string() },
        }
    }
}

/// True if the partition is to be asked for elsewhere, or again in a moment.
const fn moved(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::NotLeaderOrFollower
            | ResponseError::UnknownTopicOrPartition
            | ResponseError::FencedLeaderEpoch
            | ResponseError::UnknownLeaderEpoch
            | ResponseError::OffsetNotAvailable
            | ResponseError::ReplicaNotAvailable
    )
}

/// True if the group's coordinator must be looked for again.
pub(super) const fn coordinator_moved(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::NotCoordinator
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::CoordinatorLoadInProgress
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_who_must_act() {
        let table = [
            (Problem::of_topic("t", ResponseError::UnknownTopicOrPartition), Actor::SettingsAuthor),
            (Problem::of_topic("t", ResponseError::TopicAuthorizationFailed), Actor::KafkaOperator),
            (Problem::of_partition("t", 1, ResponseError::NotLeaderOrFollower), Actor::Nobody),
            (Problem::of_partition("t", 1, ResponseError::LeaderNotAvailable), Actor::KafkaOperator),
            (Problem::of_group("commits", ResponseError::GroupAuthorizationFailed), Actor::KafkaOperator),
            (Problem::of_group("commits", ResponseError::NotCoordinator), Actor::Nobody),
            (Problem::of_group("commits", ResponseError::CoordinatorLoadInProgress), Actor::Nobody),
            (Problem::of_group("commits", ResponseError::Unknown(999)), Actor::KafkaOperator),
        ];
        for (problem, actor) in table {
            assert_eq!(problem.actor(), actor, "{problem}");
        }
    }

    #[test]
    fn a_problem_names_what_it_is_about() {
        let text = Problem::of_partition("readings", 7, ResponseError::NotLeaderOrFollower).to_string();
        assert_eq!(text, "the leader of partition 7 of topic readings moved");
    }
}
