//! The records of a route that are in memory, in order: bytes in a ring, and what is to be known of each.
//!
//! Owns their memory and its share of the pool. A record's number is its sequence number in the route. Does not know
//! why records stay or go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_spool::Lifetime;

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
    /// The same moment on the monotonic clock.
    pub(crate) arrived: Timestamp,
    /// Message Expiry Interval, from then on; 0 = for ever.
    pub(crate) lifetime_s: u32,
    /// When it is queued.
    pub(crate) since: Timestamp,
    pub(crate) headers: HeaderSet,
    /// Its device waits for a PUBACK.
    pub(crate) awaited: bool,
    /// Given back when the record may be acknowledged.
    pub(crate) ack: A,
}

/// A record in memory, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queued<'a> {
    /// Its sequence number in the route.
    pub(crate) seq: u64,
    pub(crate) client_id: &'a [u8],
    pub(crate) topic: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) received: UnixMillis,
    pub(crate) arrived: Timestamp,
    pub(crate) lifetime_s: u32,
    pub(crate) since: Timestamp,
    pub(crate) headers: HeaderSet,
    pub(crate) awaited: bool,
}

impl Queued<'_> {
    /// Returns what is left of its Message Expiry Interval.
    pub(crate) fn lifetime(&self, now: Timestamp) -> Lifetime {
        Lifetime::left(self.lifetime_s, now.since(self.arrived))
    }
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
    awaited: bool,
    lifetime_s: u32,
    /// From its arrival until it was queued.
    held_ms: u32,
    received: UnixMillis,
    since: Timestamp,
    ack: A,
}

impl<A> Meta<A> {
    fn len(&self) -> usize {
        usize::from(self.client_id_bytes) + usize::from(self.topic_bytes) + self.payload_bytes as usize
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Memory<A> {
    ring: Ring,
    records: VecDeque<Meta<A>>,
    /// Their bytes. Kept, not added up: a full queue is asked for room again and again by everyone who waits for it.
    live_bytes: usize,
    /// Number of the first of them, or of the next to come.
    head: u64,
    share: Share,
}

impl<A: Copy> Memory<A> {
    pub(super) fn new(first: u64, ceiling: &Arc<Ceiling>) -> Self {
        Self {
            ring: Ring::default(),
            records: VecDeque::new(),
            live_bytes: 0,
            head: first,
            share: Share::none(ceiling),
        }
    }

    pub(super) const fn head(&self) -> u64 {
        self.head
    }

    /// Returns the number of the next record to come.
    pub(super) fn tail(&self) -> u64 {
        self.head + self.records.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the memory that the route takes of the pool.
    pub(super) const fn bytes(&self) -> usize {
        self.share.bytes()
    }

    /// Returns when the oldest record was queued.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.records.front().map(|meta| meta.since)
    }

    /// Makes room for a record with that much client id, topic and payload; false if the ceiling has none.
    #[must_use]
    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        let place = self.ring.place(bytes).is_some();
        let record = self.records.len() < self.records.capacity();
        (place && record) || self.grow(bytes, place, record)
    }

    /// Takes a record, for which [`Self::reserve`] must have made room.
    pub(super) fn push(&mut self, new: &NewRecord<'_, A>) {
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
            awaited: new.awaited,
            lifetime_s: new.lifetime_s,
            // At its end, after 49 days, a message counts as younger than it is.
            held_ms: u32::try_from(new.since.since(new.arrived).as_millis()).unwrap_or(u32::MAX),
            received: new.received,
            since: new.since,
            ack: new.ack,
        });
    }

    /// Returns the record of that number, if it is in memory.
    pub(super) fn get(&self, seq: u64) -> Option<Queued<'_>> {
        let index = usize::try_from(seq.checked_sub(self.head)?).ok()?;
        let meta = self.records.get(index)?;
        let bytes = self.ring.read(meta.place as usize, meta.len());
        let (client_id, rest) = bytes.split_at(usize::from(meta.client_id_bytes));
        let (topic, payload) = rest.split_at(usize::from(meta.topic_bytes));
        let key_start = meta.key_start as usize;
        Some(Queued {
            seq,
            client_id,
            topic,
            payload,
            key: &bytes[key_start..key_start + usize::from(meta.key_bytes)],
            received: meta.received,
            arrived: meta.since - Duration::from_millis(meta.held_ms.into()),
            lifetime_s: meta.lifetime_s,
            since: meta.since,
            headers: meta.headers,
            awaited: meta.awaited,
        })
    }

    /// Forgets all records up to number `last`, and gives the number and, if its device waits, the `A` of each to
    /// `gone`, in order.
    pub(super) fn pop_through(&mut self, last: u64, mut gone: impl FnMut(u64, Option<A>)) {
        let before = self.head;
        while self.head <= last
            && let Some(meta) = self.records.pop_front()
        {
            self.live_bytes -= meta.len();
            gone(self.head, meta.awaited.then_some(meta.ack));
            self.head += 1;
        }
        if self.head > before {
            self.ring.release_before(self.records.front().map(|meta| meta.place as usize));
        }
    }

    /// Gives back what an empty route does not need above its guarantee.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.share.bytes() > guaranteed::<A>(0) {
            self.ring = Ring::default();
            self.records = VecDeque::new();
            self.share.force_resize(0);
        }
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

    #[cfg(test)]
    pub(super) fn is_counted(&self) -> bool {
        self.live_bytes == self.records.iter().map(Meta::len).sum::<usize>()
    }
}

/// 4 KiB or one record, and the memory to remember what is in it.
fn guaranteed<A>(record_bytes: usize) -> usize {
    record_bytes.next_power_of_two().max(GUARANTEED_BYTES) + FIRST_RECORDS * size_of::<Meta<A>>()
}
