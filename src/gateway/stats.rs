//! What the workers count, and its sums.
//!
//! Each worker writes its own counters, so that counting a message is a plain load and store; readers add them
//! up. A reader may see one counter a moment ahead of another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tidegate_core::admission::{ClassId, MAX_CLASSES, ShedReason};
use tidegate_mqtt::{Violation, ViolationReason};

use crate::reason::{CloseReason, RefuseReason};

/// A number that one thread writes.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of one class on one Kafka topic.
#[derive(Debug, Default)]
pub(crate) struct StreamCounters {
    /// Messages decoded, whatever became of them.
    pub(crate) arrived: Counter,
    /// Messages queued for Kafka.
    pub(crate) admitted: Counter,
    /// Messages dropped.
    pub(crate) shed: Counter,
    /// Messages handed over again after a report that proved nothing.
    pub(crate) handed_again: Counter,
    /// Messages not handed over, since their expiry interval had passed.
    pub(crate) expired: Counter,
    /// When the oldest record of routes that are BEHIND was received, ms since 1970; 0 if none is, or that is not sure.
    pub(crate) oldest_behind_ms: Counter,
    /// Devices held back now.
    pub(crate) constrained: Counter,
    /// Bytes in hold queues now.
    pub(crate) held_bytes: Counter,
    /// Bytes read and not decoded now.
    pub(crate) unread_bytes: Counter,
    /// What held-back devices would send beyond what arrives, in thousandths of a message per second.
    pub(crate) hidden_milli: Counter,
}

/// Counts of one worker.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) streams: Box<[StreamCounters]>,
    /// PUBLISH packets decoded.
    pub(crate) received: Counter,
    /// PUBACKs written.
    pub(crate) acknowledged: Counter,
    /// Messages that waited in a hold queue.
    pub(crate) held: Counter,
    /// Of these, those that waited behind one of a less urgent class.
    pub(crate) class_inversions: Counter,
    /// Connections accepted by the operating system.
    pub(crate) accepted: Counter,
    /// Sessions begun.
    pub(crate) opened: Counter,
    /// Records whose device was gone when Kafka confirmed them.
    pub(crate) ack_orphans: Counter,
    /// Records that Kafka refuses for good, put aside.
    pub(crate) dead_letters: Counter,
    /// Times that a route went BEHIND.
    pub(crate) routes_to_behind: Counter,
    /// Times that a route became DIRECT again.
    pub(crate) routes_to_direct: Counter,
    shed: [[Counter; ShedReason::ALL.len()]; MAX_CLASSES],
    violations: [Counter; ViolationReason::ALL.len()],
    refused: [Counter; RefuseReason::ALL.len()],
    closed: [Counter; CloseReason::ALL.len()],
    /// Gauges, set once a second.
    pub(crate) held_now: Counter,
    pub(crate) queued_records: Counter,
    pub(crate) routes: Counter,
    pub(crate) routes_behind: Counter,
    pub(crate) forgotten_buckets: Counter,
    pub(crate) forgotten_sessions: Counter,
}

impl Counters {
    pub(crate) fn new(streams: usize) -> Arc<Self> {
        Arc::new(Self {
            streams: std::iter::repeat_with(StreamCounters::default).take(streams).collect(),
            received: Counter::default(),
            acknowledged: Counter::default(),
            held: Counter::default(),
            class_inversions: Counter::default(),
            accepted: Counter::default(),
            opened: Counter::default(),
            ack_orphans: Counter::default(),
            dead_letters: Counter::default(),
            routes_to_behind: Counter::default(),
            routes_to_direct: Counter::default(),
            shed: std::array::from_fn(|_| std::array::from_fn(|_| Counter::default())),
            violations: std::array::from_fn(|_| Counter::default()),
            refused: std::array::from_fn(|_| Counter::default()),
            closed: std::array::from_fn(|_| Counter::default()),
            held_now: Counter::default(),
            queued_records: Counter::default(),
            routes: Counter::default(),
            routes_behind: Counter::default(),
            forgotten_buckets: Counter::default(),
            forgotten_sessions: Counter::default(),
        })
    }

