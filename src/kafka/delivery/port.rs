//! A worker's own end of delivery: records in, reports out.
//!
//! Owns the worker's credits and what it must remember of each outstanding record. One thread uses it; nothing here is
//! locked and nothing allocates per record.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rdkafka::types::RDKafkaErrorCode;
use tidegate_core::time::Timestamp;

use super::gate::{Gate, Reported, Shut, Taken};
use super::opaque::Opaque;
use super::settings::RECORD_OVERHEAD_BYTES;
use super::shared::{Shared, Verdict, Worker};
use super::types::{Completion, Generation, Outcome, Record, Refusal, TopicId};
use crate::classify::{Class, Condition, classify, condition};
use crate::native::Outgoing;

/// See the module; made by [`super::start`].
pub struct Port {
    shared: Arc<Shared>,
    worker: usize,
    max_record_bytes: u32,
    /// One per credit.
    slots: Box<[Slot]>,
    /// Slots without an outstanding record: the credits left. Last in, first out, so that few are warm in the cache.
    free: Vec<u32>,
    next_generation: u32,
}

/// An outstanding record.
#[derive(Clone, Copy)]
struct Slot {
    /// None: a credit.
    generation: Option<u32>,
    tag: u32,
    bytes: u32,
    partition: u32,
    topic: TopicId,
    /// Number of the producer instance that took it.
    instance: u32,
    /// Nothing else of its partition was outstanding.
    alone: bool,
}

impl Port {
    pub(super) fn new(shared: Arc<Shared>, worker: usize, credits: u32, max_record_bytes: u32) -> Self {
        let empty = Slot {
            generation: None,
            tag: 0,
            bytes: 0,
            partition: 0,
            topic: TopicId(0),
            instance: 0,
            alone: false,
        };
        Self {
            shared,
            worker,
            max_record_bytes,
            slots: (0..credits).map(|_| empty).collect(),
            free: (0..credits).rev().collect(),
            next_generation: 0,
        }
    }

    /// Gives one record to librdkafka. `tag` comes back with its [`Completion`]; each record handed over gets exactly
    /// one.
    ///
    /// # Errors
    /// The record was not taken. After [`Refusal::Window`] and [`Refusal::Cold`] the worker is woken when trying again
    /// makes sense; it then calls [`Self::completions`] and tries everything that was refused.
    pub fn hand_over(
        &mut self,
        record: &Record<'_>,
        tag: u32,
        now: Timestamp,
    ) -> Result<Generation, Refusal> {
        let result = self.try_hand_over(record, tag, now);
        let counters = &self.shared.workers[self.worker].counters;
        match result {
            Ok(_) => counters.handed_over.add(1),
            Err(refusal) => counters.refused(refusal).add(1),
        }
        result
    }

    fn try_hand_over(
        &mut self,
        record: &Record<'_>,
        tag: u32,
        now: Timestamp,
    ) -> Result<Generation, Refusal> {
        let topic =
            self.shared.topic(record.topic).ok_or(Refusal::Unknown(RDKafkaErrorCode::UnknownTopic))?;
        let gate = topic
            .gates
            .get(record.partition as usize)
            .ok_or(Refusal::Unknown(RDKafkaErrorCode::UnknownPartition))?;
        let native = topic.native.read().unwrap_or_else(PoisonError::into_inner);
        if self.shared.lanes[topic.lane].closed.load(Ordering::Acquire) {
            return Err(Refusal::Closed);
        }
        let bytes = size_of_record(record).filter(|bytes| *bytes <= self.max_record_bytes);
        let bytes = bytes.ok_or(Refusal::TooLarge)?;
        let slot = *self.free.last().ok_or(Refusal::Credits)?;
        let taken = gate.take_or_wait(bytes, self.worker, now).map_err(|shut| match shut {
            Shut::Window => Refusal::Window,
            Shut::Cold => Refusal::Cold,
            Shut::Refused => Refusal::Shut,
        })?;
        let generation = self.next_generation;
        let outgoing = Outgoing {
            partition: record.partition.cast_signed(),
            key: record.key,
            payload: record.payload,
            headers: record.headers,
            timestamp_ms: record.timestamp.0,
            opaque: Opaque { worker: self.worker, slot, generation }.pack(),
        };
        if let Err(code) = native.1.produce(&outgoing) {
            let refusal = refusal_of(code);
            match refusal {
                Refusal::Unknown(RDKafkaErrorCode::UnknownPartition) => gate.chill(),
                Refusal::Unknown(_) => topic.gates.iter().for_each(Gate::chill),
                _ => {}
            }
            let waiting = gate.undo(bytes);
            self.shared.ring(waiting);
            return Err(refusal);
        }
        self.free.pop();
        self.next_generation = generation.wrapping_add(1);
        self.slots[slot as usize] = Slot {
            generation: Some(generation),
            tag,
            bytes,
            partition: record.partition,
            topic: record.topic,
            instance: native.0,
            alone: taken == Taken::Alone,
        };
        self.shared.workers[self.worker].counters.handed_over_bytes.add(bytes.into());
        Ok(Generation(generation))
    }

