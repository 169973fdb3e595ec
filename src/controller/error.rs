//! What ends the controller. Everything else (Kafka away, a target that refuses) is a state it goes on with.

use std::io;

use tidegate_kafka::observe::ObserveError;

/// Why the controller cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings name no Kafka.
    #[error("cannot observe kafka: {0}")]
    Kafka(#[source] ObserveError),
    /// A metric is registered twice.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// There is no thread for the records.
    #[error("cannot keep records: {0}")]
    Records(#[source] io::Error),
    /// The HTTP server ended by itself.
    #[error("the http server ended: {0}")]
    Http(#[source] io::Error),
    /// A task of the controller panicked.
    #[error("the http server died: {0}")]
    Died(#[source] tokio::task::JoinError),
}
