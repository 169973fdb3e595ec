//! The queue of one route: records in order, from admission until Kafka has them.
//!
//! Owns the marks `done <= handed <= tail` of the durable path: records below `done` are in Kafka and gone
//! from here; those from `done` to `handed` are with librdkafka; the rest waits. A record's position is also its
//! sequence number. Does not know Kafka, connections or windows: `A` is whatever the owner wants back when a
//! record is done.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_core::time::UnixMillis;

use super::ring::Ring;
use super::router::HeaderSet;
use crate::ceiling::{Ceiling, Share};

/// Memory that every route may have, whatever the ceiling says, so that none starves behind others.
const GUARANTEED_BYTES: usize = 4 * 1024;
/// Records that the first allocation has room for.
const FIRST_RECORDS: usize = 16;

/// A record to queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRecord<'a, A> {
    pub(crate) client_id: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    /// Where the Kafka key lies in client id and topic, one after the other.
    pub(crate) key: (usize, usize),
    pub(crate) received: UnixMillis,
    pub(crate) headers: HeaderSet,
    /// Given back when the record is done.
    pub(crate) ack: A,
}

/// A queued record, borrowed from the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queued<'a> {
    /// Position in the route: the record's sequence number.
    pub(crate) position: u64,
    pub(crate) client_id: &'a [u8],
    pub(crate) topic: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) received: UnixMillis,
    pub(crate) headers: HeaderSet,
}

/// What Kafka's report says about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    /// Kafka has it.
    Proven,
    /// Nothing is known: it must be handed over again.
    Unproven,
}

#[derive(Debug)]
struct Meta<A> {
    place: u32,
    payload_bytes: u32,
    key_start: u32,
    key_bytes: u16,
    client_id_bytes: u16,
    topic_bytes: u16,
    headers: HeaderSet,
    /// Kafka has it, but not yet all of its elders.
    proven: bool,
    received: UnixMillis,
    ack: A,
}

impl<A> Meta<A> {
    fn len(&self) -> usize {
        usize::from(self.client_id_bytes) + usize::from(self.topic_bytes) + self.payload_bytes as usize
    }
}

/// The records of one route, in order.
#[derive(Debug)]
pub(crate) struct RouteQueue<A> {
    ring: Ring,
    /// Records from `done` on.
    records: VecDeque<Meta<A>>,
    /// Their bytes. Kept, not added up: a full queue is asked for room again and again by everyone who waits for it.
    live_bytes: usize,
    done: u64,
    handed: u64,
    /// Records that were handed over and not reported, those handed over twice counted once.
    outstanding: u32,
    /// A report proved nothing: hand over from `done` again as soon as nothing is outstanding.
    rewind: bool,
    share: Share,
}

impl<A: Copy> RouteQueue<A> {
    /// Returns an empty queue whose first record gets position `first`.
    pub(crate) fn new(first: u64, ceiling: &Arc<Ceiling>) -> Self {
        Self {
            ring: Ring::default(),
            records: VecDeque::new(),
            live_bytes: 0,
            done: first,
            handed: first,
            outstanding: 0,
            rewind: false,
            share: Share::none(ceiling),
        }
    }

    pub(crate) const fn done(&self) -> u64 {
        self.done
    }

