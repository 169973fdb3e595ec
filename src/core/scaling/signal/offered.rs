//! What devices would send if nothing held them back, where only sums are known.
//!
//! The load that a back-pressured device would offer cannot be observed. So the mean of the last minute is frozen when a
//! constraint begins, and assumed from then on: `offered = unconstrained measured + max(admitted, base)` over the
//! constrained, with base no more than their quota and halved every ten minutes, so that an old guess does not hold
//! replicas for ever. [`crate::admission::Demand`] does the same for one device, in the gateway; this is for whoever sees
//! a class as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scaling::ewma::Ewma;
use crate::scaling::observation::Offered;
use crate::time::Timestamp;
use crate::wire::OfferedLoad;

/// Memory of the mean that is frozen.
const BASE_MEMORY: Duration = Duration::from_mins(1);
/// A frozen mean loses half of itself in this time.
const HALVED_EVERY: Duration = Duration::from_mins(10);

/// An offered load and how much of it is a guess.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Messages per second.
    pub per_sec: f64,
    /// Share of it that was not measured, 0 to 1.
    pub censored: f64,
}

/// Estimates what one class of devices offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadEstimator {
    /// Mean of what the devices sent that are constrained now, from when they were not.
    base: Ewma,
    frozen_at: Option<Timestamp>,
}

impl LoadEstimator {
    /// Takes in what arrived over `interval` from devices that may be held back, and whether they are.
    pub fn see(&mut self, per_sec: f64, constrained: bool, interval: Duration, now: Timestamp) {
        if constrained {
            self.frozen_at.get_or_insert(now);
        } else {
            self.frozen_at = None;
            self.base.add(per_sec, interval, BASE_MEMORY);
        }
    }

    /// Returns the offered load in messages per second.
    ///
    /// `unconstrained` is what arrives from devices that nothing holds back, `admitted` what is let in of the others, and
    /// `quota` all that admission would ever let in of these.
    #[must_use]
    pub fn estimate(&self, unconstrained: f64, admitted: f64, quota: f64, now: Timestamp) -> Estimate {
        let age = self.frozen_at.map_or(Duration::ZERO, |since| now.since(since));
        let halvings = age.as_secs_f64() / HALVED_EVERY.as_secs_f64();
        let mean = self.base.rate().map_or(0.0, |rate| rate.per_sec);
        let base = if self.frozen_at.is_some() { (mean * 0.5_f64.powf(halvings)).min(quota) } else { 0.0 };
        let per_sec = unconstrained + admitted.max(base);
        let hidden = (base - admitted).max(0.0);
        Estimate { per_sec, censored: if per_sec > 0.0 { hidden / per_sec } else { 0.0 } }
    }
}

impl Offered {
    /// Sums what gateways report for a group's topics; `None` of nothing. The censored shares are weighted by the rates.
    pub fn sum<'a>(loads: impl IntoIterator<Item = (&'a OfferedLoad, bool)>) -> Option<Self> {
        let mut sum: Option<(f64, f64, bool)> = None;
        for (load, burst) in loads {
            let per_sec = if load.offered_est.is_finite() { load.offered_est.max(0.0) } else { 0.0 };
            let censored = if load.censored.is_finite() { load.censored.clamp(0.0, 1.0) } else { 1.0 };
            let (rate, hidden, bursting) = sum.unwrap_or_default();
            sum = Some((rate + per_sec, hidden + per_sec * censored, bursting || burst));
        }
        let (rate, hidden, burst) = sum?;
        Some(Self { rate, burst, censored: if rate > 0.0 { hidden / rate } else { 0.0 } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    /// 80 msg/s for ten minutes, then held back to 20.
    fn held_back() -> LoadEstimator {
        let mut load = LoadEstimator::default();
        for secs in 1..=600 {
            load.see(80.0, false, Duration::from_secs(1), at(secs));
        }
        for secs in 601..=900 {
            load.see(20.0, true, Duration::from_secs(1), at(secs));
        }
        load
    }

    #[test]
    fn what_is_free_is_measured_and_nothing_is_censored() {
        let estimate = LoadEstimator::default().estimate(30.0, 5.0, 100.0, at(1));
        assert_eq!(estimate, Estimate { per_sec: 35.0, censored: 0.0 });
    }

    #[test]
    fn a_constraint_freezes_the_mean_and_halves_it_every_ten_minutes() {
        let load = held_back();
        let estimate = load.estimate(100.0, 20.0, 1_000.0, at(601));
        assert!((estimate.per_sec - 180.0).abs() < 0.1, "{estimate:?}");
        assert!((estimate.censored - 60.0 / 180.0).abs() < 0.01, "{estimate:?}");
        let later = load.estimate(100.0, 20.0, 1_000.0, at(1_201));
        assert!((later.per_sec - 140.0).abs() < 0.1, "{later:?}");
        assert!((load.estimate(0.0, 20.0, 1_000.0, at(9_000)).per_sec - 20.0).abs() < 1e-9);
    }

    #[test]
    fn no_more_than_the_quota_is_assumed_and_no_less_than_what_came() {
        let load = held_back();
        assert!((load.estimate(0.0, 20.0, 50.0, at(601)).per_sec - 50.0).abs() < 1e-9);
        assert!((load.estimate(0.0, 95.0, 50.0, at(601)).per_sec - 95.0).abs() < 1e-9);
    }

    #[test]
    fn a_constraint_that_ends_is_over() {
        let mut load = held_back();
        load.see(70.0, false, Duration::from_secs(1), at(901));
        assert!(load.estimate(0.0, 70.0, 1_000.0, at(901)).censored.abs() < f64::EPSILON);
    }

    #[test]
    fn reports_are_summed_and_their_censoring_weighted() {
        let load = |offered_est, censored| OfferedLoad { offered_est, censored, ..OfferedLoad::default() };
        let (a, b) = (load(300.0, 0.5), load(100.0, 0.1));
        let sum = Offered::sum([(&a, false), (&b, true)]).unwrap();
        assert!((sum.rate - 400.0).abs() < 1e-9 && sum.burst && (sum.censored - 0.4).abs() < 1e-9);
        assert_eq!(Offered::sum([]), None);
        let broken = load(f64::NAN, f64::NAN);
        assert_eq!(
            Offered::sum([(&broken, false)]),
            Some(Offered { rate: 0.0, burst: false, censored: 0.0 })
        );
    }
}
