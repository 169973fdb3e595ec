//! Learns mu: messages per second that one replica can do.
//!
//! Only a member with more work than it can do shows what it can do. Such a *saturated* window (the backlog of all
//! its partitions is at least two commit intervals of its own rate, and more than chance, at both ends) is a measurement; any other is a
//! lower bound and never lowers the estimate, or an idle group would teach itself a small mu and run away. What
//! consumers report of their busy time needs no saturation and overrides both.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::lag::{Track, backlog_of};
use super::num::{median, messages, real};
use super::observation::{Busy, Group, Member, Membership, Observation, PartitionId, PartitionOffsets};
use super::policy::Policy;
use crate::time::Timestamp;

/// Least length of a window: six default commit intervals, so that one step more or less is a sixth.
const WINDOW: Duration = Duration::from_secs(30);
/// Least length of a window while there is no estimate: a rough one soon is better than none, later ones mend it.
pub(super) const FIRST_WINDOW: Duration = Duration::from_secs(15);
/// Weight of a new window in the estimate, unless the mean of all is still shorter: the noise of one window shrinks to
/// two fifths, a change shows in minutes.
const WEIGHT: f64 = 0.3;
/// Backlog of a saturated partition, in commit intervals of its own rate.
const SATURATED_INTERVALS: f64 = 2.0;
/// Deviations of Poisson noise on top: on a slow partition a handful of late records is not saturation.
const SATURATED_DEVIATIONS: f64 = 4.0;
/// Busy time below which a member's report says nothing: timer resolution would dominate it.
const BUSY_MIN_SECS: f64 = 0.3;
/// Records below which a member's report says nothing: the spread of single records would dominate it.
const BUSY_MIN_RECORDS: u64 = 10;
/// Busy time of one member that suffices for a first estimate before its window is over.
const BUSY_FIRST_SECS: f64 = 2.0;
/// Members whose reports are added up: above any group one controller scales, so that wrong names cannot fill memory.
const MEMBERS_MAX: usize = 10_000;

/// Where an estimate of mu comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MuSource {
    /// There is none yet.
    #[default]
    Unknown,
    /// `capacity.per_replica` of the policy.
    Policy,
    /// Saturated windows of committed offsets.
    Saturated,
    /// Busy time that consumers reported.
    Busy,
}

/// An estimate of mu and where it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mu {
    pub(super) per_sec: Option<f64>,
    pub(super) source: MuSource,
    /// What one member is known to have done; says nothing about what it can do.
    pub(super) at_least: f64,
}

/// What is known of mu, and the windows that are being measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Capacity {
    busy: Mean,
    saturated: Mean,
    at_least: f64,
    busy_window: Option<BusyWindow>,
    lag_window: Option<LagWindow>,
}

/// A mean of windows: plain for the first few, then exponentially weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mean {
    value: Option<f64>,
    windows: u32,
}

impl Mean {
    fn add(&mut self, new: f64) {
        self.windows = self.windows.saturating_add(1);
        let weight = WEIGHT.max(1.0 / f64::from(self.windows));
        self.value = Some(self.value.map_or(new, |old| old + weight * (new - old)));
    }
}

#[derive(Clone, Debug, PartialEq)]
struct BusyWindow {
    from: Timestamp,
    members: BTreeMap<String, (u64, f64)>,
}

#[derive(Clone, Debug, PartialEq)]
struct LagWindow {
    from: Timestamp,
    members: Vec<Member>,
    positions: BTreeMap<PartitionId, i64>,
    saturated: Vec<bool>,
}

impl Capacity {
    /// Returns the best estimate there is.
    pub(super) fn mu(&self, policy: &Policy) -> Mu {
        let (per_sec, source) = match (self.busy.value, self.saturated.value, policy.capacity_per_replica) {
            (Some(mu), ..) => (Some(mu), MuSource::Busy),
            (None, Some(mu), _) => (Some(mu), MuSource::Saturated),
            (None, None, Some(mu)) => (Some(mu), MuSource::Policy),
            (None, None, None) => (None, MuSource::Unknown),
        };
        Mu { per_sec, source, at_least: self.at_least }
    }

