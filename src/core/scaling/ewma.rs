//! A mean rate that forgets, and how far chance alone can move it.
//!
//! Samples may be unevenly spaced. The mean is corrected for its start (weights are normalised by their sum), so the
//! second sample is not pulled towards zero, and it keeps what its own noise needs: for a Poisson stream of rate `l`
//! a mean with weights `w_i` over intervals `t_i` has variance `l x sum(w_i^2 / t_i)`. One over that sum is the
//! time that a plain count would have to last to be as good: the mean's *worth* (30 s for a settled 15 s average).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Exponentially weighted mean of a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ewma {
    sum: f64,
    weight: f64,
    squares_per_sec: f64,
}

/// A rate in messages per second and the seconds of plain counting it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) per_sec: f64,
    pub(super) worth_secs: f64,
}

impl Ewma {
    /// Takes in a mean rate that held over `interval`; `memory` is the time constant.
    pub(super) fn add(&mut self, per_sec: f64, interval: Duration, memory: Duration) {
        let secs = interval.as_secs_f64();
        if secs <= 0.0 {
            return;
        }
        let keep = (-secs / memory.as_secs_f64()).exp();
        let new = 1.0 - keep;
        self.sum = self.sum.mul_add(keep, per_sec * new);
        self.weight = self.weight.mul_add(keep, new);
        self.squares_per_sec = self.squares_per_sec.mul_add(keep * keep, new * new / secs);
    }

    /// Returns the mean; `None` before the first sample.
    pub(super) fn rate(&self) -> Option<Rate> {
        (self.weight > 0.0).then(|| Rate {
            per_sec: self.sum / self.weight,
            worth_secs: self.weight * self.weight / self.squares_per_sec,
        })
    }
}

impl Rate {
    /// Returns the smallest true rate that `deviations` standard deviations of Poisson noise can lift to this one:
    /// the `l` that solves `l + z sqrt(l / worth) = rate`.
    pub(super) fn at_least(self, deviations: f64) -> f64 {
        let noise = deviations / self.worth_secs.sqrt();
        let root = 0.5 * (noise.mul_add(noise, 4.0 * self.per_sec).sqrt() - noise);
        root * root
    }

    /// Returns this rate plus `deviations` standard deviations of its Poisson noise.
    pub(super) fn at_most(self, deviations: f64) -> f64 {
        self.per_sec + deviations * (self.per_sec / self.worth_secs).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(5);
    const MEMORY: Duration = Duration::from_secs(15);

    #[test]
    fn the_first_sample_is_the_mean() {
        let mut mean = Ewma::default();
        assert_eq!(mean.rate(), None);
        mean.add(80.0, TICK, MEMORY);
        let rate = mean.rate().unwrap();
        assert!((rate.per_sec - 80.0).abs() < 1e-9 && (rate.worth_secs - 5.0).abs() < 1e-9);
    }

    #[test]
    fn uneven_ticks_do_not_bias_a_constant_rate() {
        let mut mean = Ewma::default();
        for millis in [5000, 700, 9100, 40, 5000] {
            mean.add(12.5, Duration::from_millis(millis), MEMORY);
        }
        assert!((mean.rate().unwrap().per_sec - 12.5).abs() < 1e-9);
    }

    #[test]
    fn a_settled_mean_is_worth_twice_its_memory() {
        let mut mean = Ewma::default();
        for _ in 0..10_000 {
            mean.add(1.0, Duration::from_millis(100), MEMORY);
        }
        assert!((mean.rate().unwrap().worth_secs - 30.0).abs() < 0.1);
    }

    #[test]
    fn the_lower_bound_is_where_noise_reaches_up_to_the_rate() {
        let rate = Rate { per_sec: 120.0, worth_secs: 30.0 };
        let low = rate.at_least(3.0);
        assert!(low < 120.0 && (Rate { per_sec: low, ..rate }.at_most(3.0) - 120.0).abs() < 1e-6);
        assert!(Rate { per_sec: 0.0, worth_secs: 5.0 }.at_least(3.0).abs() < 1e-9);
    }

    #[test]
    fn a_sample_without_duration_changes_nothing() {
        let mut mean = Ewma::default();
        mean.add(80.0, Duration::ZERO, MEMORY);
        assert_eq!(mean.rate(), None);
    }
}
