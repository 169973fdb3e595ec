//! The only place that reads a clock; everything else is given one.

mod kernel;

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use tidegate_core::time::{Timestamp, UnixMillis};

pub use kernel::{Synchronisation, synchronisation};

/// Origin of the process's timestamps: the first reading.
static ORIGIN: LazyLock<Instant> = LazyLock::new(now);

#[expect(clippy::disallowed_methods, reason = "this module is the process's clock")]
fn now() -> Instant {
    Instant::now()
}

/// Returns the monotonic time since the process first asked. It stands still while the machine sleeps.
#[must_use]
pub fn monotonic() -> Timestamp {
    let origin = *ORIGIN;
    let nanos = now().saturating_duration_since(origin).as_nanos();
    Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Returns the wall-clock time; a clock set before 1970 reads as 0.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is the process's clock")]
pub fn unix_millis() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_moves_and_never_goes_back() {
        let first = monotonic();
        let mut last = first;
        while last == first {
            let next = monotonic();
            assert!(next >= last);
            last = next;
        }
    }

    #[test]
    fn the_wall_clock_is_in_milliseconds() {
        // 2020-01-01 and 2200-01-01: seconds or microseconds would fall outside.
        assert!((1_577_836_800_000..7_258_118_400_000).contains(&unix_millis().0));
    }
}
