//! The decision: what the history says the load needs, against what the policy allows.

use std::time::Duration;

use serde::Serialize;

use super::bounds::{Bound, Limits};
use super::capacity::{FIRST_WINDOW, MuSource};
use super::demand::Demand;
use super::history::History;
use super::lag::Lag;
use super::num::{count, real};
use super::observation::{Membership, Observation};
use super::policy::Policy;
use super::reason::Reason;
use super::sizing::{FILL, FILL_HOLD, Need, Sizing, backlog_target};
use super::window::Wanted;
use crate::time::Timestamp;

/// Share of the offered load that may be unmeasured before nothing is given back: held-back devices ask for more than
/// anyone can see.
const CENSORED_MAX: f64 = 0.2;
/// Starts after which a replica is no longer starting but broken, in planned start times: it must not keep a group
/// large for ever.
const STARTS_OVERDUE: f64 = 10.0;

/// What to do, and everything it follows from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Replicas to order; the present count means that nothing changes.
    pub replicas: u32,
    /// What kept the count from what the load asks for.
    pub bound: Bound,
    /// Why.
    pub reason: Reason,
    /// The numbers it follows from.
    pub terms: Terms,
    #[serde(skip)]
    pub(super) wanted: Option<Wanted>,
}

/// The numbers behind a decision. Rates are messages per second, backlogs messages, times seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Terms {
    /// Replicas ordered before.
    pub current: u32,
    /// Replicas that consume.
    pub ready: u32,
    /// Replicas that are starting.
    pub starting: u32,
    /// Partitions of the group's topics.
    pub partitions: u32,
    /// Partitions whose end offset is unknown.
    pub partitions_unknown: u32,
    /// Lag as committed, in messages.
    pub lag_read: u64,
    /// Q: lag corrected for the commit interval.
    pub backlog: f64,
    /// `Q_tgt`: backlog that is no reason to act.
    pub backlog_target: f64,
    /// Kafka delay: maximum over partitions of backlog by throughput; `None` if unknown or if nothing consumes.
    pub delay_secs: Option<f64>,
    /// Arrivals, short mean (15 s).
    pub arrivals_short: f64,
    /// Arrivals, long mean (60 s).
    pub arrivals_long: f64,
    /// What a burst that gateways report proves; `None` without one.
    pub burst: Option<f64>,
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
    /// Time within which backlogs are worked off.
    pub drain_secs: f64,
    /// D: order to first fetch.
    pub start_secs: f64,
    /// Time a rebalance stops what it moves.
    pub rebalance_secs: f64,
    /// n*: replicas that fit now, before policy and stabilisation; 0 while unknown.
    pub fitting: u32,
    /// Most that fitted over `down.after`.
    pub fitting_most: u32,
    /// Most that the high demand needed over `down.after`.
    pub cautious_most: u32,
    /// Share of the offered load that is estimated rather than measured, 0 to 1.
    pub censored: f64,
    /// True if one partition's demand is more than a replica can do, so that no count is enough.
    pub partition_too_hot: bool,
}

/// Returns how many replicas `seen` calls for at `now`.
///
/// `history` must have taken in `seen` ([`History::record`]). Nothing is changed: deciding twice gives the same answer.
/// The count is always within `policy.min` and, as far as known, the smaller of `policy.max` and the partitions.
#[must_use]
pub fn decide(policy: &Policy, seen: &Observation, history: &History, now: Timestamp) -> Decision {
    let lag = history.lag(policy, seen);
    let mut case = Case::new(policy, seen, history, now, lag);
    let Some(lag) = lag else { return case.hold(Reason::LagUnknown) };
    if now.since(seen.at) > policy.stale_after {
        return case.hold(Reason::LagStale);
    }
    case.see_lag(lag);
    let Some(demand) = history.demand(seen) else { return case.hold(Reason::Measuring) };
    case.see_demand(demand);
    match case.terms.mu {
        Some(mu) => case.decide(demand, mu),
        None => case.learn(demand),
    }
}

/// Deviations of Poisson noise that a backlog must exceed what is tolerated by, before a group of unknown capacity grows.
const LEARNING_DEVIATIONS: f64 = 4.0;
/// Pause between two steps down, unless `down.after` is shorter: a rebalance must be over and its effect on the lag
/// committed and averaged before the next.
const STEP_PAUSE: Duration = Duration::from_mins(1);

struct Case<'a> {
    policy: &'a Policy,
    seen: &'a Observation,
    history: &'a History,
    now: Timestamp,
    limits: Limits,
    /// Time left to each replica that is starting.
    remaining_secs: Vec<f64>,
    terms: Terms,
}

