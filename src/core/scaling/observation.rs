//! What the controller saw at one moment: offsets, the group, replicas and what gateways and consumers reported.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assignor::Assignor;
use super::room::Room;
use crate::time::Timestamp;

/// A topic's partition. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// Topic name.
    pub topic: Arc<str>,
    /// Number within the topic.
    pub partition: u32,
}

/// Offsets of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOffsets {
    /// Which partition.
    pub id: PartitionId,
    /// Oldest offset still there; where a group without a commit begins.
    pub begin: i64,
    /// Offset after the newest record; `None` if its leader did not answer.
    pub end: Option<i64>,
    /// Offset the group committed; `None` if it never did.
    pub committed: Option<i64>,
}

impl PartitionOffsets {
    /// Returns where the group stands: its commit, or the oldest record if it never committed or that was deleted.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.committed.map_or(self.begin, |committed| committed.max(self.begin))
    }

    /// Returns the messages between the group and the end, as committed; `None` if the end is unknown.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        Some(u64::try_from(self.end?.saturating_sub(self.position())).unwrap_or(0))
    }
}

/// One member of the consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Kafka's member id.
    pub id: String,
    /// Partitions assigned to it.
    pub partitions: Vec<PartitionId>,
}

/// The consumer group as its coordinator describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// True if the group is not rebalancing.
    pub stable: bool,
    /// True if partitions that stay with a member are read on through a rebalance (cooperative, KIP-848).
    pub cooperative: bool,
    /// Its members.
    pub members: Vec<Member>,
    /// How it deals out partitions.
    #[serde(default)]
    pub assignor: Assignor,
}

/// Whether the group's members are known: some brokers cannot describe a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Membership {
    /// The broker did not say.
    #[default]
    Unknown,
    /// The broker's description.
    Known(Group),
}

/// Replicas of the consumer, as the target has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// Replicas ordered from the target.
    pub ordered: u32,
    /// Replicas that consume.
    pub ready: u32,
    /// For each replica that is starting, the time since it was ordered.
    pub starting: Vec<Duration>,
}

/// Load that devices offer on the group's topics, summed over gateways.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offered {
    /// Messages per second over the last full second.
    pub rate: f64,
    /// True while a gateway reports a burst.
    pub burst: bool,
    /// Share of the rate that could not be measured because devices are held back, 0 to 1.
    pub censored: f64,
}

/// Work that one consumer reported since the last observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// The consumer's own name, unique in its group.
    pub member: String,
    /// Records processed.
    pub records: u64,
    /// Seconds spent processing them.
    pub seconds: f64,
}

/// A window of the operator's schedule that is open now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledMin {
    /// Fewest replicas while it is open.
    pub min: u32,
    /// When it closes.
    pub until: Timestamp,
}

/// All that is known at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When the offsets were read.
    pub at: Timestamp,
    /// Offsets of all partitions of the group's topics, each once; `None` if Kafka did not answer.
    pub offsets: Option<Vec<PartitionOffsets>>,
    /// Members of the group.
    pub membership: Membership,
    /// Replicas of the target.
    pub replicas: Replicas,
    /// Load offered to the gateways; `None` without a fresh report.
    pub offered: Option<Offered>,
    /// Work reported by consumers since the last observation.
    pub busy: Vec<Busy>,
    /// For each replica that began to consume since the last observation, the time from its order to its first fetch.
    pub started: Vec<Duration>,
    /// Messages that gateways hold for the group's topics and will let in as soon as they may: as many as are known of.
    #[serde(default)]
    pub held: f64,
    /// What the nodes can still take; `None` if nothing bounds the replicas but the policy, or it is not known.
    #[serde(default)]
    pub room: Option<Room>,
    /// The highest open window of the schedule.
    #[serde(default)]
    pub scheduled_min: Option<ScheduledMin>,
    /// Clock speed of the replicas' nodes as a share of the nominal one, 0 to 1; `None` counts as 1.
    #[serde(default)]
    pub clock_speed: Option<f64>,
}
