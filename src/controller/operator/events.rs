//! What happens in the operator: each event has one place, which writes both its metric and its log line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::api::{Failure, FailureKind};
use crate::metrics::{Metrics, WRITES};

/// Kinds of failure that are remembered as said.
const FAILURES: usize = FailureKind::ALL.len();

/// Writes the operator's events. Clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Events {
    metrics: Metrics,
    /// Failures that were logged and have not been followed by a success, by what was written and kind.
    said: Arc<[[AtomicBool; FAILURES]; WRITES.len()]>,
}

impl Events {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, said: Arc::default() }
    }

    /// A scaler was made for an object.
    pub(super) fn started(&self, scaler: &str, target: &str) {
        self.metrics.scalers.inc();
        tracing::info!(scaler, target_object = target, "scaler started");
    }

    /// The policy of a running scaler changed.
    pub(super) fn policy_changed(scaler: &str) {
        tracing::info!(scaler, "policy changed");
    }

    /// A scaler was told to stop; the replicas stay as they are.
    pub(super) fn stopped(&self, scaler: &str, why: &'static str) {
        self.metrics.scalers.dec();
        tracing::info!(scaler, why, "scaler stopped, the replicas stay as they are");
    }

    /// An object gets no scaler.
    pub(super) fn refused(scaler: &str, reason: &'static str, problem: &str) {
        tracing::warn!(scaler, reason, problem, "nothing is scaled");
    }

    /// A task ended without being asked to.
    pub(super) fn died(&self, scaler: &str, task: &'static str, problem: &str, again_in_secs: u64) {
        self.metrics.deaths.inc();
        if task == "scaler" {
            self.metrics.scalers.dec();
        }
        tracing::error!(scaler, task, problem, again_in_secs, "a task ended by itself");
    }

    /// A status or an event was written.
    pub(super) fn wrote(&self, what: Write) {
        self.metrics.writes.with_label_values(&[what.as_str(), "written"]).inc();
        for said in &self.said[what as usize] {
            said.store(false, Ordering::Relaxed);
        }
    }

    /// It was not; logged once for each kind until one succeeds again.
    pub(super) fn write_failed(&self, scaler: &str, what: Write, failure: &Failure) {
        self.metrics.writes.with_label_values(&[what.as_str(), "failed"]).inc();
        let said = &self.said[what as usize][failure.kind as usize];
        if said.swap(true, Ordering::Relaxed) {
            return;
        }
        let hint = match failure.kind {
            FailureKind::Forbidden => "grant what charts/manifests/rbac.yaml grants",
            FailureKind::Refused => "apply charts/manifests/crd.yaml of this version",
            FailureKind::NotFound | FailureKind::Unavailable => "scaling goes on",
        };
        let what = what.as_str();
        tracing::warn!(scaler, what, problem = %failure, hint, "cannot write to the api server");
    }
}

/// What is written to the API server about an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    /// Its status.
    Status,
    /// An Event.
    Event,
}

impl Write {
    const fn as_str(self) -> &'static str {
        WRITES[self as usize]
    }
}
