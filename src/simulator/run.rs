//! One run: a part of a trace, the same messages to several sites, and what became of them.

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::Serialize;

use crate::account::{Account, Tally, slo_steps};
use crate::arrivals::{Arrivals, poisson};
use crate::cluster::{Cluster, ORIGIN, Step};
use crate::fleet::{Fleet, PerClass};
use crate::num::whole_u32;
use crate::scalers::{Change, Scaler};
use crate::series::Series;
use crate::site::{STEP, Site, SiteError};
use crate::trace::{Trace, Window};

/// Time before a window in which the site settles; its messages do not count.
pub const WARM_UP: Duration = Duration::from_mins(30);
/// Time after a window in which its messages may still be delivered.
pub const TAIL: Duration = Duration::from_mins(15);
/// Minutes before a run that scalers are told of: more than two days, which is what a forecast keeps.
const PAST_MINUTES: u32 = 3000;
/// Fill at which a run begins: as if somebody had sized the group for the load it begins with.
const FIRST_FILL: f64 = 0.75;
/// Changes that an outcome lists; a group that changes more often than every 20 s over a day is broken anyway.
const CHANGES_MAX: usize = 4096;

/// What is run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The load.
    pub trace: &'a Trace,
    /// The part of it whose messages count.
    pub window: Window,
    /// The promise that they are judged by.
    pub slo: Duration,
    /// Chance of the arrivals; everything else is drawn from the sites' seeds.
    pub seed: u64,
    /// Fewest replicas of all scalers, which a run does not begin below.
    pub min: u32,
}

/// One site and who scales it. All sites of a run have the same devices, partitions and gateways.
pub struct Arm {
    /// Name in tables and plots.
    pub label: String,
    /// The site.
    pub site: Site,
    /// Who scales it.
    pub scaler: Box<dyn Scaler>,
}

/// What became of the messages of one site.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Name of the arm.
    pub label: String,
    /// Messages of all classes.
    pub total: Tally,
    /// Messages first sent in the window and processed, in time or not.
    pub delivered: u64,
    /// Messages by class: alarm, gateway, sensor.
    pub classes: PerClass<Tally>,
    /// Hours of replicas that a node ran, starting ones included, within the window.
    pub replica_hours: f64,
    /// Most messages in Kafka at once.
    pub peak_lag: u64,
    /// Most messages in front of Kafka at once: in spools, hold queues, or with refused devices.
    pub peak_in_front: u64,
    /// Messages refused and sent again, each time counted.
    pub refused: u64,
    /// Most replicas that were ready.
    pub peak_ready: u32,
    /// Delay in seconds that half of the messages stay within; `None` if that many were never delivered.
    pub delay_p50: Option<f64>,
    /// The same for 99 of 100.
    pub delay_p99: Option<f64>,
    /// The same for 999 of 1000.
    pub delay_p999: Option<f64>,
    /// Changes of the count within the window.
    pub changes: Vec<Change>,
    /// What happened over time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
}

impl Outcome {
    /// Returns the share of all messages that was late, 0 to 1.
    #[must_use]
    pub fn late_share(&self) -> f64 {
        self.total.late_share()
    }
}

struct Lane {
    arm: Arm,
    cluster: Cluster,
    account: Account,
    series: Series,
    outcome: Outcome,
}

