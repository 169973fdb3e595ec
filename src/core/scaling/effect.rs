//! Whether more replicas made the group faster. If not, something behind them is the limit, and more would only rebalance.
//!
//! An addition is judged once its replicas are ready and what they do has been committed, and only if there was work for
//! them: where nothing waits, a group cannot show that it got faster.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Part of the expected gain below which an addition did nothing.
const EFFECTIVE_PART: f64 = 0.1;
/// Additions without effect after which no more are made: one may have met a rebalance or a slow start.
const STRIKES: u32 = 2;
/// Time after which more are tried again.
const EXPIRES_AFTER: Duration = Duration::from_mins(10);
/// Rise of mu that lifts the stop at once. Only a rise: a mu that falls is what a limit behind the consumers looks like.
const MU_ROSE: f64 = 1.2;
/// Time from ready to what counts: two commits, and the memory of the consumption rate and a third. What it shows by then is
/// far more than a tenth of a gain.
const SETTLE: Duration = Duration::from_secs(20);
/// Time after which an addition whose replicas never became ready is no longer judged.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// What the group does at one look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Doing {
    pub(super) ready: u32,
    /// Messages per second that it consumes.
    pub(super) consumed: f64,
    /// Whether more waits than the promise allows: a faster group would be seen to be faster.
    pub(super) has_work: bool,
    pub(super) mu: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Addition {
    at: Timestamp,
    until_ready: u32,
    consumed: f64,
    /// Messages per second that it should add.
    expected: f64,
    ready_at: Option<Timestamp>,
}

/// Judges additions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Effect {
    addition: Option<Addition>,
    strikes: u32,
    stopped: Option<(Timestamp, Option<f64>)>,
    last: Option<(u32, f64)>,
}

impl Effect {
    /// Notes that the group was ordered to have `to` replicas. One addition is judged at a time: what is ordered meanwhile could
    /// only make it look better.
    pub(super) fn ordered(&mut self, to: u32, mu: Option<f64>, now: Timestamp) {
        let Some((ready, consumed)) = self.last else { return };
        if to <= ready {
            self.addition = None;
            return;
        }
        // Without mu, the others' share is what to expect.
        let each = mu.unwrap_or_else(|| if ready == 0 { 0.0 } else { consumed / f64::from(ready) });
        let expected = each * f64::from(to - ready);
        if self.addition.is_none() && expected > 0.0 {
            let addition = Addition { at: now, until_ready: to, consumed, expected, ready_at: None };
            self.addition = Some(addition);
        }
    }

    pub(super) fn see(&mut self, doing: Doing, now: Timestamp) {
        self.last = Some((doing.ready, doing.consumed));
        if self.stopped.is_some() && self.stopped_secs(doing.mu, now).is_none() {
            (self.stopped, self.strikes) = (None, 0);
        }
        let Some(addition) = &mut self.addition else { return };
        if doing.ready < addition.until_ready {
            addition.ready_at = None;
            if now.since(addition.at) > FORGOTTEN_AFTER {
                self.addition = None;
            }
            return;
        }
        let ready_at = *addition.ready_at.get_or_insert(now);
        if now.since(ready_at) < SETTLE {
            return;
        }
        let gained = doing.consumed - addition.consumed;
        let useless = doing.has_work && gained < EFFECTIVE_PART * addition.expected;
        self.addition = None;
        self.strikes = if useless { self.strikes + 1 } else { 0 };
        if self.strikes >= STRIKES {
            self.stopped = Some((now, doing.mu));
        }
    }

    /// Returns the seconds for which no more are added; `None` if they may be.
    pub(super) fn stopped_secs(&self, mu: Option<f64>, now: Timestamp) -> Option<f64> {
        let (since, mu_then) = self.stopped?;
        let left = EXPIRES_AFTER.checked_sub(now.since(since)).filter(|left| !left.is_zero())?;
        let rose = match (mu_then, mu) {
            (Some(then), Some(mu)) => mu > MU_ROSE * then,
            (then, mu) => then.is_none() && mu.is_some(),
        };
        (!rose).then_some(left.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn doing(ready: u32, consumed: f64) -> Doing {
        Doing { ready, consumed, has_work: true, mu: Some(100.0) }
    }

    /// Adds two replicas twice; the group consumes what `consumed` says of its size.
    fn added_twice(consumed: impl Fn(u32) -> f64, has_work: bool) -> Effect {
        let mut effect = Effect::default();
        for (round, ready) in [(0, 2), (1, 4)] {
            let from = round * 100;
            effect.see(Doing { has_work, ..doing(ready, consumed(ready)) }, at(from));
            effect.ordered(ready + 2, Some(100.0), at(from));
            for secs in (10..=60).step_by(5) {
                effect.see(Doing { has_work, ..doing(ready + 2, consumed(ready + 2)) }, at(from + secs));
            }
        }
        effect
    }

    #[test]
    fn two_additions_that_change_nothing_stop_the_third_for_ten_minutes() {
        let effect = added_twice(|_| 200.0, true);
        assert!(effect.stopped_secs(Some(100.0), at(200)).is_some());
        assert!(effect.stopped_secs(Some(60.0), at(200)).is_some(), "a smaller mu is no reason to go on");
        assert!(effect.stopped_secs(Some(130.0), at(200)).is_none(), "a larger one is");
        assert!(effect.stopped_secs(Some(100.0), at(741)).is_none());
    }

    #[test]
    fn additions_that_help_or_that_nothing_waits_for_stop_nothing() {
        assert_eq!(added_twice(|ready| 100.0 * f64::from(ready), true).stopped, None);
        assert_eq!(added_twice(|_| 200.0, false).stopped, None);
        let mut once = Effect::default();
        once.see(doing(2, 200.0), at(0));
        once.ordered(4, Some(100.0), at(0));
        (1..20).for_each(|n| once.see(doing(4, 200.0), at(5 * n)));
        assert_eq!((once.strikes, once.stopped), (1, None));
    }

    #[test]
    fn replicas_that_never_become_ready_are_not_judged() {
        let mut effect = Effect::default();
        effect.see(doing(2, 200.0), at(0));
        effect.ordered(4, Some(100.0), at(0));
        (1..200).for_each(|n| effect.see(doing(3, 200.0), at(5 * n)));
        assert_eq!((effect.addition, effect.strikes), (None, 0));
    }
}