impl<'a> Case<'a> {
    fn new(
        policy: &'a Policy,
        seen: &'a Observation,
        history: &'a History,
        now: Timestamp,
        lag: Option<Lag>,
    ) -> Self {
        let start_secs = history.start_secs();
        let ages = seen.replicas.starting.iter().map(Duration::as_secs_f64);
        let remaining_secs: Vec<f64> = ages
            .filter(|age| *age < STARTS_OVERDUE * start_secs)
            .map(|age| (start_secs - age).max(0.0))
            .collect();
        let mu = history.mu(policy);
        let terms = Terms {
            current: seen.replicas.ordered,
            ready: seen.replicas.ready,
            starting: count(remaining_secs.len()),
            mu: mu.per_sec,
            mu_source: mu.source,
            drain_secs: policy.drain_time().as_secs_f64(),
            start_secs,
            rebalance_secs: history.rebalance_secs(),
            censored: seen.offered.map_or(0.0, |offered| offered.censored),
            ..Terms::default()
        };
        let limits = Limits::new(policy, lag.map(|lag| lag.partitions));
        Self { policy, seen, history, now, limits, remaining_secs, terms }
    }

    fn see_lag(&mut self, lag: Lag) {
        let possible =
            self.terms.mu.unwrap_or(0.0) * f64::from(self.terms.ready) / f64::from(lag.partitions.max(1));
        self.terms.partitions = lag.partitions;
        self.terms.partitions_unknown = lag.unknown;
        self.terms.lag_read = lag.read;
        self.terms.backlog = lag.backlog;
        self.terms.consumed = lag.consumed_per_sec;
        self.terms.delay_secs = self.history.delay_secs(self.policy, self.seen, possible);
    }

    fn see_demand(&mut self, demand: Demand) {
        self.terms.arrivals_short = demand.short;
        self.terms.arrivals_long = demand.long;
        self.terms.burst = demand.burst;
        self.terms.demand = demand.expected;
        self.terms.demand_low = demand.low;
        self.terms.demand_high = demand.high;
    }

    fn sizing(&mut self, demand: Demand, mu: f64) -> Sizing {
        // Commit steps leave half an interval of the demand uncertain: never take that for a backlog.
        let unseen = demand.expected * self.policy.commit_interval.as_secs_f64() / 2.0;
        let slo_secs = self.policy.slo_delay.as_secs_f64();
        let starting = self.remaining_secs.iter().copied();
        self.terms.backlog_target = backlog_target(mu, self.terms.ready, starting, slo_secs, unseen);
        Sizing {
            partitions: self.terms.partitions,
            mu,
            backlog: self.terms.backlog,
            backlog_target: self.terms.backlog_target,
            drain_secs: self.terms.drain_secs,
            ordered: self.terms.current,
            ready: self.terms.ready,
            remaining_secs: self.remaining_secs.iter().copied().fold(0.0, f64::max),
            start_secs: self.terms.start_secs,
            rebalance_secs: self.terms.rebalance_secs,
            cooperative: matches!(&self.seen.membership, Membership::Known(group) if group.cooperative),
        }
    }

    /// mu is known: size the group.
    fn decide(mut self, demand: Demand, mu: f64) -> Decision {
        let sizing = self.sizing(demand, mu);
        let wanted = self.want(&sizing, demand);
        let whole = self.saw_all();
        let Terms { current, .. } = self.terms;
        let outside = self.limits.clamp(current).0 != current;
        let short = wanted.fitting > current && !sizing.fits(demand.low, FILL_HOLD, current);
        let mut decision = if short && current <= self.limits.upper {
            self.grow(wanted.fitting)
        } else if outside {
            self.into_limits()
        } else if wanted.cautious < current {
            self.shrink()
        } else {
            let too_hot = self.terms.partition_too_hot && current == self.terms.partitions;
            self.settle(Bound::Demand, if too_hot { Reason::PartitionTooHot } else { Reason::Fits }, current)
        };
        decision.wanted = whole.then_some(wanted);
        decision
    }

    fn want(&mut self, sizing: &Sizing, demand: Demand) -> Wanted {
        let wanted =
            Wanted { fitting: sizing.smallest(demand.expected), cautious: sizing.smallest(demand.high) };
        let need = sizing.need(demand.expected, FILL, wanted.fitting);
        let most = self.history.window.most(self.now, self.policy.down_after).max(wanted);
        let Need { load, catch_up, growth, rebalance } = need;
        self.terms.need = need.total();
        self.terms.need_load = load;
        self.terms.need_catch_up = catch_up;
        self.terms.need_growth = growth;
        self.terms.need_rebalance = rebalance;
        self.terms.fitting = wanted.fitting;
        self.terms.fitting_most = most.fitting;
        self.terms.cautious_most = most.cautious;
        self.terms.partition_too_hot = sizing.partition_too_hot(demand.expected);
        wanted
    }

