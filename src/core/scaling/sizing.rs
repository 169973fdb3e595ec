//! The smallest group that carries a load: capacity needed, and what the partitions make of it.

use super::packing::{Hottest, Packing, candidates};
use super::policy::Knobs;

/// Fill that a group is sized to. Above three quarters the queue of a partition grows steeply with chance, and a
/// rise needs something to be met with while more replicas start.
pub(super) const FILL: f64 = 0.75;
/// Fill that a group is left alone at. The gap to [`FILL`] is the hysteresis upwards: a count chosen at 0.75 is not
/// questioned by what a load does by chance.
pub(super) const FILL_HOLD: f64 = 0.85;
/// What the hottest member may be filled by beyond that, in parts of mu: its load has been added up from measured shares, so
/// it needs no reserve for being above the mean, and what is left is for chance.
pub(super) const FILL_HOTTEST_MORE: f64 = 0.15;
/// Slack of comparisons, so that a load that fits exactly is not lost to rounding.
pub(super) const ROUNDING: f64 = 1.0 + 1e-9;

/// Everything that sizing needs besides the demand. Times in seconds, rates in messages per second.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizing {
    pub(super) partitions: u32,
    pub(super) mu: f64,
    pub(super) backlog: f64,
    pub(super) backlog_target: f64,
    pub(super) drain_secs: f64,
    pub(super) ordered: u32,
    pub(super) ready: u32,
    /// Time until what has been ordered is there.
    pub(super) remaining_secs: f64,
    /// Time that a replica ordered now would take.
    pub(super) start_secs: f64,
    pub(super) rebalance_secs: f64,
    pub(super) cooperative: bool,
    pub(super) packing: Packing,
    pub(super) knobs: Knobs,
}

/// What a demand needs with a given count, in messages per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Need {
    /// Demand at the fill target.
    pub(super) load: f64,
    /// Working off what waits above its target.
    pub(super) catch_up: f64,
    /// Working off what arrives before the count is there.
    pub(super) growth: f64,
    /// Working off what arrives while the change stops partitions.
    pub(super) rebalance: f64,
}

impl Need {
    pub(super) fn total(self) -> f64 {
        self.load + self.catch_up + self.growth + self.rebalance
    }
}

impl Sizing {
    /// Returns `C = demand / fill + max(0, Q - Q_tgt) / T + growth / T + demand x t_reb x phi / T` for `count`
    /// replicas.
    ///
    /// Growth is what arrives above today's capacity until `count` replicas are there. Without it, the backlog of the
    /// start itself would call for more replicas later, when the first jump had already taken care of it.
    pub(super) fn need(&self, demand: f64, fill: f64, count: u32) -> Need {
        let beyond = |replicas: u32| (demand - self.mu * f64::from(replicas)).max(0.0);
        let mut growth = beyond(self.ready) * self.remaining_secs;
        if count > self.ordered {
            growth += beyond(self.ordered.max(self.ready)) * (self.start_secs - self.remaining_secs).max(0.0);
        }
        let excess = (self.backlog - self.backlog_target).max(0.0);
        let stopped = demand * self.rebalance_secs * self.moved(count);
        let priced = |on: bool, messages: f64| if on { messages / self.drain_secs } else { 0.0 };
        Need {
            load: demand / fill,
            catch_up: priced(self.knobs.catch_up, excess),
            growth: priced(self.knobs.catch_up, growth),
            rebalance: priced(self.knobs.rebalance_price, stopped),
        }
    }

    /// phi: the part of the load that a change to `count` stops. All of it under an eager assignor, what moves under a
    /// cooperative one, nothing without a change.
    pub(super) fn moved(&self, count: u32) -> f64 {
        if count == self.ordered {
            0.0
        } else if self.cooperative {
            f64::from(count.abs_diff(self.ordered)) / f64::from(count.max(self.ordered))
        } else {
            1.0
        }
    }

    /// Returns what the hottest of `count` members would carry: the member that has most of the partitions' shares,
    /// or the mean of all without packing.
    pub(super) fn hottest(&self, demand: f64, fill: f64, count: u32) -> Hottest {
        if !self.knobs.packing {
            let mean = self.need(demand, fill, count).total() / f64::from(count.max(1));
            let partitions = self.partitions.div_ceil(count.max(1));
            return Hottest { load: mean, whole: mean, partitions };
        }
        let need = self.need(demand, fill + FILL_HOTTEST_MORE, count);
        self.packing.hottest(count, need.total() - need.catch_up, need.catch_up, self.mu)
    }

    /// Returns the mean of what `count` members would carry.
    fn mean(&self, demand: f64, fill: f64, count: u32) -> f64 {
        let need = self.need(demand, fill, count);
        let whole = if self.knobs.packing {
            self.packing.whole(need.total() - need.catch_up, need.catch_up, self.mu)
        } else {
            need.total()
        };
        whole / f64::from(count)
    }

    /// Returns whether `count` members can carry the load: all of them at `fill`, and the hottest its share.
    pub(super) fn fits(&self, demand: f64, fill: f64, count: u32) -> bool {
        let most = self.mu * ROUNDING;
        count > 0 && self.mean(demand, fill, count) <= most && self.hottest(demand, fill, count).load <= most
    }

    /// Returns the smallest count from 1 that fits; all partitions if none does.
    pub(super) fn smallest(&self, demand: f64) -> u32 {
        // Most counts are ruled out by the mean of their members, without dealing out any partition.
        let need = self.need(demand, FILL, self.ordered);
        let mean_of =
            if self.knobs.packing { self.packing.whole(need.load, need.catch_up, self.mu) } else { 0.0 };
        candidates(self.partitions)
            .skip_while(|count| mean_of > self.mu * ROUNDING * f64::from(*count))
            .find(|count| self.fits(demand, FILL, *count))
            .unwrap_or(self.partitions)
    }

    /// Returns whether one partition's demand alone is more than a replica does at the fill target, so that no count is
    /// enough.
    pub(super) fn partition_too_hot(&self, demand: f64) -> bool {
        demand / FILL * self.packing.hottest_share() > self.mu * ROUNDING
    }
}

/// Returns `Q_tgt`, the backlog that is no reason to act.
///
/// Half of what the ready replicas, and the starting ones in the time left to them, work off within the promise
/// `slo_secs`: `0.5 mu (n_ready S + sum of max(0, S - remaining))`; and no less than what the commit steps leave
/// uncertain, `demand x interval / 2`.
pub(super) fn backlog_target(
    mu: f64,
    ready: u32,
    remaining_secs: impl Iterator<Item = f64>,
    slo_secs: f64,
    unseen: f64,
) -> f64 {
    let replica_secs =
        f64::from(ready) * slo_secs + remaining_secs.map(|left| (slo_secs - left).max(0.0)).sum::<f64>();
    (0.5 * mu * replica_secs).max(unseen)
}
