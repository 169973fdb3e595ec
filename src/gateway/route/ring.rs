//! Bytes of records in one contiguous piece of memory, first in, first out.
//!
//! Owns where records lie; each lies in one piece, so what would pass the end begins at the start instead.
//! Allocates only to grow. Does not know what a record is.

/// A ring of bytes; the owner remembers where its records begin.
#[derive(Debug, Default)]
pub(super) struct Ring {
    data: Box<[u8]>,
    /// Where the oldest record begins.
    head: usize,
    /// Where the next record goes.
    tail: usize,
    /// True if the records lie in `head..end` and `..tail` rather than in `head..tail`.
    wrapped: bool,
}

impl Ring {
    pub(super) const fn capacity(&self) -> usize {
        self.data.len()
    }

    /// Returns where `len` contiguous bytes would go; `None` if there is no room.
    pub(super) const fn place(&self, len: usize) -> Option<usize> {
        if self.wrapped {
            return if len <= self.head - self.tail { Some(self.tail) } else { None };
        }
        if len <= self.data.len() - self.tail {
            Some(self.tail)
        } else if len <= self.head {
            Some(0)
        } else {
            None
        }
    }

    /// Writes a record of these parts at `place`, which [`Self::place`] returned for their length.
    pub(super) fn write(&mut self, place: usize, parts: [&[u8]; 3]) {
        self.wrapped |= place < self.tail;
        let mut at = place;
        for part in parts {
            self.data[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.tail = at;
    }

    pub(super) fn read(&self, place: usize, len: usize) -> &[u8] {
        &self.data[place..place + len]
    }

    /// Forgets all records before the one that begins at `next`, or all if there is none.
    pub(super) fn release_before(&mut self, next: Option<usize>) {
        if let Some(next) = next {
            self.wrapped &= next >= self.tail;
            self.head = next;
        } else {
            (self.head, self.tail, self.wrapped) = (0, 0, false);
        }
    }

    /// Moves the records at `places`, oldest first, into a ring of `capacity` bytes, one after the other.
    pub(super) fn resize(&mut self, capacity: usize, places: impl Iterator<Item = (usize, usize)>) {
        let mut data = vec![0; capacity].into_boxed_slice();
        let mut at = 0;
        for (place, len) in places {
            data[at..at + len].copy_from_slice(&self.data[place..place + len]);
            at += len;
        }
        *self = Self { data, head: 0, tail: at, wrapped: false };
    }
}
