//! The way into one topic-partition of one producer, shared by all routes and workers.
//!
//! Owns COLD, the window and who waits. A partition is COLD until a report proves that Kafka knows this producer
//! there: until then one record is outstanding, because librdkafka would report a lost first request as delivered if
//! a second one overtook it. Lock-free: taken per record, released per run of reports.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tidegate_core::time::Timestamp;

use super::load::Load;
use super::pool::Pool;
use super::waiters::Waiters;
use super::window;

/// COLD again after this long without a proven report: brokers forget producers that are idle.
pub const COLD_AFTER: Duration = Duration::from_hours(1);

/// How long a partition that refused a record for good takes one at a time, so that it refuses that record alone.
const CAREFUL_FOR: Duration = Duration::from_secs(10);

/// Pause of a partition that refuses what may be taken later, doubled each time up to the second. Each such refusal costs the
/// class its producer, so one partition that refuses all the time must not be asked all the time.
const SHUT_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Why a record does not go through now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    Window,
    Cold,
    /// It refused a record a moment ago; no report ends that, only time.
    Refused,
}

/// How a record went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Others may be in its request.
    WithOthers,
    /// No other is outstanding in its partition until it has its report: a refusal is of this record.
    Alone,
}

/// A run of reports of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) records: u32,
    pub(super) bytes: u32,
    /// One of them was a success with a proven offset.
    pub(super) proven: bool,
    /// One of them was anything else.
    pub(super) unproven: bool,
}

