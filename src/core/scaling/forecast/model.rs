//! Models that continue a series by some steps. Values are square roots of rates.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::scaling::num::count;

/// Weight of a new value in the level.
const ALPHA: f64 = 0.3;
/// Weight of a new slope in the trend.
const BETA: f64 = 0.1;
/// Weight of a new value in its season.
const GAMMA: f64 = 0.2;
/// What is left of the trend after a step: a rise is not carried on for ever (Gardner & `McKenzie`, 1985).
const PHI: f64 = 0.9;

/// A model of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Model {
    HoltWinters(HoltWinters),
    /// The values of the last period.
    SeasonalNaive {
        period: usize,
        last: VecDeque<f32>,
    },
    /// Nothing changes.
    Persistence,
}

/// Damped Holt-Winters with additive seasons: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed.,
/// section 8.3. Without a period it is Holt's method with a damped trend (section 8.2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct HoltWinters {
    level: Option<f64>,
    trend: f64,
    /// Deviation of each step of a period from the level; empty without one.
    seasons: Vec<f32>,
    /// Season of the next value.
    next: usize,
    /// Values of the first period, from which level and seasons begin.
    first: Vec<f32>,
}

impl Model {
    pub(super) fn naive(period: Option<usize>) -> Self {
        period.map_or(Self::Persistence, |period| Self::SeasonalNaive { period, last: VecDeque::new() })
    }

    /// Takes in the next value.
    pub(super) fn learn(&mut self, value: f32) {
        match self {
            Self::HoltWinters(model) => model.learn(value),
            Self::SeasonalNaive { period, last } => {
                if last.len() == *period {
                    last.pop_front();
                }
                last.push_back(value);
            }
            Self::Persistence => {}
        }
    }

    /// Returns the value `steps` after the newest, `newest`; `None` while too little is known.
    pub(super) fn forecast(&self, steps: usize, newest: f32) -> Option<f64> {
        match self {
            Self::HoltWinters(model) => model.forecast(steps),
            Self::SeasonalNaive { period, last } if last.len() == *period => {
                last.get((steps - 1) % period).map(|value| f64::from(*value))
            }
            Self::SeasonalNaive { .. } => None,
            Self::Persistence => Some(f64::from(newest)),
        }
    }
}

impl HoltWinters {
    pub(super) fn new(period: Option<usize>) -> Self {
        Self { seasons: vec![0.0; period.unwrap_or(0)], ..Self::default() }
    }

    #[expect(clippy::cast_possible_truncation, reason = "seasons are kept in single precision")]
    fn learn(&mut self, value: f32) {
        let y = f64::from(value);
        let Some(level) = self.level else { return self.begin(value) };
        let season = self.seasons.get(self.next).map_or(0.0, |season| f64::from(*season));
        let before = level + PHI * self.trend;
        let now = ALPHA * (y - season) + (1.0 - ALPHA) * before;
        self.trend = BETA * (now - level) + (1.0 - BETA) * PHI * self.trend;
        self.level = Some(now);
        if let Some(kept) = self.seasons.get_mut(self.next) {
            *kept = (GAMMA * (y - before) + (1.0 - GAMMA) * season) as f32;
            self.next = (self.next + 1) % self.seasons.len();
        }
    }

    /// The first period gives the level, as its mean, and the seasons, as what is left; the next value is of season 0 again.
    #[expect(clippy::cast_possible_truncation, reason = "seasons are kept in single precision")]
    fn begin(&mut self, value: f32) {
        self.first.push(value);
        if self.first.len() >= self.seasons.len().max(1) {
            let first = std::mem::take(&mut self.first);
            let mean =
                first.iter().map(|value| f64::from(*value)).sum::<f64>() / f64::from(count(first.len()));
            self.level = Some(mean);
            for (season, value) in self.seasons.iter_mut().zip(first) {
                *season = (f64::from(value) - mean) as f32;
            }
        }
    }

    fn forecast(&self, steps: usize) -> Option<f64> {
        let damped: f64 = (1..=steps).map(|step| PHI.powi(i32::try_from(step).unwrap_or(i32::MAX))).sum();
        let season = match self.seasons.len() {
            0 => 0.0,
            period => f64::from(self.seasons[(self.next + steps - 1) % period]),
        };
        Some(self.level? + damped * self.trend + season)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_steps_follow_the_formulas() {
        let mut model = HoltWinters::new(None);
        model.learn(10.0);
        model.learn(20.0);
        // l = 0.3 x 20 + 0.7 x 10 = 13; b = 0.1 x 3 = 0.3; two steps ahead: 13 + (0.9 + 0.81) 0.3.
        assert!((model.forecast(2).unwrap() - 13.513).abs() < 1e-9);
        model.learn(20.0);
        // l = 6 + 0.7 x (13 + 0.27) = 15.289; b = 0.1 x 2.289 + 0.9 x 0.27 = 0.4719.
        assert!((model.forecast(1).unwrap() - (15.289 + 0.9 * 0.4719)).abs() < 1e-9);
    }

    #[test]
    fn a_pure_season_is_continued_exactly() {
        let wave = [3.0, 9.0, 6.0, 2.0];
        for mut model in [Model::HoltWinters(HoltWinters::new(Some(4))), Model::naive(Some(4))] {
            for turn in 0..40 {
                model.learn(wave[turn % 4]);
            }
            for steps in 1..=8 {
                let forecast = model.forecast(steps, 2.0).unwrap();
                assert!((forecast - f64::from(wave[(steps - 1) % 4])).abs() < 1e-3, "{steps}: {forecast}");
            }
        }
    }

    #[test]
    fn a_rise_is_not_carried_on_for_ever() {
        let mut model = HoltWinters::new(None);
        (0..200_u8).for_each(|step| model.learn(f32::from(step)));
        let (near, far, further) =
            (model.forecast(1).unwrap(), model.forecast(8).unwrap(), model.forecast(200).unwrap());
        assert!(near < far && far < further && further < near + 10.0, "{near} {far} {further}");
    }

    #[test]
    fn nothing_is_forecast_from_less_than_a_period() {
        for mut model in [Model::HoltWinters(HoltWinters::new(Some(4))), Model::naive(Some(4))] {
            for _ in 0..3 {
                assert_eq!(model.forecast(1, 1.0), None);
                model.learn(1.0);
            }
            model.learn(1.0);
            assert!(model.forecast(1, 1.0).is_some());
        }
    }
}
