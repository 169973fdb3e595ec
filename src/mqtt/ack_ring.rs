//! Lets acknowledgements out in the order in which their PUBLISH packets came.
//!
//! Kafka reports deliveries per partition, so those of one connection finish in any order; device libraries expect
//! PUBACKs in PUBLISH order. (The standard demands it of clients only [MQTT-4.6.0-2]; it is kept on both sides.)
//! Knows nothing of bytes: the caller encodes what [`AckRing::drain_ready`] hands out.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use crate::ReasonCode;

/// Names one PUBLISH that awaits its acknowledgement; valid within its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckSlot(u32);

impl AckSlot {
    /// Returns the slot as a number, for a table that stores it away.
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// Returns the slot that [`AckSlot::to_u32`] gave away.
    #[must_use]
    pub const fn from_u32(slot: u32) -> Self {
        Self(slot)
    }
}

/// The ring holds as many unacknowledged PUBLISH packets as were allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many publish packets as allowed await their acknowledgement")]
pub struct Full;

#[derive(Debug)]
struct Waiting {
    packet_id: NonZeroU16,
    /// Set once the message is safe, or refused for good.
    outcome: Option<ReasonCode>,
}

/// Unacknowledged PUBLISH packets of one connection, oldest first; 4 bytes each, grown as needed up to the bound.
#[derive(Debug)]
pub struct AckRing {
    waiting: VecDeque<Waiting>,
    /// Slot of the oldest entry. Wraps; the ring is far shorter than the number space, so a stale slot shows.
    oldest: u32,
    bound: u16,
}

impl AckRing {
    /// Returns an empty ring for at most `bound` packets; allocates nothing yet.
    #[must_use]
    pub const fn new(bound: NonZeroU16) -> Self {
        Self { waiting: VecDeque::new(), oldest: 0, bound: bound.get() }
    }

    /// Adds the newest PUBLISH and returns its slot.
    ///
    /// # Errors
    /// [`Full`] if the bound is reached; nothing is added.
    pub fn push(&mut self, packet_id: NonZeroU16) -> Result<AckSlot, Full> {
        if self.is_full() {
            return Err(Full);
        }
        let slot = AckSlot(self.oldest.wrapping_add(self.len_u32()));
        self.waiting.push_back(Waiting { packet_id, outcome: None });
        Ok(slot)
    }

    /// Records the outcome of one PUBLISH. Returns false, and changes nothing, for a slot that has its outcome
    /// already or left the ring: the first outcome stands.
    pub fn complete(&mut self, slot: AckSlot, reason: ReasonCode) -> bool {
        let index = slot.0.wrapping_sub(self.oldest) as usize;
        match self.waiting.get_mut(index) {
            Some(Waiting { outcome: outcome @ None, .. }) => {
                *outcome = Some(reason);
                true
            }
            _ => false,
        }
    }

    /// Hands out, oldest first, the acknowledgements that no older PUBLISH holds back.
    pub fn drain_ready(&mut self, mut each: impl FnMut(NonZeroU16, ReasonCode)) {
        while let Some(&Waiting { packet_id, outcome: Some(reason) }) = self.waiting.front() {
            self.waiting.pop_front();
            self.oldest = self.oldest.wrapping_add(1);
            each(packet_id, reason);
        }
    }

    /// Returns how many PUBLISH packets await their acknowledgement.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns true if nothing awaits its acknowledgement.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns true if [`AckRing::push`] would fail.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= usize::from(self.bound)
    }

    fn len_u32(&self) -> u32 {
        u32::try_from(self.waiting.len()).expect("the bound is a u16")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(bound: u16) -> AckRing {
        AckRing::new(NonZeroU16::new(bound).unwrap())
    }

    fn id(n: u16) -> NonZeroU16 {
        NonZeroU16::new(n).unwrap()
    }

    fn drained(ring: &mut AckRing) -> Vec<(u16, ReasonCode)> {
        let mut out = Vec::new();
        ring.drain_ready(|packet_id, reason| out.push((packet_id.get(), reason)));
        out
    }

    #[test]
    fn a_full_ring_takes_no_more_until_the_oldest_leaves() {
        let mut ring = ring(2);
        let (first, second) = (ring.push(id(1)).unwrap(), ring.push(id(2)).unwrap());
        ring.complete(second, ReasonCode::SUCCESS);
        assert_eq!((drained(&mut ring), ring.push(id(3))), (vec![], Err(Full)));
        ring.complete(first, ReasonCode::QUOTA_EXCEEDED);
        assert_eq!(drained(&mut ring), [(1, ReasonCode::QUOTA_EXCEEDED), (2, ReasonCode::SUCCESS)]);
        assert!(ring.is_empty() && ring.push(id(3)).is_ok());
    }

    #[test]
    fn the_first_outcome_stands_and_stale_slots_change_nothing() {
        let mut ring = ring(4);
        let slot = ring.push(id(1)).unwrap();
        assert!(ring.complete(slot, ReasonCode::SUCCESS));
        assert!(!ring.complete(slot, ReasonCode::QUOTA_EXCEEDED));
        assert_eq!(drained(&mut ring), [(1, ReasonCode::SUCCESS)]);
        let next = ring.push(id(2)).unwrap();
        assert!(!ring.complete(slot, ReasonCode::SUCCESS));
        assert!(!ring.complete(AckSlot::from_u32(next.to_u32() + 1), ReasonCode::SUCCESS));
        assert_eq!((drained(&mut ring), ring.len()), (vec![], 1));
    }

    #[test]
    fn slots_go_on_where_their_numbers_wrap() {
        let mut ring = AckRing { oldest: u32::MAX, ..ring(4) };
        let slots: Vec<_> = (1..=3).map(|n| ring.push(id(n)).unwrap()).collect();
        assert_eq!(slots.iter().map(|slot| slot.to_u32()).collect::<Vec<_>>(), [u32::MAX, 0, 1]);
        for slot in slots.iter().rev() {
            assert!(ring.complete(*slot, ReasonCode::SUCCESS));
        }
        assert_eq!(drained(&mut ring).len(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// `steps`: a number below 2 adds a PUBLISH, any other completes one of those that wait.
        #[test]
        fn whatever_the_order_of_completion_acknowledgements_leave_in_order(
            bound in 1..20_u16, steps in prop::collection::vec(0..6_usize, 0..300)
        ) {
            let mut ring = ring(bound);
            let (mut open, mut pushed, mut released) = (Vec::new(), 0_u16, Vec::new());
            for step in steps {
                if step < 2 {
                    if let Ok(slot) = ring.push(id(pushed + 1)) {
                        open.push((pushed + 1, slot));
                        pushed += 1;
                    } else {
                        prop_assert_eq!(usize::from(pushed) - released.len(), usize::from(bound));
                    }
                } else if !open.is_empty() {
                    let (_, slot) = open.remove(step % open.len());
                    prop_assert!(ring.complete(slot, ReasonCode::SUCCESS));
                }
                released.extend(drained(&mut ring).into_iter().map(|(packet_id, _)| packet_id));
                // All that is complete and older than the oldest open one is out, and nothing else.
                let oldest_open = open.iter().map(|&(n, _)| n).min().unwrap_or(pushed + 1);
                prop_assert_eq!(&released, &(1..oldest_open).collect::<Vec<_>>());
            }
        }
    }
}
