//! The durable log on disk: what Kafka does not have yet and devices must not send again.
//!
//! A spool is a folder on one device; a lane is one log in it; a route is what is kept in order within a lane. Writer,
//! reader, housekeeping and recovery are step functions over a small file trait ([`disk::Disk`]): time, randomness and
//! the disk are arguments, so that tests lose writes, tear them, and cut the power at every point. Only [`Spool`], the
//! shell, has threads.
//!
//! Knows nothing of Kafka, MQTT or admission. The specification is docs/durable-path.md, section 3.

#![forbid(unsafe_code)]

mod base;
mod catalog;
pub mod disk;
mod expiry;
mod format;
mod full;
mod health;
mod ids;
mod keep;
mod look;
mod read;
mod recover;
mod scan;
mod settings;
mod spool;
mod stats;
#[cfg(test)]
mod testing;
mod topics;
mod write;

pub use base::Who;
pub use expiry::{Clocks, Lifetime};
pub use format::frame::{Flags, Frame, headers, put_header};
pub use format::{FORMAT, OLDEST_FORMAT};
pub use full::{Counters, Level, Policy, SHED_PERCENT, Verdict, decide};
pub use health::{FullReason, Health};
pub use ids::{GatewayId, LaneId, Position, RouteId, SHARDS, SegmentId, TopicId};
pub use look::{
    ExportOptions, Exported, Inspection, LaneInspection, RouteInspection, Verification, export, inspect,
    verify,
};
pub use read::{Ask, Room, Sink, Stored};
pub use recover::{Boot, COMPANION, Finding, LaneReport, OpenError, Report};
pub use settings::{DEAD_LETTER, RawLane, RawPolicy, RawSettings, Settings, WrongSetting};
pub use spool::{Backlog, Clock, Open, Spool, open};
pub use stats::{Stats, Wear};
pub use write::{Record, Refused, RefusedBecause};
