//! Loads that fleets of devices are known for, made from a seed.
//!
//! Each returns expected messages per bin; chance inside a bin is added when a trace becomes arrivals. A message that a
//! device keeps while it is offline is *first sent* when it is back: that is where these traces have it. Parameters are
//! for a fleet of [`FLEET`] devices that report once a minute; a run scales the result to the size it wants.

use std::f64::consts::TAU;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{ALARM_SHARE, Trace, TraceError};
use crate::num::{index, real_len};

/// Devices of the generated fleets.
const FLEET: f64 = 10_000.0;
/// Messages per second of a fleet in which each device reports once a minute.
const BASE_RATE: f64 = FLEET / 60.0;
const HOUR: usize = 3600;
const DAY: usize = 24 * HOUR;

/// A generated load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Day, night and week-end, with noise: two weeks in bins of a minute.
    Diurnal,
    /// Devices that report on the wall clock: every 15 minutes within 10 to 60 s.
    QuarterHour,
    /// Power cuts: most of the fleet is silent for 5 to 60 minutes, then comes back at once and sends what it kept.
    PowerCut,
    /// A firmware roll-out: 1 to 5 % of the fleet a minute restart, and send a full report when they are back.
    Rollout,
    /// An uplink that flaps: what was kept while it was down comes in a flush.
    Flapping,
    /// Alarms that come in bursts, and bring other traffic with them.
    Alarm,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 6] =
        [Self::Diurnal, Self::QuarterHour, Self::PowerCut, Self::Rollout, Self::Flapping, Self::Alarm];

    /// Returns the name that the command line uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Diurnal => "diurnal",
            Self::QuarterHour => "quarter-hour",
            Self::PowerCut => "power-cut",
            Self::Rollout => "roll-out",
            Self::Flapping => "flapping",
            Self::Alarm => "alarm",
        }
    }

    /// Returns the shape of that name.
    ///
    /// # Errors
    /// Names all shapes if there is none.
    pub fn by_name(name: &str) -> Result<Self, TraceError> {
        Self::ALL.into_iter().find(|shape| shape.as_str() == name).ok_or_else(|| TraceError::UnknownShape {
            name: name.to_owned(),
            allowed: Self::ALL.map(Self::as_str).join(", "),
        })
    }

    /// Returns the trace that `seed` makes of the shape.
    #[must_use]
    pub fn trace(self, seed: u64) -> Trace {
        let mut rng = StdRng::seed_from_u64(seed);
        let (bin_secs, counts, alarm_share) = match self {
            Self::Diurnal => (60.0, diurnal(&mut rng), Vec::new()),
            Self::QuarterHour => (1.0, quarter_hour(&mut rng), Vec::new()),
            Self::PowerCut => (1.0, power_cut(&mut rng), Vec::new()),
            Self::Rollout => (1.0, rollout(&mut rng), Vec::new()),
            Self::Flapping => (1.0, flapping(&mut rng), Vec::new()),
            Self::Alarm => {
                let (counts, shares) = alarm(&mut rng);
                (1.0, counts, shares)
            }
        };
        Trace { name: self.as_str().to_owned(), bin_secs, counts, alarm_share }
    }
}

/// Draws from the exponential distribution.
fn exponential(rng: &mut StdRng, mean: f64) -> f64 {
    -mean * (1.0 - rng.random::<f64>()).ln()
}

/// Density of Beta(3, 4) on 0 to 1, times the width: `60 x^2 (1 - x)^3`.
fn beta_3_4(x: f64) -> f64 {
    if (0.0..1.0).contains(&x) { 60.0 * x * x * (1.0 - x).powi(3) } else { 0.0 }
}

fn diurnal(rng: &mut StdRng) -> Vec<f64> {
    let mut noise = 0.0;
    (0..14 * 24 * 60)
        .map(|minute| {
            let day = real_len(minute) / (24.0 * 60.0);
            // Lowest at four in the morning, highest in the afternoon; a week begins on a Monday.
            let sun = 0.5 - 0.5 * ((day - 4.0 / 24.0) * TAU).cos();
            let weekend = if day.rem_euclid(7.0) >= 5.0 { 0.7 } else { 1.0 };
            // What one minute has more or less than usual goes on into the next ones.
            noise = 0.9 * noise + rng.random_range(-0.04..0.04);
            60.0 * BASE_RATE * weekend * (0.2 + 0.8 * sun.powf(1.5)) * (1.0 + noise)
        })
        .collect()
}

fn quarter_hour(rng: &mut StdRng) -> Vec<f64> {
    let mut counts = vec![0.15 * BASE_RATE; DAY];
    for due in (0..DAY).step_by(15 * 60) {
        let width: f64 = rng.random_range(10.0..60.0);
        // Clocks of a fleet agree to a few seconds.
        let begin = real_len(due) + rng.random_range(-3.0..3.0);
        let seconds = due.saturating_sub(4)..(due + 64).min(DAY);
        for (second, count) in seconds.clone().zip(&mut counts[seconds]) {
            *count += FLEET * beta_3_4((real_len(second) - begin) / width) / width;
        }
    }
    counts
}

