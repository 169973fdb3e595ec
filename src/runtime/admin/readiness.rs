//! Whether the process can do its work: one state per dependency.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// State of a process's dependencies; clones share it.
///
/// The set of names is fixed when the process starts, so that a dependency which never reports is missed.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>);

impl Readiness {
    /// Waits for `dependencies`: none is ready before it was [`set`](Self::set).
    #[must_use]
    pub fn new(dependencies: &[&'static str]) -> Self {
        let starting = dependencies.iter().map(|name| (*name, Err("starting".to_owned())));
        Self(Arc::new(Mutex::new(starting.collect())))
    }

    /// Records and logs a dependency's state: ready, or why not.
    ///
    /// # Panics
    /// If `name` is not among the names given to [`new`](Self::new).
    pub fn set(&self, name: &'static str, state: Result<(), String>) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = states.get_mut(name).expect("the dependency was named when the process started");
        if *now == state {
            return;
        }
        match &state {
            Ok(()) => tracing::info!(dependency = name, "ready"),
            Err(reason) => tracing::warn!(dependency = name, reason, "not ready"),
        }
        *now = state;
    }

    /// Returns true if every dependency is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().all(Result::is_ok)
    }

    /// Returns one line per dependency, and whether all are ready.
    pub(super) fn describe(&self) -> (bool, String) {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, state) in states.iter() {
            let state = state.as_ref().map_or_else(String::as_str, |()| "ok");
            writeln!(text, "{name}: {state}").expect("a String takes every write");
        }
        (states.values().all(Result::is_ok), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_ready_until_every_dependency_said_so() {
        let readiness = Readiness::new(&["kafka", "listener"]);
        assert_eq!(readiness.describe(), (false, "kafka: starting\nlistener: starting\n".into()));
        readiness.set("listener", Ok(()));
        assert!(!readiness.is_ready());
        readiness.set("kafka", Ok(()));
        assert!(readiness.is_ready());
        readiness.set("kafka", Err("no broker answers".into()));
        assert_eq!(readiness.describe(), (false, "kafka: no broker answers\nlistener: ok\n".into()));
    }
}
