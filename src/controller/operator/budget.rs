//! How often the operator may write to the API server: a bucket that all its scalers share.
//!
//! Owns the arithmetic only. A place in the queue is reserved, not raced for: whoever asked first writes first, and what
//! changes meanwhile is written once, with its latest value.

use std::time::Duration;

use tidegate_core::time::Timestamp;

/// Six writes a minute for the whole process, as an average: status and events are for people, and an API server on an
/// edge node has better things to do. Live figures are in the metrics.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// Writes that may come at once after a quiet minute.
const BURST: u32 = 6;

/// Reservations of writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    /// When the bucket would be full again: a virtual clock that each write pushes on.
    full_at: Timestamp,
}

impl Budget {
    /// Reserves one write and returns when it may be made; `now` if the bucket is not empty.
    pub(super) fn reserve(&mut self, now: Timestamp) -> Timestamp {
        let full_at = self.full_at.max(now);
        self.full_at = full_at + WRITE_EVERY;
        // The queue is as long as there are scalers: each of them holds one reservation at most.
        now.max(full_at - WRITE_EVERY * (BURST - 1))
    }

    /// Takes one write if it may be made at `now`, ahead of nobody.
    pub(super) fn try_take(&mut self, now: Timestamp) -> bool {
        let free = self.full_at.max(now) - WRITE_EVERY * (BURST - 1) <= now;
        if free {
            self.reserve(now);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn six_writes_come_at_once_and_then_one_in_ten_seconds() {
        let mut budget = Budget::default();
        let times: Vec<_> = (0..8).map(|_| budget.reserve(at(100))).collect();
        assert_eq!(times, [at(100), at(100), at(100), at(100), at(100), at(100), at(110), at(120)]);
    }

    #[test]
    fn what_can_wait_takes_no_turn_of_those_who_queue() {
        let mut budget = Budget::default();
        for _ in 0..7 {
            budget.reserve(at(100));
        }
        assert!(!budget.try_take(at(105)), "the turn at 110 is taken");
        assert!(!budget.try_take(at(119)));
        assert!(budget.try_take(at(120)));
        assert_eq!(budget.reserve(at(120)), at(130));
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_than_twelve_writes_and_none_comes_before_it_was_asked_for(
            gaps in proptest::collection::vec(0_u64..40_000, 1..80),
        ) {
            let mut budget = Budget::default();
            let mut now = Timestamp::from_millis(1_000_000);
            let mut writes = Vec::new();
            for gap in gaps {
                now = now + Duration::from_millis(gap);
                let granted = budget.reserve(now);
                prop_assert!(granted >= now);
                writes.push(granted);
            }
            prop_assert!(writes.is_sorted(), "first come, first served");
            for (index, first) in writes.iter().enumerate() {
                let within = writes[index..].iter().filter(|at| at.since(*first) < Duration::from_mins(1));
                prop_assert!(within.count() <= 12, "a full bucket and one minute's refill");
            }
        }
    }
}
