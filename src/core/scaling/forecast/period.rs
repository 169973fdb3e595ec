//! Finds the period of a series by its autocorrelation, a few lags at each step.
//!
//! The autocorrelation at lag k is that of Hyndman & Athanasopoulos, section 2.8, but for the denominator: the
//! products of `x_t - m` and `x_(t-k) - m` are divided by the squares of the same terms, and not of all, so that half
//! a wave at an end of the series does not shift the peak. A slow wave is like itself at small lags too, so a period
//! is the highest value *after* the first fall, and the smallest lag that comes near it: every multiple of a period
//! is one as well.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::PERIOD_MAX;
use crate::scaling::num::real;

/// Lags computed at each step: a whole sweep over a day takes an hour, and a step a few ten thousand multiplications.
const LAGS_PER_STEP: usize = 24;
/// Shortest period: below it, a step is not much shorter than the wave.
const PERIOD_MIN: usize = 3;
/// What the autocorrelation must have fallen to before a rise can be a period.
const FALLEN: f32 = 0.2;
/// Least autocorrelation of a period.
const PERIOD_LEAST: f32 = 0.5;
/// A lag this near the highest is taken if it is smaller.
const NEAR: f32 = 0.9;
/// Where a hill is over, as a part of the highest: noise near its foot must not make two of one.
const HILL_OVER: f32 = 0.5;
/// Where the top of a hill begins.
const TOP: f32 = 0.97;
/// What a new period must be better by before it replaces the old one, whose models are settled.
const BETTER_BY: f32 = 0.05;

/// Sweeps over the lags.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PeriodFinder {
    found: Option<usize>,
    /// Values at the lags 1, 2, ... of this sweep.
    correlations: Vec<f32>,
}

impl PeriodFinder {
    pub(super) fn found(&self) -> Option<usize> {
        self.found
    }

    /// Goes on with the sweep over `series`, whose newest value is new; returns whether the period changed.
    pub(super) fn see(&mut self, series: &VecDeque<f32>) -> bool {
        let most = (series.len() / 2).min(PERIOD_MAX);
        if most < PERIOD_MIN {
            return false;
        }
        let mean = series.iter().map(|value| f64::from(*value)).sum::<f64>() / real(series.len() as u64);
        let deviations: Vec<f64> = series.iter().map(|value| f64::from(*value) - mean).collect();
        let energy: Vec<f64> = deviations
            .iter()
            .scan(0.0, |sum, value| {
                *sum += value * value;
                Some(*sum)
            })
            .collect();
        for _ in 0..LAGS_PER_STEP {
            if self.correlations.len() >= most {
                let before = self.found;
                self.found = self.judge();
                self.correlations.clear();
                return self.found != before;
            }
            let lag = self.correlations.len() + 1;
            self.correlations.push(autocorrelation(&deviations, &energy, lag));
        }
        false
    }

    fn judge(&self) -> Option<usize> {
        let fallen = self.correlations.iter().position(|value| *value < FALLEN)?;
        let highest = self.correlations[fallen..].iter().copied().fold(0.0, f32::max);
        if highest < PERIOD_LEAST {
            return None;
        }
        // The first hill that comes near the highest, to where it is over.
        let begin = fallen + self.correlations[fallen..].iter().position(|value| *value >= NEAR * highest)?;
        let over = |value: &f32| *value < HILL_OVER * highest;
        let end = self.correlations[begin..].iter().position(over);
        let hill = &self.correlations[begin..end.map_or(self.correlations.len(), |length| begin + length)];
        // The middle of its top is surer than the one lag that noise made the highest.
        let top = TOP * hill.iter().copied().fold(0.0, f32::max);
        let first = hill.iter().position(|value| *value >= top)?;
        let last = hill.iter().rposition(|value| *value >= top)?;
        let lag = begin + 1 + usize::midpoint(first, last);
        Some(self.kept(lag, highest).unwrap_or(lag)).filter(|lag| *lag >= PERIOD_MIN)
    }

    /// Returns the period found before if `lag` is no reason to leave it: as good as the same, or another multiple
    /// that is hardly better.
    fn kept(&self, lag: usize, highest: f32) -> Option<usize> {
        let before = self.found?;
        let value = *self.correlations.get(before - 1)?;
        let apart = before.abs_diff(lag);
        let same = apart <= before / 100;
        let other_hill = apart > before / 4 && value + BETTER_BY >= highest;
        (value >= PERIOD_LEAST && (same || other_hill)).then_some(before)
    }
}

/// Returns the autocorrelation at `lag` of values whose mean is taken off; `energy` are the running sums of their
/// squares.
#[expect(clippy::cast_possible_truncation, reason = "a correlation is compared with two digits")]
fn autocorrelation(deviations: &[f64], energy: &[f64], lag: usize) -> f32 {
    let (pairs, whole) = (deviations.len() - lag, energy[energy.len() - 1]);
    let both = energy[pairs - 1] * (whole - energy[lag - 1]);
    if both <= f64::EPSILON {
        return 0.0;
    }
    let products: f64 = deviations.iter().zip(&deviations[lag..]).map(|(a, b)| a * b).sum();
    (products / both.sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::scaling::forecast::KEPT;

    /// Looks at the last steps only: two sweeps and a bit.
    fn sweep_last(steps: usize, of: impl Fn(usize) -> f32) -> PeriodFinder {
        look(steps, steps.saturating_sub(140), of)
    }

    fn sweep(steps: usize, of: impl Fn(usize) -> f32) -> PeriodFinder {
        look(steps, 0, of)
    }

    fn look(steps: usize, from: usize, of: impl Fn(usize) -> f32) -> PeriodFinder {
        let mut rng = StdRng::seed_from_u64(5);
        let (mut finder, mut series) = (PeriodFinder::default(), VecDeque::new());
        for step in 0..steps {
            if series.len() == KEPT {
                series.pop_front();
            }
            series.push_back(of(step) + rng.random_range(-1.0..1.0));
            if step >= from {
                finder.see(&series);
            }
        }
        finder
    }

    fn wave(period: usize, height: f32) -> impl Fn(usize) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        move |step| 20.0 + height * (std::f32::consts::TAU * step as f32 / period as f32).sin()
    }

    #[test]
    fn waves_between_minutes_and_a_day_are_found() {
        for period in [5, 12, 60, 480] {
            let found = sweep_last(KEPT, wave(period, 5.0)).found().unwrap();
            assert!(found.abs_diff(period) <= 1 + period / 50, "{period}: {found}");
        }
        let day = sweep_last(KEPT + 200, wave(1440, 5.0)).found().unwrap();
        assert!(day.abs_diff(1440) <= 30, "{day}");
    }

    #[test]
    fn spikes_are_a_period_too() {
        let spikes = |step: usize| if step.is_multiple_of(15) { 40.0 } else { 10.0 };
        assert_eq!(sweep(600, spikes).found(), Some(15));
    }

    #[test]
    fn noise_and_a_single_rise_are_no_period() {
        assert_eq!(sweep_last(KEPT, |_| 20.0).found(), None);
        assert_eq!(sweep(1_000, |step| if step < 500 { 10.0 } else { 30.0 }).found(), None);
    }

    #[test]
    fn a_period_is_kept_while_it_holds_and_dropped_when_it_is_over() {
        let day_and_noise = |step| if step < 1_000 { wave(60, 5.0)(step) } else { 20.0 };
        assert_eq!(sweep(900, wave(60, 5.0)).found(), Some(60));
        assert_eq!(sweep(4_200, day_and_noise).found(), None);
    }
}
