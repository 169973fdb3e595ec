//! The rule itself, called as the controller calls it: a tick every few seconds, and at once while a burst is reported.

use std::time::Duration;

use tidegate_core::scaling::{Decision, History, Policy, decide};
use tidegate_core::time::Timestamp;

use super::Scaler;
use crate::cluster::Cluster;

/// The controller's default tick.
const TICK: Duration = Duration::from_secs(5);

/// A controller over a simulated site.
#[derive(Clone, Debug)]
pub struct Tidegate {
    policy: Policy,
    history: History,
    tick: Duration,
    next_tick: Timestamp,
    last: Option<Decision>,
}

impl Tidegate {
    /// Returns a controller that knows nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, history: History::default(), tick: TICK, next_tick: Timestamp::ZERO, last: None }
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
        self.next_tick = now + self.tick;
        let seen = site.observe();
        self.history.record(&self.policy, &seen);
        let decision = decide(&self.policy, &seen, &self.history, now);
        self.history.record_decision(&self.policy, &decision, now);
        let why = decision.changes().then(|| {
            site.scale(decision.replicas);
            decision.to_string()
        });
        self.last = Some(decision);
        why
    }
}
