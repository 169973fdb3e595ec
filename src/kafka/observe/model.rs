//! What an observation says: plain values.

use std::collections::BTreeMap;

use tidegate_core::time::Timestamp;

use super::problem::Problem;

/// A consumer group and the topics whose lag it answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTopics {
    /// Kafka's `group.id`.
    pub group: String,
    /// Topics; a topic that the group also consumes but is not named here is not observed.
    pub topics: Vec<String>,
}

/// Which end of a partition counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The high watermark: all records.
    #[default]
    ReadUncommitted,
    /// The last stable offset: what a `read_committed` consumer can get.
    ReadCommitted,
}

/// All that was learned of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupObservation {
    /// The group asked for.
    pub group: String,
    /// The `now` that the observation was asked with.
    pub at: Timestamp,
    /// Who consumes.
    pub membership: Membership,
    /// Every partition of the wanted topics, by topic, then number. Topics that could not be resolved have none:
    /// then `problems` says why, and the lag of the group is not known.
    pub partitions: Vec<PartitionObservation>,
    /// Why something above is missing. Empty if all is known, membership on brokers without Describe excepted.
    pub problems: Vec<Problem>,
}

/// Offsets of one partition. `None` is unknown, never zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionObservation {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
    /// First offset still in the log.
    pub begin_offset: Option<i64>,
    /// Offset after the last record, as [`Isolation`] says. Read after `committed`.
    pub end_offset: Option<i64>,
    /// What the group has committed.
    pub committed: Option<Commit>,
}

/// A group's position in a partition, as its coordinator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The group never committed here, or its commit expired.
    Never,
    /// The next offset it will read.
    At(i64),
}

/// Where a group without a commit starts: its consumers' `auto.offset.reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoCommit {
    /// At the begin of the log: all of it is lag.
    #[default]
    Earliest,
    /// At the end: nothing is lag.
    Latest,
}

impl PartitionObservation {
    /// Returns the records between the group's position and the end; `None` if either is unknown.
    ///
    /// Never negative, although the two offsets come from two brokers at two moments. Records that retention deleted
    /// before they were read are no lag: nobody can consume them any more.
    #[must_use]
    pub fn lag(&self, on_no_commit: OnNoCommit) -> Option<u64> {
        let (begin, end) = (self.begin_offset?, self.end_offset?);
        let position = match (self.committed?, on_no_commit) {
            (Commit::At(offset), _) => offset.max(begin),
            (Commit::Never, OnNoCommit::Earliest) => begin,
            (Commit::Never, OnNoCommit::Latest) => end,
        };
        Some(u64::try_from(end.saturating_sub(position)).unwrap_or(0))
    }
}

/// Who is in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// Not learned: the broker cannot describe groups (the embedded one), or did not answer.
    #[default]
    Unknown,
    /// As the coordinator described it.
    Known(GroupMembers),
}

/// A described group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMembers {
    /// What the group is doing.
    pub state: GroupState,
    /// Which protocol its members speak.
    pub protocol: GroupProtocol,
    /// Assignor in use, such as `cooperative-sticky` or `uniform`; empty while none is chosen.
    pub assignor: String,
    /// The members.
    pub members: Vec<Member>,
}

/// State of a group, in Kafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// No members; offsets may exist.
    Empty,
    /// Classic: waiting for members to join.
    PreparingRebalance,
    /// Classic: waiting for the leader's assignment.
    CompletingRebalance,
    /// KIP-848: the coordinator computes an assignment.
    Assigning,
    /// KIP-848: members move to the new assignment.
    Reconciling,
    /// Every member has its assignment.
    Stable,
    /// There is no such group.
    Dead,
}

impl GroupState {
    /// Returns the state that Kafka writes as `text`; `None` for one this build does not know.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "Empty" => Self::Empty,
            "PreparingRebalance" => Self::PreparingRebalance,
            "CompletingRebalance" => Self::CompletingRebalance,
            "Assigning" => Self::Assigning,
            "Reconciling" => Self::Reconciling,
            "Stable" => Self::Stable,
            "Dead" => Self::Dead,
            _ => return None,
        })
    }
}

/// Group protocol (`group.protocol` of the consumers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupProtocol {
    /// Assignment computed by a member; also groups that only committed offsets.
    Classic,
    /// KIP-848: assignment computed by the coordinator.
    Consumer,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Id that the coordinator knows it by.
    pub id: String,
    /// Its `client.id`, as set by its operator.
    pub client_id: String,
    /// Partitions that it has now, by topic. Empty while it has none, and for a member whose assignment is not that of
    /// a consumer (Kafka Connect).
    pub partitions: BTreeMap<String, Vec<u32>>,
}

impl Member {
    /// Returns how many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(begin: i64, end: i64, committed: Option<Commit>) -> PartitionObservation {
        let (begin_offset, end_offset) = (Some(begin), Some(end));
        PartitionObservation { topic: "t".to_owned(), partition: 0, begin_offset, end_offset, committed }
    }

    #[test]
    fn lag_is_the_distance_from_position_to_end() {
        let cases = [
            (partition(0, 10, Some(Commit::At(4))), 6, 6),
            // Read from two brokers: a commit may be newer than the end.
            (partition(0, 10, Some(Commit::At(12))), 0, 0),
            // Retention deleted 0..5 unread.
            (partition(5, 10, Some(Commit::At(2))), 5, 5),
            (partition(3, 10, Some(Commit::Never)), 7, 0),
            (partition(10, 10, Some(Commit::Never)), 0, 0),
        ];
        for (seen, earliest, latest) in cases {
            assert_eq!(seen.lag(OnNoCommit::Earliest), Some(earliest), "{seen:?}");
            assert_eq!(seen.lag(OnNoCommit::Latest), Some(latest), "{seen:?}");
        }
    }

    #[test]
    fn unknown_is_not_zero() {
        let known = partition(0, 10, Some(Commit::At(10)));
        assert_eq!(known.lag(OnNoCommit::Earliest), Some(0));
        for unknown in [
            PartitionObservation { begin_offset: None, ..known.clone() },
            PartitionObservation { end_offset: None, ..known.clone() },
            PartitionObservation { committed: None, ..known.clone() },
        ] {
            assert_eq!(unknown.lag(OnNoCommit::Earliest), None, "{unknown:?}");
        }
    }
}
