//! The joint loop's other half: how much the gateways may let into Kafka, from what was just decided.
//!
//! Calls `core::control` as the controller does: a budget from the consumers' state, classes by priority, gateways by load.
//! What is modelled simpler than it is: a share is in force in the next step, without the ledger's wait for gateways
//! to confirm what they gave up.

use std::collections::BTreeMap;

use tidegate_core::admission::DEFAULT_CLASSES;
use tidegate_core::control::{Budget, BudgetLoop, ClassLoad, Consumers, Mode, TopicLoad, allot};
use tidegate_core::scaling::{Decision, Observation, Policy};
use tidegate_core::time::Timestamp;

use crate::cluster::{Cluster, Shares};
use crate::fleet::{CLASSES, PerClass};
use crate::num::index;

/// Name of the one topic.
const TOPIC: &str = "telemetry";

/// The loop over the group's topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission {
    budget: BudgetLoop,
}

impl Admission {
    /// Returns the budget that follows from `decision`, and what each gateway may let in of each class. `None` while it is not
    /// known what a replica can do: then nothing is limited.
    pub(super) fn step(
        &mut self,
        policy: &Policy,
        seen: &Observation,
        decision: &Decision,
        site: &Cluster,
        now: Timestamp,
    ) -> Option<(Budget, Shares)> {
        let consumers = consumers(policy, seen, decision)?;
        let budget = self.budget.step(Mode::Online, &consumers, 0.0, now);
        let topic = load(site, budget.per_sec, policy.slo_delay.as_secs_f64());
        let allotment = allot(&BTreeMap::from([(TOPIC.to_owned(), topic)]));
        let share = |gateway: usize, class: usize| {
            let of_class = allotment.gateways.get(&name(gateway)).and_then(|rates| rates.get(TOPIC));
            of_class.and_then(|rates| rates.get(DEFAULT_CLASSES[class].name)).copied().unwrap_or(0.0)
        };
        let gateways = site.site().gateways as usize;
        let shares =
            (0..gateways).map(|gateway| std::array::from_fn(|class| share(gateway, class))).collect();
        Some((budget, shares))
    }
}

fn consumers(policy: &Policy, seen: &Observation, decision: &Decision) -> Option<Consumers> {
    let terms = &decision.terms;
    // The oldest that start are those that nodes run; one that is not placed may never come.
    let mut ages: Vec<f64> = seen.replicas.starting.iter().map(std::time::Duration::as_secs_f64).collect();
    ages.sort_by(|a, b| b.total_cmp(a));
    let placed =
        seen.room.map_or(usize::MAX, |room| index(f64::from(room.scheduled.saturating_sub(terms.ready))));
    Some(Consumers {
        mu: terms.mu?,
        ready: terms.ready,
        remaining_secs: ages.into_iter().take(placed).map(|age| (terms.start_secs - age).max(0.0)).collect(),
        slo_secs: policy.slo_delay.as_secs_f64(),
        start_secs: terms.start_secs,
        backlog: (terms.backlog - terms.held).max(0.0),
        delay_secs: terms.delay_secs,
        consumed: terms.consumed,
        loop_delay_secs: policy.tick.as_secs_f64(),
    })
}

/// What the classes ask for: what they are offered, and to be rid of what waits within the promise.
fn load(site: &Cluster, budget: f64, slo_secs: f64) -> TopicLoad {
    let loads: Vec<(PerClass<f64>, PerClass<f64>)> = site.offered_and_waiting().collect();
    let class = |class: usize| {
        let preset = &DEFAULT_CLASSES[class];
        let offered = loads
            .iter()
            .enumerate()
            .map(|(gateway, (offered, waiting))| (name(gateway), offered[class] + waiting[class] / slo_secs));
        let load =
            ClassLoad { priority: preset.priority, offered: offered.collect(), ..ClassLoad::default() };
        (preset.name.to_owned(), load)
    };
    TopicLoad { budget: Some(budget), classes: (0..CLASSES).map(class).collect() }
}

fn name(gateway: usize) -> String {
    format!("gateway-{gateway}")
}
