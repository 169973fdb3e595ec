//! Which device sends where: class, partition and gateway, all by its seeded id; and how often, by its rank.
//!
//! Owns the shares that follow from it, and drawing from them. Single devices are not simulated: a partition's load is
//! the sum of so many that only its share matters.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tidegate_core::admission::DEFAULT_CLASSES;

use crate::num::{count, index, real_len};
use crate::site::Site;
use crate::trace::ALARM_SHARE;

/// Classes of devices: alarm, gateway, sensor, in order of priority.
pub const CLASSES: usize = DEFAULT_CLASSES.len();
/// A number for each class.
pub type PerClass<T> = [T; CLASSES];
/// Shares of the devices: 5 % alarm, 25 % gateway, 70 % sensor.
const DEVICE_SHARES: PerClass<f64> = [ALARM_SHARE, 0.25, 0.70];

/// Returns the classes' names.
#[must_use]
pub fn class_names() -> PerClass<&'static str> {
    DEFAULT_CLASSES.map(|preset| preset.name)
}

/// Returns each class's share of the messages when `alarm` of them are alarms; the others keep their proportion.
#[must_use]
pub fn class_shares(alarm: f64) -> PerClass<f64> {
    let rest = (1.0 - alarm) / (1.0 - ALARM_SHARE);
    [alarm, DEVICE_SHARES[1] * rest, DEVICE_SHARES[2] * rest]
}

/// The devices of a site, summed up.
#[derive(Clone, Debug)]
pub struct Fleet {
    partitions: PerClass<Alias>,
    gateways: PerClass<Vec<f64>>,
}

impl Fleet {
    /// Seeds the devices of `site`.
    #[must_use]
    pub fn new(site: &Site) -> Self {
        let mut rng = StdRng::seed_from_u64(site.seed ^ 0xF1EE_7000);
        let mut partitions: PerClass<Vec<f64>> = std::array::from_fn(|_| vec![0.0; site.partitions as usize]);
        let mut gateways: PerClass<Vec<f64>> = std::array::from_fn(|_| vec![0.0; site.gateways as usize]);
        for device in 0..site.devices {
            let rate = f64::from(device + 1).powf(-site.zipf);
            let dice: f64 = rng.random();
            let class = if dice < DEVICE_SHARES[0] {
                0
            } else if dice < DEVICE_SHARES[0] + DEVICE_SHARES[1] {
                1
            } else {
                2
            };
            partitions[class][rng.random_range(0..site.partitions as usize)] += rate;
            gateways[class][rng.random_range(0..site.gateways as usize)] += rate;
        }
        Self {
            partitions: partitions.map(|weights| Alias::new(&weights)),
            gateways: gateways.map(normalised),
        }
    }

    /// Draws the partition of one message.
    pub(crate) fn partition(&self, class: usize, rng: &mut StdRng) -> usize {
        self.partitions[class].draw(rng)
    }

    /// Returns each gateway's share of a class's messages.
    #[must_use]
    pub fn gateway_shares(&self, class: usize) -> &[f64] {
        &self.gateways[class]
    }
}

/// Shares that sum to one; even ones if nothing weighs anything (a class without devices).
fn normalised(weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 {
        weights.into_iter().map(|weight| weight / sum).collect()
    } else {
        vec![1.0 / real_len(weights.len()); weights.len()]
    }
}

/// Draws an index by weight in constant time (Walker's alias method, Vose's construction).
#[derive(Clone, Debug)]
struct Alias {
    /// For each index: the share of its own, and who gets the rest.
    cells: Vec<(f64, u32)>,
}

impl Alias {
    fn new(weights: &[f64]) -> Self {
        let mean = 1.0 / real_len(weights.len());
        let mut left: Vec<f64> = normalised(weights.to_vec()).into_iter().map(|share| share / mean).collect();
        let mut cells: Vec<(f64, u32)> = (0..count(left.len())).map(|own| (1.0, own)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..left.len()).partition(|cell| left[*cell] < 1.0);
        while let (Some(low), Some(high)) = (small.pop(), large.last().copied()) {
            cells[low] = (left[low], count(high));
            left[high] -= 1.0 - left[low];
            if left[high] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        Self { cells }
    }

    fn draw(&self, rng: &mut StdRng) -> usize {
        let place = rng.random::<f64>() * real_len(self.cells.len());
        let cell = index(place).min(self.cells.len() - 1);
        let (own, other) = self.cells[cell];
        if place - real_len(cell) < own { cell } else { other as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::num::real;

    #[test]
    fn an_alias_table_draws_by_weight() {
        let alias = Alias::new(&[1.0, 0.0, 3.0, 4.0]);
        let mut rng = StdRng::seed_from_u64(1);
        let mut drawn = [0_u64; 4];
        for _ in 0..80_000 {
            drawn[alias.draw(&mut rng)] += 1;
        }
        let share = drawn.map(|n| real(n) / 80_000.0);
        for (share, wanted) in share.into_iter().zip([0.125, 0.0, 0.375, 0.5]) {
            assert!((share - wanted).abs() < 0.01, "{drawn:?}");
        }
    }

    #[test]
    fn the_busiest_partition_grows_with_the_exponent() {
        let hottest = |zipf| {
            let fleet = Fleet::new(&Site { zipf, ..Site::default() });
            let mut rng = StdRng::seed_from_u64(2);
            let mut drawn = vec![0_u64; 64];
            for _ in 0..100_000 {
                drawn[fleet.partition(2, &mut rng)] += 1;
            }
            real(drawn.into_iter().max().unwrap()) / 100_000.0 * 64.0
        };
        assert!(hottest(0.0) < 1.3, "{}", hottest(0.0));
        assert!((1.2..2.2).contains(&hottest(0.5)), "{}", hottest(0.5));
        assert!(hottest(0.9) > 3.0, "{}", hottest(0.9));
    }

    #[test]
    fn shares_sum_to_one() {
        for alarm in [0.0, 0.05, 0.6] {
            assert!((class_shares(alarm).iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
        let fleet = Fleet::new(&Site::default());
        for class in 0..CLASSES {
            assert!((fleet.gateway_shares(class).iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
