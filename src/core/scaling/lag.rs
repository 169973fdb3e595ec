//! What committed offsets say about the backlog.
//!
//! A consumer works on between commits, so the lag read from its commits is a sawtooth above the true one: too high
//! by `rate x interval / 2` on average. The correction is made per partition and stops at zero, so that an idle
//! partition cannot hide the backlog of a busy one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ewma::Ewma;
use super::num::{count, messages, real};
use super::observation::{PartitionId, PartitionOffsets};
use super::policy::Policy;
use crate::time::Timestamp;

/// Memory of a partition's consumption rate: three default commit intervals, so that the steps even out.
const CONSUMED_MEMORY: Duration = Duration::from_secs(15);

/// What is remembered of one partition between observations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Track {
    at: Timestamp,
    end: i64,
    position: i64,
    consumed: Ewma,
}

/// Backlog of the group at one observation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lag {
    /// Messages between commits and ends, uncorrected.
    pub(super) read: u64,
    /// Messages that wait, corrected for the commit interval.
    pub(super) backlog: f64,
    /// Messages per second that the group consumes.
    pub(super) consumed_per_sec: f64,
    /// Partitions seen.
    pub(super) partitions: u32,
    /// Partitions whose end offset is unknown; their lag counts as nothing.
    pub(super) unknown: u32,
}

impl Track {
    pub(super) fn first(at: Timestamp, end: i64, position: i64) -> Self {
        Self { at, end, position, consumed: Ewma::default() }
    }

    /// Moves to a newer observation and returns the messages per second that arrived in between.
    pub(super) fn advance(&mut self, at: Timestamp, end: i64, position: i64) -> f64 {
        let elapsed = at.since(self.at);
        if elapsed.is_zero() {
            return 0.0;
        }
        // A topic made anew starts over at zero: neither arrivals nor consumption, and nothing to be learned from.
        let arrived = messages(self.end, end) / elapsed.as_secs_f64();
        self.consumed.add(
            messages(self.position, position) / elapsed.as_secs_f64(),
            elapsed,
            CONSUMED_MEMORY,
        );
        (self.at, self.end, self.position) = (at, end, position);
        arrived
    }

    /// Returns messages per second consumed; zero before the second observation.
    pub(super) fn consumed_per_sec(&self) -> f64 {
        self.consumed.rate().map_or(0.0, |rate| rate.per_sec)
    }
}

/// Returns the messages of one partition that wait; `None` if its end is unknown.
pub(super) fn backlog_of(offsets: &PartitionOffsets, consumed_per_sec: f64, policy: &Policy) -> Option<f64> {
    let read_ahead = consumed_per_sec * policy.commit_interval.as_secs_f64() / 2.0;
    Some((real(offsets.lag()?) - read_ahead).max(0.0))
}

/// Sums the backlog over all partitions.
pub(super) fn measure(
    offsets: &[PartitionOffsets],
    tracks: &BTreeMap<PartitionId, Track>,
    policy: &Policy,
) -> Lag {
    let mut lag = Lag { partitions: count(offsets.len()), ..Lag::default() };
    for partition in offsets {
        let consumed = tracks.get(&partition.id).map_or(0.0, Track::consumed_per_sec);
        lag.consumed_per_sec += consumed;
        match backlog_of(partition, consumed, policy) {
            Some(backlog) => {
                lag.read += partition.lag().unwrap_or(0);
                lag.backlog += backlog;
            }
            None => lag.unknown += 1,
        }
    }
    lag
}

/// Returns the Kafka delay in seconds: the maximum over partitions of backlog by throughput.
///
/// Throughput is what a partition's consumer does, or what it could do (`possible`, its share of the ready
/// replicas) if that is more: a quiet partition with one fresh record is not slow. `None` if something waits and
/// nothing consumes it.
pub(super) fn delay_secs(
    offsets: &[PartitionOffsets],
    tracks: &BTreeMap<PartitionId, Track>,
    policy: &Policy,
    possible: f64,
) -> Option<f64> {
    let mut worst = 0.0_f64;
    for partition in offsets {
        let consumed = tracks.get(&partition.id).map_or(0.0, Track::consumed_per_sec);
        let backlog = backlog_of(partition, consumed, policy)?;
        if backlog > 0.0 {
            let throughput = consumed.max(possible);
            if throughput <= 0.0 {
                return None;
            }
            worst = worst.max(backlog / throughput);
        }
    }
    Some(worst)
}
