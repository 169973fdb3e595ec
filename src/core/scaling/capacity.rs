//! Learns mu: messages per second that one replica can do.
//!
//! Only a member with more work than it can do shows what it can do. Such a *saturated* window (the backlog of all
//! its partitions is at least two commit intervals of its own rate, and more than chance, at both ends) is a measurement; any other is a
//! lower bound and never lowers the estimate, or an idle group would teach itself a small mu and run away. What
//! consumers report of their busy time needs no saturation and overrides both.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
/// Lowest clock speed that is believed: below a tenth a node does not run.
const SPEED_MIN: f64 = 0.1;
/// Age above which a stored estimate is only a beginning: images, nodes and payloads change within days.
const AGED: Duration = Duration::from_hours(24);
/// Members whose reports are added up: above any group one controller scales, so that wrong names cannot fill memory.
const MEMBERS_MAX: usize = 10_000;

/// Where an estimate of mu comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How sure it is: the relative standard error of the mean of windows; `None` before two of them.
    pub(super) error: Option<f64>,
    /// When it was last measured.
    pub(super) measured_at: Option<Timestamp>,
}

/// A stored mean and its age.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LearnedMean {
    per_sec: f64,
    windows: u32,
    variance: f64,
    age: Duration,
}

/// What is kept of mu over a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LearnedMu {
    busy: Option<LearnedMean>,
    saturated: Option<LearnedMean>,
    at_least: f64,
}

/// What is known of mu, and the windows that are being measured. Everything learned is at the nominal clock speed of the
/// nodes: a node that throttles does less, and does as much as before when it has cooled down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Capacity {
    busy: Mean,
    saturated: Mean,
    at_least: f64,
    /// Clock speed of the last look, as a share of the nominal one.
    speed: f64,
    busy_window: Option<BusyWindow>,
    lag_window: Option<LagWindow>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            busy: Mean::default(),
            saturated: Mean::default(),
            at_least: 0.0,
            speed: 1.0,
            busy_window: None,
            lag_window: None,
        }
    }
}

/// A mean of windows: plain for the first few, then exponentially weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mean {
    value: Option<f64>,
    windows: u32,
    /// Variance of a window around the mean, weighted alike.
    variance: f64,
    measured_at: Option<Timestamp>,
}

impl Mean {
    fn add(&mut self, new: f64, at: Timestamp) {
        self.windows = self.windows.saturating_add(1);
        let weight = self.weight();
        let old = self.value.unwrap_or(new);
        // West (1979): the weighted mean and variance in one pass.
        self.value = Some(old + weight * (new - old));
        self.variance = (1.0 - weight) * (self.variance + weight * (new - old).powi(2));
        self.measured_at = Some(at);
    }

    fn weight(&self) -> f64 {
        WEIGHT.max(1.0 / f64::from(self.windows.max(1)))
    }