/// See the module.
// Two workers on neighbouring partitions must not fight over one cache line.
#[repr(align(128))]
pub(super) struct Gate {
    load: AtomicU64,
    proven_at_nanos: AtomicU64,
    /// Since when it is warm, if it is.
    warm_since_nanos: AtomicU64,
    reported_at_nanos: AtomicU64,
    /// Until then as if COLD.
    careful_until_nanos: AtomicU64,
    /// Until then nothing goes through.
    shut_until_nanos: AtomicU64,
    /// Refusals since a record was last proven.
    refusals: AtomicU32,
    window_bytes: AtomicU32,
    /// Progress of the round, see [`window::progress`].
    round_bytes: AtomicU32,
    /// A record was refused for the window since it last grew.
    starved: AtomicBool,
    waiters: Waiters,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            load: AtomicU64::new(0),
            proven_at_nanos: AtomicU64::new(0),
            warm_since_nanos: AtomicU64::new(0),
            reported_at_nanos: AtomicU64::new(0),
            careful_until_nanos: AtomicU64::new(0),
            shut_until_nanos: AtomicU64::new(0),
            refusals: AtomicU32::new(0),
            window_bytes: AtomicU32::new(window::START_BYTES),
            round_bytes: AtomicU32::new(0),
            starved: AtomicBool::new(false),
            waiters: Waiters::new(),
        }
    }

    /// Lets one record of `bytes` through, or registers `worker` to be woken.
    pub(super) fn take_or_wait(&self, bytes: u32, worker: usize, now: Timestamp) -> Result<Taken, Shut> {
        self.take(bytes, now).or_else(|_| {
            self.waiters.register(worker);
            // Room may have appeared before the registration was seen. A bit left behind costs one idle wake-up.
            self.take(bytes, now)
        })
    }

    fn take(&self, bytes: u32, now: Timestamp) -> Result<Taken, Shut> {
        if now.as_nanos() < self.shut_until_nanos.load(Ordering::Relaxed) {
            return Err(Shut::Refused);
        }
        let mut word = self.load.load(Ordering::Acquire);
        loop {
            let load = Load(word);
            let is_warm = self.is_warm(load, now);
            // Who went through alone stays so until its report, even if there is no more reason for it.
            if load.records() > 0 && (!is_warm || load.is_alone()) {
                return Err(Shut::Cold);
            }
            if !window::fits(self.window_bytes.load(Ordering::Relaxed), load.records(), load.bytes(), bytes) {
                self.starved.store(true, Ordering::Relaxed);
                return Err(Shut::Window);
            }
            let next = (word + Load::of(1, bytes)) | if is_warm { 0 } else { Load::ALONE };
            match self.load.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(if is_warm { Taken::WithOthers } else { Taken::Alone }),
                Err(changed) => word = changed,
            }
        }
    }

    /// The partition vanished: should it come back, the new one does not know this producer.
    pub(super) fn chill(&self) {
        self.load.fetch_and(!Load::WARM, Ordering::AcqRel);
    }

    /// The partition refused a record for good.
    pub(super) fn be_careful(&self, now: Timestamp) {
        self.careful_until_nanos.store((now + CAREFUL_FOR).as_nanos(), Ordering::Relaxed);
    }

    /// The partition refused a record, for now.
    pub(super) fn be_shut(&self, now: Timestamp) {
        let before = self.refusals.fetch_add(1, Ordering::Relaxed);
        let pause = SHUT_FOR.0.saturating_mul(1 << before.min(16)).min(SHUT_FOR.1);
        self.shut_until_nanos.store((now + pause).as_nanos(), Ordering::Relaxed);
    }

    /// Takes back a hand-over that librdkafka refused; returns the workers to wake.
    pub(super) fn undo(&self, bytes: u32) -> u64 {
        self.load.fetch_and(!Load::ALONE, Ordering::AcqRel);
        self.load.fetch_sub(Load::of(1, bytes), Ordering::AcqRel);
        self.waiters.take()
    }

    /// Makes room for what was reported and judges the window; returns the workers to wake.
    pub(super) fn report(&self, reported: Reported, pool: &Pool, now: Timestamp) -> u64 {
        if reported.unproven {
            self.chill();
        } else if reported.proven {
            if self.is_cold(now) {
                self.warm_since_nanos.store(now.as_nanos(), Ordering::Relaxed);
            }
            self.proven_at_nanos.store(now.as_nanos(), Ordering::Relaxed);
            self.load.fetch_or(Load::WARM, Ordering::AcqRel);
            self.refusals.store(0, Ordering::Relaxed);
        }
        self.load.fetch_and(!Load::ALONE, Ordering::AcqRel);
        self.load.fetch_sub(Load::of(reported.records, reported.bytes), Ordering::AcqRel);
        self.judge_round(reported, pool, now);
        self.waiters.take()
    }

    /// Workers that report at the same time may both count the round; then the window doubles once or not at all.
    fn judge_round(&self, reported: Reported, pool: &Pool, now: Timestamp) {
        let last = Timestamp::from_nanos(self.reported_at_nanos.swap(now.as_nanos(), Ordering::Relaxed));
        if now.since(last) > window::QUIET {
            self.round_bytes.store(0, Ordering::Relaxed);
        }
        let step = window::progress(reported.records, reported.bytes);
        let round = self.round_bytes.fetch_add(step, Ordering::Relaxed).saturating_add(step);
        let window = self.window_bytes.load(Ordering::Relaxed);
        if round < window {
            return;
        }
        self.round_bytes.store(0, Ordering::Relaxed);
        if !self.starved.swap(false, Ordering::Relaxed) {
            return;
        }
        if let Some(grown) = window::grown(window)
            && pool.take(grown - window)
            && self
                .window_bytes
                .compare_exchange(window, grown, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            pool.give_back(grown - window);
        }
    }

    /// Gives back what the window grew by, if the partition has been quiet and empty.
    ///
    /// A hand-over that read the large window a moment ago may exceed the small one once: librdkafka's limits leave
    /// room for that.
    pub(super) fn give_back(&self, pool: &Pool, now: Timestamp) {
        let last = Timestamp::from_nanos(self.reported_at_nanos.load(Ordering::Relaxed));
        let window = self.window_bytes.load(Ordering::Relaxed);
        if window > window::START_BYTES
            && self.outstanding().records() == 0
            && now.since(last) > window::QUIET
            && self
                .window_bytes
                .compare_exchange(window, window::START_BYTES, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            pool.give_back(window - window::START_BYTES);
        }
    }

    pub(super) fn outstanding(&self) -> Load {
        Load(self.load.load(Ordering::Acquire))
    }

    pub(super) fn is_cold(&self, now: Timestamp) -> bool {
        !self.is_warm(self.outstanding(), now)
    }

    /// Returns since when more than one record may be outstanding; `None` if only one may.
    pub(super) fn warm_since(&self, now: Timestamp) -> Option<Timestamp> {
        let nanos = |at: &AtomicU64| at.load(Ordering::Relaxed);
        // In this order: who sees it warm sees since when.
        let is_warm = !self.is_cold(now);
        let since = nanos(&self.warm_since_nanos).max(nanos(&self.careful_until_nanos));
        is_warm.then_some(Timestamp::from_nanos(since))
    }

    fn is_warm(&self, load: Load, now: Timestamp) -> bool {
        let proven_at = Timestamp::from_nanos(self.proven_at_nanos.load(Ordering::Relaxed));
        let careful = now.as_nanos() < self.careful_until_nanos.load(Ordering::Relaxed);
        load.is_warm() && now.since(proven_at) < COLD_AFTER && !careful
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
