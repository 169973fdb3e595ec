//! What happens in the controller: each event has one place, which writes both its metric and its log line.

use tidegate_core::scaling::Decision;

use crate::metrics::Metrics;

/// Writes events. Clones write to the same metrics.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    metrics: Metrics,
}

impl Events {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }

    /// A tick came to a decision. Only a change that `stands` is worth a line; the rest is in the metrics and
    /// `/v1/decision`.
    pub(crate) fn decided(&self, decision: &Decision, stands: bool) {
        let terms = &decision.terms;
        self.metrics.ticks.inc();
        self.metrics.decisions.with_label_values(&[decision.reason.as_str(), decision.bound.as_str()]).inc();
        self.metrics.wanted.set(if stands { decision.replicas } else { terms.current }.into());
        self.metrics.ready.set(terms.ready.into());
        self.metrics.starting.set(terms.starting.into());
        self.metrics.backlog.set(terms.backlog);
        self.metrics.demand.set(terms.demand);
        self.metrics.capacity.set(terms.mu.unwrap_or(0.0));
        self.metrics.delay_unknown.set(i64::from(terms.delay_secs.is_none()));
        self.metrics.delay.set(terms.delay_secs.unwrap_or(0.0));
        if stands && decision.changes() {
            let direction = if decision.replicas > terms.current { "up" } else { "down" };
            self.metrics.changes.with_label_values(&[direction]).inc();
            tracing::info!(
                from = terms.current,
                to = decision.replicas,
                reason = decision.reason.as_str(),
                bound = decision.bound.as_str(),
                "{decision}"
            );
        } else {
            tracing::debug!(reason = decision.reason.as_str(), bound = decision.bound.as_str(), "{decision}");
        }
    }

    /// Kafka told nothing in this tick.
    pub(crate) fn observe_failed(&self, problem: &str) {
        self.metrics.observe_failures.inc();
        tracing::warn!(problem, "the group cannot be observed");
    }

    /// The target refused an order; the next tick decides anew.
    pub(crate) fn apply_failed(&self, replicas: u32, problem: &str) {
        self.metrics.apply_failures.inc();
        tracing::warn!(replicas, problem, "the target cannot be scaled");
    }

    /// A replica ended without being asked to.
    pub(crate) fn crashed(&self, member: &str, ended: &str, restart_in_secs: u64) {
        self.metrics.crashes.inc();
        tracing::warn!(member, ended, restart_in_secs, "a consumer ended by itself");
    }

    /// A replica did not stop in time.
    pub(crate) fn killed(&self, member: &str) {
        self.metrics.kills.inc();
        tracing::warn!(member, "a consumer did not stop in time and was killed");
    }

    /// A report arrived. Not worth a line unless it is refused: they come every second.
    pub(crate) fn report(&self, kind: &'static str, outcome: &'static str) {
        self.metrics.reports.with_label_values(&[kind, outcome]).inc();
        if !matches!(outcome, "taken" | "late") {
            tracing::debug!(kind, outcome, "a report was refused");
        }
    }
}
