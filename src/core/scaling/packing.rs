//! How the load lies on the partitions, and what the hottest member would carry.
//!
//! Kafka's assignors balance counts, so a group with uneven keys is as good as its unluckiest member. Shares that
//! differ by no more than chance are taken as even: otherwise the noise of the estimates would itself look like a hot
//! member.

use super::assignor::Deck;
use super::ewma::Rate;
use super::lag::Part;
use super::num::real;

/// Deviations of the chi-squared statistic beyond which shares are uneven.
const DEVIATIONS: f64 = 4.0;
/// Part of what a replica does that one partition counts for at most. One that is too much for a replica is not
/// helped by a second, so it must not add any by itself: what is left is for those that share its member without
/// mattering.
const PARTITION_MOST: f64 = 0.9;
/// Counts that are all tried; above them every 64th part is, which is within 1.6 % of the smallest that fits.
const TRIED_ALL: u32 = 64;

/// The load of a group's partitions, as shares.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Packing {
    deck: Deck,
    /// Share of each partition in the arrivals; they add up to one.
    arrivals: Vec<f64>,
    /// Share of each partition in the backlog; zero everywhere without one.
    backlog: Vec<f64>,
    even: bool,
}

/// What the hottest member carries, in messages per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Hottest {
    /// With each partition counted for at most nine tenths of what one replica does: what decides, since no count
    /// would do more for it.
    pub(super) load: f64,
    /// As it is, of the member that has most.
    pub(super) whole: f64,
    /// Partitions of that member.
    pub(super) partitions: u32,
}

impl Packing {
    /// `parts` are in the order of the deck. What waits where nothing moves is not theirs to work off.
    pub(super) fn new(deck: Deck, parts: &[Part]) -> Self {
        let partitions = real(parts.len() as u64);
        let waits = |part: &Part| part.backlog.filter(|_| !part.stuck).unwrap_or(0.0);
        let sum: f64 = parts.iter().map(waits).sum();
        let backlog = parts.iter().map(|part| if sum > 0.0 { waits(part) / sum } else { 0.0 }).collect();
        let rates: Vec<Option<Rate>> = parts.iter().map(|part| part.arrived).collect();
        let unevenness = unevenness(&rates);
        let known: f64 = rates.iter().flatten().map(|rate| rate.per_sec).sum();
        let share = |rate: &Option<Rate>| {
            let measured = rate.map_or(1.0 / partitions, |rate| rate.per_sec / known);
            1.0 / partitions + unevenness * (measured - 1.0 / partitions)
        };
        let even = unevenness <= 0.0;
        let arrivals = rates.iter().map(|rate| if even { 1.0 / partitions } else { share(rate) }).collect();
        Self { deck, arrivals, backlog, even }
    }

    pub(super) fn assignor(&self) -> super::assignor::Assignor {
        self.deck.assignor
    }

    pub(super) fn is_even(&self) -> bool {
        self.even
    }

    /// Returns the largest share that one partition has in the arrivals.
    pub(super) fn hottest_share(&self) -> f64 {
        self.arrivals.iter().copied().fold(0.0, f64::max)
    }

    /// Returns the load of all partitions together, counted as for [`Self::hottest`].
    pub(super) fn whole(&self, spread: f64, catch_up: f64, mu: f64) -> f64 {
        let items = self.arrivals.iter().zip(&self.backlog);
        items
            .map(|(arrivals, backlog)| (spread * arrivals + catch_up * backlog).min(PARTITION_MOST * mu))
            .sum()
    }

    /// Returns the load of the hottest of `members`: `spread` by the shares of the arrivals, `catch_up` by those of the
    /// backlog, and no partition for more than nine tenths of `mu`.
    pub(super) fn hottest(&self, members: u32, spread: f64, catch_up: f64, mu: f64) -> Hottest {
        let members = members.max(1) as usize;
        if self.even && catch_up <= 0.0 {
            let most = self.deck.most(members);
            let part = real(most as u64) / real(self.arrivals.len().max(1) as u64);
            let each = spread / real(self.arrivals.len().max(1) as u64);
            return Hottest {
                load: each.min(PARTITION_MOST * mu) * real(most as u64),
                whole: spread * part,
                partitions: super::num::count(most),
            };
        }
        let mut loads = vec![Hottest::default(); members];
        let items = self.arrivals.iter().zip(&self.backlog);
        for (member, (arrivals, backlog)) in self.deck.deal(members).into_iter().zip(items) {
            let item = spread * arrivals + catch_up * backlog;
            let load = &mut loads[member];
            load.load += item.min(PARTITION_MOST * mu);
            load.whole += item;
            load.partitions += 1;
        }
        let load = loads.iter().map(|member| member.load).fold(0.0, f64::max);
        let hottest = loads.into_iter().max_by(|a, b| a.whole.total_cmp(&b.whole)).unwrap_or_default();
        Hottest { load, ..hottest }
    }
}

