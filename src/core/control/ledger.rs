//! What is out at gateways, so that all of it together is never more than the budget.
//!
//! A lease that was sent may be in force from then on, and the one before it as long as the gateway has not said that it
//! runs on the newer. So a gateway counts for the most of all leases it may run on. What it gives up is given to others
//! when it has confirmed, or when it has been silent for so long that it no longer goes by any lease.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::allot::Allotment;
use crate::time::Timestamp;
use crate::wire::{BudgetLease, GatewayReport, Rates};

/// Time that a lease holds: fifteen reports of a gateway.
pub const LEASE_VALID_FOR: Duration = Duration::from_secs(15);
/// Silence after which nothing that a gateway held is in force: a lease, and the minute that it is kept after.
const FREE_AFTER: Duration = Duration::from_secs(75);
/// Leases of one gateway that are kept apart; beyond them the oldest two count as one that has the most of both.
const OUT_MAX: usize = 16;
/// Gateways counted: far more than a site has. One more gets no lease.
const GATEWAYS_MAX: usize = 256;

/// Leases that may be in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Our leases are numbered from above `first` up to `epoch`.
    first: u64,
    epoch: u64,
    gateways: BTreeMap<String, Holder>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Holder {
    reported_at: Timestamp,
    /// Oldest first; the newest is what it should run on.
    out: VecDeque<Out>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Out {
    epoch: u64,
    rates: Rates,
}

impl Ledger {
    /// Returns an empty ledger whose leases are numbered from above `epoch`: a number that no earlier controller has reached.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { first: epoch, epoch, gateways: BTreeMap::new() }
    }

    /// Takes in that a gateway reported, and on which lease it runs. One of another controller counts by its own words.
    pub fn report(&mut self, report: &GatewayReport, now: Timestamp) {
        if !self.gateways.contains_key(&report.gateway) && self.gateways.len() >= GATEWAYS_MAX {
            self.free(now);
            if self.gateways.len() >= GATEWAYS_MAX {
                return;
            }
        }
        let holder = self.gateways.entry(report.gateway.clone()).or_default();
        holder.reported_at = holder.reported_at.max(now);
        let epoch = report.lease_epoch;
        if holder.out.iter().any(|out| out.epoch == epoch) {
            holder.out.retain(|out| out.epoch >= epoch);
        } else if epoch > 0 && !(self.first < epoch && epoch <= self.epoch) {
            holder.out.push_front(Out { epoch, rates: report.lease_rates.clone() });
            holder.bound();
            // Ours must be newer than any that a gateway knows.
            if epoch > self.epoch {
                (self.first, self.epoch) = (epoch, epoch);
            }
        }
    }

    /// Forgets gateways that have been silent for 75 s.
    fn free(&mut self, now: Timestamp) {
        self.gateways.retain(|_, holder| now.since(holder.reported_at) < FREE_AFTER);
    }

    /// Returns the messages per second that may be in force on a topic.
    #[must_use]
    pub fn spent(&self, topic: &str) -> f64 {
        self.gateways.values().map(|holder| holder.spent_on(topic)).sum()
    }

    /// Issues leases towards `wanted` and returns them by gateway, for those that have reported and are in `wanted`.
    ///
    /// What is less than before is granted at once. What is more is granted as far as `budgets` leave it free beside all that
    /// may be in force, classes in the order of `priority` (0 first), gateways in proportion. A gateway whose rates do not
    /// change keeps its epoch.
    pub fn grant(
        &mut self,
        wanted: &Allotment,
        budgets: &BTreeMap<String, f64>,
        priority: impl Fn(&str) -> u8,
        now: Timestamp,
    ) -> BTreeMap<String, BudgetLease> {
        self.free(now);
        let mut grants: BTreeMap<&String, Rates> = BTreeMap::new();
        for (topic, budget) in budgets {
            for (gateway, class, rate) in self.rates_on(topic, *budget, wanted, &priority) {
                let rates = grants.entry(gateway).or_default();
                rates.entry(topic.clone()).or_default().insert(class.clone(), rate);
            }
        }
        let mut leases = BTreeMap::new();
        for (gateway, rates) in grants {
            let Some(holder) = self.gateways.get_mut(gateway) else { continue };
            if holder.out.back().is_none_or(|newest| newest.rates != rates) {
                self.epoch += 1;
                holder.push(Out { epoch: self.epoch, rates });
            }
            if let Some(newest) = holder.out.back() {
                let lease = BudgetLease {
                    epoch: newest.epoch,
                    rates: newest.rates.clone(),
                    device_levels: wanted.device_levels.clone(),
                    valid_for_ms: u32::try_from(LEASE_VALID_FOR.as_millis()).unwrap_or(u32::MAX),
                    ..BudgetLease::default()
                };
                leases.insert(gateway.clone(), lease);
            }
        }
        leases
    }

    /// Returns what each gateway may have of each class on a topic.
    fn rates_on<'a>(
        &self,
        topic: &str,
        budget: f64,
        wanted: &'a Allotment,
        priority: impl Fn(&str) -> u8,
    ) -> Vec<(&'a String, &'a String, f64)> {
        let mut asks: Vec<(&String, &String, f64, f64)> = Vec::new();
        for (gateway, rates) in &wanted.gateways {
            let Some(holder) = self.gateways.get(gateway) else { continue };
            for (class, rate) in rates.get(topic).into_iter().flatten() {
                asks.push((gateway, class, *rate, holder.spent(topic, class)));
            }
        }
        // The caller's sums may be off by rounding; never by more than that.
        let sum: f64 = asks.iter().map(|(_, _, rate, _)| rate).sum();
        let scale = if sum > budget && sum > 0.0 { budget.max(0.0) / sum } else { 1.0 };
        let mut free = (budget - self.spent(topic)).max(0.0);
        let mut priorities: Vec<u8> = asks.iter().map(|(_, class, ..)| priority(class)).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let mut granted = Vec::with_capacity(asks.len());
        for level in priorities {
            let of_level: Vec<_> = asks.iter().filter(|(_, class, ..)| priority(class) == level).collect();
            let more: f64 = of_level.iter().map(|(_, _, rate, spent)| (rate * scale - spent).max(0.0)).sum();
            let part = if more > free { free / more } else { 1.0 };
            for (gateway, class, rate, spent) in of_level {
                let rate = rate * scale;
                let given = if rate > *spent { spent + part * (rate - spent) } else { rate };
                granted.push((*gateway, *class, given));
            }
            free = (free - more).max(0.0);
        }
        granted
    }
}

impl Holder {
    fn push(&mut self, out: Out) {
        self.out.push_back(out);
        self.bound();
    }

    fn bound(&mut self) {
        while self.out.len() > OUT_MAX
            && let Some(oldest) = self.out.pop_front()
            && let Some(next) = self.out.front_mut()
        {
            for (topic, classes) in oldest.rates {
                for (class, rate) in classes {
                    let kept = next.rates.entry(topic.clone()).or_default().entry(class).or_insert(rate);
                    *kept = kept.max(rate);
                }
            }
        }
    }

    fn spent(&self, topic: &str, class: &str) -> f64 {
        let rates = self.out.iter().filter_map(|out| out.rates.get(topic)?.get(class));
        rates.copied().filter(|rate| rate.is_finite()).fold(0.0, f64::max)
    }

    fn spent_on(&self, topic: &str) -> f64 {
        let mut classes: Vec<&String> =
            self.out.iter().filter_map(|out| out.rates.get(topic)).flat_map(BTreeMap::keys).collect();
        classes.sort_unstable();
        classes.dedup();
        classes.into_iter().map(|class| self.spent(topic, class)).sum()
    }
}

#[cfg(test)]
mod tests;
