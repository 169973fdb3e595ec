//! One bit per worker: something is waiting for it.
//!
//! Owns the order of events that keeps a wake-up from getting lost; the wake itself is the caller's. Model-checked
//! in `loom_models.rs`.

use super::sync::{AtomicBool, Ordering};

/// Rings once for any number of reports, until it is answered.
pub(super) struct Doorbell {
    pending: AtomicBool,
}

impl Doorbell {
    pub(super) fn new() -> Self {
        Self { pending: AtomicBool::new(false) }
    }

    /// Called after something was made available; true if the caller must wake the worker.
    pub(super) fn ring(&self) -> bool {
        // Release: who sees the bit sees what was made available before.
        !self.pending.swap(true, Ordering::AcqRel)
    }

    /// Called by the worker *before* it takes what is available.
    ///
    /// A swap, not a store: if it overwrites a ring that came a moment ago, it reads that ring's value and so sees
    /// what came with it. A plain store would overwrite the ring, still miss what came with it, and nobody would
    /// wake the worker again.
    pub(super) fn answer(&self) {
        self.pending.swap(false, Ordering::AcqRel);
    }
}
