//! What a scaler shows of itself: the last observation and decision, for `/v1/decision`, the status of its API object and
//! the live screen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tidegate_core::scaling::Decision;
use tidegate_core::time::Timestamp;
use tokio::sync::watch;

use crate::target::TargetError;

/// State after a tick. Cloning copies a few hundred bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    /// Ticks so far.
    pub ticks: u64,
    /// Monotonic time of the last tick.
    #[serde(skip)]
    pub at: Timestamp,
    /// Replicas ordered, after the decision was applied.
    pub want: u32,
    /// Replicas that consume.
    pub have: u32,
    /// Replicas that are starting.
    pub starting: u32,
    /// Kafka delay in seconds; `None` if it is unknown or nothing consumes what waits.
    pub delay_secs: Option<f64>,
    /// Messages per second that devices offered to the gateways; `None` without a fresh report.
    pub offered_per_sec: Option<f64>,
    /// Messages that wait in Kafka, corrected for commits.
    pub backlog: f64,
    /// The last decision.
    pub decision: Option<Decision>,
    /// Its sentence.
    pub sentence: String,
    /// The last decision that changed the group, as a sentence.
    pub last_change: Option<String>,
    /// Number of decisions that changed the group.
    pub changes: u64,
    /// Why something could not be observed or applied in this tick; at most 16.
    pub problems: Vec<String>,
    /// Whether Kafka told nothing of what waits.
    pub kafka_blind: bool,
    /// The first thing that Kafka did not tell in this tick, and why.
    pub kafka_problem: Option<String>,
    /// Why the target could not be looked at or scaled in this tick.
    pub target_problem: Option<TargetError>,
    /// Replicas that ended by themselves so far.
    pub crashes: u64,
    /// How the last of them ended.
    pub last_crash: Option<String>,
}

/// The views of all scalers of a controller, by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Views(Arc<Mutex<BTreeMap<String, watch::Receiver<View>>>>);

/// A scaler's place among the views; dropping it takes the view away.
#[derive(Debug)]
pub(crate) struct Shown {
    views: Views,
    name: String,
    view: watch::Receiver<View>,
}

impl Views {
    /// Shows `view` under `name`, in the place of an older one. As many as there are scalers.
    pub(crate) fn show(&self, name: &str, view: watch::Receiver<View>) -> Shown {
        self.lock().insert(name.to_owned(), view.clone());
        Shown { views: self.clone(), name: name.to_owned(), view }
    }

    /// Returns the names in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Returns the view of a scaler; of the only one, if no name is given.
    pub(crate) fn get(&self, name: Option<&str>) -> Option<View> {
        let views = self.lock();
        let view = match name {
            Some(name) => views.get(name),
            None if views.len() == 1 => views.values().next(),
            None => None,
        };
        view.map(|view| view.borrow().clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Receiver<View>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut views = self.views.lock();
        // A scaler of the same name may have come meanwhile.
        if views.get(&self.name).is_some_and(|view| view.same_channel(&self.view)) {
            views.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_found_by_name_and_without_one_if_it_is_alone() {
        let views = Views::default();
        let show = |name: &str, want| views.show(name, watch::channel(View { want, ..View::default() }).1);
        let want = |name| views.get(name).map(|view| view.want);
        let first = show("a", 1);
        assert_eq!((want(None), want(Some("a")), want(Some("b"))), (Some(1), Some(1), None));
        let second = show("b", 2);
        assert_eq!((want(None), want(Some("b"))), (None, Some(2)));
        let again = show("a", 3);
        drop(first);
        assert_eq!(want(Some("a")), Some(3), "the newer one of that name stays");
        drop(second);
        drop(again);
        assert!(views.names().is_empty());
    }
}
