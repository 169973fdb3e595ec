//! What can go wrong between us and one broker.

use std::io;
use std::time::Duration;

/// A request that has no answer. The connection it was made on is of no further use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke, or the broker closed it.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// The broker said nothing in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The peer is no Kafka broker, or one whose answers we misread.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// Broker and client have no version of a needed request in common.
    #[error("the broker has no version of {0} that this client speaks")]
    NoCommonVersion(&'static str),
    /// It failed a moment ago and is left alone until its backoff is over.
    #[error("waiting to reconnect after: {0}")]
    BackingOff(String),
}

impl WireError {
    /// True if a connection that was idle since the last tick may simply have been closed meanwhile, so that asking
    /// once more on a new one is right. A time-out is not: the broker is there and slow.
    pub(crate) const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}
