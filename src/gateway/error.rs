//! Why a gateway could not start, or had to stop.

use std::io;

use tidegate_kafka::delivery::{self, FatalError};
use tidegate_spool::OpenError;

/// What ended a gateway that nobody asked to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka delivery could not be set up.
    #[error("kafka: {0}")]
    Delivery(#[from] delivery::Error),
    /// Kafka refused for good. What it had not acknowledged was not acknowledged to devices either, and they
    /// will send it again.
    #[error("kafka delivery ended, unacknowledged messages are the devices' to resend: {0}")]
    Fatal(FatalError),
    /// Kafka reported a record as failed for good.
    #[error(
        "kafka refused a record of topic {topic}, partition {partition}, with {code}; to go on would reorder what \
         follows, and nothing unconfirmed was acknowledged"
    )]
    Refused {
        /// Kafka topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// librdkafka's name of the error.
        code: String,
    },
    /// The spool cannot be opened.
    #[error("{0}")]
    SpoolOpen(#[from] OpenError),
    /// The spool takes no more topics.
    #[error("the spool takes no topic {0}: it knows a thousand at most")]
    SpoolTopics(String),
    /// The spool refused what it never should: a defect.
    #[error("the spool refused a record: {0}")]
    Spool(String),
    /// The operating system did not give what was asked for.
    #[error("{what}: {reason}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        reason: io::Error,
    },
    /// A task or thread ended that never should.
    #[error("{0} ended unexpectedly")]
    Died(&'static str),
    /// The metrics could not be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The key for reports cannot be used.
    #[error("report key: {0}")]
    Report(String),
}

impl Error {
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |reason| Self::System { what, reason }
    }
}
