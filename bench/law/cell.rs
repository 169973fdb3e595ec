//! One load under one setting with one seed: every arm, and what is kept of it.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidegate_core::scaling::{Knobs, Policy};
use tidegate_simulator::scalers::KedaSettings;
use tidegate_simulator::{Arm, Assignor, Outcome, Run, Site, default_policy, keda_arms, run};

use crate::matrix::{Load, Matrix, Setting};

/// What is kept of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) label: String,
    /// Shares of all messages, 0 to 1.
    pub(crate) late: f64,
    pub(crate) never: f64,
    /// Share of the alarms.
    pub(crate) alarms_late: f64,
    pub(crate) replica_hours: f64,
    pub(crate) peak_lag: u64,
    pub(crate) peak_in_front: u64,
    pub(crate) changes: usize,
}

impl Row {
    fn of(outcome: &Outcome) -> Self {
        let share =
            |part: u64| if outcome.total.sent == 0 { 0.0 } else { real(part) / real(outcome.total.sent) };
        Self {
            label: outcome.label.clone(),
            late: outcome.late_share(),
            never: share(outcome.total.never),
            alarms_late: outcome.classes[0].late_share(),
            replica_hours: outcome.replica_hours,
            peak_lag: outcome.peak_lag,
            peak_in_front: outcome.peak_in_front,
            changes: outcome.changes.len(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of messages stay below 2^53")]
pub(crate) const fn real(count: u64) -> f64 {
    count as f64
}

/// Label of the rule.
pub(crate) const OURS: &str = "Tidegate";
/// Labels of KEDA begin with it: a threshold follows.
pub(crate) const KEDA: &str = "KEDA ";
/// KEDA whose HPA sees the lag of a poll every 5 s.
pub(crate) const KEDA_POLL: &str = "KEDA 5s ";
/// KEDA over consumers that rebalance eagerly, as Java's and librdkafka's defaults do.
pub(crate) const KEDA_EAGER: &str = "KEDA eager ";
/// The rule over such consumers.
pub(crate) const OURS_EAGER: &str = "Tidegate eager";
/// Label of the HPA.
pub(crate) const HPA: &str = "HPA on CPU";
/// Labels of the rule with one part off begin with it.
pub(crate) const WITHOUT: &str = "without ";

/// Runs all arms.
///
/// # Errors
/// If the site cannot be.
pub(crate) fn measure(
    load: &Load,
    setting: &Setting,
    seed: u64,
    matrix: &Matrix,
) -> anyhow::Result<Vec<Row>> {
    let site = Site { seed, ..setting.site.clone() };
    // What is configured is the nominal rate, whatever a replica really does.
    let policy = default_policy(setting.slo, &Site { mu: Site::default().mu, ..site.clone() });
    let mut arms = vec![Arm::tidegate(OURS, &site, &policy), Arm::hpa(&site, &policy)];
    arms.extend(keda_arms(&site, &policy, |keda| keda, ""));
    if matrix.variants {
        let cached =
            |keda| KedaSettings { polling_interval: Duration::from_secs(5), cached_metrics: true, ..keda };
        arms.extend(keda_arms(&site, &policy, cached, " 5s"));
        let eager = Site { assignor: Assignor::Eager, ..site.clone() };
        arms.extend(keda_arms(&eager, &policy, |keda| keda, " eager"));
        arms.push(Arm::tidegate(OURS_EAGER, &eager, &policy));
    }
    // What a part is worth shows on one seed: the loads are many.
    if setting.knobs && matrix.seeds.first() == Some(&seed) {
        arms.extend(
            knobs_off(&policy).into_iter().map(|(name, policy)| Arm::tidegate(&name, &site, &policy)),
        );
    }
    let spec = Run { trace: &load.trace, window: load.window, slo: setting.slo, seed, min: policy.min };
    let outcomes = run(&spec, arms, |_| ())?;
    Ok(outcomes.iter().map(Row::of).collect())
}

/// Switches one part of the rule off.
type SwitchOff = fn(&mut Knobs);

/// The rule with each of its parts off in turn.
fn knobs_off(policy: &Policy) -> Vec<(String, Policy)> {
    let parts: [(&str, SwitchOff); 6] = [
        ("forecast", |knobs| knobs.forecast = false),
        ("catch-up", |knobs| knobs.catch_up = false),
        ("rebalance price", |knobs| knobs.rebalance_price = false),
        ("packing", |knobs| knobs.packing = false),
        ("room", |knobs| knobs.room = false),
        ("budget", |knobs| knobs.budget = false),
    ];
    let without = |(name, off): (&str, SwitchOff)| {
        let mut policy = policy.clone();
        off(&mut policy.knobs);
        (format!("{WITHOUT}{name}"), policy)
    };
    parts.into_iter().map(without).collect()
}
