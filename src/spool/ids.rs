//! The names of things in the spool: small, `Copy`, and the same in memory and on disk.

use std::fmt;

/// Shards of a spool: hash(client id) mod this. Fixed for ever, since frames on disk carry their shard.
pub const SHARDS: u8 = 64;

/// A lane: one log on disk, for one class of devices. Index into [`crate::Settings`]'s lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u8);

impl LaneId {
    /// Returns the index among the lanes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A Kafka topic, as a number that is valid while the process runs: see [`crate::Spool::topic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u16);

/// What is kept in order within a lane: the records of one shard for one partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId {
    /// Shard of the client id, below [`SHARDS`].
    pub shard: u8,
    /// Kafka topic.
    pub topic: TopicId,
    /// Kafka partition; final for a frame, whatever becomes of the topic.
    pub partition: u32,
}

/// Where a record stands in its route. Later boots have higher epochs, so positions only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Boot in which the record was received.
    pub epoch: u32,
    /// Sequence number of the record in its route and epoch, from 1.
    pub seq: u64,
}

impl Position {
    /// Before every record.
    pub const START: Self = Self { epoch: 0, seq: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

/// A segment of a lane's log. Numbers grow in the order of writing and are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// Returns the segment's file name.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:016x}.seg", self.0)
    }

    /// Returns the segment that a file name stands for; `None` if it is no segment's.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".seg")?;
        let id = u64::from_str_radix(digits, 16).ok()?;
        (Self(id).file_name() == name).then_some(Self(id))
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Random identity of the gateway that wrote a record: the second half of header `tg-gw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub [u8; 16]);

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_epoch_is_above_every_sequence_number_of_the_one_before() {
        assert!(Position { epoch: 2, seq: 1 } > Position { epoch: 1, seq: u64::MAX });
    }

    #[test]
    fn only_a_segments_own_name_stands_for_it() {
        let id = SegmentId(0x1f);
        assert_eq!(SegmentId::from_file_name(&id.file_name()), Some(id));
        for foreign in
            ["1f.seg", "000000000000001F.seg", "000000000000001f.seg.tmp", "cursor", "+00000000000001f.seg"]
        {
            assert_eq!(SegmentId::from_file_name(foreign), None, "{foreign}");
        }
    }
}
