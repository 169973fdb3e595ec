//! The atomics of the wake-up protocols, under a name that the model checker's copy (`loom_models.rs`) replaces.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
