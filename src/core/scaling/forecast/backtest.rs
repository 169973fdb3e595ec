//! A model and the record of its forecasts: how far off it was, and how often a forecast was exceeded.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::model::Model;
use super::rate;
use crate::scaling::num::{count, real};

/// Quantile that a group is sized for: exceeded once in ten times.
pub(super) const QUANTILE: f64 = 0.9;
/// Forecasts that a record is judged by.
const JUDGED: usize = 20;
/// Of these, how many must not have been exceeded: 80 %.
const COVERED_MIN: u32 = 16;
/// Residuals that quantiles are taken of: two hours of steps.
const RESIDUALS: usize = 120;
/// Residuals below which a quantile of nine in ten means nothing.
const RESIDUALS_MIN: usize = 10;

/// Record of the last forecasts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    pub(super) forecasts: u32,
    /// Forecasts that were not exceeded.
    pub(super) covered: u32,
    /// Mean pinball loss in messages per second; `None` without a forecast.
    pub(super) loss: Option<f64>,
}

impl Score {
    /// Returns whether the model may be believed: it was right often enough, and lost less than `persistence`.
    pub(super) fn is_good(self, persistence: Self) -> bool {
        self.forecasts >= count(JUDGED) && self.covered >= COVERED_MIN && self.lost_less(persistence)
    }

    pub(super) fn lost_less(self, other: Self) -> bool {
        self.loss.zip(other.loss).is_some_and(|(loss, other)| loss < other)
    }
}

/// A forecast whose truth is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    value: f64,
    /// The quantile as it was said then.
    quantile: Option<f64>,
}

/// A model that competes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Contender {
    model: Model,
    newest: f32,
    /// One for each of the next steps, as many as the horizon.
    pending: VecDeque<Option<Pending>>,
    residuals: VecDeque<f32>,
    /// Whether it was covered, and the loss.
    judged: VecDeque<(bool, f64)>,
}

impl Contender {
    pub(super) fn new(model: Model) -> Self {
        Self {
            model,
            newest: 0.0,
            pending: VecDeque::new(),
            residuals: VecDeque::new(),
            judged: VecDeque::new(),
        }
    }

    /// Takes in the truth of the next step and forecasts the one `horizon` steps after it.
    pub(super) fn step(&mut self, truth: f32, horizon: usize) {
        if self.pending.len() >= horizon
            && let Some(Some(said)) = self.pending.pop_front()
        {
            self.judge(said, truth);
        }
        self.go_on(truth, horizon);
    }

    /// Takes in a value that nobody saw: it moves the model on and proves nothing.
    pub(super) fn skip(&mut self, guess: f32, horizon: usize) {
        if self.pending.len() >= horizon {
            self.pending.pop_front();
        }
        self.go_on(guess, horizon);
    }

    fn go_on(&mut self, value: f32, horizon: usize) {
        self.model.learn(value);
        self.newest = value;
        let said = self.forecast(horizon).map(|value| Pending {
            value,
            quantile: self.residual(QUANTILE).map(|residual| value + residual),
        });
        self.pending.push_back(said);
    }

    fn judge(&mut self, said: Pending, truth: f32) {
        #[expect(clippy::cast_possible_truncation, reason = "residuals are kept in single precision")]
        push(&mut self.residuals, (f64::from(truth) - said.value) as f32, RESIDUALS);
        if let Some(quantile) = said.quantile {
            let (truth, said) = (rate(f64::from(truth)), rate(quantile));
            push(&mut self.judged, (truth <= said, pinball(QUANTILE, truth, said)), JUDGED);
        }
    }

    /// Returns the value `steps` after the newest.
    pub(super) fn forecast(&self, steps: usize) -> Option<f64> {
        self.model.forecast(steps, self.newest)
    }

    /// Returns what the truth was above the forecast in this part of the cases, at most.
    pub(super) fn residual(&self, part: f64) -> Option<f64> {
        let mut sorted: Vec<f32> = self.residuals.iter().copied().collect();
        if sorted.len() < RESIDUALS_MIN {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of at most 120 residuals"
        )]
        let index = ((part * real(sorted.len() as u64)).ceil() as usize).clamp(1, sorted.len()) - 1;
        let (_, value, _) = sorted.select_nth_unstable_by(index, f32::total_cmp);
        Some(f64::from(*value))
    }

    pub(super) fn score(&self) -> Score {
        let forecasts = count(self.judged.len());
        let covered = count(self.judged.iter().filter(|(covered, _)| *covered).count());
        let sum: f64 = self.judged.iter().map(|(_, loss)| loss).sum();
        let loss = (forecasts > 0).then(|| sum / f64::from(forecasts));
        Score { forecasts, covered, loss }
    }
}

/// Returns the loss of having said that `part` of all cases stay below `said`: its mean is least for the true quantile
/// (Koenker & Bassett, 1978).
fn pinball(part: f64, truth: f64, said: f64) -> f64 {
    if truth >= said { part * (truth - said) } else { (1.0 - part) * (said - truth) }
}

pub(super) fn push<T>(ring: &mut VecDeque<T>, value: T, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falling_short_costs_nine_times_what_too_much_does() {
        assert!((pinball(0.9, 110.0, 100.0) - 9.0).abs() < 1e-9);
        assert!((pinball(0.9, 90.0, 100.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_forecast_is_judged_when_its_step_is_over_and_by_what_was_said_then() {
        let mut contender = Contender::new(Model::Persistence);
        for step in 0..12_u8 {
            contender.step(f32::from(step), 3);
        }
        // Each value is three above the one three steps ago.
        assert_eq!(contender.residual(0.5), None, "nine forecasts are too few");
        contender.step(12.0, 3);
        assert_eq!(contender.residual(0.5), Some(3.0));
        assert_eq!(contender.score().forecasts, 0, "no quantile had been said of what is known now");
        (13..60_u8).for_each(|step| contender.step(f32::from(step), 3));
        let Score { forecasts, covered, loss } = contender.score();
        assert_eq!((forecasts, covered), (20, 20));
        assert!(loss.unwrap().abs() < 1e-6, "a constant error is corrected: {loss:?}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut contender = Contender::new(Model::Persistence);
        (0..5_000_u16).for_each(|step| contender.step(f32::from(step % 7), 4));
        assert_eq!(
            (contender.pending.len(), contender.residuals.len(), contender.judged.len()),
            (4, RESIDUALS, JUDGED)
        );
    }
}
