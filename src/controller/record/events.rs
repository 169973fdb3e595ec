//! What happens to records: each event has one place, which writes both its metric and its log line.

use std::time::Duration;

use super::recorder::Place;
use crate::metrics::Metrics;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Look,
    Learned,
}

impl What {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Learned => "learned",
        }
    }
}

/// Writes the events of the records. A full disk is told of once for each scaler, not every tick.
#[derive(Clone, Debug)]
pub(super) struct Events {
    metrics: Metrics,
}

impl Events {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }

    /// It is on the disk, as far as the system's cache is.
    pub(super) fn written(&self, place: &Place, what: What) {
        self.metrics.recorded.with_label_values(&[what.as_str()]).inc();
        if what == What::Look && place.goes_well() {
            tracing::info!(scaler = place.scaler, "records are written again");
        }
    }

    /// The disk is so slow that no more may wait for it.
    pub(super) fn behind(&self, place: &Place, what: What) {
        self.lost(what, "behind");
        if place.loses() {
            let (scaler, what) = (&place.scaler, what.as_str());
            tracing::warn!(scaler, what, "the disk is too slow: records are lost, scaling goes on");
        }
    }

    /// It could not be written.
    pub(super) fn failed(&self, place: &Place, what: What, problem: &str) {
        self.lost(what, "failed");
        if place.loses() {
            let (scaler, what) = (&place.scaler, what.as_str());
            tracing::warn!(
                scaler,
                what,
                problem,
                "records cannot be written: they are lost, scaling goes on"
            );
        }
    }

    /// It was left out: what came before it is lost, so it would not replay.
    pub(super) fn left_out(&self) {
        self.lost(What::Look, "failed");
    }

    fn lost(&self, what: What, why: &str) {
        self.metrics.record_losses.with_label_values(&[what.as_str(), why]).inc();
    }

    /// A group's memory does not fit the ring: nothing of it will be recorded.
    pub(super) fn too_large(&self, scaler: &str, bytes: u64, most: u64) {
        self.lost(What::Look, "failed");
        tracing::warn!(
            scaler,
            bytes,
            most,
            "a beginning does not fit record.max_bytes: nothing of it is recorded"
        );
    }

    /// A scaler begins with what an earlier one learned.
    pub(super) fn resumed(scaler: &str, age: Duration) {
        tracing::info!(scaler, age_secs = age.as_secs(), "what was learned before is used");
    }

    /// What there is of an earlier one cannot be used.
    pub(super) fn not_resumed(scaler: &str, why: &str) {
        tracing::warn!(scaler, why, "what was learned before is not used: it is learned anew");
    }

    /// The process ends before everything is written, and nobody will read its counters.
    pub(super) fn unfinished() {
        tracing::warn!("the disk is too slow: the process ends before all records are written");
    }
}
