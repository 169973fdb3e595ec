//! What happens in the controller: each event has one place, which writes both its metric and its log line.

use tidegate_core::scaling::Decision;

use crate::metrics::{Metrics, ScalerMetrics};
use crate::target::TargetError;

/// Writes the events of the whole controller. Clones write to the same metrics.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    metrics: Metrics,
}

impl Events {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }

    /// Returns the controller's metrics.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns what writes the events of one scaler; dropping it takes the scaler's series away.
    pub(crate) fn of_scaler(&self, name: &str) -> ScalerEvents {
        let (metrics, own) = (self.metrics.clone(), self.metrics.of_scaler(name));
        ScalerEvents { metrics, own, said: None, kafka_said: None }
    }

    /// A report arrived. Not worth a line unless it is refused: they come every second.
    pub(crate) fn report(&self, kind: &'static str, outcome: &'static str) {
        self.metrics.reports.with_label_values(&[kind, outcome]).inc();
        if !matches!(outcome, "taken" | "late") {
            tracing::debug!(kind, outcome, "a report was refused");
        }
    }
}

/// Writes the events of one scaler.
#[derive(Debug)]
pub(crate) struct ScalerEvents {
    metrics: Metrics,
    own: ScalerMetrics,
    /// The target's problem that was logged last: one that stays is logged once.
    said: Option<TargetError>,
    /// The same of Kafka's.
    kafka_said: Option<String>,
}

impl ScalerEvents {
    /// A tick came to a decision. Only a change that `stands` is worth a line; the rest is in the metrics and
    /// `/v1/decision`.
    pub(crate) fn decided(&mut self, decision: &Decision, stands: bool) {
        let terms = &decision.terms;
        self.metrics.ticks.inc();
        self.metrics.decisions.with_label_values(&[decision.reason.as_str(), decision.bound.as_str()]).inc();
        self.own.wanted.set(if stands { decision.replicas } else { terms.current }.into());
        self.own.ready.set(terms.ready.into());
        self.own.starting.set(terms.starting.into());
        self.own.backlog.set(terms.backlog);
        self.own.demand.set(terms.demand);
        self.own.capacity.set(terms.mu.unwrap_or(0.0));
        self.own.delay_unknown.set(i64::from(terms.delay_secs.is_none()));
        self.own.delay.set(terms.delay_secs.unwrap_or(0.0));
        let scaler = self.own.name();
        if stands && decision.changes() {
            let direction = if decision.replicas > terms.current { "up" } else { "down" };
            self.metrics.changes.with_label_values(&[direction]).inc();
            tracing::info!(
                scaler,
                from = terms.current,
                to = decision.replicas,
                reason = decision.reason.as_str(),
                bound = decision.bound.as_str(),
                "{decision}"
            );
        } else {
            let (reason, bound) = (decision.reason.as_str(), decision.bound.as_str());
            tracing::debug!(scaler, reason, bound, "{decision}");
        }
        if stands {
            self.said = None;
        }
    }

    /// Kafka told nothing in this tick.
    pub(crate) fn observe_failed(&mut self, problem: &str) {
        self.metrics.observe_failures.inc();
        if self.kafka_said.as_deref() != Some(problem) {
            tracing::warn!(scaler = self.own.name(), problem, "the group cannot be observed");
            self.kafka_said = Some(problem.to_owned());
        }
    }

    /// Kafka told something in this tick.
    pub(crate) fn observed(&mut self) {
        if self.kafka_said.take().is_some() {
            tracing::info!(scaler = self.own.name(), "the group is observed again");
        }
    }

    /// The target cannot be looked at, so nothing is decided.
    pub(crate) fn target_failed(&mut self, problem: &TargetError) {
        self.metrics.target_failures.inc();
        if self.said.as_ref() != Some(problem) {
            tracing::warn!(scaler = self.own.name(), %problem, "the target cannot be observed: nothing is scaled");
            self.said = Some(problem.clone());
        }
    }

    /// The target refused an order; the next tick decides anew.
    pub(crate) fn apply_failed(&mut self, replicas: u32, problem: &TargetError) {
        self.metrics.apply_failures.inc();
        if self.said.as_ref() != Some(problem) {
            tracing::warn!(scaler = self.own.name(), replicas, %problem, "the target cannot be scaled");
            self.said = Some(problem.clone());
        }
    }

    /// A replica ended without being asked to.
    pub(crate) fn crashed(&self, member: &str, ended: &str, restart_in_secs: u64) {
        self.metrics.crashes.inc();
        let scaler = self.own.name();
        tracing::warn!(scaler, member, ended, restart_in_secs, "a consumer ended by itself");
    }

    /// A replica did not stop in time.
    pub(crate) fn killed(&self, member: &str) {
        self.metrics.kills.inc();
        tracing::warn!(scaler = self.own.name(), member, "a consumer did not stop in time and was killed");
    }
}
