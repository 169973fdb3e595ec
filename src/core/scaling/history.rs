//! What is remembered between decisions: estimates, not samples, so that it stays small however long it lasts.

use std::collections::BTreeMap;

use super::capacity::{Capacity, Mu};
use super::decide::Decision;
use super::demand::{Arrivals, Demand};
use super::lag::{self, Lag, Track};
use super::observation::{Membership, Observation, PartitionId, PartitionOffsets};
use super::policy::Policy;
use super::starts::{Rebalances, Starts};
use super::window::DownWindow;
use crate::time::Timestamp;

/// Memory of one consumer group's scaler.
///
/// Bounded: one entry per partition of the newest observation, fixed-size means, and a window in 34 parts.
/// An empty one (a controller that just started) gives no replica back before `down.after` has been watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    at: Option<Timestamp>,
    offsets_at: Option<Timestamp>,
    tracks: BTreeMap<PartitionId, Track>,
    arrivals: Arrivals,
    capacity: Capacity,
    starts: Starts,
    rebalances: Rebalances,
    /// What the target should have by our last order.
    ordered: Option<u32>,
    pub(super) window: DownWindow,
    pub(super) changed_at: Option<Timestamp>,
}

impl History {
    /// Takes in an observation; call it once for each, before [`super::decide()`]. One that is not newer than the last is
    /// ignored.
    pub fn record(&mut self, policy: &Policy, seen: &Observation) {
        if self.at.is_some_and(|at| seen.at <= at) {
            return;
        }
        if self.ordered.replace(seen.replicas.ordered).is_some_and(|ours| ours != seen.replicas.ordered) {
            // Somebody else changed the group (or our order failed): watch it for the whole of `down.after` first.
            self.window.restart(seen.at);
            self.changed_at = Some(seen.at);
        }
        for start in &seen.started {
            self.starts.add(*start);
        }
        self.capacity.report(seen.at, &seen.busy);
        if let Membership::Known(group) = &seen.membership {
            self.rebalances.see(group.stable, seen.at);
        }
        self.record_offsets(policy, seen);
        self.capacity.see(seen, &self.tracks, policy);
        self.at = Some(seen.at);
    }

    fn record_offsets(&mut self, policy: &Policy, seen: &Observation) {
        // No end is no answer, and not the answer that nothing arrived.
        let answered =
            |offsets: &&[PartitionOffsets]| offsets.iter().any(|partition| partition.end.is_some());
        let Some(offsets) = seen.offsets.as_deref().filter(answered) else { return };
        let mut arrived_per_sec = 0.0;
        let mut tracks = BTreeMap::new();
        for partition in offsets {
            let before = self.tracks.remove(&partition.id);
            let track = match (before, partition.end) {
                (Some(mut track), Some(end)) => {
                    arrived_per_sec += track.advance(seen.at, end, partition.position());
                    track
                }
                (None, Some(end)) => Track::first(seen.at, end, partition.position()),
                (Some(track), None) => track,
                (None, None) => continue,
            };
            tracks.insert(partition.id.clone(), track);
        }
        self.tracks = tracks;
        if let Some(before) = self.offsets_at.replace(seen.at) {
            self.arrivals.add(arrived_per_sec, seen.at.since(before), policy);
        }
    }

    /// Takes in what was decided; call it once a decision is acted on (or would be, if nothing changes).
    pub fn record_decision(&mut self, policy: &Policy, decision: &Decision, now: Timestamp) {
        if let Some(wanted) = decision.wanted {
            self.window.push(now, wanted, policy.down_after, policy.stale_after);
        }
        if decision.changes() {
            self.changed_at = Some(now);
        }
        self.ordered = Some(decision.replicas);
    }

    pub(super) fn mu(&self, policy: &Policy) -> Mu {
        self.capacity.mu(policy)
    }

    pub(super) fn demand(&self, seen: &Observation) -> Option<Demand> {
        self.arrivals.demand(seen.offered)
    }

    pub(super) fn knows_arrivals(&self) -> bool {
        self.arrivals.are_known()
    }

    pub(super) fn lag(&self, policy: &Policy, seen: &Observation) -> Option<Lag> {
        let offsets = seen.offsets.as_deref().filter(|offsets| !offsets.is_empty())?;
        let lag = lag::measure(offsets, &self.tracks, policy);
        (lag.unknown < lag.partitions).then_some(lag)
    }

    /// Returns the Kafka delay in seconds; `possible` is what one partition's consumer can do.
    pub(super) fn delay_secs(&self, policy: &Policy, seen: &Observation, possible: f64) -> Option<f64> {
        lag::delay_secs(seen.offsets.as_deref()?, &self.tracks, policy, possible)
    }

    pub(super) fn start_secs(&self) -> f64 {
        self.starts.plan_secs()
    }

    pub(super) fn rebalance_secs(&self) -> f64 {
        self.rebalances.plan_secs()
    }
}
