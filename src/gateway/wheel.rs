//! A timer wheel: many coarse timers, each set in constant time and never cancelled.
//!
//! Owns when something is due, not what: an owner whose timer fires looks whether it still matters and sets
//! it again. So a packet on a connection costs a write to "last seen", not a timer. A timer never fires before
//! its time, except when it lies beyond the wheel's horizon: then it fires at the horizon, to be set again.

use std::time::Duration;

use tidegate_core::time::Timestamp;

/// Timers that carry a `T` each.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    tick_nanos: u64,
    slots: Vec<Vec<T>>,
    /// Last tick whose timers have fired.
    done_tick: u64,
    len: usize,
}

impl<T> Wheel<T> {
    /// Returns a wheel that begins at `now`, with a horizon of `slots` ticks.
    pub(crate) fn new(tick: Duration, slots: usize, now: Timestamp) -> Self {
        let tick_nanos = u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX).max(1);
        let slots = std::iter::repeat_with(Vec::new).take(slots.max(2)).collect();
        Self { tick_nanos, slots, done_tick: now.as_nanos() / tick_nanos, len: 0 }
    }

    /// Sets a timer; it fires in the first [`Self::advance`] at or after `due`, at most a tick late.
    pub(crate) fn insert(&mut self, item: T, due: Timestamp) {
        let horizon = self.done_tick + self.slots.len() as u64 - 1;
        let tick = due.as_nanos().div_ceil(self.tick_nanos).clamp(self.done_tick + 1, horizon);
        let slot = self.slot(tick);
        self.slots[slot].push(item);
        self.len += 1;
    }

    /// Moves all timers that are due into `fired`.
    pub(crate) fn advance(&mut self, now: Timestamp, fired: &mut Vec<T>) {
        let now_tick = now.as_nanos() / self.tick_nanos;
        // After a pause longer than the horizon one turn empties the wheel.
        let turns = now_tick.saturating_sub(self.done_tick).min(self.slots.len() as u64);
        for tick in self.done_tick + 1..=self.done_tick + turns {
            let slot = self.slot(tick);
            fired.append(&mut self.slots[slot]);
        }
        self.len = self.slots.iter().map(Vec::len).sum();
        self.done_tick = self.done_tick.max(now_tick);
    }

    /// Returns when the next timer is due; `None` if there is none.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        if self.len == 0 {
            return None;
        }
        let ticks = self.done_tick + 1..=self.done_tick + self.slots.len() as u64;
        ticks
            .into_iter()
            .find(|tick| !self.slots[self.slot(*tick)].is_empty())
            .map(|tick| Timestamp::from_nanos(tick.saturating_mul(self.tick_nanos)))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below the number of slots")]
    fn slot(&self, tick: u64) -> usize {
        (tick % self.slots.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    fn wheel() -> Wheel<u32> {
        Wheel::new(TICK, 16, Timestamp::from_millis(1_000))
    }

    fn fired_at(wheel: &mut Wheel<u32>, millis: u64) -> Vec<u32> {
        let mut fired = Vec::new();
        wheel.advance(Timestamp::from_millis(millis), &mut fired);
        fired
    }

    #[test]
    fn a_timer_fires_once_and_not_before_its_time() {
        let mut wheel = wheel();
        wheel.insert(1, Timestamp::from_millis(1_041));
        assert_eq!(wheel.next_due(), Some(Timestamp::from_millis(1_050)));
        assert!(fired_at(&mut wheel, 1_049).is_empty());
        assert_eq!(fired_at(&mut wheel, 1_050), [1]);
        assert!(fired_at(&mut wheel, 9_999).is_empty());
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn a_timer_beyond_the_horizon_fires_there_to_be_set_again() {
        let mut wheel = wheel();
        wheel.insert(1, Timestamp::from_millis(60_000));
        assert_eq!(fired_at(&mut wheel, 1_150), [1]);
    }

    #[test]
    fn a_long_pause_fires_everything_at_once() {
        let mut wheel = wheel();
        for item in 0..10 {
            wheel.insert(item, Timestamp::from_millis(1_010 + u64::from(item) * 10));
        }
        let mut fired = fired_at(&mut wheel, 3_600_000);
        fired.sort_unstable();
        assert_eq!(fired, (0..10).collect::<Vec<_>>());
        wheel.insert(11, Timestamp::from_millis(3_600_005));
        assert_eq!(fired_at(&mut wheel, 3_600_010), [11]);
    }

    proptest! {
        #[test]
        fn every_timer_within_the_horizon_fires_within_one_tick_of_its_time(
            dues in prop::collection::vec(0u64..140, 1..50),
            step in 1u64..25,
        ) {
            let mut wheel = wheel();
            for (item, due) in (0u32..).zip(&dues) {
                wheel.insert(item, Timestamp::from_millis(1_000 + due));
            }
            let (mut now, mut seen) = (1_000, 0);
            while seen < dues.len() {
                now += step;
                prop_assert!(now < 2_000, "a timer never fired");
                for item in fired_at(&mut wheel, now) {
                    let due = 1_000 + dues[item as usize];
                    prop_assert!(now >= due, "early: due {due}, fired {now}");
                    prop_assert!(now - due < step + 20, "late: due {due}, fired {now}");
                    seen += 1;
                }
            }
        }
    }
}