    pub(crate) fn tail(&self) -> u64 {
        self.done + self.records.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Makes room for a record with that much client id, topic and payload; false if the ceiling has none.
    #[must_use]
    pub(crate) fn reserve(&mut self, bytes: usize) -> bool {
        let place = self.ring.place(bytes).is_some();
        let record = self.records.len() < self.records.capacity();
        (place && record) || self.grow(bytes, place, record)
    }

    /// Queues a record, for which [`Self::reserve`] must have made room.
    pub(crate) fn push(&mut self, new: &NewRecord<'_, A>) {
        let parts = [new.client_id.as_bytes(), new.topic.as_bytes(), new.payload];
        let len = parts.iter().map(|part| part.len()).sum();
        let place = self.ring.place(len).expect("the caller has reserved room");
        self.ring.write(place, parts);
        self.live_bytes += len;
        let small = |len: usize| u16::try_from(len).expect("MQTT strings are at most 65535 bytes");
        let large = |len: usize| u32::try_from(len).expect("a packet, and a ring, are below 4 GiB");
        self.records.push_back(Meta {
            place: large(place),
            payload_bytes: large(new.payload.len()),
            key_start: large(new.key.0),
            key_bytes: small(new.key.1),
            client_id_bytes: small(new.client_id.len()),
            topic_bytes: small(new.topic.len()),
            headers: new.headers,
            proven: false,
            received: new.received,
            ack: new.ack,
        });
    }

    /// Returns the next record to hand over; `None` if there is none, or if records must be handed over again
    /// and others are still outstanding.
    pub(crate) fn next(&self) -> Option<Queued<'_>> {
        if self.rewind {
            return None;
        }
        let meta = self.records.get(self.index(self.handed))?;
        let bytes = self.ring.read(meta.place as usize, meta.len());
        let (client_id, rest) = bytes.split_at(usize::from(meta.client_id_bytes));
        let (topic, payload) = rest.split_at(usize::from(meta.topic_bytes));
        let key_start = meta.key_start as usize;
        Some(Queued {
            position: self.handed,
            client_id,
            topic,
            payload,
            key: &bytes[key_start..key_start + usize::from(meta.key_bytes)],
            received: meta.received,
            headers: meta.headers,
        })
    }

    /// Notes that the record that [`Self::next`] returned was handed over.
    pub(crate) fn handed_over(&mut self) {
        self.handed += 1;
        self.outstanding += 1;
    }

    /// Takes a report about a handed-over record; `done` moves over what is proven without a gap, and each
    /// record that it passes gives its `A` to `release`, in order.
    ///
    /// Returns how many records must be handed over again because of this report: not 0 only with the last
    /// report of a round in which one proved nothing.
    pub(crate) fn complete(
        &mut self,
        position: u64,
        completed: Completed,
        mut release: impl FnMut(A),
    ) -> u64 {
        self.outstanding = self.outstanding.saturating_sub(1);
        let index = self.index(position);
        match completed {
            Completed::Proven => {
                if position >= self.done
                    && let Some(meta) = self.records.get_mut(index)
                {
                    meta.proven = true;
                }
            }
            Completed::Unproven => self.rewind = true,
        }
        while self.done < self.handed && self.records.front().is_some_and(|meta| meta.proven) {
            let meta = self.records.pop_front().expect("it was looked at just now");
            self.done += 1;
            self.live_bytes -= meta.len();
            release(meta.ack);
        }
        self.ring.release_before(self.records.front().map(|meta| meta.place as usize));
        if !self.rewind || self.outstanding > 0 {
            return 0;
        }
        self.rewind = false;
        let again = self.handed - self.done;
        self.handed = self.done;
        for meta in &mut self.records {
            meta.proven = false;
        }
        again
    }

    /// Gives back the memory of an empty queue above its guarantee.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() && self.share.bytes() > guaranteed::<A>(0) {
            self.ring = Ring::default();
            self.records = VecDeque::new();
            self.share.force_resize(0);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "positions from `done` on are counted by a VecDeque")]
    const fn index(&self, position: u64) -> usize {
        position.saturating_sub(self.done) as usize
    }

    fn grow(&mut self, bytes: usize, place: bool, record: bool) -> bool {
        let capacity = if place {
            self.ring.capacity()
        } else {
            (self.live_bytes + bytes).next_power_of_two().max(GUARANTEED_BYTES)
        };
        let records =
            if record { self.records.capacity() } else { (self.records.len() * 2).max(FIRST_RECORDS) };
        let total = capacity + records * size_of::<Meta<A>>();
        if total <= guaranteed::<A>(bytes) && self.is_empty() {
            self.share.force_resize(total);
        } else if !self.share.try_resize(total) {
            return false;
        }
        if !record {
            self.records.reserve_exact(records - self.records.len());
        }
        if !place {
            self.ring.resize(capacity, self.records.iter().map(|meta| (meta.place as usize, meta.len())));
            let mut at = 0;
            for meta in &mut self.records {
                meta.place = at;
                at += u32::try_from(meta.len()).expect("a packet is below 4 GiB");
            }
        }
        true
    }
}

/// 4 KiB or one record, and the memory to remember what is in it.
fn guaranteed<A>(record_bytes: usize) -> usize {
    record_bytes.next_power_of_two().max(GUARANTEED_BYTES) + FIRST_RECORDS * size_of::<Meta<A>>()
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
