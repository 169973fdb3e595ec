//! The rule itself, called as the controller calls it: a tick every few seconds, and at once while a burst is reported.

use std::time::Duration;

use tidegate_core::scaling::{Decided, Decision, History, Line, Policy, RECORDING_VERSION, decide};
use tidegate_core::time::Timestamp;

use super::Scaler;
use super::admission::Admission;
use crate::cluster::Cluster;

type Record = Box<dyn FnMut(&Line)>;

/// A controller over a simulated site.
pub struct Tidegate {
    policy: Policy,
    history: History,
    next_tick: Timestamp,
    last: Option<Decision>,
    /// Gets the lines of a recording.
    record: Option<Record>,
    admission: Admission,
}

impl Tidegate {
    /// Returns a controller that knows nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            history: History::default(),
            next_tick: Timestamp::ZERO,
            last: None,
            record: None,
            admission: Admission::default(),
        }
    }

    /// Hands each look and its outcome to `record`, after the memory that it begins with.
    #[must_use]
    pub fn recorded(mut self, record: impl FnMut(&Line) + 'static) -> Self {
        self.record = Some(Box::new(record));
        self
    }

    /// Returns the newest decision.
    #[must_use]
    pub const fn last(&self) -> Option<&Decision> {
        self.last.as_ref()
    }
}

impl Scaler for Tidegate {
    fn act(&mut self, site: &mut Cluster, now: Timestamp) -> Option<String> {
        if now < self.next_tick && !site.bursts() {
            return None;
        }
        if self.next_tick == Timestamp::ZERO
            && let Some(record) = &mut self.record
        {
            let (policy, history) = (Box::new(self.policy.clone()), Box::new(self.history.clone()));
            record(&Line::Begin { version: RECORDING_VERSION, policy, history, clocks: None });
        }
        self.next_tick = now + self.policy.tick;
        let seen = site.observe();
        self.history.record(&self.policy, &seen);
        let decision = decide(&self.policy, &seen, &self.history, now);
        self.history.record_decision(&self.policy, &decision, now);
        if self.policy.knobs.budget {
            let given = self.admission.step(&self.policy, &seen, &decision, site, now);
            site.set_shares(given.as_ref().map(|(_, shares)| shares));
        }
        if let Some(record) = &mut self.record {
            let decided = Decided::from(&decision);
            record(&Line::Look { now, seen: Box::new(seen), decided, stands: true });
        }
        let why = decision.changes().then(|| {
            site.scale(decision.replicas);
            decision.to_string()
        });
        self.last = Some(decision);
        why
    }

    fn prime(&mut self, per_sec: f64, interval: Duration, at: Timestamp) {
        self.history.prime(&self.policy, per_sec, interval, at);
    }
}
