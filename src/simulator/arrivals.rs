//! What arrives in each step: the trace's rate, Poisson inside its bins, spread over classes and partitions.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::fleet::{Fleet, PerClass, class_shares};
use crate::num::whole_u32;
use crate::trace::Trace;

/// The messages of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Batch {
    /// By class.
    pub(crate) total: PerClass<u32>,
    /// By partition and class: where they go if nothing holds them back.
    pub(crate) by_partition: Vec<PerClass<u32>>,
}

/// Draws the messages of a trace, step by step. The same seed gives the same messages, whoever consumes them.
#[derive(Debug)]
pub(crate) struct Arrivals<'a> {
    trace: &'a Trace,
    fleet: &'a Fleet,
    step_secs: f64,
    rng: StdRng,
    batch: Batch,
}

impl<'a> Arrivals<'a> {
    /// Draws for a site of `partitions`.
    #[must_use]
    pub(crate) fn new(
        trace: &'a Trace,
        fleet: &'a Fleet,
        partitions: u32,
        step_secs: f64,
        seed: u64,
    ) -> Self {
        let batch =
            Batch { by_partition: vec![PerClass::default(); partitions as usize], ..Batch::default() };
        Self { trace, fleet, step_secs, rng: StdRng::seed_from_u64(seed ^ 0xA441_7A15), batch }
    }

    /// Returns the messages of the step that begins `secs` after the trace does.
    pub(crate) fn at(&mut self, secs: f64) -> &Batch {
        self.batch.by_partition.fill(PerClass::default());
        let expected = self.trace.rate_at(secs) * self.step_secs;
        let shares = class_shares(self.trace.alarm_share_at(secs));
        for (class, share) in shares.into_iter().enumerate() {
            let messages = poisson(&mut self.rng, expected * share);
            self.batch.total[class] = messages;
            for _ in 0..messages {
                self.batch.by_partition[self.fleet.partition(class, &mut self.rng)][class] += 1;
            }
        }
        &self.batch
    }
}

/// Draws from the Poisson distribution; above 60 its normal approximation, whose error is far below what a step shows.
pub(crate) fn poisson(rng: &mut StdRng, mean: f64) -> u32 {
    if mean > 60.0 {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        return whole_u32((mean + mean.sqrt() * normal).round());
    }
    let limit = (-mean).exp();
    let (mut count, mut product) = (0, rng.random::<f64>());
    while product > limit {
        count += 1;
        product *= rng.random::<f64>();
    }
    count
}

/// Shares whole messages out by fractions, and lets what a rounding leaves over go first the next time.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    owed: Vec<f64>,
}

impl Split {
    pub(crate) fn new(parts: usize) -> Self {
        Self { owed: vec![0.0; parts] }
    }

    /// Hands `messages` out, all of them and no more; over time every part gets its share.
    pub(crate) fn deal(&mut self, messages: u32, shares: &[f64], mut into: impl FnMut(usize, u32)) {
        let mut left = messages;
        for ((part, owed), share) in self.owed.iter_mut().enumerate().zip(shares) {
            *owed += f64::from(messages) * share;
            let given = whole_u32(*owed).min(left);
            left -= given;
            *owed -= f64::from(given);
            into(part, given);
        }
        // Fewer than there are parts.
        for _ in 0..left {
            let most = self.owed.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(part, _)| part);
            if let Some(part) = most {
                self.owed[part] -= 1.0;
                into(part, 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::CLASSES;
    use crate::site::Site;

    #[test]
    fn a_poisson_count_has_its_mean_and_variance_on_both_sides_of_the_approximation() {
        let mut rng = StdRng::seed_from_u64(3);
        for mean in [0.5, 20.0, 59.0, 61.0, 900.0] {
            let drawn: Vec<f64> = (0..20_000).map(|_| f64::from(poisson(&mut rng, mean))).collect();
            let average = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|n| (n - average).powi(2)).sum::<f64>() / 20_000.0;
            assert!((average / mean - 1.0).abs() < 0.03, "{mean}: {average}");
            assert!((variance / mean - 1.0).abs() < 0.05, "{mean}: variance {variance}");
        }
    }

    #[test]
    fn every_message_has_a_partition_and_a_seed_repeats_them() {
        let site = Site::default();
        let fleet = Fleet::new(&site);
        let trace = Trace::from_counts("t", 1.0, [500; 60]);
        let run = |seed| {
            let mut arrivals = Arrivals::new(&trace, &fleet, site.partitions, 0.5, seed);
            (0..60).map(|step| arrivals.at(0.5 * f64::from(step)).clone()).collect::<Vec<_>>()
        };
        let batches = run(1);
        assert!(batches == run(1) && batches != run(2));
        let mut all = PerClass::default();
        for batch in &batches {
            for class in 0..CLASSES {
                let placed: u32 = batch.by_partition.iter().map(|counts| counts[class]).sum();
                assert_eq!(placed, batch.total[class]);
                all[class] += placed;
            }
        }
        assert!((14_000..16_000).contains(&all.iter().sum::<u32>()), "{all:?}");
        assert!((600..900).contains(&all[0]), "{all:?}");
    }

    #[test]
    fn what_is_dealt_out_is_neither_more_nor_less() {
        let mut split = Split::new(3);
        let mut got = [0; 3];
        for messages in [1, 0, 7, 3, 1, 1, 988] {
            split.deal(messages, &[0.5, 0.3, 0.2], |part, n| got[part] += n);
        }
        let all: u32 = got.iter().sum();
        assert!(all == 1001 && (499..=502).contains(&got[0]), "{got:?}");
    }
}