    /// Gives `each` every report that has come, in the order of the reports, and makes room for what waits.
    ///
    /// Called after a wake, and when [`Refusal::Credits`] was met; afterwards everything refused is worth another try.
    /// Ends after as many reports as there are credits at most.
    pub fn completions(&mut self, now: Timestamp, mut each: impl FnMut(Completion)) {
        let worker = &self.shared.workers[self.worker];
        // Before the first look into the ring: see `Doorbell::answer`.
        worker.doorbell.answer();
        let mut run = Run::default();
        while let Some(report) = worker.ring.pop() {
            let opaque = Opaque::unpack(report.opaque);
            let slot = &mut self.slots[opaque.slot as usize];
            if slot.generation != Some(opaque.generation) {
                worker.counters.stale.add(1);
                continue;
            }
            slot.generation = None;
            let slot = *slot;
            self.free.push(opaque.slot);
            let outcome = outcome(report.verdict);
            count(worker, outcome);
            run.add(&self.shared, self.worker, slot, outcome, now);
            each(Completion {
                tag: slot.tag,
                generation: Generation(opaque.generation),
                topic: slot.topic,
                partition: slot.partition,
                outcome,
                alone: slot.alone,
            });
        }
        run.end(&self.shared, self.worker, now);
        self.shared.reclaim(now);
    }

    /// Returns since when a partition takes more than one record at a time; `None` while it is COLD, or if there is none.
    #[must_use]
    pub fn warm_since(&self, topic: TopicId, partition: u32, now: Timestamp) -> Option<Timestamp> {
        self.shared.topic(topic)?.gates.get(partition as usize)?.warm_since(now)
    }

    /// Returns how many records this worker has handed over without a report.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// Reports come in batches of one partition: their room is given back once per run.
#[derive(Default)]
struct Run {
    place: Option<(TopicId, u32)>,
    reported: Reported,
    /// One was refused for what it is, or its batch was.
    refused: bool,
    /// One was refused, but may be taken later.
    shut: bool,
    /// Number of the instance whose reports these are.
    instance: u32,
}

impl Run {
    fn add(&mut self, shared: &Shared, worker: usize, slot: Slot, outcome: Outcome, now: Timestamp) {
        let place = Some((slot.topic, slot.partition));
        if (self.place, self.instance) != (place, slot.instance) {
            std::mem::take(self).end(shared, worker, now);
            (self.place, self.instance) = (place, slot.instance);
        }
        self.reported.records += 1;
        self.reported.bytes += slot.bytes;
        let proven = matches!(outcome, Outcome::Delivered { .. });
        if let Outcome::Failed(class, code) = outcome {
            // Whoever sends one of a wrong time again, with another, needs to know which it is.
            let is_its_own = class == Class::Drop || condition(code) == Some(Condition::RecordTime);
            self.refused |= is_its_own;
            self.shut |= class == Class::Retry && !is_its_own && !is_given_up(code);
        }
        self.reported.proven |= proven;
        self.reported.unproven |= !proven;
    }

    fn end(mut self, shared: &Shared, worker: usize, now: Timestamp) {
        let topic = self.place.and_then(|(topic, partition)| Some((shared.topic(topic)?, partition)));
        if let Some((topic, partition)) = topic
            && let Some(gate) = topic.gates.get(partition as usize)
        {
            if self.refused {
                gate.be_careful(now);
            }
            if self.shut {
                gate.be_shut(now);
            }
            // What an earlier instance has proven does not make the partition warm for this one. See `Topic::hand_to`.
            let native = topic.native.read().unwrap_or_else(PoisonError::into_inner);
            self.reported.proven &= native.0 == self.instance;
            let waiting = gate.report(self.reported, &shared.pool, now);
            drop(native);
            // This worker is awake and tries again by itself.
            shared.ring(waiting & !(1 << worker));
        }
    }
}

/// Returns whether a record was given up with its producer, so that this says nothing of its partition.
fn is_given_up(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
}

/// None if it does not fit 32 bits.
fn size_of_record(record: &Record<'_>) -> Option<u32> {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    u32::try_from(record.key.len() + record.payload.len() + headers).ok()?.checked_add(RECORD_OVERHEAD_BYTES)
}

fn refusal_of(code: RDKafkaErrorCode) -> Refusal {
    match code {
        RDKafkaErrorCode::QueueFull => Refusal::QueueFull,
        RDKafkaErrorCode::MessageSizeTooLarge => Refusal::TooLarge,
        RDKafkaErrorCode::Fatal => Refusal::Closed,
        other => Refusal::Unknown(other),
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Delivered(offset) => Outcome::Delivered { offset },
        Verdict::Unproven => Outcome::Unproven,
        Verdict::Failed(code) => Outcome::Failed(classify(code), code),
    }
}

fn count(worker: &Worker, outcome: Outcome) {
    let counters = &worker.counters;
    let counter = match outcome {
        Outcome::Delivered { .. } => &counters.delivered,
        Outcome::Unproven => &counters.unproven,
        Outcome::Failed(Class::Retry, _) => &counters.failed_retry,
        Outcome::Failed(Class::Drop, _) => &counters.failed_drop,
        Outcome::Failed(Class::Fatal, _) => &counters.failed_fatal,
    };
    counter.add(1);
}
