//! Which messages get in, and at what pace.
//!
//! Owns the classes, the device buckets, the outcome of one PUBLISH and the estimate of what devices would
//! send if nothing held them back. Does not know topics, sockets or Kafka: topic filters are matched by the
//! protocol crate, and the gateway asks here with the class it found.

mod bucket;
mod class;
mod demand;
mod devices;
mod outcome;
mod rates;

pub use bucket::{Bucket, Limit};
pub use class::{Class, ClassError, ClassId, ClassTable, DEFAULT_CLASSES, MAX_CLASSES, Preset};
pub use demand::Demand;
pub use devices::DeviceBuckets;
pub use outcome::{Asked, Outcome, ShedReason, WaitReason, decide};
pub use rates::{RATE_BUCKETS, RateHistogram};
