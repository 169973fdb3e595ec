//! The shared part of the windows: bytes that partitions borrow to grow.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes not lent. Relaxed throughout: a counter that guards no other memory.
pub(super) struct Pool {
    free_bytes: AtomicU64,
}

impl Pool {
    pub(super) fn new(bytes: u64) -> Self {
        Self { free_bytes: AtomicU64::new(bytes) }
    }

    /// Lends `bytes`, all or nothing.
    pub(super) fn take(&self, bytes: u32) -> bool {
        self.free_bytes
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(bytes.into()))
            .is_ok()
    }

    pub(super) fn give_back(&self, bytes: u32) {
        self.free_bytes.fetch_add(bytes.into(), Ordering::Relaxed);
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }
}