    fn grow(self, fitting: u32) -> Decision {
        let current = self.terms.current;
        let (allowed, mut bound) = self.limits.clamp(fitting);
        let step = current.saturating_add(self.policy.up_max_step);
        let to = allowed.min(step).max(self.limits.lower);
        if to < allowed {
            bound = Bound::UpStep;
        }
        let beyond_load = self.terms.need - self.terms.need_load;
        let reason = if self.terms.partition_too_hot && to == self.terms.partitions {
            Reason::PartitionTooHot
        } else if to == current {
            Reason::Limited
        } else if self.terms.burst.is_some_and(|burst| burst >= self.terms.demand) {
            Reason::Burst
        } else if beyond_load > self.terms.need_load {
            Reason::CatchUp
        } else {
            Reason::Demand
        };
        self.settle(bound, reason, to)
    }

    /// Fewer would do now; were they enough for long enough, and may that be believed?
    fn shrink(self) -> Decision {
        let Terms { current, fitting_most, cautious_most, .. } = self.terms;
        if current == self.limits.lower {
            return self.settle(Bound::Min, Reason::Fits, current);
        }
        let watched = self.history.window.watched(self.now, self.policy.stale_after);
        let held = if self.terms.partitions_unknown > 0 {
            Some(Reason::LagUnknown)
        } else if self.terms.censored > CENSORED_MAX {
            Some(Reason::Censored)
        } else if self.terms.starting > 0 {
            Some(Reason::Starting)
        } else if watched < self.policy.down_after
            || cautious_most >= current
            || self.changed_within(STEP_PAUSE)
        {
            Some(Reason::CoolingDown)
        } else {
            None
        };
        if let Some(reason) = held {
            return self.settle(Bound::Hold, reason, current);
        }
        let (allowed, bound) = self.limits.clamp(fitting_most);
        let step = current.saturating_sub(self.policy.down_max_step);
        let bound = if step > allowed { Bound::DownStep } else { bound };
        self.settle(bound, Reason::Surplus, allowed.max(step))
    }

    /// Returns whether all of the load was seen. If not, what it seems to need says nothing about what would have been
    /// enough, and does not count as watched: else the first whole look would find a quiet past.
    fn saw_all(&self) -> bool {
        self.terms.partitions_unknown == 0
            && self.terms.censored <= CENSORED_MAX
            && self.history.knows_arrivals()
    }

    fn changed_within(&self, pause: Duration) -> bool {
        let pause = pause.min(self.policy.down_after);
        self.history.changed_at.is_some_and(|at| self.now.since(at) < pause)
    }

    /// mu is unknown: double once per start time, and the window that may teach it, while the lag grows; give back
    /// only what the least that one replica was seen to do allows.
    fn learn(mut self, demand: Demand) -> Decision {
        let current = self.terms.current;
        if self.limits.clamp(current).0 != current {
            return self.into_limits();
        }
        // More than the promise and the commit steps explain, and more than chance.
        let tolerated =
            demand.expected * self.policy.slo_delay.max(2 * self.policy.commit_interval).as_secs_f64();
        let waits = self.terms.backlog > tolerated + LEARNING_DEVIATIONS * tolerated.sqrt();
        let grows = waits && demand.low > self.terms.consumed;
        let pause = Duration::from_secs_f64(self.terms.start_secs) + FIRST_WINDOW;
        let rested = self.history.changed_at.is_none_or(|at| self.now.since(at) >= pause);
        if grows && rested && self.terms.starting == 0 {
            let (to, bound) = self.limits.clamp(current.saturating_mul(2));
            return self.settle(bound, Reason::Learning, to);
        }
        let at_least = self.history.mu(self.policy).at_least;
        if at_least <= 0.0 || waits {
            return self.settle(Bound::Hold, Reason::Learning, current);
        }
        let sizing = self.sizing(demand, at_least);
        let wanted = self.want(&sizing, demand);
        let whole = self.saw_all();
        let mut decision = if wanted.cautious < current {
            self.shrink()
        } else {
            self.settle(Bound::Demand, Reason::Learning, current)
        };
        decision.wanted = whole.then_some(wanted);
        decision
    }

    /// The operator's limits moved over the present count: they hold at once.
    fn into_limits(self) -> Decision {
        let (to, bound) = self.limits.clamp(self.terms.current);
        self.settle(bound, Reason::Limits, to)
    }

    /// Nothing can be concluded: keep what there is, within what the operator allows.
    fn hold(self, reason: Reason) -> Decision {
        match self.limits.clamp(self.terms.current) {
            (current, Bound::Demand) => self.settle(Bound::Hold, reason, current),
            (to, bound) => self.settle(bound, Reason::Limits, to),
        }
    }

    fn settle(self, bound: Bound, reason: Reason, replicas: u32) -> Decision {
        Decision { replicas, bound, reason, terms: self.terms, wanted: None }
    }
}

impl Decision {
    /// Returns whether the decision changes the group.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.replicas != self.terms.current
    }

    /// Returns the messages that one replica is left with at the count decided, as the share of mu it is filled to.
    #[must_use]
    pub fn fill(&self) -> Option<f64> {
        Some(self.terms.demand / (self.terms.mu? * real(u64::from(self.replicas))))
    }
}
