//! How many messages per second the group has to be ready for, and how sure that is.
//!
//! Three readings of one thing. `expected` sizes the group. `low` is what the readings prove once Poisson noise is
//! taken off: only it can call for more. `high` is what they cannot rule out, and a tenth on top: only if that fits
//! fewer replicas may some be given back. The gap between them is what keeps noise from flipping a rounded-up count.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ewma::{Ewma, Rate};
use super::forecast::Outlook;
use super::observation::Offered;
use super::policy::Policy;

/// Deviations of Poisson noise taken off before more is asked for. At one look every 5 s, four come by chance
/// once in half a year.
const DEVIATIONS_UP: f64 = 4.0;
/// Deviations added before fewer are thought enough; the maximum over `down.after` does the rest.
const DEVIATIONS_DOWN: f64 = 3.0;
/// Deviations taken off the few seconds that a burst is seen in, by gateways or by us. Two, so that a burst is met in
/// one jump; what chance adds beyond two is smaller than the reserve that the fill target leaves.
const DEVIATIONS_BURST: f64 = 2.0;
/// Memory of the panic mean, which may only add: worth about 6 s, one tick and the one before.
const PANIC_MEMORY: Duration = Duration::from_secs(3);
/// Seconds of plain counting that a forecast is as good as: one of its steps.
const FORECAST_WORTH_SECS: f64 = 60.0;
/// Part by which demand must fall short before replicas are given back.
const SHRINK_MARGIN: f64 = 1.10;

/// Arrival rates at the ends of the group's partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Arrivals {
    panic: Ewma,
    short: Ewma,
    long: Ewma,
}

/// Messages per second to be ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Demand {
    pub(super) short: f64,
    pub(super) long: f64,
    /// What the last seconds prove.
    pub(super) panic: f64,
    /// Larger mean of what gateways are offered; `None` while they hold nothing back.
    pub(super) offered: Option<f64>,
    /// What is forecast and may be used; `None` without.
    pub(super) forecast: Option<f64>,
    /// What a reported burst proves; `None` without one.
    pub(super) burst: Option<f64>,
    pub(super) low: f64,
    pub(super) expected: f64,
    pub(super) high: f64,
}

impl Arrivals {
    /// Takes in the mean arrival rate over `interval`.
    pub(super) fn add(&mut self, per_sec: f64, interval: Duration, policy: &Policy) {
        let (short, long) = policy.demand_windows();
        self.panic.add(per_sec, interval, PANIC_MEMORY);
        self.short.add(per_sec, interval, short);
        self.long.add(per_sec, interval, long);
    }

    /// Returns whether anything is known of them.
    pub(super) fn are_known(&self) -> bool {
        self.long.rate().is_some()
    }

    /// Returns the demand; `None` before two observations and without a burst.
    ///
    /// `max(EWMA15, EWMA60, panic, burst, offered, forecast)`: the short mean follows a rise, the long one keeps a dip from
    /// counting. The panic mean of the last seconds, and a burst that gateways see before Kafka does, count less their
    /// noise, so that they only add where something really rose. `offered` are the same means of what gateways are
    /// offered while they hold something back. A forecast can only add: its median less noise to what calls for more, its
    /// quantile to what the group is sized for, and its highest to what must fit before replicas are given back.
    pub(super) fn demand(
        &self,
        offered: Option<Offered>,
        held_back: &Self,
        forecast: Option<Outlook>,
    ) -> Option<Demand> {
        let burst = offered.filter(|offered| offered.burst).map(|offered| {
            let second = Rate { per_sec: offered.rate.max(0.0), worth_secs: 1.0 };
            second.at_least(DEVIATIONS_BURST)
        });
        let means: Vec<Rate> = [self, held_back]
            .iter()
            .flat_map(|from| [from.short.rate(), from.long.rate()])
            .flatten()
            .collect();
        if means.is_empty() && burst.is_none() {
            return None;
        }
        let panic = |deviations| self.panic.rate().map_or(0.0, |rate| rate.at_least(deviations));
        let sudden = burst.unwrap_or(0.0).max(panic(DEVIATIONS_BURST));
        let coming = forecast.map(Coming::from).unwrap_or_default();
        let largest = |floor, of: fn(&Rate) -> f64| means.iter().map(of).fold(floor, f64::max);
        let of = |mean: &Ewma| mean.rate().map_or(0.0, |rate| rate.per_sec);
        let certain = burst.unwrap_or(0.0).max(panic(DEVIATIONS_UP)).max(coming.low);
        Some(Demand {
            short: of(&self.short),
            long: of(&self.long),
            panic: panic(DEVIATIONS_BURST),
            offered: held_back.are_known().then(|| of(&held_back.short).max(of(&held_back.long))),
            forecast: forecast.map(|forecast| forecast.q90),
            burst,
            low: largest(certain, |rate| rate.at_least(DEVIATIONS_UP)),
            expected: largest(sudden.max(coming.expected), |rate| rate.per_sec),
            high: SHRINK_MARGIN * largest(sudden.max(coming.high), |rate| rate.at_most(DEVIATIONS_DOWN)),
        })
    }
}

