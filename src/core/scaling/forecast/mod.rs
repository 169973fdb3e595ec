//! What will arrive when a replica ordered now would be ready, and whether that can be believed.
//!
//! Owns a series of arrivals in steps of a minute, the models that continue it, and the record of how well each did
//! ([`Forecaster`]). Two models compete: a damped Holt-Winters and the value one period ago. Both are measured against
//! assuming that nothing changes, on forecasts that were made before the truth was known (a rolling backtest); only while
//! one was both right often enough and better is its forecast open to be used. Deliberately knows no replicas: what a
//! forecast may do is `decide`'s, and that it never takes replicas away is a property tested there.
//!
//! Everything is counted in the square root of the rate: for Poisson counts the spread of the root does not depend on the
//! rate (Anscombe, 1948), so residuals of the night are good for the day, and additive seasons cannot go below zero.

mod backtest;
mod model;
mod period;
mod steps;

use std::collections::VecDeque;
use std::time::Duration;

use backtest::{Contender, QUANTILE, Score, push};
use model::{HoltWinters, Model};
use period::PeriodFinder;
use serde::{Deserialize, Serialize};
use steps::Steps;

use super::num::{count, real};
use crate::time::{Timestamp, UnixMillis};

/// Length of a step: a few ticks, so that a mean is one; short against a start that is worth forecasting for.
const STEP: Duration = Duration::from_mins(1);
/// Longest period that is looked for: a day, and an hour, so that the hill of a day is seen from both sides.
const PERIOD_MAX: usize = 1500;
/// Steps kept: two of the longest periods, which a period needs to be seen.
const KEPT: usize = 2 * PERIOD_MAX;
/// Furthest step that is forecast: beyond the longest start that is planned with, and a tick.
const HORIZON_MAX: usize = 8;
/// Steps that fewer replicas must be enough for before some are given back: five minutes, as long as what is measured
/// must have fallen.
const AHEAD_STEPS: usize = 5;
/// Distance, in steps, that a horizon must move before the backtest begins anew for it.
const HORIZON_SLACK: f64 = 0.75;

/// Which model a forecast is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForecastModel {
    /// Damped Holt-Winters; without a period, Holt's damped trend.
    #[default]
    HoltWinters,
    /// The value one period ago.
    SeasonalNaive,
}

/// A forecast and how far it is to be believed. Rates in messages per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    /// The better model by its record.
    pub model: ForecastModel,
    /// Time from now that it is for, in seconds.
    pub horizon_secs: f64,
    /// As likely too high as too low.
    pub median: f64,
    /// Nine times in ten not exceeded.
    pub q90: f64,
    /// The highest of these over the next five minutes.
    pub ahead_q90: f64,
    /// Length of the period that was found, in seconds.
    pub period_secs: Option<f64>,
    /// Of the last 20 forecasts, those that were not exceeded.
    pub covered: u32,
    /// Mean pinball loss of these, in messages per second; `None` before the first.
    pub loss: Option<f64>,
    /// The same loss of assuming that nothing changes.
    pub loss_persistence: Option<f64>,
    /// Whether it may be used: 20 forecasts are known, 16 of them were not exceeded, and the loss is the smaller one.
    pub open: bool,
}

/// Continues a series of arrivals. Bounded: two days of steps and the seasons of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecaster {
    steps: Steps,
    /// Square roots of the rates of the last steps, oldest first.
    series: VecDeque<f32>,
    period: PeriodFinder,
    /// Steps from the last whole one to the one that is forecast.
    horizon: usize,
    holt_winters: Contender,
    seasonal_naive: Contender,
    persistence: Contender,
    /// The forecast from the last whole step.
    outlook: Option<Outlook>,
}

impl Default for Forecaster {
    fn default() -> Self {
        let mut new = Self {
            steps: Steps::default(),
            series: VecDeque::new(),
            period: PeriodFinder::default(),
            horizon: 1,
            holt_winters: Contender::new(Model::Persistence),
            seasonal_naive: Contender::new(Model::Persistence),
            persistence: Contender::new(Model::Persistence),
            outlook: None,
        };
        new.rebuild();
        new
    }
}

impl Forecaster {
    /// Takes in the mean rate of arrivals over the `interval` that ends `at`. `lead` is how far ahead a forecast is wanted.
    pub fn add(&mut self, per_sec: f64, interval: Duration, at: Timestamp, lead: Duration) {
        self.aim(lead);
        for rate in self.steps.add(per_sec.max(0.0), interval, at, STEP, KEPT) {
            self.take(root(rate));
        }
    }

