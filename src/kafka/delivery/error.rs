//! What can go wrong before the first record; what happens to records is an [`super::Outcome`].

use rdkafka::types::RDKafkaErrorCode;

use crate::setting::SettingError;

/// Why delivery could not be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The operator must correct a setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// librdkafka did not start a producer.
    #[error("producer of lane {lane}: {reason}")]
    Client {
        /// Name of the lane.
        lane: String,
        /// librdkafka's text.
        reason: String,
    },
    /// A topic could not be opened.
    #[error("topic {topic}: {reason}")]
    Topic {
        /// Name of the topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// The operating system did not start a thread.
    #[error("report thread of lane {lane}: {reason}")]
    Thread {
        /// Name of the lane.
        lane: String,
        /// The system's text.
        reason: String,
    },
}

/// Why a lane delivers nothing any more. Nothing that it reported as delivered is affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lane {lane}: {reason} ({})", code.map_or_else(|| "no code".to_owned(), |code| format!("{code:?}")))]
pub struct FatalError {
    /// Name of the lane.
    pub lane: String,
    /// Kafka's code; none if the cause is in this process.
    pub code: Option<RDKafkaErrorCode>,
    /// librdkafka's text.
    pub reason: String,
}
