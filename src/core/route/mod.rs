//! When a route towards Kafka also writes to the disk, and when it stops doing so.
//!
//! Owns the two modes of a route and what leads from one to the other: the age of its oldest record, the delay that
//! Kafka's reports usually have, and the memory that all routes share. Does not know queues, Kafka or disks: the
//! gateway tells what it sees, and does what comes out. The rules are those of docs/durable-path.md, section 1.

mod delays;
mod judge;
mod mode;
mod relief;

pub use delays::Delays;
pub use judge::{GRACE_AFTER_FIRST_REPORT, Judge, LATE_TICK, MAX_AFTER, MIN_AFTER};
pub use mode::{BEHIND_AT_LEAST, Ends, Mode, Oldest, Seen};
pub use relief::{excess_bytes, relieve};
