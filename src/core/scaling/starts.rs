//! How long a replica takes from its order to its first fetch, and how long a rebalance stops the group.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::num::{median, real};
use crate::time::Timestamp;

/// Starts remembered: enough for a spread, few enough to forget an old image within a day of scaling.
const STARTS: usize = 16;
/// Start time assumed until one was measured: a process that joins a group within a few heartbeats.
const START_GUESS: Duration = Duration::from_secs(10);
/// Longest start that is planned with; beyond it more replicas would not come in time for anything.
const START_MAX: Duration = Duration::from_mins(5);
/// Rebalance assumed until one was measured.
const REBALANCE_GUESS: Duration = Duration::from_secs(3);
/// Longest rebalance that is priced; a group that takes longer is broken rather than slow.
const REBALANCE_MAX: Duration = Duration::from_mins(1);
/// Weight of a new rebalance in the mean.
const REBALANCE_WEIGHT: f64 = 0.3;

/// Measured start times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Starts {
    secs: VecDeque<f64>,
}

impl Starts {
    pub(super) fn add(&mut self, order_to_first_fetch: Duration) {
        if self.secs.len() == STARTS {
            self.secs.pop_front();
        }
        self.secs.push_back(order_to_first_fetch.min(START_MAX).as_secs_f64());
    }

    /// Returns D, the start time to plan with: mean plus twice the median absolute deviation (2 MAD leaves out one
    /// start in ten or so, and unlike a standard deviation is not moved by a single stuck one).
    pub(super) fn plan_secs(&self) -> f64 {
        let Some(middle) = median(self.secs.iter().copied().collect()) else {
            return START_GUESS.as_secs_f64();
        };
        let mean = self.secs.iter().sum::<f64>() / real(self.secs.len() as u64);
        let spread = median(self.secs.iter().map(|secs| (secs - middle).abs()).collect()).unwrap_or(0.0);
        (mean + 2.0 * spread).min(START_MAX.as_secs_f64())
    }
}

/// Measured rebalances: the time for which the group was not stable, to within one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rebalances {
    since: Option<Timestamp>,
    mean_secs: Option<f64>,
}

impl Rebalances {
    pub(super) fn see(&mut self, stable: bool, at: Timestamp) {
        match (self.since, stable) {
            (None, false) => self.since = Some(at),
            (Some(since), true) => {
                let secs = at.since(since).min(REBALANCE_MAX).as_secs_f64();
                self.mean_secs =
                    Some(self.mean_secs.map_or(secs, |mean| mean + REBALANCE_WEIGHT * (secs - mean)));
                self.since = None;
            }
            (None, true) | (Some(_), false) => {}
        }
    }

    /// Returns the mean alone, without a rebalance that is going on.
    pub(super) fn settled(self) -> Self {
        Self { since: None, ..self }
    }

    /// Returns the time to plan a rebalance with.
    pub(super) fn plan_secs(&self) -> f64 {
        self.mean_secs.unwrap_or(REBALANCE_GUESS.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stuck_start_hardly_moves_the_plan() {
        let mut starts = Starts::default();
        assert!((starts.plan_secs() - 10.0).abs() < 1e-9);
        for _ in 0..15 {
            starts.add(Duration::from_secs(4));
        }
        assert!((starts.plan_secs() - 4.0).abs() < 1e-9);
        starts.add(Duration::from_secs(20));
        assert!((starts.plan_secs() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn old_starts_are_forgotten() {
        let mut starts = Starts::default();
        starts.add(Duration::from_mins(2));
        for _ in 0..STARTS {
            starts.add(Duration::from_secs(2));
        }
        assert!((starts.plan_secs() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_rebalance_lasts_from_unstable_to_stable() {
        let mut rebalances = Rebalances::default();
        for (secs, stable) in [(0, true), (5, false), (10, false), (13, true), (18, true)] {
            rebalances.see(stable, Timestamp::from_millis(secs * 1000));
        }
        assert!((rebalances.plan_secs() - 8.0).abs() < 1e-9);
    }
}
