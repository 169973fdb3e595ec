//! Whether a record's lifetime (MQTT's Message Expiry Interval) is over, with clocks that may be wrong.
//!
//! Within a boot the monotonic clock says how old a record is. Across boots only the wall clock can, and an edge box
//! wakes in the past after a power cut: unless the clock was synchronised at both ends, a record counts as new. An
//! expired record counts as done.

use std::time::Duration;

use crate::format::frame::{Flags, Frame};

/// What the clocks say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// This boot's epoch.
    pub epoch: u32,
    /// On the clock that [`Frame::uptime_ms`] is read from.
    pub uptime: Duration,
    /// Wall clock, ms since 1970.
    pub now_unix_ms: i64,
    /// The wall clock is synchronised.
    pub synchronised: bool,
}

/// What is left of a record's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It has no end.
    Unlimited,
    /// Seconds, rounded up: at least 1.
    Left(u32),
    /// It is over.
    Over,
}

impl Lifetime {
    /// Returns what is left at that age of a lifetime in seconds, 0 being without end.
    #[must_use]
    pub fn left(lifetime_s: u32, age: Duration) -> Self {
        if lifetime_s == 0 {
            return Self::Unlimited;
        }
        let age_s = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        match lifetime_s.saturating_sub(age_s) {
            0 => Self::Over,
            left => Self::Left(left),
        }
    }

    /// Returns what is left of a frame's. An age that cannot be known counts as none.
    #[must_use]
    pub fn of(frame: &Frame<'_>, clocks: &Clocks) -> Self {
        let age_ms = if frame.position.epoch == clocks.epoch {
            u64::try_from(clocks.uptime.as_millis()).unwrap_or(u64::MAX).saturating_sub(frame.uptime_ms)
        } else if clocks.synchronised && frame.flags.has(Flags::CLOCK_SURE) {
            // A clock that was set back a little makes a record young, never older than it is.
            u64::try_from(clocks.now_unix_ms.saturating_sub(frame.time_unix_ms)).unwrap_or(0)
        } else {
            0
        };
        Self::left(frame.lifetime_s, Duration::from_millis(age_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::Lifetime::{Left, Over, Unlimited};
    use super::*;
    use crate::ids::{Position, TopicId};

    const fn frame(epoch: u32, flags: Flags, lifetime_s: u32) -> Frame<'static> {
        Frame {
            shard: 0,
            topic: TopicId(0),
            partition: 0,
            position: Position { epoch, seq: 1 },
            time_unix_ms: 1_000_000,
            uptime_ms: 5_000,
            lifetime_s,
            flags,
            key: None,
            headers: b"",
            payload: b"",
        }
    }

    const CLOCKS: Clocks =
        Clocks { epoch: 2, uptime: Duration::from_secs(15), now_unix_ms: 1_030_000, synchronised: true };

    #[test]
    fn within_a_boot_the_monotonic_clock_counts() {
        let jumped = Clocks { now_unix_ms: i64::MAX, synchronised: false, ..CLOCKS };
        for (lifetime, left) in [(0, Unlimited), (10, Over), (11, Left(1)), (60, Left(50))] {
            assert_eq!(Lifetime::of(&frame(2, Flags::NONE, lifetime), &jumped), left, "{lifetime} s");
        }
    }

    #[test]
    fn across_boots_the_wall_clock_counts_if_it_was_right_at_both_ends() {
        let unsure = Clocks { synchronised: false, ..CLOCKS };
        let past = Clocks { now_unix_ms: 0, ..CLOCKS };
        assert_eq!(Lifetime::of(&frame(1, Flags::CLOCK_SURE, 40), &CLOCKS), Left(10));
        assert_eq!(Lifetime::of(&frame(1, Flags::CLOCK_SURE, 20), &CLOCKS), Over);
        assert_eq!(Lifetime::of(&frame(1, Flags::NONE, 20), &CLOCKS), Left(20));
        assert_eq!(Lifetime::of(&frame(1, Flags::CLOCK_SURE, 20), &unsure), Left(20));
        assert_eq!(Lifetime::of(&frame(1, Flags::CLOCK_SURE, 20), &past), Left(20));
    }

    #[test]
    fn a_lifetime_is_over_when_all_of_it_has_passed_and_not_before() {
        let at = |ms| Lifetime::left(2, Duration::from_millis(ms));
        assert_eq!([0, 999, 1_000, 1_999, 2_000].map(at), [Left(2), Left(2), Left(1), Left(1), Over]);
        assert_eq!(Lifetime::left(u32::MAX, Duration::MAX), Over);
        assert_eq!(Lifetime::left(0, Duration::MAX), Unlimited);
    }
}
