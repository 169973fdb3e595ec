//! What a consumer tells about itself while it runs.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Written by the consumer's thread, read by whoever reports. Relaxed: figures guard no memory.
#[derive(Debug, Default)]
pub struct Stats {
    records: AtomicU64,
    busy_nanos: AtomicU64,
    partitions: AtomicU32,
    /// Nanoseconds plus one; 0: nothing fetched yet.
    first_fetch: AtomicU64,
    rebalances: AtomicU64,
    failed_commits: AtomicU64,
}

/// [`Stats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Records processed since the start.
    pub records: u64,
    /// Time spent processing them, waiting for Kafka not included.
    pub busy: Duration,
    /// Partitions assigned now.
    pub partitions: u32,
    /// Time from [`super::Settings`]' start to the first record; none until then.
    pub first_fetch: Option<Duration>,
    /// Assignments received or lost since the start.
    pub rebalances: u64,
    /// Commits that Kafka refused; what they covered may be processed again.
    pub failed_commits: u64,
}

impl Stats {
    /// Reads all figures.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            records: self.records.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed)),
            partitions: self.partitions.load(Ordering::Relaxed),
            first_fetch: self.first_fetch.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_nanos),
            rebalances: self.rebalances.load(Ordering::Relaxed),
            failed_commits: self.failed_commits.load(Ordering::Relaxed),
        }
    }

    pub(super) fn processed(&self, busy: Duration) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.busy_nanos.fetch_add(nanos(busy), Ordering::Relaxed);
    }

    /// Called with the first record.
    pub(super) fn fetched_after(&self, since_start: Duration) {
        self.first_fetch.store(nanos(since_start).saturating_add(1), Ordering::Relaxed);
    }

    pub(super) fn assigned(&self, partitions: usize) {
        self.partitions.store(u32::try_from(partitions).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.rebalances.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn commit_failed(&self) {
        self.failed_commits.fetch_add(1, Ordering::Relaxed);
    }
}

/// 2^64 ns are 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