    /// Returns the standard error of the mean relative to it. The weights of an exponential mean make it as good as a plain
    /// one of `(2 - w) / w` windows.
    fn error(&self) -> Option<f64> {
        let value = self.value.filter(|value| self.windows >= 2 && *value > 0.0)?;
        let weight = self.weight();
        let worth = f64::from(self.windows).min((2.0 - weight) / weight);
        Some((self.variance / worth).sqrt() / value)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct BusyWindow {
    from: Timestamp,
    members: BTreeMap<String, (u64, f64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LagWindow {
    from: Timestamp,
    members: Vec<Member>,
    #[serde(with = "super::pairs")]
    positions: BTreeMap<PartitionId, i64>,
    saturated: Vec<bool>,
}

impl Capacity {
    /// Returns the best estimate there is.
    pub(super) fn mu(&self, policy: &Policy) -> Mu {
        let (mean, source) = match (self.busy.value, self.saturated.value, policy.capacity_per_replica) {
            (Some(_), ..) => (self.busy, MuSource::Busy),
            (None, Some(_), _) => (self.saturated, MuSource::Saturated),
            (None, None, Some(mu)) => (Mean { value: Some(mu), ..Mean::default() }, MuSource::Policy),
            (None, None, None) => (Mean::default(), MuSource::Unknown),
        };
        Mu {
            per_sec: mean.value.map(|mu| mu * self.speed),
            source,
            at_least: self.at_least * self.speed,
            error: mean.error(),
            measured_at: mean.measured_at,
        }
    }

    /// Returns the clock speed that the estimate is derated by.
    pub(super) fn speed(&self) -> f64 {
        self.speed
    }

    /// Takes in how fast the nodes run; a value that cannot be is left out.
    pub(super) fn derate(&mut self, speed: Option<f64>) {
        self.speed = speed.filter(|speed| (SPEED_MIN..=1.0).contains(speed)).unwrap_or(1.0);
    }

    /// Returns what is worth keeping over a restart: the estimates with their ages, and no half-measured windows.
    pub(super) fn learned(&self, now: Timestamp) -> LearnedMu {
        let keep = |mean: &Mean| {
            let age = mean.measured_at.map_or(Duration::ZERO, |at| now.since(at));
            mean.value.map(|per_sec| LearnedMean {
                per_sec,
                windows: mean.windows,
                variance: mean.variance,
                age,
            })
        };
        LearnedMu { busy: keep(&self.busy), saturated: keep(&self.saturated), at_least: self.at_least }
    }

    /// Returns what was learned before a restart, `away` ago.
    pub(super) fn restored(learned: &LearnedMu, away: Duration, now: Timestamp) -> Self {
        let mean = |kept: &Option<LearnedMean>| {
            kept.filter(|kept| kept.per_sec.is_finite() && kept.per_sec > 0.0).map_or_else(
                Mean::default,
                |kept| {
                    let age = kept.age.saturating_add(away);
                    // What is old is worth one window: the first new one counts for half, and mends it.
                    let windows = if age > AGED { 1 } else { kept.windows };
                    Mean {
                        value: Some(kept.per_sec),
                        windows,
                        variance: kept.variance,
                        measured_at: Some(now - age),
                    }
                },
            )
        };
        Self {
            busy: mean(&learned.busy),
            saturated: mean(&learned.saturated),
            at_least: learned.at_least,
            ..Self::default()
        }
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
                self.busy.add(mu / self.speed, at);
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
        let bound = bound / self.speed;
        self.at_least = self.at_least.max(bound);
        match median(measured) {
            Some(mu) => self.saturated.add(mu / self.speed, end.from),
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

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy::new(Duration::from_secs(10), 1, 8);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    /// A consumer that does `mu` while it is busy, reported every 5 s from `from` on.
    fn report(capacity: &mut Capacity, mu: u64, from: u64, until: u64) {
        for secs in (from..until).step_by(5) {
            capacity.report(at(secs), &[Busy { member: "a".to_owned(), records: mu * 3, seconds: 3.0 }]);
        }
    }

    #[test]
    fn a_node_that_throttles_derates_mu_and_teaches_no_smaller_one() {
        let mut capacity = Capacity::default();
        report(&mut capacity, 100, 0, 200);
        capacity.derate(Some(0.6));
        assert!((capacity.mu(&POLICY).per_sec.unwrap() - 60.0).abs() < 1e-9);
        // It does 60 now; the window that began before it throttled is a mix.
        report(&mut capacity, 60, 200, 500);
        assert!((capacity.mu(&POLICY).per_sec.unwrap() - 60.0).abs() < 3.0);
        capacity.derate(None);
        assert!((capacity.mu(&POLICY).per_sec.unwrap() - 100.0).abs() < 5.0);
        for broken in [Some(0.0), Some(f64::NAN), Some(7.0)] {
            capacity.derate(broken);
            assert!((capacity.speed() - 1.0).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn the_error_shrinks_with_windows_that_agree() {
        let mut mean = Mean::default();
        assert_eq!(mean.error(), None);
        for (n, value) in [90.0, 110.0, 100.0, 95.0, 105.0, 100.0, 100.0].into_iter().enumerate() {
            mean.add(value, at(n as u64));
        }
        let error = mean.error().unwrap();
        assert!((0.005..0.05).contains(&error), "{error}");
    }

    #[test]
    fn what_was_learned_survives_a_restart_with_its_age_and_an_old_estimate_is_soon_mended() {
        let mut capacity = Capacity::default();
        report(&mut capacity, 100, 0, 300);
        let text = serde_json::to_string(&capacity.learned(at(400))).unwrap();
        let learned: LearnedMu = serde_json::from_str(&text).unwrap();
        let restored = Capacity::restored(&learned, Duration::from_mins(10), at(5_000));
        let mu = restored.mu(&POLICY);
        assert_eq!((mu.per_sec, mu.source), (capacity.mu(&POLICY).per_sec, MuSource::Busy));
        let age = at(5_000).since(mu.measured_at.unwrap());
        // Measured last at 270 s, stored at 400 s, ten minutes ago.
        assert_eq!(age, Duration::from_secs(730));
        let mut aged = Capacity::restored(&learned, Duration::from_hours(48), at(500_000));
        report(&mut aged, 50, 500_000, 500_035);
        assert!((aged.mu(&POLICY).per_sec.unwrap() - 75.0).abs() < 1e-9);
    }
}
