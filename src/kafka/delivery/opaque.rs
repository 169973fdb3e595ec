//! The number that goes with a record through librdkafka and comes back with its report.
//!
//! Packed into a pointer's width so that librdkafka carries it without an allocation.

/// Workers of one process at most: one bit each in a word, and no more than there are shards.
pub(super) const WORKERS_MAX: usize = 64;
/// Records that one worker has outstanding at most.
pub(super) const SLOTS_MAX: u32 = 1 << 20;

const SLOT_BITS: u32 = 20;
const WORKER_SHIFT: u32 = 32 + SLOT_BITS;
const _: () = assert!(SLOTS_MAX == 1 << SLOT_BITS && WORKERS_MAX == 1 << 6 && WORKER_SHIFT + 6 <= u64::BITS);
const _: () = assert!(usize::BITS == u64::BITS, "an opaque is as wide as a pointer");

/// Which hand-over a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opaque {
    /// Below [`WORKERS_MAX`].
    pub(super) worker: usize,
    /// Below [`SLOTS_MAX`].
    pub(super) slot: u32,
    /// New at every hand-over: a report of an earlier one is known as such.
    pub(super) generation: u32,
}

impl Opaque {
    pub(super) const fn pack(self) -> usize {
        (self.worker << WORKER_SHIFT) | ((self.slot as usize) << 32) | self.generation as usize
    }

    #[expect(clippy::cast_possible_truncation, reason = "each field is cut out of the word on purpose")]
    pub(super) const fn unpack(word: usize) -> Self {
        Self {
            worker: (word >> WORKER_SHIFT) & (WORKERS_MAX - 1),
            slot: (word >> 32) as u32 & (SLOTS_MAX - 1),
            generation: word as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(worker in 0..WORKERS_MAX, slot in 0..SLOTS_MAX, generation: u32) {
            let opaque = Opaque { worker, slot, generation };
            prop_assert_eq!(Opaque::unpack(opaque.pack()), opaque);
        }
    }
}
