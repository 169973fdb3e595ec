//! What a worker and [`super::Delivery`] say to each other.

use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode;
use tidegate_core::time::UnixMillis;

use crate::classify::Class;

/// Rings one worker; called from librdkafka's report threads and from other workers, so it must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// One class and its producer: the index into [`super::Settings::lanes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u8);

/// A topic opened on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub(super) u16);

/// Number of a hand-over within its worker; each hand-over gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(pub(super) u32);

/// One record, borrowed: librdkafka copies it before [`super::Port::hand_over`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where to.
    pub topic: TopicId,
    /// Always chosen by the caller ([`crate::partitioner`]): librdkafka's own choice beside it would reorder.
    pub partition: u32,
    /// Record key.
    pub key: &'a [u8],
    /// Record value; empty stays empty (a null value would be a tombstone).
    pub payload: &'a [u8],
    /// Names and values, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Time of the record; librdkafka takes 0 as now.
    pub timestamp: UnixMillis,
}

/// Why a record was not handed over. The caller keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The partition's window is full. The worker is registered and woken when room appears.
    Window,
    /// The partition has no proven report yet and one record outstanding. Registered and woken as above.
    Cold,
    /// The worker's credits are used up; its own completions give them back.
    Credits,
    /// librdkafka's queue is full, which the windows should have prevented: counted; try again in 50 ms.
    QueueFull,
    /// The record is larger than [`super::Settings::max_record_bytes`] and never goes.
    TooLarge,
    /// librdkafka knows no such topic or partition (yet): try again in 50 ms.
    Unknown(RDKafkaErrorCode),
    /// The partition refused a record that it may take later: try again in 50 ms. It is asked again after a second, or after
    /// up to a minute if it goes on refusing.
    Shut,
    /// The lane met a fatal error ([`super::Delivery::fatal`]) or was stopped.
    Closed,
}

/// What became of one hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What the caller gave to [`super::Port::hand_over`].
    pub tag: u32,
    /// What [`super::Port::hand_over`] returned.
    pub generation: Generation,
    /// Topic of the record.
    pub topic: TopicId,
    /// Partition of the record.
    pub partition: u32,
    /// The report.
    pub outcome: Outcome,
    /// No other record of its partition was outstanding: a refusal is of this record.
    pub alone: bool,
}

/// What a delivery report proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Kafka has the record, at this offset (>= 0).
    Delivered {
        /// Offset in its partition.
        offset: i64,
    },
    /// librdkafka reports a success without an offset, which it also does for records that Kafka never took. Not
    /// to be acknowledged: hand over again from the oldest unproven record. The partition is cold again, so a
    /// hand-over goes through only when nothing of it is outstanding.
    Unproven,
    /// Not delivered, for all that is known.
    Failed(Class, RDKafkaErrorCode),
}
