//! What the rows of one load under one setting say: ours, the best KEDA at our cost, and whether the goals are met.

use tidegate_simulator::COST_MAX;

use crate::cell::{HPA, KEDA, KEDA_EAGER, KEDA_POLL, OURS, Row, real};
use crate::matrix::Setting;

/// Means over seeds.
#[derive(Clone, Debug)]
pub(crate) struct Mean {
    pub(crate) label: String,
    pub(crate) late: f64,
    /// Largest of any seed.
    pub(crate) late_most: f64,
    pub(crate) never: f64,
    pub(crate) alarms_late: f64,
    pub(crate) replica_hours: f64,
    /// Largest of any seed.
    pub(crate) peak_lag: u64,
    pub(crate) changes: f64,
}

/// Returns the mean of the arm `label` over all seeds; `None` if it was not run.
pub(crate) fn mean(seeds: &[Vec<Row>], label: &str) -> Option<Mean> {
    let rows: Vec<&Row> =
        seeds.iter().filter_map(|rows| rows.iter().find(|row| row.label == label)).collect();
    if rows.is_empty() {
        return None;
    }
    let of = |value: &dyn Fn(&Row) -> f64| {
        rows.iter().map(|row| value(row)).sum::<f64>() / real(rows.len() as u64)
    };
    Some(Mean {
        label: label.to_owned(),
        late: of(&|row| row.late),
        late_most: rows.iter().map(|row| row.late).fold(0.0, f64::max),
        never: of(&|row| row.never),
        alarms_late: of(&|row| row.alarms_late),
        replica_hours: of(&|row| row.replica_hours),
        peak_lag: rows.iter().map(|row| row.peak_lag).max().unwrap_or(0),
        changes: of(&|row| real(row.changes as u64)),
    })
}

/// All arms whose labels are `prefix` and a threshold.
pub(crate) fn thresholds(seeds: &[Vec<Row>], prefix: &str) -> Vec<Mean> {
    let labels = seeds.first().into_iter().flatten().map(|row| row.label.as_str());
    let is_one = |label: &&str| label.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u64>().is_ok());
    labels.filter(is_one).filter_map(|label| mean(seeds, label)).collect()
}

/// What one load under one setting came to.
pub(crate) struct Verdict {
    pub(crate) ours: Mean,
    /// The best KEDA on its defaults; none is as cheap: `None`.
    pub(crate) keda: Option<Mean>,
    /// The cheapest, if none is as cheap.
    pub(crate) cheapest: Option<Mean>,
    pub(crate) polled: Option<Mean>,
    pub(crate) eager: Option<Mean>,
    pub(crate) hpa: Option<Mean>,
}

/// The least late of `kedas` that costs no more than a twentieth above `hours`.
fn best(kedas: Vec<Mean>, hours: f64) -> Option<Mean> {
    let affordable = kedas.into_iter().filter(|keda| keda.replica_hours <= COST_MAX * hours);
    affordable.min_by(|a, b| a.late.total_cmp(&b.late).then(a.replica_hours.total_cmp(&b.replica_hours)))
}

impl Verdict {
    /// Returns `None` without results.
    pub(crate) fn of(seeds: &[Vec<Row>]) -> Option<Self> {
        let ours = mean(seeds, OURS)?;
        let best = |prefix, hours| best(thresholds(seeds, prefix), hours);
        let cheapest =
            thresholds(seeds, KEDA).into_iter().min_by(|a, b| a.replica_hours.total_cmp(&b.replica_hours));
        let eager_hours =
            mean(seeds, crate::cell::OURS_EAGER).map_or(ours.replica_hours, |eager| eager.replica_hours);
        Some(Self {
            keda: best(KEDA, ours.replica_hours),
            cheapest,
            polled: best(KEDA_POLL, ours.replica_hours),
            eager: best(KEDA_EAGER, eager_hours),
            hpa: mean(seeds, HPA),
            ours,
        })
    }

    /// KEDA to compare with: the best at our cost, or the cheapest.
    pub(crate) fn peer(&self) -> Option<&Mean> {
        self.keda.as_ref().or(self.cheapest.as_ref())
    }

    /// Returns whether our late share is at most the peer's.
    pub(crate) fn is_no_later(&self) -> bool {
        self.peer().is_none_or(|keda| self.ours.late <= keda.late)
    }

    /// Returns whether some KEDA is no later and at least a twentieth cheaper: then our cost bought nothing.
    pub(crate) fn is_beaten(&self, seeds: &[Vec<Row>]) -> bool {
        let beats = |keda: &Mean| {
            keda.late <= self.ours.late && COST_MAX * keda.replica_hours < self.ours.replica_hours
        };
        thresholds(seeds, KEDA).iter().any(beats)
    }

    /// Our replica-hours as a multiple of the peer's.
    pub(crate) fn cost(&self) -> f64 {
        self.peer().map_or(1.0, |keda| self.ours.replica_hours / keda.replica_hours.max(f64::MIN_POSITIVE))
    }

    /// Returns the goals that are missed, in words.
    pub(crate) fn misses(&self, setting: &Setting, periodic: bool) -> Vec<String> {
        let Some(keda) = self.peer() else { return Vec::new() };
        let mut misses = Vec::new();
        if !self.is_no_later() {
            misses.push(format!("late share {} > {}", percent(self.ours.late), percent(keda.late)));
        }
        if self.cost() > COST_MAX {
            misses.push(format!("{:.2} x its replica-hours", self.cost()));
        }
        if periodic && setting.starts_slowly() && !setting.is_capped() && self.ours.late > keda.late / 5.0 {
            misses.push(format!(
                "late share {} > a fifth of {}",
                percent(self.ours.late),
                percent(keda.late)
            ));
        }
        if setting.is_capped() {
            if self.ours.alarms_late >= 0.0005 {
                misses.push(format!("alarms late {}", percent(self.ours.alarms_late)));
            }
            if self.ours.peak_lag > keda.peak_lag / 100 && self.is_short() {
                misses.push(format!(
                    "peak Kafka lag {} > a hundredth of {}",
                    self.ours.peak_lag, keda.peak_lag
                ));
            }
        }
        misses
    }

    /// Whether room was short at all: then nobody could be in time.
    fn is_short(&self) -> bool {
        self.cheapest.as_ref().is_some_and(|_| self.peer().is_some_and(|keda| keda.late > 0.0))
    }
}

/// Returns a share for a table.
pub(crate) fn percent(share: f64) -> String {
    tidegate_simulator::report::percent(share)
}
