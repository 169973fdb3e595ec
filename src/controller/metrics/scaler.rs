//! The series of one scaler, which go when it goes: a gauge of a deleted object would stand still for ever.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use prometheus::{Gauge, IntGauge};

use super::Metrics;

/// How many scalers use a name: two of one name overlap while the first is ending.
pub(super) type Users = BTreeMap<String, u32>;

/// Handles of one scaler's gauges.
#[derive(Debug)]
pub(crate) struct ScalerMetrics {
    all: Metrics,
    name: String,
    pub(crate) wanted: IntGauge,
    pub(crate) ready: IntGauge,
    pub(crate) starting: IntGauge,
    pub(crate) backlog: Gauge,
    pub(crate) delay: Gauge,
    pub(crate) delay_unknown: IntGauge,
    pub(crate) demand: Gauge,
    pub(crate) capacity: Gauge,
}

impl ScalerMetrics {
    pub(super) fn new(all: &Metrics, name: &str) -> Self {
        let label = &[name];
        // Counted and made under one lock: the last user of a name must not take away what the next has just made.
        let mut users = lock(all);
        *users.entry(name.to_owned()).or_default() += 1;
        let made = Self {
            name: name.to_owned(),
            wanted: all.wanted.with_label_values(label),
            ready: all.ready.with_label_values(label),
            starting: all.starting.with_label_values(label),
            backlog: all.backlog.with_label_values(label),
            delay: all.delay.with_label_values(label),
            delay_unknown: all.delay_unknown.with_label_values(label),
            demand: all.demand.with_label_values(label),
            capacity: all.capacity.with_label_values(label),
            all: all.clone(),
        };
        drop(users);
        made
    }

    /// Returns the scaler's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for ScalerMetrics {
    fn drop(&mut self) {
        let mut users = lock(&self.all);
        let Some(count) = users.get_mut(&self.name) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        users.remove(&self.name);
        let label = &[&*self.name];
        let all = &self.all;
        for gauge in [&all.wanted, &all.ready, &all.starting, &all.delay_unknown] {
            // Gone already is as good.
            let _ = gauge.remove_label_values(label);
        }
        for gauge in [&all.backlog, &all.delay, &all.demand, &all.capacity] {
            let _ = gauge.remove_label_values(label);
        }
    }
}

fn lock(all: &Metrics) -> MutexGuard<'_, Users> {
    all.users.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tidegate_runtime::metrics::Registry;

    use super::*;

    #[test]
    fn the_series_of_a_scaler_go_with_the_last_that_bears_its_name() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let has = |text: &str| registry.encode().contains(text);
        let first = metrics.of_scaler("telemetry");
        first.wanted.set(3);
        let second = metrics.of_scaler("telemetry");
        drop(first);
        assert!(has("tidegate_controller_wanted_replicas{scaler=\"telemetry\"} 3"));
        drop(second);
        assert!(!has("scaler=\"telemetry\""));
    }
}
