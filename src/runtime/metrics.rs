//! The process's metrics: what is registered, and how it is exposed.
//!
//! Owns the registry that every component is given. It keeps the descriptors, because a metric with
//! labels has no samples until something happened, and documentation must name it all the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricType;
use prometheus::{Encoder, TextEncoder};

/// Set of metrics that one process exposes; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    inner: prometheus::Registry,
    /// By name. Bounded: metrics are registered when components start, never per message.
    docs: Arc<Mutex<BTreeMap<String, MetricDoc>>>,
}

/// What a metric is, as documentation states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricDoc {
    /// Full name, `tidegate_<component>_<name>_<unit>[_total]`.
    pub name: String,
    /// What it counts or measures.
    pub help: String,
    /// Label names, sorted.
    pub labels: Vec<String>,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
}

impl Registry {
    /// Returns an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the collector's metrics.
    ///
    /// # Errors
    /// If a metric of that name exists already, or a descriptor is malformed.
    pub fn register(&self, collector: Box<dyn Collector>) -> Result<(), prometheus::Error> {
        let kinds: BTreeMap<String, MetricType> = collector
            .collect()
            .into_iter()
            .map(|family| (family.name().to_owned(), family.get_field_type()))
            .collect();
        let docs: Vec<MetricDoc> = collector
            .desc()
            .into_iter()
            .map(|desc| document(desc, kinds.get(&desc.fq_name).copied()))
            .collect();
        self.inner.register(collector)?;
        let mut known = self.docs.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(docs.into_iter().map(|doc| (doc.name.clone(), doc)));
        Ok(())
    }

    /// Returns all samples in the Prometheus text format.
    ///
    /// # Panics
    /// If a collector gives samples without a name.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.inner.gather(), &mut text)
            .expect("gathered families have names and samples, and a Vec takes every write");
        String::from_utf8(text).expect("the text encoder writes UTF-8")
    }

    /// Returns what is registered, sorted by name, whether or not it has samples yet.
    #[must_use]
    pub fn catalog(&self) -> Vec<MetricDoc> {
        self.docs.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// `kind` is absent if the collector has no samples yet; then the name tells, because all of ours end as the
/// Prometheus naming rules say.
fn document(desc: &Desc, kind: Option<MetricType>) -> MetricDoc {
    let fixed = desc.const_label_pairs.iter().map(|pair| pair.name().to_owned());
    let mut labels: Vec<String> = fixed.chain(desc.variable_labels.iter().cloned()).collect();
    labels.sort_unstable();
    let kind = match kind {
        Some(MetricType::COUNTER) => "counter",
        Some(MetricType::HISTOGRAM) => "histogram",
        None if desc.fq_name.ends_with("_total") => "counter",
        Some(_) | None => "gauge",
    };
    MetricDoc { name: desc.fq_name.clone(), help: desc.help.clone(), labels, kind }
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

    use super::*;

    fn filled() -> (Registry, IntCounterVec) {
        let registry = Registry::new();
        let shed = IntCounterVec::new(
            Opts::new("tidegate_gateway_shed_messages_total", "messages shed"),
            &["reason", "class"],
        )
        .unwrap();
        registry.register(Box::new(shed.clone())).unwrap();
        let delay = HistogramOpts::new("tidegate_kafka_report_seconds", "report delay");
        registry.register(Box::new(HistogramVec::new(delay, &["class"]).unwrap())).unwrap();
        registry
            .register(Box::new(IntGauge::new("tidegate_gateway_connections", "open now").unwrap()))
            .unwrap();
        (registry, shed)
    }

    #[test]
    fn the_catalog_names_metrics_that_have_no_samples_yet() {
        let (registry, _) = filled();
        let rows: Vec<(String, &str, String)> =
            registry.catalog().into_iter().map(|doc| (doc.name, doc.kind, doc.labels.join(","))).collect();
        assert_eq!(
            rows,
            [
                ("tidegate_gateway_connections".into(), "gauge", String::new()),
                ("tidegate_gateway_shed_messages_total".into(), "counter", "class,reason".into()),
                ("tidegate_kafka_report_seconds".into(), "histogram", "class".into()),
            ]
        );
        assert!(!registry.encode().contains("shed"), "no samples, no exposition");
    }

    #[test]
    fn the_exposition_holds_the_samples() {
        let (registry, shed) = filled();
        shed.with_label_values(&["quota", "sensor"]).inc_by(3);
        let text = registry.encode();
        assert!(text.contains("# TYPE tidegate_gateway_shed_messages_total counter\n"), "{text}");
        let sample = "tidegate_gateway_shed_messages_total{class=\"sensor\",reason=\"quota\"} 3\n";
        assert!(text.contains(sample), "{text}");
    }

    #[test]
    fn a_name_can_be_registered_once() {
        let registry = Registry::new();
        let counter = || Box::new(IntCounter::new("tidegate_x_total", "x").unwrap());
        registry.register(counter()).unwrap();
        assert!(matches!(registry.register(counter()), Err(prometheus::Error::AlreadyReg)));
        assert_eq!(registry.catalog().len(), 1);
    }
}
