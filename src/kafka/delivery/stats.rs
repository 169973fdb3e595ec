//! Counters of one worker, and their sum.

use std::sync::atomic::{AtomicU64, Ordering};

use super::types::Refusal;

/// Adds up what one worker counts; only that worker writes, so a plain load and store is enough.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts. The fields are those of [`Stats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) handed_over: Counter,
    pub(super) handed_over_bytes: Counter,
    pub(super) delivered: Counter,
    pub(super) unproven: Counter,
    pub(super) failed_retry: Counter,
    pub(super) failed_drop: Counter,
    pub(super) failed_fatal: Counter,
    pub(super) refused_window: Counter,
    pub(super) refused_cold: Counter,
    pub(super) refused_credits: Counter,
    pub(super) refused_queue_full: Counter,
    pub(super) refused_too_large: Counter,
    pub(super) refused_unknown: Counter,
    pub(super) refused_closed: Counter,
    pub(super) stale: Counter,
}

/// Totals since the start, over all workers, and what is outstanding now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that librdkafka took.
    pub handed_over: u64,
    /// Key, payload, headers and overhead of those, in bytes.
    pub handed_over_bytes: u64,
    /// Records that Kafka has, proven.
    pub delivered: u64,
    /// Successes that prove nothing; handed over again by their worker.
    pub unproven: u64,
    /// Failed reports of class Retry.
    pub failed_retry: u64,
    /// Failed reports of class Drop.
    pub failed_drop: u64,
    /// Failed reports of class Fatal.
    pub failed_fatal: u64,
    /// Attempts refused because the window was full.
    pub refused_window: u64,
    /// Attempts refused because the partition was cold.
    pub refused_cold: u64,
    /// Attempts refused because the worker's credits were used up.
    pub refused_credits: u64,
    /// Attempts refused by librdkafka's queue limit: a defect of ours if not zero.
    pub refused_queue_full: u64,
    /// Records refused for their size.
    pub refused_too_large: u64,
    /// Attempts refused because librdkafka knew no such topic or partition.
    pub refused_unknown: u64,
    /// Attempts refused after a fatal error or the stop.
    pub refused_closed: u64,
    /// Reports about a hand-over that is not outstanding: a defect if not zero.
    pub stale: u64,
    /// Records without a report now.
    pub outstanding: u64,
    /// Partitions opened.
    pub partitions: u64,
    /// Partitions that are cold now.
    pub partitions_cold: u64,
    /// Producer instances that failed and were replaced, or are about to be.
    pub instances_retired: u64,
    /// Bytes that windows have borrowed beyond their start.
    pub shared_window_bytes_used: u64,
}

impl Stats {
    /// Returns the records that were reported as failed.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed_retry + self.failed_drop + self.failed_fatal
    }

    /// Returns the records that were reported at all.
    #[must_use]
    pub const fn reported(&self) -> u64 {
        self.delivered + self.unproven + self.failed()
    }
}

impl Counters {
    pub(super) fn refused(&self, refusal: Refusal) -> &Counter {
        match refusal {
            Refusal::Window => &self.refused_window,
            Refusal::Cold => &self.refused_cold,
            Refusal::Credits => &self.refused_credits,
            Refusal::QueueFull => &self.refused_queue_full,
            Refusal::TooLarge => &self.refused_too_large,
            Refusal::Unknown(_) => &self.refused_unknown,
            Refusal::Shut | Refusal::Closed => &self.refused_closed,
        }
    }

    pub(super) fn add_to(&self, sum: &mut Stats) {
        for (total, counter) in [
            (&mut sum.handed_over, &self.handed_over),
            (&mut sum.handed_over_bytes, &self.handed_over_bytes),
            (&mut sum.delivered, &self.delivered),
            (&mut sum.unproven, &self.unproven),
            (&mut sum.failed_retry, &self.failed_retry),
            (&mut sum.failed_drop, &self.failed_drop),
            (&mut sum.failed_fatal, &self.failed_fatal),
            (&mut sum.refused_window, &self.refused_window),
            (&mut sum.refused_cold, &self.refused_cold),
            (&mut sum.refused_credits, &self.refused_credits),
            (&mut sum.refused_queue_full, &self.refused_queue_full),
            (&mut sum.refused_too_large, &self.refused_too_large),
            (&mut sum.refused_unknown, &self.refused_unknown),
            (&mut sum.refused_closed, &self.refused_closed),
            (&mut sum.stale, &self.stale),
        ] {
            *total += counter.get();
        }
    }
}