/// Returns how much of the measured differences is real, 0 to 1.
///
/// Pearson's statistic `X = sum (r_p - m)^2 w / m` of P equal Poisson rates measured over `w` seconds is about P - 1,
/// give or take `sqrt(2 (P - 1))`. What lies within that is none; beyond it the shares are drawn towards the mean by
/// the part that chance has in X, as James and Stein (1961) do.
fn unevenness(rates: &[Option<Rate>]) -> f64 {
    let known: Vec<Rate> = rates.iter().flatten().copied().collect();
    if known.len() < 2 {
        return 0.0;
    }
    let freedom = real(known.len() as u64) - 1.0;
    let mean = known.iter().map(|rate| rate.per_sec).sum::<f64>() / (freedom + 1.0);
    if mean <= 0.0 {
        return 0.0;
    }
    let statistic: f64 =
        known.iter().map(|rate| (rate.per_sec - mean).powi(2) * rate.worth_secs / mean).sum();
    let chance = freedom + DEVIATIONS * (2.0 * freedom).sqrt();
    if statistic <= chance { 0.0 } else { 1.0 - chance / statistic }
}

/// Returns the counts to try below `most`, upwards.
pub(super) fn candidates(most: u32) -> impl Iterator<Item = u32> {
    let next = |count: &u32| Some(count.saturating_add((count / TRIED_ALL).max(1)));
    std::iter::successors(Some(1), next).take_while(move |count| *count < most)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::scaling::assignor::Assignor;
    use crate::scaling::observation::PartitionId;

    fn deck(partitions: u32) -> Deck {
        let topic: Arc<str> = Arc::from("t");
        let ids: Vec<PartitionId> =
            (0..partitions).map(|partition| PartitionId { topic: topic.clone(), partition }).collect();
        Deck::new(Assignor::RoundRobin, &ids.iter().collect::<Vec<_>>(), &BTreeMap::new())
    }

    fn packing(rates: &[f64], backlogs: &[f64]) -> Packing {
        let part = |(per_sec, backlog): (&f64, &f64)| Part {
            backlog: Some(*backlog),
            arrived: Some(Rate { per_sec: *per_sec, worth_secs: 600.0 }),
            ..Part::default()
        };
        let parts: Vec<Part> = rates.iter().zip(backlogs).map(part).collect();
        Packing::new(deck(u32::try_from(rates.len()).unwrap()), &parts)
    }

    #[test]
    fn differences_within_chance_are_none() {
        let even = packing(&[10.0, 10.3, 9.8, 9.9], &[0.0; 4]);
        assert!(even.is_even());
        let hottest = even.hottest(3, 300.0, 0.0, 1_000.0);
        assert!((hottest.load - 150.0).abs() < 1e-9 && hottest.partitions == 2);
    }

    #[test]
    fn real_differences_keep_their_shares_but_for_what_chance_may_have_added() {
        let uneven = packing(&[70.0, 10.0, 10.0, 10.0], &[0.0; 4]);
        assert!(!uneven.is_even());
        let share = uneven.hottest_share();
        assert!((0.69..0.70).contains(&share), "{share}");
        // Round robin: partitions 0 and 2 on the first of two.
        let hottest = uneven.hottest(2, 100.0, 0.0, 1_000.0);
        assert!((hottest.load - 80.0).abs() < 1.0, "{hottest:?}");
    }

    #[test]
    fn a_backlog_counts_where_it_lies() {
        let packing = packing(&[10.0; 4], &[0.0, 0.0, 0.0, 400.0]);
        let hottest = packing.hottest(4, 40.0, 30.0, 1_000.0);
        assert!((hottest.load - 40.0).abs() < 1e-9 && hottest.partitions == 1);
    }

    #[test]
    fn one_partition_counts_for_nine_tenths_of_a_replica_at_most() {
        let packing = packing(&[970.0, 10.0, 10.0, 10.0], &[0.0; 4]);
        let hottest = packing.hottest(4, 1_000.0, 0.0, 200.0);
        assert!((hottest.load - 180.0).abs() < 1e-9 && hottest.whole > 900.0, "{hottest:?}");
        let even = super::Packing::new(deck(4), &[Part::default(); 4]);
        assert!((even.hottest(4, 4_000.0, 0.0, 200.0).load - 180.0).abs() < 1e-9);
        assert!((even.hottest(2, 600.0, 0.0, 200.0).load - 300.0).abs() < 1e-9);
    }

    #[test]
    fn few_counts_are_all_tried_and_many_in_steps_of_a_64th() {
        assert_eq!(candidates(5).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(candidates(64).count(), 63);
        assert!(candidates(10_000).count() < 500);
        let steps: Vec<u32> = candidates(10_000).collect();
        assert!(
            steps
                .windows(2)
                .all(|pair| f64::from(pair[1] - pair[0]) <= 1.0f64.max(f64::from(pair[0]) / 64.0))
        );
    }
}
