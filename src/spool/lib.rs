//! The durable log on disk: what Kafka does not have yet and devices must not send again.
//!
//! A spool is a folder on one device; a lane is one log in it; a route is what is kept in order within a lane. Writer,
//! reader, housekeeping and recovery are step functions over a small file trait ([`disk::Disk`]): time, randomness and
//! the disk are arguments, so that tests lose writes, tear them, and cut the power at every point. Only [`Spool`], the
//! shell, has threads.
//!
//! Knows nothing of Kafka, MQTT or admission. The specification is docs/durable-path.md, section 3.

#![forbid(unsafe_code)]

pub mod disk;
mod format;
mod ids;

pub use format::frame::{Flags, Frame, headers, put_header};
pub use format::{FORMAT, OLDEST_FORMAT};
pub use ids::{GatewayId, LaneId, Position, RouteId, SHARDS, SegmentId, TopicId};
