//! How the devices of a class share its load: a histogram of their rates, and the rate that a budget leaves to each.
//!
//! A gateway fills it; the controller adds those of all gateways and finds one level for the class. 32 buckets of a factor of two
//! say enough: inside a bucket only the mean counts, and that never promises more than the budget.

use serde::{Deserialize, Serialize};

/// Buckets; a factor of two each, from 2^-10 to 2^21 messages per second, so that the extremes meet nothing that is real.
pub const RATE_BUCKETS: usize = 32;
/// Power of two at which the second bucket begins; what is slower is in the first.
const LOWEST_EXPONENT: i32 = -10;

/// Devices by their rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateHistogram {
    /// Devices in each bucket.
    devices: [u32; RATE_BUCKETS],
    /// Their rates added up, in messages per second.
    per_sec: [f64; RATE_BUCKETS],
}

impl RateHistogram {
    /// Counts one device that offers `per_sec` messages per second. Rates that are none are left out.
    pub fn add(&mut self, per_sec: f64) {
        if !per_sec.is_finite() || per_sec <= 0.0 {
            return;
        }
        let mut bucket = 0;
        while bucket + 1 < RATE_BUCKETS && per_sec >= begin_of(bucket + 1) {
            bucket += 1;
        }
        self.devices[bucket] = self.devices[bucket].saturating_add(1);
        self.per_sec[bucket] += per_sec;
    }

    /// Adds the devices of another gateway. What no gateway could have counted is left out: reports come from outside.
    pub fn merge(&mut self, other: &Self) {
        for bucket in 0..RATE_BUCKETS {
            let (devices, per_sec) = (other.devices[bucket], other.per_sec[bucket]);
            if devices > 0 && per_sec.is_finite() && per_sec > 0.0 {
                self.devices[bucket] = self.devices[bucket].saturating_add(devices);
                self.per_sec[bucket] += per_sec;
            }
        }
    }

    /// Returns what all devices offer, in messages per second.
    #[must_use]
    pub fn offered(&self) -> f64 {
        self.per_sec.iter().sum()
    }

    /// Returns the devices counted.
    #[must_use]
    pub fn devices(&self) -> u64 {
        self.devices.iter().map(|devices| u64::from(*devices)).sum()
    }

    /// Returns the rate that no device may exceed so that all together stay within `budget`; `None` if they do anyway.
    ///
    /// This is max-min fair: whoever asks for less than the level gets all of it, the others get the level, and nobody could
    /// get more without taking from one who has less (Bertsekas & Gallager, Data Networks, section 6.5.2).
    #[must_use]
    pub fn level(&self, budget: f64) -> Option<f64> {
        if self.offered() <= budget {
            return None;
        }
        let (mut left, mut devices) = (budget.max(0.0), self.devices());
        for (count, per_sec) in self.devices.iter().zip(&self.per_sec).filter(|(count, _)| **count > 0) {
            let level = left / real(devices);
            // Means grow with the bucket: the first that does not fit whole is where the level lies.
            if per_sec / f64::from(*count) > level {
                return Some(level);
            }
            left -= per_sec;
            devices -= u64::from(*count);
        }
        None
    }

    /// Returns whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices() == 0
    }
}

fn begin_of(bucket: usize) -> f64 {
    2.0_f64.powi(LOWEST_EXPONENT + i32::try_from(bucket).unwrap_or(i32::MAX) - 1)
}

#[expect(clippy::cast_precision_loss, reason = "devices of a site stay far below 2^52")]
fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(rates: &[f64]) -> RateHistogram {
        let mut histogram = RateHistogram::default();
        for rate in rates {
            histogram.add(*rate);
        }
        histogram
    }

    #[test]
    fn quiet_devices_keep_what_they_send_and_loud_ones_share_the_rest() {
        let rates = [1.0, 1.0, 1.0, 1.0, 40.0, 40.0];
        let level = histogram(&rates).level(24.0).unwrap();
        assert!((level - 10.0).abs() < 1e-9, "{level}");
        assert_eq!(histogram(&rates).level(84.0), None);
        assert_eq!(histogram(&[]).level(0.0), None);
        assert_eq!(histogram(&rates).level(0.0), Some(0.0));
    }

    #[test]
    fn extremes_and_nonsense_stay_within_the_buckets() {
        let histogram = histogram(&[1e-9, 1e12, f64::NAN, -3.0, f64::INFINITY, 0.0]);
        assert_eq!(histogram.devices(), 2);
        assert_eq!(histogram.devices[0], 1);
        assert_eq!(histogram.devices[RATE_BUCKETS - 1], 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_level_never_lets_in_more_than_the_budget_and_leaves_little_of_it(
            rates in prop::collection::vec(0.001..5000.0_f64, 1..200),
            part in 0.0..1.2_f64,
        ) {
            let histogram = histogram(&rates);
            let budget = part * histogram.offered();
            match histogram.level(budget) {
                None => prop_assert!(histogram.offered() <= budget),
                Some(level) => {
                    let let_in: f64 = rates.iter().map(|rate| rate.min(level)).sum();
                    prop_assert!(let_in <= budget * (1.0 + 1e-9), "{let_in} of {budget}");
                    // Inside the bucket of the level the devices are not alike; a factor of two bounds what that costs.
                    prop_assert!(let_in >= 0.5 * budget, "{let_in} of {budget}");
                }
            }
        }
    }
}
