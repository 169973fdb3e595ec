//! What the kernel knows of its own wall clock.

#![allow(
    unsafe_code,
    reason = "adjtimex(2), which no safe crate of ours has; the block says why it is sound"
)]

/// Whether somebody keeps the wall clock right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronisation {
    /// Somebody does, and says that it is wrong by less than 16 s.
    Synchronised,
    /// Nobody does, or not for hours.
    Unsynchronised,
    /// The kernel does not say: a sandbox forbids to ask, or there is no such call.
    Unknown,
}

/// The error that the kernel begins with and comes back to, in microseconds (`NTP_PHASE_LIMIT`). It adds 0.5 ms a second to
/// what it was last told.
const NO_LONGER_KNOWN_MICROS: i64 = 16_000_000;

/// Asks the kernel. Never waits.
///
/// As `timedatectl` does, by the error that the kernel was told and not by `STA_UNSYNC`: chronyd without `rtcsync` and
/// systemd-timesyncd on a box whose RTC has local time set that too, lest the kernel touches the RTC.
#[must_use]
#[cfg(target_os = "linux")]
pub fn synchronisation() -> Synchronisation {
    let mut timex = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the kernel writes to the structure that it is given and nowhere else. Zeros are a value of it, and ask to
    // set nothing (`modes`).
    let (state, timex) = unsafe { (libc::adjtimex(timex.as_mut_ptr()), timex.assume_init()) };
    read(state, timex.maxerror)
}

/// There is nobody to ask.
#[must_use]
#[cfg(not(target_os = "linux"))]
pub fn synchronisation() -> Synchronisation {
    Synchronisation::Unknown
}

/// The width of the error is the machine's.
fn read(state: i32, max_error_micros: impl Into<i64>) -> Synchronisation {
    if state < 0 {
        Synchronisation::Unknown
    } else if max_error_micros.into() < NO_LONGER_KNOWN_MICROS {
        Synchronisation::Synchronised
    } else {
        Synchronisation::Unsynchronised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_that_the_kernel_was_told_decides_and_a_refusal_says_nothing() {
        use Synchronisation::{Synchronised, Unknown, Unsynchronised};
        // TIME_OK, and TIME_ERROR as with STA_UNSYNC.
        let table = [
            (0, 25_000, Synchronised),
            (5, 25_000, Synchronised),
            (5, 16_000_000, Unsynchronised),
            (0, 16_000_000, Unsynchronised),
            (-1, 0, Unknown),
        ];
        for (state, max_error, expected) in table {
            assert_eq!(read(state, max_error), expected, "{state}, {max_error} us");
        }
    }

    /// As any process may: the tests do not run as root everywhere.
    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_answers_and_says_the_same_when_it_is_asked_again() {
        assert_eq!(synchronisation(), synchronisation());
    }
}
