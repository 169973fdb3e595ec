//! A decision as data: the count, the one constraint that bound it, why, and every number of the arithmetic.

use serde::{Deserialize, Serialize};

use super::assignor::Assignor;
use super::bounds::Bound;
use super::capacity::MuSource;
use super::forecast::Outlook;
use super::num::real;
use super::reason::Reason;
use super::window::Wanted;

/// What to do, and everything it follows from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Replicas to order; the present count means that nothing changes.
    pub replicas: u32,
    /// What kept the count from what the load asks for.
    pub bound: Bound,
    /// Why.
    pub reason: Reason,
    /// The numbers it follows from.
    pub terms: Terms,
}

/// The numbers behind a decision. Rates are messages per second, backlogs messages, times seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Replicas ordered before.
    pub current: u32,
    /// Replicas that consume.
    pub ready: u32,
    /// Replicas that are starting.
    pub starting: u32,
    /// Fewest replicas allowed now.
    pub lower: u32,
    /// Most replicas allowed now.
    pub upper: u32,
    /// Replicas that are bound to nodes; `None` while it is not known.
    pub scheduled: Option<u32>,
    /// Replicas that nodes can take beyond these.
    pub room: Option<u32>,
    /// Most that the scheduler placed, after it refused more.
    pub ceiling: Option<u32>,

    /// Partitions of the group's topics.
    pub partitions: u32,
    /// Partitions whose end offset is unknown.
    pub partitions_unknown: u32,
    /// Partitions that stand still: no replica would help them.
    pub partitions_stuck: u32,
    /// Messages that wait there; not part of the backlog.
    pub backlog_stuck: f64,
    /// Lag as committed, in messages.
    pub lag_read: u64,
    /// Messages that gateways are known to hold for Kafka; part of the backlog.
    pub held: f64,
    /// Q: lag corrected for the commit interval, and what gateways hold.
    pub backlog: f64,
    /// `Q_tgt`: backlog that is no reason to act.
    pub backlog_target: f64,
    /// Kafka delay: maximum over partitions of backlog by throughput; `None` if unknown or if nothing consumes.
    pub delay_secs: Option<f64>,
    /// Age of the oldest message that waits; `None` if unknown.
    pub age_secs: Option<f64>,
    /// Time for which no lag has been known.
    pub blind_secs: f64,
    /// Time for which nothing arrived and no more waited than may without waking a group that has ended.
    pub idle_secs: f64,

    /// Arrivals, short mean (15 s).
    pub arrivals_short: f64,
    /// Arrivals, long mean (60 s).
    pub arrivals_long: f64,
    /// Arrivals of the last 6 s, less their noise.
    pub arrivals_panic: f64,
    /// What gateways are offered; `None` while they hold nothing back.
    pub offered: Option<f64>,
    /// What a burst that gateways report proves; `None` without one.
    pub burst: Option<f64>,
    /// The forecast, used or not; `None` while there is none.
    pub outlook: Option<Outlook>,
    /// What of it counts.
    pub forecast: Option<f64>,
    /// Share of the offered load that is estimated rather than measured, 0 to 1.
    pub censored: f64,
    /// Demand that the group is sized for.
    pub demand: f64,
    /// Demand that is certain: only this calls for more.
    pub demand_low: f64,
    /// Demand that cannot be ruled out: only if this fits are replicas given back.
    pub demand_high: f64,
    /// Messages per second that the group consumes.
    pub consumed: f64,

    /// mu: messages per second one replica can do; `None` while it is unknown.
    pub mu: Option<f64>,
    /// Where mu comes from.
    pub mu_source: MuSource,
    /// Its relative standard error; `None` before two windows.
    pub mu_error: Option<f64>,
    /// Time since it was last measured; `None` if it never was.
    pub mu_age_secs: Option<f64>,
    /// Clock speed of the nodes that it is derated by, as a share of the nominal one.
    pub clock_speed: f64,

    /// C for the count that fits: `need_load + need_catch_up + need_growth + need_rebalance`.
    pub need: f64,
    /// Demand at the fill target.
    pub need_load: f64,
    /// Working off the backlog above its target.
    pub need_catch_up: f64,
    /// Working off what arrives while replicas start.
    pub need_growth: f64,
    /// Working off what arrives while the group rebalances.
    pub need_rebalance: f64,
    /// phi: the part of the load that the change to this count stops.
    pub moved: f64,
    /// Time within which backlogs are worked off.
    pub drain_secs: f64,
    /// D: order to first fetch.
    pub start_secs: f64,
    /// Time a rebalance stops what it moves.
    pub rebalance_secs: f64,

    /// How the group deals out its partitions.
    pub assignor: Assignor,
    /// False if some partitions get more than others, beyond chance.
    pub even: bool,
    /// Largest share of one partition in the arrivals, 0 to 1.
    pub hottest_share: f64,
    /// What the hottest member would carry with the count that fits.
    pub hottest_load: f64,
    /// Partitions that this member would have.
    pub hottest_partitions: u32,
    /// True if one partition's demand is more than a replica can do, so that no count is enough.
    pub partition_too_hot: bool,

    /// n*: replicas that fit now, before policy and stabilisation; 0 while unknown.
    pub fitting: u32,
    /// Replicas that would fit the high demand; 0 while unknown.
    pub cautious: u32,
    /// Most that fitted over `down.after`.
    pub fitting_most: u32,
    /// Most that the high demand needed over `down.after`.
    pub cautious_most: u32,
    /// False if part of the load was not seen, so that this look proves nothing about what would have been enough.
    pub whole: bool,
    /// Time for which the present count has been held and watched.
    pub held_secs: f64,
    /// Time for which nothing is added because the last additions changed nothing; `None` if they may be.
    pub no_effect_secs: Option<f64>,
}

impl Decision {
    /// Returns whether the decision changes the group.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.replicas != self.terms.current
    }

    /// Returns the messages that one replica is left with at the count decided, as the share of mu it is filled to;
    /// `None` without replicas or mu.
    #[must_use]
    pub fn fill(&self) -> Option<f64> {
        let capacity = self.terms.mu? * real(u64::from(self.replicas));
        (capacity > 0.0).then(|| self.terms.demand / capacity)
    }

    /// Returns what this look says was needed; `None` if it saw too little.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        let Terms { fitting, cautious, whole, .. } = self.terms;
        (whole && fitting > 0).then_some(Wanted { fitting, cautious })
    }
}
