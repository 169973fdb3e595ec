//! The hold queue: decoded messages of one connection that wait for their turn.
//!
//! Owns their bytes and their order, bounded in number by the connection and in bytes by a ceiling that all
//! connections share. Does not know why they wait.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_mqtt::AckSlot;

use crate::ceiling::{Ceiling, Share};
use crate::message::Message;

/// Memory of one entry beside its topic and payload, for the ceiling.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// Memory that an empty queue keeps for the next message.
const SPARE_BYTES: usize = 4 * 1024;

#[derive(Debug)]
struct Entry {
    topic_bytes: u32,
    payload_bytes: u32,
    lifetime_s: u32,
    dup: bool,
    retain: bool,
    clock_sure: bool,
    received: UnixMillis,
    arrived: Timestamp,
    ack: Option<AckSlot>,
}

/// Messages in the order in which they came.
#[derive(Debug)]
pub(crate) struct HoldQueue {
    /// Topic and payload of each entry, one after the other.
    bytes: Vec<u8>,
    /// Where the first entry begins; what lies before has been taken.
    start: usize,
    entries: VecDeque<Entry>,
    /// How many of them nobody will send again.
    fire_and_forget: usize,
    share: Share,
}

impl HoldQueue {
    pub(crate) fn new(ceiling: &Arc<Ceiling>) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            entries: VecDeque::new(),
            fire_and_forget: 0,
            share: Share::none(ceiling),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the bytes of topics and payloads that wait.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Returns true if the ceiling has room for a packet of `bytes`, or nothing waits yet: each connection is
    /// guaranteed one.
    pub(crate) fn has_room(&mut self, bytes: usize) -> bool {
        self.reserve(bytes)
    }

    /// Copies a message to the end; returns false if the ceiling has no room for it.
    #[must_use]
    pub(crate) fn push(&mut self, message: &Message<'_>) -> bool {
        let (topic, payload) = (message.topic.as_bytes(), message.payload);
        let (Ok(topic_bytes), Ok(payload_bytes)) = (u32::try_from(topic.len()), u32::try_from(payload.len()))
        else {
            return false;
        };
        if !self.reserve(topic.len() + payload.len()) {
            return false;
        }
        self.bytes.extend_from_slice(topic);
        self.bytes.extend_from_slice(payload);
        self.fire_and_forget += usize::from(message.ack.is_none());
        let Message { ack, dup, retain, received, clock_sure, arrived, lifetime_s, .. } = *message;
        self.entries.push_back(Entry {
            topic_bytes,
            payload_bytes,
            lifetime_s,
            dup,
            retain,
            clock_sure,
            received,
            arrived,
            ack,
        });
        true
    }

    /// Returns the oldest message.
    pub(crate) fn front(&self) -> Option<Message<'_>> {
        let entry = self.entries.front()?;
        let (topic, rest) = self.bytes[self.start..].split_at(entry.topic_bytes as usize);
        let topic = std::str::from_utf8(topic).expect("it was a str when it was pushed");
        let &Entry { payload_bytes, lifetime_s, dup, retain, clock_sure, received, arrived, ack, .. } = entry;
        let payload = &rest[..payload_bytes as usize];
        Some(Message { topic, payload, ack, dup, retain, received, clock_sure, arrived, lifetime_s })
    }

    /// Forgets the oldest message.
    pub(crate) fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.fire_and_forget -= usize::from(entry.ack.is_none());
            self.start += (entry.topic_bytes + entry.payload_bytes) as usize;
        }
        if self.entries.is_empty() {
            self.bytes.clear();
            self.start = 0;
            // A device that always has something to send never rests, and must not keep its peak from others.
            self.bytes.shrink_to(SPARE_BYTES);
            self.share.force_resize(self.bytes.capacity());
        }
    }

    /// Returns how many of the waiting messages nobody will send again.
    pub(crate) const fn fire_and_forget(&self) -> usize {
        self.fire_and_forget
    }

    /// Makes room at the end; the share covers what is allocated, not only what is used.
    fn reserve(&mut self, more: usize) -> bool {
        if self.bytes.len() + more > self.bytes.capacity() && self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let needed = self.bytes.len() + more;
        let capacity =
            if needed > self.bytes.capacity() { needed.next_power_of_two() } else { self.bytes.capacity() };
        let total = capacity + (self.entries.len() + 1) * ENTRY_BYTES;
        if self.entries.is_empty() {
            self.share.force_resize(total);
        } else if !self.share.try_resize(total) {
            return false;
        }
        self.bytes.reserve_exact(capacity - self.bytes.len());
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message<'a>(topic: &'a str, payload: &'a [u8], number: u32) -> Message<'a> {
        Message {
            topic,
            payload,
            ack: (number > 0).then(|| AckSlot::from_u32(number)),
            dup: false,
            retain: true,
            received: UnixMillis(i64::from(number)),
            clock_sure: number.is_multiple_of(2),
            arrived: Timestamp::from_millis(number.into()),
            lifetime_s: number % 3,
        }
    }

    #[test]
    fn the_ceiling_refuses_and_what_is_held_stays() {
        let ceiling = Ceiling::new(1_000);
        let mut hold = HoldQueue::new(&ceiling);
        assert!(hold.push(&message("a/b", &[7; 300], 1)));
        assert!(!hold.push(&message("a/b", &[8; 900], 2)));
        assert_eq!(hold.front(), Some(message("a/b", &[7; 300], 1)));
        let mut other = HoldQueue::new(&ceiling);
        assert!(other.push(&message("a/b", &[9; 2_000], 3)), "each connection is guaranteed one");
        drop((hold, other));
        assert_eq!(ceiling.used_bytes(), 0);
    }

    #[test]
    fn an_emptied_queue_gives_its_memory_back() {
        let ceiling = Ceiling::new(1 << 20);
        let mut hold = HoldQueue::new(&ceiling);
        for number in 1..=3 {
            assert!(hold.push(&message("a/b", &[7; 10_000], number)));
        }
        while !hold.is_empty() {
            hold.pop();
        }
        assert!(ceiling.used_bytes() <= SPARE_BYTES, "{}", ceiling.used_bytes());
        assert!(hold.push(&message("a/b", b"x", 4)));
        assert_eq!(hold.front(), Some(message("a/b", b"x", 4)));
    }

    #[test]
    fn messages_that_nobody_repeats_are_told_apart() {
        let mut hold = HoldQueue::new(&Ceiling::new(10_000));
        for number in [1, 0, 0, 2] {
            assert!(hold.push(&message("t", b"x", number)));
        }
        assert_eq!(hold.fire_and_forget(), 2);
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            steps in prop::collection::vec(prop::option::weighted(0.6, ("[a-z/]{1,9}", prop::collection::vec(any::<u8>(), 0..40))), 1..200)
        ) {
            let ceiling = Ceiling::new(1 << 20);
            let mut hold = HoldQueue::new(&ceiling);
            let mut model = VecDeque::new();
            for (number, step) in (1u32..).zip(steps) {
                if let Some((topic, payload)) = step {
                    prop_assert!(hold.push(&message(&topic, &payload, number)));
                    model.push_back((topic, payload, number));
                } else {
                    hold.pop();
                    model.pop_front();
                }
                let want = model.front().map(|(topic, payload, number)| message(topic, payload, *number));
                prop_assert_eq!(hold.front(), want);
                prop_assert_eq!(hold.len(), model.len());
                prop_assert_eq!(hold.held_bytes(), model.iter().map(|(topic, payload, _)| topic.len() + payload.len()).sum::<usize>());
            }
        }
    }
}