    pub(crate) fn shed(&self, class: ClassId, reason: ShedReason, messages: u64) {
        if messages > 0 {
            self.shed[class.index()][reason as usize].add(messages);
            tracing::trace!(messages, reason = reason.as_str(), "shed");
        }
    }

    pub(crate) fn violation(&self, violation: &Violation, client_id: &str) {
        self.violations[violation.reason as usize].add(1);
        tracing::debug!(client_id, %violation, "protocol violation");
    }

    pub(crate) fn refused(&self, reason: RefuseReason) {
        self.refused[reason as usize].add(1);
        tracing::debug!(reason = reason.as_str(), "connection refused");
    }

    pub(crate) fn closed(&self, reason: CloseReason, client_id: &str) {
        self.closed[reason as usize].add(1);
        tracing::debug!(client_id, reason = reason.as_str(), "connection closed");
    }

    pub(crate) fn shed_count(&self, class: ClassId, reason: ShedReason) -> u64 {
        self.shed[class.index()][reason as usize].get()
    }

    pub(crate) fn violation_count(&self, reason: ViolationReason) -> u64 {
        self.violations[reason as usize].get()
    }

    pub(crate) fn refused_count(&self, reason: RefuseReason) -> u64 {
        self.refused[reason as usize].get()
    }

    pub(crate) fn closed_count(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize].get()
    }

    /// Returns how many sessions are connected.
    pub(crate) fn connections(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(Counter::get).sum();
        self.opened.get().saturating_sub(closed)
    }
}

/// Totals since the start, and what is so now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// PUBLISH packets decoded.
    pub received: u64,
    /// Messages queued for Kafka.
    pub admitted: u64,
    /// PUBACKs written.
    pub acknowledged: u64,
    /// Messages dropped.
    pub shed: u64,
    /// Messages that waited in a hold queue.
    pub held: u64,
    /// Messages in hold queues now.
    pub held_now: u64,
    /// Sessions connected now.
    pub connections: u64,
}

/// Live figures of a gateway, to be read by anyone at any time; all zero before it runs.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    workers: Arc<OnceLock<Vec<Arc<Counters>>>>,
}

impl Stats {
    /// Gives the counters of the gateway that runs; a second gateway on the same handle is not counted.
    pub(crate) fn begin(&self, workers: &[Arc<Counters>]) {
        let _ = self.workers.set(workers.to_vec());
    }

    pub(crate) fn workers(&self) -> &[Arc<Counters>] {
        self.workers.get().map_or(&[], Vec::as_slice)
    }

    /// Returns the sums over all workers.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let mut sum = Figures::default();
        for counters in self.workers() {
            sum.received += counters.received.get();
            sum.admitted += counters.streams.iter().map(|stream| stream.admitted.get()).sum::<u64>();
            sum.acknowledged += counters.acknowledged.get();
            sum.shed += counters.shed.iter().flatten().map(Counter::get).sum::<u64>();
            sum.held += counters.held.get();
            sum.held_now += counters.held_now.get();
            sum.connections += counters.connections();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters are indexed by discriminant, labels by position in `ALL`.
    #[test]
    fn every_reason_stands_at_its_own_index() {
        assert!(ShedReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(RefuseReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(CloseReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(ViolationReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    }

    #[test]
    fn figures_are_zero_before_a_gateway_runs_and_sums_after() {
        let stats = Stats::default();
        assert_eq!(stats.figures(), Figures::default());
        let workers = [Counters::new(1), Counters::new(1)];
        stats.begin(&workers);
        workers[0].opened.add(2);
        workers[1].opened.add(1);
        workers[1].closed(CloseReason::Network, "d");
        workers[1].streams[0].admitted.add(7);
        assert_eq!(stats.figures(), Figures { connections: 2, admitted: 7, ..Figures::default() });
    }
}
