//! Which workers wait for room in a partition: one bit each.
//!
//! Protocol: a refused worker registers and *then looks again*; whoever makes room does so and *then takes* the
//! waiters. Both sides change the same word, so one of them comes second and sees what the other did before: either
//! the room or the bit. Model-checked in `loom_models.rs`.

use super::sync::{AtomicU64, Ordering};

/// The workers to wake when room appears.
pub(super) struct Waiters {
    mask: AtomicU64,
}

impl Waiters {
    pub(super) fn new() -> Self {
        Self { mask: AtomicU64::new(0) }
    }

    /// Called by a refused worker, which looks for room once more afterwards.
    pub(super) fn register(&self, worker: usize) {
        self.mask.fetch_or(1 << worker, Ordering::AcqRel);
    }

    /// Called after room was made; returns whom to wake.
    ///
    /// A swap even if nobody waits: a load could come before the room is visible to a worker that registers now.
    pub(super) fn take(&self) -> u64 {
        self.mask.swap(0, Ordering::AcqRel)
    }
}