fn power_cut(rng: &mut StdRng) -> Vec<f64> {
    let mut counts = vec![BASE_RATE; DAY];
    let mut at = HOUR;
    while at < DAY - 2 * HOUR {
        let dark = index(rng.random_range(300.0..3600.0));
        let share = rng.random_range(0.6..1.0);
        // Devices boot, find the network and reconnect within a minute or so of each other.
        let spread: f64 = rng.random_range(15.0..60.0);
        // A device keeps at most a hundred reports.
        let kept = FLEET * share * (real_len(dark) / 60.0).min(100.0);
        for count in &mut counts[at..at + dark] {
            *count *= 1.0 - share;
        }
        for second in 0..index(6.0 * spread) {
            let Some(count) = counts.get_mut(at + dark + second) else { break };
            *count += kept * (-real_len(second) / spread).exp() / spread;
        }
        at += dark + 2 * HOUR + index(rng.random_range(0.0..real_len(4 * HOUR)));
    }
    counts
}

fn rollout(rng: &mut StdRng) -> Vec<f64> {
    let mut counts = vec![BASE_RATE; DAY];
    let mut at = 2 * HOUR;
    while at < DAY - 3 * HOUR {
        let per_min = rng.random_range(0.01..0.05);
        let minutes = index(1.0 / per_min);
        for minute in 0..minutes {
            let leaving = FLEET * per_min;
            let away = index(rng.random_range(60.0..180.0));
            let from = at + 60 * minute;
            for count in &mut counts[from..from + away] {
                *count -= (leaving / 60.0).min(*count);
            }
            // The update is ordered by the minute: its devices are back within ten seconds, with a report of forty messages.
            for count in &mut counts[from + away..from + away + 10] {
                *count += 40.0 * leaving / 10.0;
            }
        }
        at += 60 * minutes + 4 * HOUR;
    }
    counts
}

fn flapping(rng: &mut StdRng) -> Vec<f64> {
    // What the uplink carries when it is up, so how steep a flush can be.
    const UPLINK: f64 = 8.0 * BASE_RATE;
    let mut counts = vec![0.0; DAY];
    let (mut kept, mut up, mut until) = (0.0, true, 0.0);
    for (second, count) in counts.iter_mut().enumerate() {
        if real_len(second) >= until {
            up = !up || second == 0;
            until = real_len(second) + if up { exponential(rng, 900.0) } else { exponential(rng, 180.0) };
        }
        kept += BASE_RATE;
        if up {
            let sent = f64::min(kept, UPLINK);
            kept -= sent;
            *count = sent;
        }
    }
    counts
}

/// A two-state process: quiet, or a storm in which alarm devices send thirty times as much and others three times.
fn alarm(rng: &mut StdRng) -> (Vec<f64>, Vec<f64>) {
    let (mut storm, mut until) = (true, 0.0);
    (0..DAY)
        .map(|second| {
            if real_len(second) >= until {
                storm = !storm;
                until =
                    real_len(second) + if storm { exponential(rng, 120.0) } else { exponential(rng, 3000.0) };
            }
            let (alarms, others) = if storm { (30.0, 3.0) } else { (1.0, 1.0) };
            let alarms = BASE_RATE * ALARM_SHARE * alarms;
            let all = alarms + BASE_RATE * (1.0 - ALARM_SHARE) * others;
            (all, alarms / all)
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_trace_again_and_another_seed_another() {
        for shape in Shape::ALL {
            assert_eq!(shape.trace(3), shape.trace(3));
            assert_ne!(shape.trace(3), shape.trace(4));
            assert_eq!(Shape::by_name(shape.as_str()), Ok(shape));
            let trace = shape.trace(1);
            assert!(trace.counts.iter().all(|count| count.is_finite() && *count >= 0.0), "{}", trace.name);
            assert!(trace.alarm_share.is_empty() || trace.alarm_share.len() == trace.counts.len());
        }
        assert!(Shape::by_name("storm").unwrap_err().to_string().contains("power-cut"));
    }

    #[test]
    fn each_shape_has_the_peaks_it_is_named_for() {
        let peak = |shape: Shape| {
            let trace = shape.trace(1);
            trace.rate_quantile(1.0) / trace.rate_quantile(0.5)
        };
        assert!((1.2..3.0).contains(&peak(Shape::Diurnal)), "{}", peak(Shape::Diurnal));
        assert!(peak(Shape::QuarterHour) > 5.0);
        assert!(peak(Shape::PowerCut) > 10.0);
        assert!(peak(Shape::Rollout) > 3.0);
        assert!((7.9..8.1).contains(&peak(Shape::Flapping)));
        assert!((3.0..6.0).contains(&peak(Shape::Alarm)));
    }

    #[test]
    fn a_flap_loses_nothing() {
        let trace = Shape::Flapping.trace(5);
        let sent = trace.messages() / (BASE_RATE * 86_400.0);
        assert!((0.9..=1.0).contains(&sent), "{sent}");
    }
}
