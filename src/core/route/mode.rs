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
    /// When its oldest record in memory was queued, if there is one.
    pub oldest: Option<Timestamp>,
    /// All of its records were handed over.
    pub caught_up: bool,
    /// The disk takes nothing more: to stay BEHIND would only hold devices back from a Kafka that has everything.
    pub disk_full: bool,
}

impl Mode {
    /// Returns whether new records also go to the disk.
    #[must_use]
    pub const fn is_behind(self) -> bool {
        matches!(self, Self::Behind { .. })
    }

    /// Returns the mode of a route that is seen like this. `after`: the age from which on a record says that Kafka is
    /// slow; `None` if nobody is judged this time.
    #[must_use]
    pub fn judged(self, seen: Seen, after: Option<Duration>, now: Timestamp) -> Self {
        match self {
            Self::Direct => {
                let oldest = seen.oldest.map(|queued| now.since(queued));
                let slow = oldest.zip(after).is_some_and(|(age, after)| age > after);
                if slow { Self::Behind { since: now } } else { self }
            }
            Self::Behind { since } => {
                let long_enough = now.since(since) >= BEHIND_AT_LEAST || seen.disk_full;
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
            let seen = Seen { oldest: oldest.map(at), caught_up, disk_full };
            assert_eq!(mode.judged(seen, Some(AFTER), at(now)), expected, "{mode:?} {seen:?} at {now}");
        }
    }

    proptest! {
        #[test]
        fn without_a_judgement_nobody_goes_behind_and_a_mode_that_was_judged_stays(
            oldest in prop::option::of(0u64..200_000), caught_up: bool, since in 0u64..200_000, now in 0u64..200_000,
            behind: bool, disk_full: bool, after in prop::option::of(1_000u64..10_000)
        ) {
            let seen = Seen { oldest: oldest.map(at), caught_up, disk_full };
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