/// What a forecast adds to the three readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Coming {
    low: f64,
    expected: f64,
    high: f64,
}

impl From<Outlook> for Coming {
    fn from(forecast: Outlook) -> Self {
        // A forecast is of a mean over a minute, whose noise is part of it.
        let median = Rate { per_sec: forecast.median.max(0.0), worth_secs: FORECAST_WORTH_SECS };
        Self {
            low: median.at_least(DEVIATIONS_UP),
            expected: forecast.q90.max(forecast.median),
            // The margin of the high reading stands for what is not known; a quantile knows its own.
            high: forecast.ahead_q90.max(forecast.q90) / SHRINK_MARGIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(per_sec: f64) -> Arrivals {
        let policy = Policy::new(Duration::from_secs(10), 1, 8);
        let mut arrivals = Arrivals::default();
        for _ in 0..60 {
            arrivals.add(per_sec, Duration::from_secs(5), &policy);
        }
        arrivals
    }

    fn with(arrivals: &Arrivals, rate: f64, burst: bool) -> Demand {
        arrivals.demand(Some(Offered { rate, burst, censored: 0.0 }), &Arrivals::default(), None).unwrap()
    }

    #[test]
    fn a_burst_report_can_only_add() {
        let arrivals = settled(100.0);
        let quiet = arrivals.demand(None, &Arrivals::default(), None).unwrap();
        assert!((quiet.expected - 100.0).abs() < 1e-6);
        assert!(with(&arrivals, 900.0, true).expected > 800.0);
        assert!((with(&arrivals, 10.0, true).expected - quiet.expected).abs() < 1e-9);
        assert_eq!(with(&arrivals, 900.0, false), quiet);
    }

    #[test]
    fn the_long_mean_keeps_a_dip_from_counting() {
        let policy = Policy::new(Duration::from_secs(10), 1, 8);
        let mut arrivals = settled(100.0);
        arrivals.add(0.0, Duration::from_secs(15), &policy);
        assert!(arrivals.demand(None, &Arrivals::default(), None).unwrap().expected > 75.0);
    }

    #[test]
    fn a_sudden_rise_counts_almost_whole_after_one_tick() {
        let policy = Policy::new(Duration::from_secs(10), 1, 8);
        let mut arrivals = settled(100.0);
        arrivals.add(900.0, Duration::from_secs(5), &policy);
        let demand = arrivals.demand(None, &Arrivals::default(), None).unwrap();
        assert!(demand.short < 350.0 && demand.expected > 700.0, "{demand:?}");
    }

    #[test]
    fn nothing_seen_is_no_demand_rather_than_zero() {
        assert_eq!(Arrivals::default().demand(None, &Arrivals::default(), None), None);
        let quiet = Offered { rate: 50.0, burst: false, censored: 0.0 };
        assert_eq!(Arrivals::default().demand(Some(quiet), &Arrivals::default(), None), None);
    }

    #[test]
    fn a_forecast_can_only_add() {
        let arrivals = settled(100.0);
        let quiet = arrivals.demand(None, &Arrivals::default(), None).unwrap();
        let with = |median, q90| {
            let forecast = Outlook { median, q90, ahead_q90: q90, open: true, ..Outlook::default() };
            arrivals.demand(None, &Arrivals::default(), Some(forecast)).unwrap()
        };
        let more = with(400.0, 450.0);
        assert!((more.expected - 450.0).abs() < 1e-9 && (more.high - 450.0).abs() < 1e-9);
        assert!((380.0..400.0).contains(&more.low), "{more:?}");
        let less = with(5.0, 10.0);
        assert_eq!(
            (less.low, less.expected, less.high),
            (quiet.low, quiet.expected, quiet.high),
            "less is forecast, and nothing falls"
        );
    }

    #[test]
    fn what_gateways_hold_back_counts_as_if_it_had_arrived() {
        let demand = settled(100.0).demand(None, &settled(300.0), None).unwrap();
        assert!((demand.expected - 300.0).abs() < 1e-6 && demand.offered.is_some());
        assert!((demand.short - 100.0).abs() < 1e-6);
    }
}
