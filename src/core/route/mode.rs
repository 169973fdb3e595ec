//! The two modes of a route, and the way from one to the other.

use std::time::Duration;

use crate::time::Timestamp;

/// A route that is BEHIND stays so for this long at least: a Kafka that just came back may go again, and each change
/// costs the writing of what is in memory.
pub const BEHIND_AT_LEAST: Duration = Duration::from_mins(1);

/// Where new records of a route go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// To Kafka.
    #[default]
    Direct,
    /// To Kafka and, since then, to the disk.
    Behind {
        /// When that began.
        since: Timestamp,
    },
}

/// What is to be seen of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its oldest record in memory, if there is one.
    pub oldest: Option<Oldest>,
    /// All of its records were handed over.
    pub caught_up: bool,
    /// What it leads to.
    pub ends: Ends,
}

/// The oldest record of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// When it was queued.
    pub queued: Timestamp,
    /// Kafka has been given it.
    pub handed_over: bool,
}

/// What is to be seen of a route's two ends, the disk and its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The disk takes nothing more: to stay BEHIND would only hold devices back from a Kafka that has everything.
    pub disk_full: bool,
    /// Since when the partition takes more than one record at a time; `None` while it is COLD.
    pub warm_since: Option<Timestamp>,
}

impl Ends {
    /// Returns how many of Kafka's answers a record has had to wait for, its own included. One that was there before the
    /// partition became warm first waited, or waits, for that of the record that warms it.
    fn answers(self, oldest: Oldest) -> u32 {
        let waits_for_its_own = self.warm_since.map_or(oldest.handed_over, |since| since <= oldest.queued);
        if waits_for_its_own { 1 } else { 2 }
    }
}

impl Mode {
    /// Returns whether new records also go to the disk.
    #[must_use]
    pub const fn is_behind(self) -> bool {
        matches!(self, Self::Behind { .. })
    }

    /// Returns the mode of a route that is seen like this. `after`: the age from which on a record that waits for one answer
    /// says that Kafka is slow; `None` if nobody is judged this time.
    #[must_use]
    pub fn judged(self, seen: Seen, after: Option<Duration>, now: Timestamp) -> Self {
        match self {
            Self::Direct => {
                let slow = seen.oldest.zip(after).is_some_and(|(oldest, after)| {
                    now.since(oldest.queued) > after * seen.ends.answers(oldest)
                });
                if slow { Self::Behind { since: now } } else { self }
            }
            Self::Behind { since } => {
                let long_enough = now.since(since) >= BEHIND_AT_LEAST || seen.ends.disk_full;
                if seen.caught_up && long_enough { Self::Direct } else { self }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AFTER: Duration = Duration::from_secs(1);

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn queued(ms: u64) -> Oldest {
        Oldest { queued: at(ms), handed_over: true }
    }

    #[test]
    fn a_route_goes_behind_by_age_and_back_after_a_minute_with_nothing_left() {
        let behind = Mode::Behind { since: at(10_000) };
        let table = [
            // mode, oldest, caught up, disk full, now -> mode
            (Mode::Direct, None, true, false, 90_000, Mode::Direct),
            (Mode::Direct, Some(89_000), false, false, 90_000, Mode::Direct),
            (Mode::Direct, Some(88_999), false, false, 90_000, Mode::Behind { since: at(90_000) }),
            (Mode::Direct, Some(88_999), true, false, 90_000, Mode::Behind { since: at(90_000) }),
            (behind, None, true, false, 69_999, behind),
            (behind, None, true, false, 70_000, Mode::Direct),
            (behind, None, false, false, 900_000, behind),
            (behind, None, true, true, 10_001, Mode::Direct),
            (behind, None, false, true, 900_000, behind),
        ];
        for (mode, oldest, caught_up, disk_full, now, expected) in table {
            let ends = Ends { disk_full, warm_since: Some(Timestamp::ZERO) };
            let seen = Seen { oldest: oldest.map(queued), caught_up, ends };
            assert_eq!(mode.judged(seen, Some(AFTER), at(now)), expected, "{mode:?} {seen:?} at {now}");
        }
    }

    #[test]
    fn what_waits_for_a_cold_partition_has_the_time_of_two_answers() {
        // warm since, handed over -> answers; all came at 50 s
        for (warm_since, handed_over, answers) in [
            (None, false, 2),
            (None, true, 1),
            (Some(50_001), false, 2),
            (Some(50_001), true, 2),
            (Some(50_000), false, 1),
            (Some(50_000), true, 1),
        ] {
            let ends = Ends { disk_full: false, warm_since: warm_since.map(at) };
            let oldest = Some(Oldest { queued: at(50_000), handed_over });
            let seen = Seen { oldest, caught_up: true, ends };
            let is_behind_at = |now| Mode::Direct.judged(seen, Some(AFTER), now).is_behind();
            let last = at(50_000) + AFTER * answers;
            let case = format!("warm since {warm_since:?}, handed over {handed_over}");
            assert_eq!((is_behind_at(last), is_behind_at(last + AFTER / 1000)), (false, true), "{case}");
        }
    }

    proptest! {
        #[test]
        fn without_a_judgement_nobody_goes_behind_and_a_mode_that_was_judged_stays(
            oldest in prop::option::of(0u64..200_000), caught_up: bool, since in 0u64..200_000, now in 0u64..200_000,
            behind: bool, disk_full: bool, after in prop::option::of(1_000u64..10_000),
            warm_since in prop::option::of(0u64..200_000), handed_over: bool
        ) {
            let ends = Ends { disk_full, warm_since: warm_since.map(at) };
            let oldest = oldest.map(|ms| Oldest { queued: at(ms), handed_over });
            let seen = Seen { oldest, caught_up, ends };
            let mode = if behind { Mode::Behind { since: at(since) } } else { Mode::Direct };
            let after = after.map(Duration::from_millis);
            let next = mode.judged(seen, after, at(now));
            prop_assert!(after.is_some() || behind || next == Mode::Direct);
            // Never back while something waits, and never within the minute while the disk takes what comes.
            if behind && next == Mode::Direct {
                prop_assert!(caught_up && (disk_full || now >= since + 60_000));
            }
            // A route that went behind is not sent back by the next look.
            if !behind && next.is_behind() && !(caught_up && disk_full) {
                prop_assert_eq!(next.judged(seen, after, at(now)), next);
            }
        }
    }
}
