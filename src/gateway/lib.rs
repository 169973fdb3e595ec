//! The MQTT gateway: listeners, admission, routes, acknowledgements.
//!
//! A connection is accepted by any worker and lives with the one that its client id hashes to; there everything that
//! belongs to the device is single-threaded. A message goes `worker::door` -> `worker::connection` ->
//! `worker::intake` (class, bucket, hold queue) -> `route` (queue, marks) -> `tidegate_kafka::delivery`, and its
//! PUBACK comes back the same way once Kafka has proven that it has the record. With a [`config::SpoolSettings`] a route that
//! Kafka is too slow for also writes to `spool`, and whichever has the record first releases the PUBACK.
//!
//! Invariants: nothing is acknowledged that neither Kafka has reported with an offset nor the disk has synced; nothing is
//! reordered within a device and class; every queue has a bound and a counter for its full state; no call of a worker
//! waits. Deliberately absent: scaling, retained messages, subscriptions that deliver.

mod ceiling;
pub mod config;
mod emptying;
mod error;
mod hold;
mod left_over;
mod message;
mod metrics;
mod reason;
mod reporter;
mod route;
mod run;
mod session;
mod shard;
mod shared;
mod silence;
mod spool;
mod stats;
mod topics;
mod wall;
mod wheel;
mod worker;

pub use error::Error;
pub use left_over::{LeftOver, Remains, Wish};
pub use metrics::Metrics;
pub use run::{Door, Resources, Summary, run};
pub use stats::{Figures, Stats};
