//! The controller's metrics: registered once, written in `events`.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts};
use tidegate_core::scaling::{Bound, Reason};
use tidegate_runtime::metrics::Registry;

/// Kinds of reports, as the label `kind`.
pub(crate) const KINDS: [&str; 2] = ["gateway", "consumer"];
/// What became of a report, as the label `outcome`.
pub(crate) const OUTCOMES: [&str; 5] = ["taken", "late", "unauthorized", "refused", "full"];

/// Handles of all metrics; clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) wanted: IntGauge,
    pub(crate) ready: IntGauge,
    pub(crate) starting: IntGauge,
    pub(crate) backlog: Gauge,
    pub(crate) delay: Gauge,
    pub(crate) delay_unknown: IntGauge,
    pub(crate) demand: Gauge,
    pub(crate) capacity: Gauge,
    pub(crate) ticks: IntCounter,
    pub(crate) decisions: IntCounterVec,
    pub(crate) changes: IntCounterVec,
    pub(crate) observe_failures: IntCounter,
    pub(crate) apply_failures: IntCounter,
    pub(crate) crashes: IntCounter,
    pub(crate) kills: IntCounter,
    pub(crate) reports: IntCounterVec,
}

impl Metrics {
    /// Registers everything under `tidegate_controller_`.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| Gauge::new(format!("tidegate_controller_{name}"), help);
        let int_gauge = |name: &str, help: &str| IntGauge::new(format!("tidegate_controller_{name}"), help);
        let counter = |name: &str, help: &str| IntCounter::new(format!("tidegate_controller_{name}"), help);
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(format!("tidegate_controller_{name}"), help), labels)
        };
        let metrics = Self {
            wanted: int_gauge("wanted_replicas", "Consumer replicas ordered.")?,
            ready: int_gauge("ready_replicas", "Consumer replicas that consume.")?,
            starting: int_gauge("starting_replicas", "Consumer replicas that are starting.")?,
            backlog: gauge("backlog_messages", "Messages that wait in Kafka, corrected for commits.")?,
            delay: gauge("delay_seconds", "Kafka delay: maximum over partitions of backlog by throughput.")?,
            delay_unknown: int_gauge("delay_unknown_state", "1 while the Kafka delay is not known.")?,
            demand: gauge("demand_messages_per_second", "Demand that the group is sized for.")?,
            capacity: gauge("capacity_messages_per_second", "What one replica can do; 0 while unknown.")?,
            ticks: counter("ticks_total", "Times the group was observed and decided on.")?,
            decisions: counters("decisions_total", "Decisions by reason and bound.", &["reason", "bound"])?,
            changes: counters("changes_total", "Decisions that changed the group.", &["direction"])?,
            observe_failures: counter("observe_failures_total", "Ticks in which Kafka told nothing.")?,
            apply_failures: counter("apply_failures_total", "Orders that the target refused.")?,
            crashes: counter("replica_crashes_total", "Replicas that ended without being asked to.")?,
            kills: counter("replica_kills_total", "Replicas killed because they did not stop in time.")?,
            reports: counters("reports_total", "Reports of gateways and consumers.", &["kind", "outcome"])?,
        };
        metrics.touch();
        for collector in [&metrics.wanted, &metrics.ready, &metrics.starting, &metrics.delay_unknown] {
            registry.register(Box::new(collector.clone()))?;
        }
        for collector in [&metrics.backlog, &metrics.delay, &metrics.demand, &metrics.capacity] {
            registry.register(Box::new(collector.clone()))?;
        }
        let counters = [
            &metrics.ticks,
            &metrics.observe_failures,
            &metrics.apply_failures,
            &metrics.crashes,
            &metrics.kills,
        ];
        for collector in counters {
            registry.register(Box::new(collector.clone()))?;
        }
        for collector in [&metrics.decisions, &metrics.changes, &metrics.reports] {
            registry.register(Box::new(collector.clone()))?;
        }
        Ok(metrics)
    }

    /// Makes every series exist from the start: a counter that appears with its first event hides that event from rates.
    fn touch(&self) {
        for reason in Reason::ALL {
            for bound in Bound::ALL {
                self.decisions.with_label_values(&[reason.as_str(), bound.as_str()]);
            }
        }
        for direction in ["up", "down"] {
            self.changes.with_label_values(&[direction]);
        }
        for kind in KINDS {
            for outcome in OUTCOMES {
                self.reports.with_label_values(&[kind, outcome]);
            }
        }
    }
}
