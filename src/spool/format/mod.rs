//! What stands on disk, byte for byte: encoding and decoding, no I/O.
//!
//! A spool is a folder:
//!
//! ```text
//! identity                 gateway id, last epoch, number of shards, gateway's name
//! cursor                   per lane: live segments, done marks
//! LANE/0000000000000001.seg    segments: header twice, frames, footer once sealed
//! ```
//!
//! Version N reads N-1: an upgrade finds a spool that the version before has left, and one version of going back is
//! only ever blind to what the newer one wrote, never destructive.

pub(crate) mod block;
pub(crate) mod cursor;
pub(crate) mod footer;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod identity;
pub(crate) mod wire;

/// The format that is written.
pub const FORMAT: u16 = 2;
/// The oldest format that is read. Format 1 has no salt in its frames and no list of abandoned segments.
pub const OLDEST_FORMAT: u16 = 1;
