//! The controller's metrics: registered once, written in `events` and `operator::events`.

mod scaler;

use std::sync::{Arc, Mutex};

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};
use tidegate_core::scaling::{Bound, Reason};
use tidegate_runtime::metrics::Registry;

pub(crate) use scaler::ScalerMetrics;

/// Kinds of reports, as the label `kind`.
const KINDS: [&str; 2] = ["gateway", "consumer"];
/// What became of a report, as the label `outcome`.
const OUTCOMES: [&str; 5] = ["taken", "late", "unauthorized", "refused", "full"];
/// What is written to the API server about an object, as the label `what`.
pub(crate) const WRITES: [&str; 2] = ["status", "event"];
/// What became of it, as the label `outcome`.
pub(crate) const WRITE_OUTCOMES: [&str; 2] = ["written", "failed"];
/// What is kept on the disk, as the label `what`.
const RECORDS: [&str; 2] = ["look", "learned"];
/// Why some of it was not, as the label `reason`: too much waited for the disk, or it refused.
const RECORD_LOSSES: [&str; 2] = ["behind", "failed"];
/// Names the scaler: the consumer group of a settings file, or the `IngestScaler`. As many as there are of these.
const SCALER: &str = "scaler";

/// Handles of all metrics; clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) wanted: IntGaugeVec,
    pub(crate) ready: IntGaugeVec,
    pub(crate) starting: IntGaugeVec,
    pub(crate) backlog: GaugeVec,
    pub(crate) delay: GaugeVec,
    pub(crate) delay_unknown: IntGaugeVec,
    pub(crate) demand: GaugeVec,
    pub(crate) capacity: GaugeVec,
    pub(crate) ticks: IntCounter,
    pub(crate) decisions: IntCounterVec,
    pub(crate) changes: IntCounterVec,
    pub(crate) observe_failures: IntCounter,
    pub(crate) target_failures: IntCounter,
    pub(crate) apply_failures: IntCounter,
    pub(crate) crashes: IntCounter,
    pub(crate) kills: IntCounter,
    pub(crate) reports: IntCounterVec,
    pub(crate) scalers: IntGauge,
    pub(crate) deaths: IntCounter,
    pub(crate) writes: IntCounterVec,
    pub(crate) recorded: IntCounterVec,
    pub(crate) record_losses: IntCounterVec,
    /// Scalers that write the series of a name: two of one name may overlap for a moment.
    users: Arc<Mutex<scaler::Users>>,
}

impl Metrics {
    /// Registers everything under `tidegate_controller_`.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("tidegate_controller_{name}"), help);
        let gauge = |name: &str, help: &str| GaugeVec::new(opts(name, help), &[SCALER]);
        let int_gauge = |name: &str, help: &str| IntGaugeVec::new(opts(name, help), &[SCALER]);
        let counter = |name: &str, help: &str| IntCounter::with_opts(opts(name, help));
        let counters = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(opts(name, help), labels);
        let metrics = Self {
            wanted: int_gauge("wanted_replicas", "Consumer replicas ordered.")?,
            ready: int_gauge("ready_replicas", "Consumer replicas that consume.")?,
            starting: int_gauge("starting_replicas", "Consumer replicas that are starting.")?,
            backlog: gauge("backlog_messages", "Messages that wait in Kafka, corrected for commits.")?,
            delay: gauge("delay_seconds", "Kafka delay: maximum over partitions of backlog by throughput.")?,
            delay_unknown: int_gauge("delay_unknown_state", "1 while the Kafka delay is not known.")?,
            demand: gauge("demand_messages_per_second", "Demand that the group is sized for.")?,
            capacity: gauge("capacity_messages_per_second", "What one replica can do; 0 while unknown.")?,
            ticks: counter("ticks_total", "Times a group was observed and decided on.")?,
            decisions: counters("decisions_total", "Decisions by reason and bound.", &["reason", "bound"])?,
            changes: counters("changes_total", "Decisions that changed a group.", &["direction"])?,
            observe_failures: counter("observe_failures_total", "Ticks in which Kafka told nothing.")?,
            target_failures: counter("target_failures_total", "Ticks in which the target told nothing.")?,
            apply_failures: counter("apply_failures_total", "Orders that the target refused.")?,
            crashes: counter("replica_crashes_total", "Replicas that ended without being asked to.")?,
            kills: counter("replica_kills_total", "Replicas killed because they did not stop in time.")?,
            reports: counters("reports_total", "Reports of gateways and consumers.", &["kind", "outcome"])?,
            scalers: IntGauge::with_opts(opts("scalers", "IngestScalers with a running scaler."))?,
            deaths: counter("scaler_deaths_total", "Tasks that ended by themselves and were made again.")?,
            writes: counters(
                "object_writes_total",
                "Writes of IngestScaler status and of Kubernetes Events.",
                &["what", "outcome"],
            )?,
            recorded: counters(
                "recorded_total",
                "Looks recorded, and times that what was learned was kept.",
                &["what"],
            )?,
            record_losses: counters(
                "record_losses_total",
                "Looks that were not recorded, and times that what was learned was not kept.",
                &["what", "reason"],
            )?,
            users: Arc::default(),
        };
        metrics.touch();
        for gauge in [&metrics.wanted, &metrics.ready, &metrics.starting, &metrics.delay_unknown] {
            registry.register(Box::new(gauge.clone()))?;
        }
        for gauge in [&metrics.backlog, &metrics.delay, &metrics.demand, &metrics.capacity] {
            registry.register(Box::new(gauge.clone()))?;
        }
        let counters = [
            &metrics.ticks,
            &metrics.observe_failures,
            &metrics.target_failures,
            &metrics.apply_failures,
            &metrics.crashes,
            &metrics.kills,
            &metrics.deaths,
        ];
        for counter in counters {
            registry.register(Box::new(counter.clone()))?;
        }
        for counters in [&metrics.decisions, &metrics.changes, &metrics.reports, &metrics.writes] {
            registry.register(Box::new(counters.clone()))?;
        }
        for counters in [&metrics.recorded, &metrics.record_losses] {
            registry.register(Box::new(counters.clone()))?;
        }
        registry.register(Box::new(metrics.scalers.clone()))?;
        Ok(metrics)
    }

    /// Makes every series exist from the start: a counter that appears with its first event hides that event from rates.
    fn touch(&self) {
        let each = |counters: &IntCounterVec, first: &[&str], second: &[&str]| {
            for one in first {
                for other in second {
                    counters.with_label_values(&[*one, *other]);
                }
            }
        };
        each(&self.decisions, &Reason::ALL.map(Reason::as_str), &Bound::ALL.map(Bound::as_str));
        each(&self.reports, &KINDS, &OUTCOMES);
        each(&self.writes, &WRITES, &WRITE_OUTCOMES);
        each(&self.record_losses, &RECORDS, &RECORD_LOSSES);
        for what in RECORDS {
            self.recorded.with_label_values(&[what]);
        }
        for direction in ["up", "down"] {
            self.changes.with_label_values(&[direction]);
        }
    }

    /// Returns the series of one scaler.
    pub(crate) fn of_scaler(&self, name: &str) -> ScalerMetrics {
        ScalerMetrics::new(self, name)
    }
}