    /// The target lies this far behind the last whole step: half a step on average, and the lead.
    fn aim(&mut self, lead: Duration) {
        let exact = 1.0 + lead.as_secs_f64() / STEP.as_secs_f64();
        if (exact - real(self.horizon as u64)).abs() > HORIZON_SLACK {
            let nearest = (1..=HORIZON_MAX).min_by(|a, b| {
                let far = |steps: usize| (exact - real(steps as u64)).abs();
                far(*a).total_cmp(&far(*b))
            });
            self.horizon = nearest.unwrap_or(1);
            self.rebuild();
        }
    }

    fn take(&mut self, root: f32) {
        push(&mut self.series, root, KEPT);
        if self.period.see(&self.series) {
            self.rebuild();
        } else {
            self.step(root);
            self.outlook = self.look();
        }
    }

    fn step(&mut self, root: f32) {
        for contender in [&mut self.holt_winters, &mut self.seasonal_naive, &mut self.persistence] {
            contender.step(root, self.horizon);
        }
    }

    /// Plays the kept series to new models: for another period or horizon the record of the old ones says nothing.
    fn rebuild(&mut self) {
        let period = self.period.found();
        self.holt_winters = Contender::new(Model::HoltWinters(HoltWinters::new(period)));
        self.seasonal_naive = Contender::new(Model::naive(period));
        self.persistence = Contender::new(Model::Persistence);
        for root in self.series.clone() {
            self.step(root);
        }
        self.outlook = self.look();
    }

    /// Returns the forecast of the better model; `None` before one was made.
    #[must_use]
    pub fn outlook(&self) -> Option<Outlook> {
        self.outlook
    }

    fn look(&self) -> Option<Outlook> {
        let naive_is_better =
            self.period.found().is_some() && self.seasonal_naive.score().lost_less(self.holt_winters.score());
        let (model, best) = if naive_is_better {
            (ForecastModel::SeasonalNaive, &self.seasonal_naive)
        } else {
            (ForecastModel::HoltWinters, &self.holt_winters)
        };
        let (score, persistence) = (best.score(), self.persistence.score());
        let (middle, high) = (best.residual(0.5)?, best.residual(QUANTILE)?);
        let at = |steps, residual| Some(rate(best.forecast(steps)? + residual));
        let ahead = (1..=self.horizon.max(AHEAD_STEPS)).filter_map(|steps| at(steps, high));
        let Score { covered, loss, .. } = score;
        Some(Outlook {
            model,
            horizon_secs: (STEP * count(self.horizon)).as_secs_f64(),
            median: at(self.horizon, middle)?,
            q90: at(self.horizon, high)?,
            ahead_q90: ahead.fold(0.0, f64::max),
            period_secs: self.period.found().map(|steps| (STEP * count(steps)).as_secs_f64()),
            covered,
            loss,
            loss_persistence: persistence.loss,
            open: score.is_good(persistence),
        })
    }

    /// Moves a stored forecaster to the clock of a new process: `saved_at` and `now_wall` are wall-clock times.
    ///
    /// Steps that nobody saw are filled with the forecast, so that the season stays in its place. After more than is kept,
    /// or if the wall clock went backwards, it starts anew: the season's place would be a guess.
    #[must_use]
    pub fn resume(mut self, saved_at: UnixMillis, now_wall: UnixMillis, now: Timestamp) -> Self {
        let away = u64::try_from(now_wall.0.saturating_sub(saved_at.0)).map(Duration::from_millis);
        let Some(missed) = away.ok().and_then(|away| self.steps.resume(away, now, STEP, KEPT)) else {
            return Self::default();
        };
        for _ in 0..missed {
            #[expect(clippy::cast_possible_truncation, reason = "the series is kept in single precision")]
            let guess = self.holt_winters.forecast(1).unwrap_or(0.0) as f32;
            push(&mut self.series, guess, KEPT);
            // Its own guess is no truth to be judged by.
            for contender in [&mut self.holt_winters, &mut self.seasonal_naive, &mut self.persistence] {
                contender.skip(guess, self.horizon);
            }
        }
        self.outlook = self.look();
        self
    }
}

/// Rates are kept in single precision: their noise is far larger than its error.
#[expect(
    clippy::cast_possible_truncation,
    reason = "single precision is enough, and halves two days of steps"
)]
fn root(per_sec: f64) -> f32 {
    per_sec.sqrt() as f32
}

fn rate(root: f64) -> f64 {
    root.max(0.0).powi(2)
}

#[cfg(test)]
mod tests;
