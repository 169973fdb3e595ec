//! The lowest consumption that kept the promise lately: what may be let in when nobody knows what waits.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Time that is looked back over.
const WINDOW: Duration = Duration::from_mins(10);
/// Parts that it is kept in, so that its memory does not depend on how often the loop runs.
const PART: Duration = Duration::from_secs(30);
/// What is left of the budget's excess after a minute.
const KEPT_PER_MIN: f64 = 0.95;

/// Remembers the lowest consumption within the promise, and when the blindness began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Blind {
    /// Start of each part and the lowest in it, oldest first.
    lowest: VecDeque<(Timestamp, f64)>,
    /// When it began, and the budget then.
    since: Option<(Timestamp, f64)>,
}

impl Blind {
    /// Takes in a look with its consumption; `within` says whether the Kafka delay was within the promise.
    pub(super) fn see(&mut self, consumed: f64, within: bool, now: Timestamp) {
        self.since = None;
        if within {
            match self.lowest.back_mut() {
                Some((from, lowest)) if now.since(*from) < PART => *lowest = lowest.min(consumed),
                _ => self.lowest.push_back((now, consumed)),
            }
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Timestamp) {
        while self.lowest.front().is_some_and(|(from, _)| now.since(*from) > WINDOW) {
            self.lowest.pop_front();
        }
    }

    /// Returns the budget of a blind controller: the last one drawn by 5 % a minute towards the lowest consumption that was
    /// enough in the ten minutes before. Without any it is drawn towards the floors.
    pub(super) fn budget(&mut self, last: f64, floors: f64, now: Timestamp) -> f64 {
        let (since, from) = *self.since.get_or_insert((now, last));
        let lowest = self.lowest.iter().map(|(_, lowest)| *lowest).reduce(f64::min);
        let towards = lowest.unwrap_or(floors).min(from).max(floors);
        let kept = KEPT_PER_MIN.powf(now.since(since).as_secs_f64() / 60.0);
        towards + (from - towards).max(0.0) * kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn a_blind_budget_falls_by_a_twentieth_a_minute_towards_what_was_enough() {
        let mut blind = Blind::default();
        for (secs, consumed, within) in
            [(0, 10.0, true), (700, 400.0, true), (710, 300.0, true), (720, 50.0, false)]
        {
            blind.see(consumed, within, at(secs));
        }
        // 10 is too long ago, 50 did not keep the promise.
        assert!((blind.budget(1_000.0, 20.0, at(800)) - 1_000.0).abs() < 1e-9);
        assert!((blind.budget(999.0, 20.0, at(860)) - (300.0 + 700.0 * 0.95)).abs() < 1e-9);
        assert!((blind.budget(999.0, 20.0, at(100_000)) - 300.0).abs() < 1e-6);
        blind.see(400.0, true, at(100_005));
        assert!((blind.budget(500.0, 20.0, at(100_010)) - 500.0).abs() < 1e-9, "it began anew");
    }

    #[test]
    fn without_any_memory_it_falls_to_the_floors_and_never_below() {
        let mut blind = Blind::default();
        assert!((blind.budget(100.0, 20.0, at(0)) - 100.0).abs() < 1e-9);
        assert!((blind.budget(100.0, 20.0, at(100_000)) - 20.0).abs() < 1e-6);
        assert!((blind.budget(100.0, 150.0, at(100_000)) - 150.0).abs() < 1e-6);
    }

    #[test]
    fn memory_is_bounded() {
        let mut blind = Blind::default();
        (0..10_000).for_each(|n| blind.see(1.0, true, at(n)));
        assert!(blind.lowest.len() <= 21);
    }
}
