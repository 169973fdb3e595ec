//! What is remembered between decisions: estimates, not samples, so that it stays small however long it lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assignor::{Assignor, Deck};
use super::capacity::{Capacity, LearnedMu, Mu};
use super::demand::{Arrivals, Demand};
use super::effect::{Doing, Effect};
use super::forecast::{Forecaster, Outlook};
use super::lag::{self, Lag, Part, Track};
use super::observation::{Membership, Observation, PartitionId, PartitionOffsets};
use super::packing::Packing;
use super::policy::{ForecastMode, Policy};
use super::room::{Ceiling, RoomMode};
use super::signal::{Look, PartitionStatus};
use super::starts::{Rebalances, Starts};
use super::terms::Decision;
use super::window::DownWindow;
use crate::time::{Timestamp, UnixMillis};

/// Memory of one consumer group's scaler.
///
/// Bounded: one entry per partition of the newest observation, fixed-size means, a window in 34 parts, and two days of
/// one-minute arrivals. An empty one (a controller that just started) gives no replica back before `down.after` has been
/// watched. Written to a file it continues exactly, float for float, in the same process; [`Learned`] is what another
/// process can use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    at: Option<Timestamp>,
    offsets_at: Option<Timestamp>,
    #[serde(with = "super::pairs")]
    tracks: BTreeMap<PartitionId, Track>,
    arrivals: Arrivals,
    offered: Arrivals,
    forecast: Forecaster,
    capacity: Capacity,
    starts: Starts,
    rebalances: Rebalances,
    /// What the target should have by our last order.
    ordered: Option<u32>,
    pub(super) window: DownWindow,
    pub(super) changed_at: Option<Timestamp>,
    pub(super) effect: Effect,
    pub(super) ceiling: Ceiling,
    /// When a lag was last known, or the first look if it never was.
    lag_known_at: Option<Timestamp>,
    /// When a message last arrived or waited.
    active_at: Option<Timestamp>,
}

/// What outlives the process: how fast a replica is and how it starts, and when load comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Wall-clock time at which it was saved.
    pub saved_at: UnixMillis,
    mu: LearnedMu,
    starts: Starts,
    rebalances: Rebalances,
    forecast: Forecaster,
}

impl History {
    /// Returns what is worth keeping over a restart.
    #[must_use]
    pub fn learned(&self, now: Timestamp, wall: UnixMillis) -> Learned {
        Learned {
            saved_at: wall,
            mu: self.capacity.learned(now),
            starts: self.starts.clone(),
            rebalances: self.rebalances.settled(),
            forecast: self.forecast.clone(),
        }
    }

    /// Returns the history of a process that starts at `now`, `wall` by the wall clock, with what another one learned.
    #[must_use]
    pub fn resume(learned: Learned, now: Timestamp, wall: UnixMillis) -> Self {
        let away = u64::try_from(wall.0.saturating_sub(learned.saved_at.0)).unwrap_or(0);
        Self {
            capacity: Capacity::restored(&learned.mu, Duration::from_millis(away), now),
            starts: learned.starts,
            rebalances: learned.rebalances,
            forecast: learned.forecast.resume(learned.saved_at, wall, now),
            ..Self::default()
        }
    }

