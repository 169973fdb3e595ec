//! What committed offsets say about the backlog.
//!
//! A consumer works on between commits, so the lag read from its commits is a sawtooth above the true one: too high
//! by `rate x interval / 2` on average. The correction is made per partition and stops at zero, so that an idle
//! partition cannot hide the backlog of a busy one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ewma::{Ewma, Rate};
use super::num::{count, messages, real};
use super::observation::{PartitionId, PartitionOffsets};
use super::policy::Policy;
use super::signal::{DelayTable, Look, PartitionStatus, Progress};
use crate::time::Timestamp;

/// Memory of a partition's consumption rate: three default commit intervals, so that the steps even out.
const CONSUMED_MEMORY: Duration = Duration::from_secs(15);

/// Memory of a partition's share of the arrivals: skew is a property of keys, and changes slowly.
const ARRIVED_MEMORY: Duration = Duration::from_mins(5);

/// What is remembered of one partition between observations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Track {
    at: Timestamp,
    end: i64,
    position: i64,
    consumed: Ewma,
    arrived: Ewma,
    delay: DelayTable,
    progress: Progress,
}

/// What one partition adds to the group's load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Part {
    /// Messages that wait, corrected for the commit interval; `None` if its end is unknown.
    pub(super) backlog: Option<f64>,
    /// Messages per second that its consumer does.
    pub(super) consumed_per_sec: f64,
    /// Long mean of its arrivals; `None` before the second observation.
    pub(super) arrived: Option<Rate>,
    /// It stands still: a condition, and no reason for more replicas.
    pub(super) stuck: bool,
}

/// Backlog of the group at one observation.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Partitions that stand still, and the messages that wait there.
    pub(super) stuck: u32,
    pub(super) stuck_backlog: f64,
    /// Each partition, in the order of the observation.
    pub(super) parts: Vec<Part>,
}

impl Track {
    pub(super) fn first(at: Timestamp, end: i64, position: i64, look: Look) -> Self {
        let mut delay = DelayTable::default();
        delay.see(end, position, at);
        let progress = Progress::first(look, at);
        let (consumed, arrived) = (Ewma::default(), Ewma::default());
        Self { at, end, position, consumed, arrived, delay, progress }
    }

    /// Moves to a newer observation and returns the messages per second that arrived in between.
    pub(super) fn advance(
        &mut self,
        at: Timestamp,
        end: i64,
        position: i64,
        look: Look,
        policy: &Policy,
    ) -> f64 {
        self.delay.see(end, position, at);
        self.progress.see(look, at, policy);
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
        self.arrived.add(arrived, elapsed, ARRIVED_MEMORY);
        (self.at, self.end, self.position) = (at, end, position);
        arrived
    }

    pub(super) fn status(&self) -> PartitionStatus {
        self.progress.status()
    }

    /// Returns the age in seconds of what is to be processed next, or the least it can be.
    pub(super) fn age_secs(&self, now: Timestamp) -> f64 {
        self.delay.age(self.position, now).map_or(0.0, super::signal::Age::secs)
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

/// Measures every partition and sums them up.
pub(super) fn measure(
    offsets: &[PartitionOffsets],
    tracks: &BTreeMap<PartitionId, Track>,
    policy: &Policy,
) -> Lag {
    let mut lag = Lag { partitions: count(offsets.len()), ..Lag::default() };
    lag.parts.reserve_exact(offsets.len());
    for partition in offsets {
        let track = tracks.get(&partition.id);
        let consumed = track.map_or(0.0, Track::consumed_per_sec);
        let part = Part {
            backlog: backlog_of(partition, consumed, policy),
            consumed_per_sec: consumed,
            arrived: track.and_then(|track| track.arrived.rate()),
            stuck: track.is_some_and(|track| track.status().is_stuck()),
        };
        lag.consumed_per_sec += consumed;
        match part.backlog {
            None => lag.unknown += 1,
            Some(backlog) => {
                lag.read += partition.lag().unwrap_or(0);
                if part.stuck {
                    lag.stuck += 1;
                    lag.stuck_backlog += backlog;
                } else {
                    lag.backlog += backlog;
                }
            }
        }
        lag.parts.push(part);
    }
    lag
}

impl Lag {
    /// Returns the Kafka delay in seconds: the maximum over partitions of backlog by throughput.
    ///
    /// Throughput is what a partition's consumer does, or what it could do (`possible`, its share of the ready
    /// replicas) if that is more: a quiet partition with one fresh record is not slow. Partitions that stand still are left
    /// out: they are a condition, not a delay. `None` if something waits and nothing consumes it, or an end is unknown.
    pub(super) fn delay_secs(&self, possible: f64) -> Option<f64> {
        let mut worst = 0.0_f64;
        for part in self.parts.iter().filter(|part| !part.stuck) {
            let backlog = part.backlog?;
            if backlog > 0.0 {
                let throughput = part.consumed_per_sec.max(possible);
                if throughput <= 0.0 {
                    return None;
                }
                worst = worst.max(backlog / throughput);
            }
        }
        Some(worst)
    }
}