    /// Takes in what consumers reported.
    pub(super) fn report(&mut self, at: Timestamp, reports: &[Busy]) {
        let window =
            self.busy_window.get_or_insert_with(|| BusyWindow { from: at, members: BTreeMap::new() });
        for report in reports.iter().filter(|report| report.seconds.is_finite() && report.seconds >= 0.0) {
            if window.members.len() < MEMBERS_MAX || window.members.contains_key(&report.member) {
                let (records, seconds) = window.members.entry(report.member.clone()).or_default();
                *records += report.records;
                *seconds += report.seconds;
            }
        }
        let first =
            self.busy.value.is_none() && window.members.values().any(|(_, busy)| *busy >= BUSY_FIRST_SECS);
        if first || at.since(window.from) >= WINDOW {
            let rates =
                window.members.values().filter(|(n, busy)| *n >= BUSY_MIN_RECORDS && *busy >= BUSY_MIN_SECS);
            if let Some(mu) = median(rates.map(|(records, busy)| real(*records) / busy).collect()) {
                self.busy.add(mu);
            }
            *window = BusyWindow { from: at, members: BTreeMap::new() };
        }
    }

    /// Takes in committed offsets. A window counts only if the assignment did not change in it.
    pub(super) fn see(&mut self, seen: &Observation, tracks: &BTreeMap<PartitionId, Track>, policy: &Policy) {
        let (Some(offsets), Membership::Known(Group { stable: true, members, .. })) =
            (&seen.offsets, &seen.membership)
        else {
            self.lag_window = None;
            return;
        };
        let open = self.lag_window.take().filter(|window| window.members == *members);
        let Some(window) = open else {
            self.lag_window = Some(LagWindow::open(seen.at, members, offsets, tracks, policy));
            return;
        };
        if seen.at.since(window.from) < self.window(policy) {
            self.lag_window = Some(window);
            return;
        }
        let next = LagWindow::open(seen.at, members, offsets, tracks, policy);
        self.learn(&window, &next, policy);
        self.lag_window = Some(next);
    }

    /// A whole number of commit intervals, so that a window holds the same number of steps wherever it begins.
    fn window(&self, policy: &Policy) -> Duration {
        let least = if self.saturated.value.is_some() { WINDOW } else { FIRST_WINDOW };
        let interval = policy.commit_interval.max(Duration::from_secs(1));
        let intervals = least.as_secs_f64() / interval.as_secs_f64();
        interval.mul_f64(intervals.ceil().max(3.0))
    }

    fn learn(&mut self, start: &LagWindow, end: &LagWindow, policy: &Policy) {
        let secs = end.from.since(start.from).as_secs_f64();
        let mut measured = Vec::new();
        let mut bound = 0.0_f64;
        for (index, member) in start.members.iter().enumerate() {
            let progress: f64 = member
                .partitions
                .iter()
                .filter_map(|id| Some(messages(*start.positions.get(id)?, *end.positions.get(id)?)))
                .sum();
            let rate = progress / secs;
            if start.saturated[index] && end.saturated[index] && rate > 0.0 {
                measured.push(rate);
            } else {
                // The window may hold one commit step more than was worked off in it.
                bound = bound.max(rate * (1.0 - policy.commit_interval.as_secs_f64() / secs).max(0.0));
            }
        }
        self.at_least = self.at_least.max(bound);
        match median(measured) {
            Some(mu) => self.saturated.add(mu),
            None => self.saturated.value = self.saturated.value.map(|mu| mu.max(bound)),
        }
    }
}

impl LagWindow {
    fn open(
        from: Timestamp,
        members: &[Member],
        offsets: &[PartitionOffsets],
        tracks: &BTreeMap<PartitionId, Track>,
        policy: &Policy,
    ) -> Self {
        let interval = policy.commit_interval.as_secs_f64();
        let busy: BTreeMap<&PartitionId, bool> = offsets
            .iter()
            .map(|partition| {
                let rate = tracks.get(&partition.id).map_or(0.0, Track::consumed_per_sec);
                let backlog = backlog_of(partition, rate, policy).unwrap_or(0.0);
                let enough = SATURATED_INTERVALS * rate * interval;
                (&partition.id, rate > 0.0 && backlog >= enough + SATURATED_DEVIATIONS * enough.sqrt())
            })
            .collect();
        let saturated = |member: &Member| {
            !member.partitions.is_empty()
                && member.partitions.iter().all(|id| busy.get(id).is_some_and(|saturated| *saturated))
        };
        Self {
            from,
            members: members.to_vec(),
            positions: offsets.iter().map(|partition| (partition.id.clone(), partition.position())).collect(),
            saturated: members.iter().map(saturated).collect(),
        }
    }
}
