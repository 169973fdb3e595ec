//! What the spool has done, as plain counters; and how much it wears the disk.

use std::time::Duration;

/// Flash is written in pages of about this size, however little of one changes.
const PAGE_BYTES: u64 = 4096;
const HOUR_SECS: u64 = 3600;
const HOURS: usize = 24;

/// Counters since the spool was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commits that succeeded.
    pub commits: u64,
    /// Records made durable.
    pub records: u64,
    /// Their bytes in the log.
    pub record_bytes: u64,
    /// Records that Kafka had before their turn came: never written.
    pub spared_records: u64,
    /// Writes and syncs that failed.
    pub faults: u64,
    /// Segments that end early because of it.
    pub abandoned_segments: u64,
    /// Segments whose footer could not be written.
    pub unsealed_segments: u64,
    /// Cursors written.
    pub cursors: u64,
    /// Cursors that could not be written.
    pub failed_cursors: u64,
    /// Segments that went.
    pub freed_segments: u64,
    /// Segments rewritten to what of them is still needed.
    pub rewritten_segments: u64,
    /// Rewrites given up.
    pub failed_rewrites: u64,
    /// Places where the log was damaged when it was read.
    pub holes: u64,
    /// Their bytes.
    pub hole_bytes: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// What was written, in whole pages.
    pub wear: Wear,
}

/// Bytes that reached the flash, as far as can be told from here: whole pages, each time they are synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wear {
    total_bytes: u64,
    /// The last day, hour by hour, a ring.
    hours: [u64; HOURS],
    hour: u64,
}

impl Wear {
    /// Adds `bytes` written at `offset` of a file.
    pub(crate) fn add(&mut self, now: Duration, offset: u64, bytes: u64) {
        let pages = (offset + bytes).div_ceil(PAGE_BYTES) - offset / PAGE_BYTES;
        self.turn_to(now);
        self.total_bytes += pages * PAGE_BYTES;
        self.hours[Self::slot(self.hour)] += pages * PAGE_BYTES;
    }

    /// Returns the bytes written since the spool was opened.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Returns the bytes written in the last 24 hours, whole hours and the current one.
    #[must_use]
    pub fn last_day_bytes(&self, now: Duration) -> u64 {
        let mut aged = self.clone();
        aged.turn_to(now);
        aged.hours.iter().sum()
    }

    fn turn_to(&mut self, now: Duration) {
        let hour = now.as_secs() / HOUR_SECS;
        // A ring forgets everything in one turn; more turns change nothing.
        for passed in self.hour + 1..=hour.min(self.hour + HOURS as u64) {
            self.hours[Self::slot(passed)] = 0;
        }
        self.hour = self.hour.max(hour);
    }

    fn slot(hour: u64) -> usize {
        usize::try_from(hour % HOURS as u64).expect("below 24")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_wears_a_page_and_two_across_a_border_wear_two() {
        let mut wear = Wear::default();
        wear.add(Duration::ZERO, 10, 1);
        assert_eq!(wear.total_bytes(), PAGE_BYTES);
        wear.add(Duration::ZERO, PAGE_BYTES - 1, 2);
        assert_eq!(wear.total_bytes(), 3 * PAGE_BYTES);
    }

    #[test]
    fn a_day_forgets_the_day_before_hour_by_hour() {
        let hours = |count: u64| Duration::from_secs(count * HOUR_SECS);
        let mut wear = Wear::default();
        wear.add(hours(0), 0, PAGE_BYTES);
        wear.add(hours(5), 0, PAGE_BYTES);
        assert_eq!(wear.last_day_bytes(hours(23)), 2 * PAGE_BYTES);
        assert_eq!(wear.last_day_bytes(hours(24)), PAGE_BYTES);
        assert_eq!(wear.last_day_bytes(hours(1000)), 0);
        assert_eq!(wear.total_bytes(), 2 * PAGE_BYTES);
    }
}
