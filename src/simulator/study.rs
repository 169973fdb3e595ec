//! A comparison: the rule beside the autoscalers that it is judged against, over the same messages.

use std::time::Duration;

use tidegate_core::scaling::Policy;

use crate::best::{THRESHOLDS, best_keda};
use crate::report::Study;
use crate::run::{Arm, Run, run};
use crate::scalers::{CpuHpa, Keda, KedaSettings, Scaler, Tidegate};
use crate::site::{Site, SiteError};

/// Utilisation that the HPA aims at: `averageUtilization` 80, what an HPA without metrics is given.
pub const HPA_TARGET: f64 = 0.8;

/// Whom the rule is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peers {
    /// KEDA with each of [`THRESHOLDS`].
    pub keda: bool,
    /// The HPA on CPU.
    pub hpa: bool,
}

/// Returns KEDA with each threshold, between the policy's counts.
#[must_use]
pub fn keda_arms(
    site: &Site,
    policy: &Policy,
    settings: impl Fn(KedaSettings) -> KedaSettings,
    suffix: &str,
) -> Vec<Arm> {
    let arm = |lag_threshold: u64| {
        let keda = KedaSettings { lag_threshold, ..KedaSettings::new(policy.min, policy.max) };
        Arm::new(&format!("KEDA{suffix} {lag_threshold}"), site, Keda::new(settings(keda)))
    };
    THRESHOLDS.map(arm).into()
}

impl Arm {
    /// Returns an arm.
    pub fn new(label: &str, site: &Site, scaler: impl Scaler + 'static) -> Self {
        Self { label: label.to_owned(), site: site.clone(), scaler: Box::new(scaler) }
    }

    /// Returns the rule under `policy`.
    #[must_use]
    pub fn tidegate(label: &str, site: &Site, policy: &Policy) -> Self {
        Self::new(label, site, Tidegate::new(policy.clone()))
    }

    /// Returns the HPA on CPU between the policy's counts.
    #[must_use]
    pub fn hpa(site: &Site, policy: &Policy) -> Self {
        Self::new("HPA on CPU", site, CpuHpa::new(HPA_TARGET, policy.min.max(1), policy.max))
    }
}

/// Runs the comparison. `command` is what makes it again.
///
/// # Errors
/// If the site cannot be.
pub fn study(
    spec: &Run<'_>,
    site: &Site,
    policy: &Policy,
    peers: Peers,
    command: &str,
    progress: impl FnMut(f64),
) -> Result<Study, SiteError> {
    let mut arms = vec![Arm::tidegate("Tidegate", site, policy)];
    if peers.keda {
        arms.extend(keda_arms(site, policy, |keda| keda, ""));
    }
    let kedas = arms.len() - 1;
    if peers.hpa {
        arms.push(Arm::hpa(site, policy));
    }
    let mut outcomes = run(spec, arms, progress)?;
    let others = outcomes.split_off(1 + kedas);
    let kedas = outcomes.split_off(1);
    let ours = outcomes.remove(0);
    Ok(Study {
        trace: spec.trace.name.clone(),
        window: spec.window,
        slo_secs: spec.slo.as_secs_f64(),
        site: site.clone(),
        command: command.to_owned(),
        best_keda: best_keda(&ours, &kedas),
        ours,
        kedas,
        others,
    })
}

/// Returns the policy that simulations use unless told otherwise: what one replica does is as configured.
#[must_use]
pub fn default_policy(slo: Duration, site: &Site) -> Policy {
    Policy { capacity_per_replica: Some(site.mu), ..Policy::new(slo, 1, site.partitions) }
}
