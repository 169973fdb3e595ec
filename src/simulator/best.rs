//! Which KEDA a result is compared with: the best that its one knob can be set to, afterwards, for that very load.

use crate::run::Outcome;

/// `lagThreshold`s tried: KEDA's default of 10 and seven more, up to sixteen seconds of a replica's work at mu = 100.
pub const THRESHOLDS: [u64; 8] = [10, 25, 50, 100, 200, 400, 800, 1600];
/// Replica-hours that a KEDA may cost, as a multiple of ours.
pub const COST_MAX: f64 = 1.05;

/// Returns the index of the best of `kedas`: the lowest late share among those that cost at most [`COST_MAX`] times what
/// `ours` does, and the cheaper of equals. `None` if all cost more.
#[must_use]
pub fn best_keda(ours: &Outcome, kedas: &[Outcome]) -> Option<usize> {
    let affordable =
        kedas.iter().enumerate().filter(|(_, keda)| keda.replica_hours <= COST_MAX * ours.replica_hours);
    let better = |a: &Outcome, b: &Outcome| {
        a.late_share().total_cmp(&b.late_share()).then(a.replica_hours.total_cmp(&b.replica_hours))
    };
    affordable.min_by(|(_, a), (_, b)| better(a, b)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Tally;

    fn outcome(late: u64, replica_hours: f64) -> Outcome {
        let total = Tally { sent: 1000, late, never: 0 };
        Outcome { total, replica_hours, ..Outcome::new("keda") }
    }

    #[test]
    fn the_best_is_the_least_late_that_costs_no_more_than_a_twentieth_above_ours() {
        let ours = outcome(30, 100.0);
        let kedas = [outcome(0, 300.0), outcome(10, 105.0), outcome(10, 90.0), outcome(200, 50.0)];
        assert_eq!(best_keda(&ours, &kedas), Some(2));
        assert_eq!(best_keda(&ours, &kedas[..1]), None);
    }
}
