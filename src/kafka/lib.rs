//! All that speaks Kafka: delivery and consumer on librdkafka, observation and topics over the wire protocol.
//!
//! Knows nothing of MQTT, of devices or of scaling. `native` is the only module here with `unsafe`.

pub mod classify;
pub mod consumer;
pub mod delivery;
#[cfg(feature = "embedded")]
pub mod embedded;
mod native;
pub mod observe;
pub mod partitioner;
pub mod reader;
mod rebootstrap;
pub mod setting;
pub mod topics;
