//! Lag and membership of consumer groups, over the Kafka wire protocol.
//!
//! Owns what Kafka says about groups at one moment: committed offsets, log begin and end, members and their
//! partitions. Takes a handful of requests per broker however many groups are wanted, on one connection per broker,
//! in versions negotiated with each. What it could not learn is `None`, never zero and never an old value; why is a
//! [`Problem`]. Deliberately knows no lag history, no rates and no scaling: that is `core::scaling`'s.
//!
//! Asking (`metadata`, `coordinators`, `commits`, `log_ends`, `members`) is pure encoding and decoding around
//! one `ask`; `observer` is the only shell, `wire` does the I/O.

mod assemble;
mod commits;
mod coordinators;
mod log_ends;
mod members;
pub(crate) mod metadata;
#[cfg(test)]
mod mock_tests;
mod model;
mod observer;
mod problem;
pub(crate) mod wire;

pub use model::{
    Commit, GroupMembers, GroupObservation, GroupProtocol, GroupState, GroupTopics, Isolation, Member,
    Membership, OnNoCommit, PartitionObservation,
};
pub use observer::{Observer, Settings};
pub use problem::{Actor, ObserveError, Problem};

use std::collections::BTreeMap;

/// One value per partition: topic, then partition number.
type ByPartition<T> = BTreeMap<String, BTreeMap<u32, T>>;
/// Partitions of several topics.
type Partitions = BTreeMap<String, Vec<u32>>;

/// Most groups named in one request: its answer stays far below the largest that is read (`wire::frame`), and 3 000
/// groups on one coordinator still take only six.
const GROUPS_PER_REQUEST: usize = 500;

/// Returns a Kafka partition number as ours; negative ones do not exist.
fn partition_number(index: i32) -> Option<u32> {
    u32::try_from(index).ok()
}

/// Returns our partition number as Kafka's.
fn partition_index(number: u32) -> i32 {
    i32::try_from(number).expect("partition numbers come from Kafka, which counts them in an i32")
}
