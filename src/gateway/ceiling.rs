//! Byte ceilings that all workers share.
//!
//! Owns the counting of memory that grows with what devices send: record queues have one ceiling, held and
//! half-read packets another. Does not know what the bytes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that may be in use at once in this process.
#[derive(Debug)]
pub(crate) struct Ceiling {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
}

impl Ceiling {
    pub(crate) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { limit_bytes, used_bytes: AtomicUsize::new(0) })
    }

    pub(crate) const fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn try_add(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes);
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// A holder's share of a ceiling; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    ceiling: Arc<Ceiling>,
    bytes: usize,
}

impl Share {
    pub(crate) fn none(ceiling: &Arc<Ceiling>) -> Self {
        Self { ceiling: Arc::clone(ceiling), bytes: 0 }
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if nobody's share can grow.
    pub(crate) fn is_all_taken(&self) -> bool {
        self.ceiling.used_bytes() >= self.ceiling.limit_bytes
    }

    /// Changes the share to `bytes`; growing fails, and changes nothing, if the ceiling has no room.
    #[must_use]
    pub(crate) fn try_resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes && !self.ceiling.try_add(bytes - self.bytes) {
            return false;
        }
        self.note(bytes);
        true
    }

    /// Changes the share to `bytes` even above the ceiling: for what every holder is guaranteed.
    pub(crate) fn force_resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.ceiling.used_bytes.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        }
        self.note(bytes);
    }

    fn note(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.ceiling.used_bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.note(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_together_stay_below_the_ceiling_and_come_back_when_dropped() {
        let ceiling = Ceiling::new(100);
        let (mut one, mut two) = (Share::none(&ceiling), Share::none(&ceiling));
        assert!(one.try_resize(60));
        assert!(!two.try_resize(41));
        assert_eq!((two.bytes(), ceiling.used_bytes()), (0, 60));
        assert!(one.try_resize(10) && two.try_resize(90));
        drop(one);
        assert_eq!(ceiling.used_bytes(), 90);
        drop(two);
        assert_eq!(ceiling.used_bytes(), 0);
    }

    #[test]
    fn a_guarantee_may_pass_the_ceiling_and_still_comes_back() {
        let ceiling = Ceiling::new(10);
        let mut share = Share::none(&ceiling);
        share.force_resize(16);
        assert_eq!(ceiling.used_bytes(), 16);
        assert!(!share.try_resize(17));
        drop(share);
        assert_eq!(ceiling.used_bytes(), 0);
    }
}
