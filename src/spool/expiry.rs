//! Whether a record's lifetime (MQTT's Message Expiry Interval) is over, with clocks that may be wrong.
//!
//! Within a boot the monotonic clock says how old a record is. Across boots only the wall clock can, and an edge box
//! wakes in the past after a power cut: unless the clock was synchronised at both ends, nothing expires. An expired
//! record counts as done.

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

/// Returns how much of a record's lifetime is left, in seconds rounded down; `None` if it has no end, or its age cannot
/// be known. 0 means expired.
#[must_use]
pub fn lifetime_left_s(frame: &Frame<'_>, clocks: &Clocks) -> Option<u32> {
    if frame.lifetime_s == 0 {
        return None;
    }
    let age_ms = if frame.position.epoch == clocks.epoch {
        u64::try_from(clocks.uptime.as_millis()).unwrap_or(u64::MAX).saturating_sub(frame.uptime_ms)
    } else if clocks.synchronised && frame.flags.has(Flags::CLOCK_SURE) {
        // A clock that was set back a little makes a record young, never older than it is.
        u64::try_from(clocks.now_unix_ms.saturating_sub(frame.time_unix_ms)).unwrap_or(0)
    } else {
        return None;
    };
    let seconds = u32::try_from(age_ms.div_ceil(1000)).unwrap_or(u32::MAX);
    Some(frame.lifetime_s.saturating_sub(seconds))
}

#[cfg(test)]
mod tests {
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
        let table = [(0, None), (10, Some(0)), (11, Some(1)), (60, Some(50))];
        for (lifetime, left) in table {
            let jumped = Clocks { now_unix_ms: i64::MAX, synchronised: false, ..CLOCKS };
            assert_eq!(lifetime_left_s(&frame(2, Flags::NONE, lifetime), &jumped), left, "{lifetime} s");
        }
    }

    #[test]
    fn across_boots_the_wall_clock_counts_if_it_was_right_at_both_ends() {
        let unsure = Clocks { synchronised: false, ..CLOCKS };
        let past = Clocks { now_unix_ms: 0, ..CLOCKS };
        assert_eq!(lifetime_left_s(&frame(1, Flags::CLOCK_SURE, 40), &CLOCKS), Some(10));
        assert_eq!(lifetime_left_s(&frame(1, Flags::CLOCK_SURE, 20), &CLOCKS), Some(0));
        assert_eq!(lifetime_left_s(&frame(1, Flags::NONE, 20), &CLOCKS), None);
        assert_eq!(lifetime_left_s(&frame(1, Flags::CLOCK_SURE, 20), &unsure), None);
        assert_eq!(lifetime_left_s(&frame(1, Flags::CLOCK_SURE, 20), &past), Some(20));
    }
}