/// Sends the same messages to every arm and returns what became of them, in the arms' order.
///
/// `progress` is told the part that is done, 0 to 1, about a hundred times.
///
/// # Errors
/// If a site cannot be.
///
/// # Panics
/// If the arms' sites differ in devices, partitions, gateways or seed: they could not get the same messages.
pub fn run(spec: &Run<'_>, arms: Vec<Arm>, mut progress: impl FnMut(f64)) -> Result<Vec<Outcome>, SiteError> {
    let Some(first) = arms.first().map(|arm| arm.site.clone()) else { return Ok(Vec::new()) };
    for arm in &arms {
        arm.site.check()?;
        let same =
            |site: &Site| (site.devices, site.partitions, site.gateways, site.seed, site.zipf.to_bits());
        assert_eq!(same(&arm.site), same(&first), "arms of one run get the same messages");
    }
    let step_secs = STEP.as_secs_f64();
    let step_of = |time: f64| whole_u32((time / step_secs).round());
    let begin = step_of(WARM_UP.as_secs_f64());
    let window = begin..begin + step_of(spec.window.secs).max(1);
    let end = window.end + step_of(TAIL.as_secs_f64());
    let trace_secs = |step: Step| spec.window.from_secs + (f64::from(step) - f64::from(begin)) * step_secs;

    let fleet = Fleet::new(&first);
    let mut arrivals = Arrivals::new(spec.trace, &fleet, first.partitions, step_secs, spec.seed);
    let mut lanes: Vec<Lane> = arms
        .into_iter()
        .map(|arm| {
            let needed = (spec.trace.rate_at(trace_secs(0)) / (FIRST_FILL * arm.site.mu)).ceil();
            let replicas = whole_u32(needed).clamp(spec.min.max(1), arm.site.partitions.max(spec.min.max(1)));
            Lane {
                cluster: Cluster::new(&arm.site, replicas),
                account: Account::new(slo_steps(spec.slo.as_secs_f64(), step_secs), window.clone()),
                series: Series::new(spec.window.secs),
                outcome: Outcome::new(&arm.label),
                arm,
            }
        })
        .collect();
    let every = (end / 100).max(1);
    prime(spec, &mut lanes);
    for step in 0..end {
        let batch = arrivals.at(trace_secs(step));
        let counts = window.contains(&step);
        let into = (f64::from(step) - f64::from(begin)) * step_secs;
        for lane in &mut lanes {
            lane.cluster.step(batch, &fleet, &mut lane.account);
            let before = lane.cluster.counts().0;
            let now = lane.cluster.time();
            let why = lane.arm.scaler.act(&mut lane.cluster, now);
            if counts {
                lane.observe(into, batch.total.iter().sum(), before, why);
            }
        }
        if step.is_multiple_of(every) {
            progress(f64::from(step) / f64::from(end));
        }
    }
    progress(1.0);
    Ok(lanes.into_iter().map(|lane| lane.close(step_secs)).collect())
}

/// Tells the scalers what arrived before the run, as far back as a forecast remembers: a controller that has run for days
/// has seen it. The messages are drawn as those of the run are.
fn prime(spec: &Run<'_>, lanes: &mut [Lane]) {
    let begin_secs = spec.window.from_secs - WARM_UP.as_secs_f64();
    let minutes = whole_u32((begin_secs / 60.0).floor()).min(PAST_MINUTES);
    let mut rng = StdRng::seed_from_u64(spec.seed ^ 0x9A57_0000);
    for minute in (1..=minutes).rev() {
        let rate = spec.trace.rate_at(begin_secs - 60.0 * f64::from(minute));
        let per_sec = f64::from(poisson(&mut rng, 60.0 * rate)) / 60.0;
        let at = ORIGIN - Duration::from_mins(u64::from(minute) - 1);
        for lane in &mut *lanes {
            lane.arm.scaler.prime(per_sec, Duration::from_mins(1), at);
        }
    }
}

impl Lane {
    fn observe(&mut self, into_secs: f64, sent: u32, before: u32, why: Option<String>) {
        let outcome = &mut self.outcome;
        let (ordered, placed, ready) = self.cluster.counts();
        if let Some(why) = why
            && outcome.changes.len() < CHANGES_MAX
        {
            outcome.changes.push(Change { at_secs: into_secs, from: before, to: ordered, why });
        }
        let (lag, in_front) = (self.cluster.backlog(), self.cluster.in_front().total());
        outcome.replica_hours += self.cluster.cost_secs() / 3600.0;
        outcome.peak_lag = outcome.peak_lag.max(lag);
        outcome.peak_in_front = outcome.peak_in_front.max(in_front);
        outcome.peak_ready = outcome.peak_ready.max(ready);
        self.series.add(into_secs, sent, (ordered, placed, ready), lag, in_front);
    }

    fn close(mut self, step_secs: f64) -> Outcome {
        self.cluster.close(&mut self.account);
        let account = &self.account;
        let quantile = |q| account.delay_quantile(q, step_secs);
        self.series.late(account.late_by_part());
        Outcome {
            total: account.total(),
            delivered: account.delivered(),
            classes: account.tallies(),
            refused: self.cluster.refused(),
            delay_p50: quantile(0.5),
            delay_p99: quantile(0.99),
            delay_p999: quantile(0.999),
            series: Some(self.series),
            ..self.outcome
        }
    }
}

impl Outcome {
    pub(crate) fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            total: Tally::default(),
            delivered: 0,
            classes: PerClass::default(),
            replica_hours: 0.0,
            peak_lag: 0,
            peak_in_front: 0,
            refused: 0,
            peak_ready: 0,
            delay_p50: None,
            delay_p99: None,
            delay_p999: None,
            changes: Vec::new(),
            series: None,
        }
    }
}
