//! How much of a partition may be outstanding, and when that grows.
//!
//! Pure. A window is one number of bytes; its records follow from it. Without windows per partition the partitions
//! of one dead broker would fill librdkafka's only queue, and healthy ones would starve behind them.

use std::time::Duration;

/// Window of every partition from its first record on, guaranteed.
pub const START_BYTES: u32 = 32 << 10;
/// What a window grows to at most.
pub const MAX_BYTES: u32 = 1 << 20;
/// Records of the start window.
pub const START_RECORDS: u32 = 64;
/// Bytes of window that allow one record: a window of small records is bounded by their number.
pub(super) const RECORD_SHARE_BYTES: u32 = START_BYTES / START_RECORDS;
/// Without a report for this long a window does not grow, and an empty one gives back what it grew by.
pub(super) const QUIET: Duration = Duration::from_secs(5);

/// True if one more record of `bytes` goes through a window of `window_bytes`, with this much outstanding.
///
/// The first record always does, or one larger than the window would wait for ever.
pub(super) fn fits(window_bytes: u32, records: u32, outstanding_bytes: u32, bytes: u32) -> bool {
    records == 0
        || (records < window_bytes / RECORD_SHARE_BYTES
            && outstanding_bytes.saturating_add(bytes) <= window_bytes)
}

/// Progress of a round: a round of reports is over when as much was reported as the window holds.
pub(super) fn progress(records: u32, bytes: u32) -> u32 {
    bytes.max(records.saturating_mul(RECORD_SHARE_BYTES))
}

/// The window after a round in which a hand-over was refused for it; none if it is as large as it gets.
pub(super) fn grown(window_bytes: u32) -> Option<u32> {
    (window_bytes < MAX_BYTES).then(|| window_bytes.saturating_mul(2).min(MAX_BYTES))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_start_window_takes_sixty_four_small_records() {
        assert!(fits(START_BYTES, 63, 63 * 300, 300));
        assert!(!fits(START_BYTES, 64, 64 * 300, 300));
    }

    #[test]
    fn the_start_window_takes_thirty_two_kib_of_large_records() {
        assert!(fits(START_BYTES, 3, 24 << 10, 8 << 10));
        assert!(!fits(START_BYTES, 3, 24 << 10, (8 << 10) + 1));
    }

    #[test]
    fn a_record_larger_than_the_window_goes_alone() {
        assert!(fits(START_BYTES, 0, 0, 1 << 20));
        assert!(!fits(START_BYTES, 1, 300, 1 << 20));
    }

    #[test]
    fn five_rounds_lead_from_the_start_to_the_largest_window() {
        let mut window = START_BYTES;
        let mut rounds = 0;
        while let Some(next) = grown(window) {
            assert_eq!(next, window * 2);
            window = next;
            rounds += 1;
        }
        assert_eq!((window, rounds), (MAX_BYTES, 5));
    }

    proptest! {
        #[test]
        fn what_fits_never_exceeds_the_window_by_more_than_one_record(
            window in START_BYTES..=MAX_BYTES, sizes in prop::collection::vec(1_u32..100_000, 1..3000)
        ) {
            let (mut records, mut bytes) = (0, 0);
            for size in sizes {
                if fits(window, records, bytes, size) {
                    records += 1;
                    bytes += size;
                }
            }
            prop_assert!(records <= window / RECORD_SHARE_BYTES);
            prop_assert!(records == 1 || bytes <= window);
        }
    }
}