    /// Takes in arrivals that were measured elsewhere before the first observation, such as a recorded day: the mean rate
    /// over the `interval` that ends `at`. Only the forecast learns from it.
    pub fn prime(&mut self, policy: &Policy, per_sec: f64, interval: Duration, at: Timestamp) {
        self.forecast.add(per_sec, interval, at, self.lead(policy));
    }

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
        self.capacity.derate(seen.clock_speed);
        self.capacity.report(seen.at, &seen.busy);
        if let Membership::Known(group) = &seen.membership {
            self.rebalances.see(group.stable, seen.at);
        }
        self.record_offsets(policy, seen);
        self.capacity.see(seen, &self.tracks, policy);
        self.record_offered(policy, seen);
        if let Some(room) = seen.room.filter(|_| policy.room == RoomMode::Respect) {
            self.ceiling.see(room, seen.at);
        }
        self.record_effect(policy, seen);
        self.at = Some(seen.at);
    }

    fn record_offsets(&mut self, policy: &Policy, seen: &Observation) {
        self.lag_known_at.get_or_insert(seen.at);
        self.active_at.get_or_insert(seen.at);
        // No end is no answer, and not the answer that nothing arrived.
        let answered =
            |offsets: &&[PartitionOffsets]| offsets.iter().any(|partition| partition.end.is_some());
        let Some(offsets) = seen.offsets.as_deref().filter(answered) else { return };
        self.lag_known_at = Some(seen.at);
        let group = Working::new(seen);
        let mut arrived_per_sec = 0.0;
        for partition in offsets {
            let Some(end) = partition.end else { continue };
            let look = group.look(partition);
            if let Some(track) = self.tracks.get_mut(&partition.id) {
                arrived_per_sec += track.advance(seen.at, end, partition.position(), look, policy);
            } else {
                let track = Track::first(seen.at, end, partition.position(), look);
                self.tracks.insert(partition.id.clone(), track);
            }
        }
        if self.tracks.len() > offsets.len() {
            let there: BTreeSet<&PartitionId> = offsets.iter().map(|partition| &partition.id).collect();
            self.tracks.retain(|id, _| there.contains(id));
        }
        let waits: u64 = offsets.iter().filter_map(PartitionOffsets::lag).sum();
        if arrived_per_sec > 0.0 || waits > policy.activation_lag {
            self.active_at = Some(seen.at);
        }
        if let Some(before) = self.offsets_at.replace(seen.at) {
            let interval = seen.at.since(before);
            self.arrivals.add(arrived_per_sec, interval, policy);
            if policy.forecast != ForecastMode::Off && policy.knobs.forecast {
                // What is held back at the gateways is load as well, though Kafka has not seen it.
                let hidden = seen.offered.filter(|offered| offered.censored > 0.0);
                let rate = hidden.map_or(arrived_per_sec, |offered| offered.rate.max(arrived_per_sec));
                self.forecast.add(rate, interval, seen.at, self.lead(policy));
            }
        }
    }

    /// Kafka's ends say what was let in. While gateways hold something back, what they are offered says more.
    fn record_offered(&mut self, policy: &Policy, seen: &Observation) {
        match (seen.offered, self.at) {
            (Some(offered), Some(before)) if offered.censored > 0.0 && offered.rate.is_finite() => {
                self.offered.add(offered.rate.max(0.0), seen.at.since(before), policy);
            }
            _ => self.offered = Arrivals::default(),
        }
    }

    fn record_effect(&mut self, policy: &Policy, seen: &Observation) {
        let Some(lag) = self.lag(policy, seen) else { return };
        let promised = lag.consumed_per_sec * policy.slo_delay.as_secs_f64();
        let doing = Doing {
            ready: seen.replicas.ready,
            consumed: lag.consumed_per_sec,
            has_work: lag.backlog > promised,
            mu: self.capacity.mu(policy).per_sec,
        };
        self.effect.see(doing, seen.at);
    }

    /// Takes in what was decided; call it once a decision is acted on (or would be, if nothing changes).
    pub fn record_decision(&mut self, policy: &Policy, decision: &Decision, now: Timestamp) {
        if let Some(wanted) = decision.wanted() {
            self.window.push(now, wanted, policy.down_after, policy.stale_after);
        }
        if decision.changes() {
            self.changed_at = Some(now);
            self.effect.ordered(decision.replicas, decision.terms.mu, now);
        }
        self.ordered = Some(decision.replicas);
    }

    /// Returns the state of each partition of the newest observation, and the age in seconds of what it will process next.
    pub fn partitions(&self, now: Timestamp) -> impl Iterator<Item = (&PartitionId, PartitionStatus, f64)> {
        self.tracks.iter().map(move |(id, track)| (id, track.status(), track.age_secs(now)))
    }

    /// Returns the age in seconds of the oldest message that waits, or the least it can be; `None` while nothing is known.
    #[must_use]
    pub fn age_secs(&self, now: Timestamp) -> Option<f64> {
        self.tracks.values().map(|track| track.age_secs(now)).reduce(f64::max)
    }

    /// Returns the forecast for when a replica ordered now would be ready; `None` while there is none.
    #[must_use]
    pub fn outlook(&self) -> Option<Outlook> {
        self.forecast.outlook()
    }

    /// Time from a decision to what it brings: a start, and a tick in which nothing is seen.
    fn lead(&self, policy: &Policy) -> Duration {
        policy.tick + Duration::from_secs_f64(self.starts.plan_secs())
    }

    pub(super) fn mu(&self, policy: &Policy) -> Mu {
        self.capacity.mu(policy)
    }

    pub(super) fn clock_speed(&self) -> f64 {
        self.capacity.speed()
    }

    pub(super) fn demand(&self, seen: &Observation, forecast: Option<Outlook>) -> Option<Demand> {
        self.arrivals.demand(seen.offered, &self.offered, forecast)
    }

    pub(super) fn knows_arrivals(&self) -> bool {
        self.arrivals.are_known()
    }

    pub(super) fn lag(&self, policy: &Policy, seen: &Observation) -> Option<Lag> {
        let offsets = seen.offsets.as_deref().filter(|offsets| !offsets.is_empty())?;
        let lag = lag::measure(offsets, &self.tracks, policy);
        (lag.unknown < lag.partitions).then_some(lag)
    }

    /// Returns how the load lies on the partitions of `seen`, whose lag is `lag`.
    pub(super) fn packing(seen: &Observation, lag: &Lag) -> Packing {
        let offsets = seen.offsets.as_deref().unwrap_or_default();
        let mut order: Vec<usize> = (0..offsets.len()).collect();
        order.sort_by(|a, b| offsets[*a].id.cmp(&offsets[*b].id));
        let (mut owners, mut assignor) = (BTreeMap::new(), Assignor::Unknown);
        if let Membership::Known(group) = &seen.membership {
            assignor = group.assignor;
            if assignor.keeps() {
                for (member, has) in group.members.iter().enumerate() {
                    owners.extend(has.partitions.iter().map(|id| (id, member)));
                }
            }
        }
        let ids: Vec<&PartitionId> = order.iter().map(|index| &offsets[*index].id).collect();
        let parts: Vec<Part> = order.iter().map(|index| lag.parts[*index]).collect();
        Packing::new(Deck::new(assignor, &ids, &owners), &parts)
    }

    pub(super) fn start_secs(&self) -> f64 {
        self.starts.plan_secs()
    }

    pub(super) fn rebalance_secs(&self) -> f64 {
        self.rebalances.plan_secs()
    }

    /// Returns how long no lag has been known.
    pub(super) fn blind_for(&self, now: Timestamp) -> Duration {
        self.lag_known_at.map_or(Duration::ZERO, |at| now.since(at))
    }

    /// Returns how long nothing arrived and no more waited than may.
    pub(super) fn idle_for(&self, now: Timestamp) -> Duration {
        self.active_at.map_or(Duration::ZERO, |at| now.since(at))
    }
}

/// Who could work at this look.
struct Working<'a> {
    can: bool,
    /// Partitions that have an owner, sorted; `None` if the members are not known.
    owned: Option<Vec<&'a PartitionId>>,
}

impl<'a> Working<'a> {
    fn new(seen: &'a Observation) -> Self {
        let ready = seen.replicas.ready > 0;
        let Membership::Known(group) = &seen.membership else { return Self { can: ready, owned: None } };
        let mut owned: Vec<_> = group.members.iter().flat_map(|member| &member.partitions).collect();
        owned.sort_unstable();
        Self { can: ready && group.stable, owned: Some(owned) }
    }

    fn look(&self, partition: &PartitionOffsets) -> Look {
        let lag = partition.lag().unwrap_or(0);
        // Who owns a partition that has no lag makes no difference.
        let owned = self.owned.as_ref().filter(|_| lag > 0);
        Look {
            committed: partition.committed,
            lag,
            owned: owned.map(|owned| owned.binary_search(&&partition.id).is_ok()),
            working: self.can,
        }
    }
}
