//! The decision: what the history says the load needs, against what the policy allows.

use std::time::Duration;

use super::bounds::{Bound, Limits};
use super::capacity::FIRST_WINDOW;
use super::demand::Demand;
use super::history::History;
use super::lag::Lag;
use super::num::count;
use super::observation::{Membership, Observation};
use super::policy::{ForecastMode, Policy};
use super::reason::Reason;
use super::sizing::{FILL, FILL_HOLD, Need, ROUNDING, Sizing, backlog_target};
use super::terms::{Decision, Terms};
use super::window::Wanted;
use crate::time::Timestamp;

/// Share of the offered load that may be unmeasured before nothing is given back: held-back devices ask for more than
/// anyone can see.
const CENSORED_MAX: f64 = 0.2;
/// Starts after which a replica is no longer starting but broken, in planned start times: it must not keep a group
/// large for ever.
const STARTS_OVERDUE: f64 = 10.0;
/// Deviations of Poisson noise that a backlog must exceed what is tolerated by, before a group of unknown capacity grows.
const LEARNING_DEVIATIONS: f64 = 4.0;
/// Pause between two steps down, unless `down.after` is shorter: a rebalance must be over and its effect on the lag
/// committed and averaged before the next.
const STEP_PAUSE: Duration = Duration::from_mins(1);
/// Messages that a forecast must expect before a group that could end is kept.
const FORESEEN_MESSAGES: f64 = 1.0;

/// Returns how many replicas `seen` calls for at `now`.
///
/// `history` must have taken in `seen` ([`History::record`]). Nothing is changed: deciding twice gives the same answer.
/// The count is always within `policy.min` and, as far as known, the smallest of `policy.max`, the partitions and the
/// room.
#[must_use]
pub fn decide(policy: &Policy, seen: &Observation, history: &History, now: Timestamp) -> Decision {
    let lag = history.lag(policy, seen);
    let mut case = Case::new(policy, seen, history, now, lag.as_ref());
    let Some(lag) = &lag else { return case.hold(Reason::LagUnknown) };
    if now.since(seen.at) > policy.stale_after {
        return case.hold(Reason::LagStale);
    }
    case.see_room();
    case.see_lag(lag);
    let Some(demand) = case.see_demand() else { return case.hold(Reason::Measuring) };
    if let Some(asleep) = case.sleep() {
        return case.settle(Bound::Demand, Reason::Idle, asleep);
    }
    match case.terms.mu {
        Some(mu) => case.decide(lag, demand, mu),
        None => case.learn(lag, demand),
    }
}

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
        lag: Option<&Lag>,
    ) -> Self {
        let start_secs = history.start_secs();
        let ages = seen.replicas.starting.iter().map(Duration::as_secs_f64);
        let remaining_secs: Vec<f64> = ages
            .filter(|age| *age < STARTS_OVERDUE * start_secs)
            .map(|age| (start_secs - age).max(0.0))
            .collect();
        let mu = history.mu(policy);
        let watched = history.window.watched(now, policy.stale_after);
        let unchanged = history.changed_at.map_or(watched, |at| now.since(at));
        let limits = Limits::new(policy, lag.map(|lag| lag.partitions), seen.scheduled_min, now);
        let terms = Terms {
            current: seen.replicas.ordered,
            ready: seen.replicas.ready,
            starting: count(remaining_secs.len()),
            lower: limits.lower,
            upper: limits.upper,
            age_secs: history.age_secs(now),
            blind_secs: history.blind_for(now).as_secs_f64(),
            idle_secs: history.idle_for(now).as_secs_f64(),
            mu: mu.per_sec,
            mu_source: mu.source,
            mu_error: mu.error,
            mu_age_secs: mu.measured_at.map(|at| now.since(at).as_secs_f64()),
            clock_speed: history.clock_speed(),
            drain_secs: policy.drain_time().as_secs_f64(),
            start_secs,
            rebalance_secs: history.rebalance_secs(),
            censored: seen.offered.map_or(0.0, |offered| offered.censored),
            held_secs: watched.min(unchanged).as_secs_f64(),
            no_effect_secs: history.effect.stopped_secs(mu.per_sec, now),
            ..Terms::default()
        };
        Self { policy, seen, history, now, limits, remaining_secs, terms }
    }

    fn see_room(&mut self) {
        self.limits = self.limits.within(self.policy, self.seen.room, self.history.ceiling);
        self.terms.upper = self.limits.upper;
        self.terms.scheduled = self.seen.room.map(|room| room.scheduled);
        self.terms.room = self.seen.room.map(|room| room.room);
        self.terms.ceiling = self.history.ceiling.at();
    }

    fn see_lag(&mut self, lag: &Lag) {
        let possible =
            self.terms.mu.unwrap_or(0.0) * f64::from(self.terms.ready) / f64::from(lag.partitions.max(1));
        let held = self.seen.held;
        self.terms.partitions = lag.partitions;
        self.terms.partitions_unknown = lag.unknown;
        self.terms.partitions_stuck = lag.stuck;
        self.terms.backlog_stuck = lag.stuck_backlog;
        self.terms.lag_read = lag.read;
        self.terms.held = if held.is_finite() { held.max(0.0) } else { 0.0 };
        self.terms.backlog = lag.backlog + self.terms.held;
        self.terms.consumed = lag.consumed_per_sec;
        self.terms.delay_secs = lag.delay_secs(possible);
    }

    fn see_demand(&mut self) -> Option<Demand> {
        let on = self.policy.forecast != ForecastMode::Off && self.policy.knobs.forecast;
        self.terms.outlook = self.history.outlook().filter(|_| on);
        let used = self.terms.outlook.filter(|outlook| outlook.open);
        let used = used.filter(|_| self.policy.forecast == ForecastMode::Auto);
        let demand = self.history.demand(self.seen, used)?;
        self.terms.arrivals_short = demand.short;
        self.terms.arrivals_long = demand.long;
        self.terms.arrivals_panic = demand.panic;
        self.terms.offered = demand.offered;
        self.terms.burst = demand.burst;
        self.terms.forecast = demand.forecast;
        self.terms.demand = demand.expected;
        self.terms.demand_low = demand.low;
        self.terms.demand_high = demand.high;
        Some(demand)
    }

    /// Without any work a group may end, and one that has ended stays so until something waits or is coming.
    fn sleep(&self) -> Option<u32> {
        let Terms { current, starting, lag_read, burst, outlook, forecast, .. } = self.terms;
        if self.limits.lower > 0 {
            return None;
        }
        let foreseen = forecast
            .and(outlook)
            .is_some_and(|outlook| outlook.ahead_q90 * outlook.horizon_secs >= FORESEEN_MESSAGES);
        let announced = burst.is_some_and(|rate| rate > 0.0) || self.terms.held > 0.0;
        if current == 0 {
            return (lag_read <= self.policy.activation_lag && !announced && !foreseen).then_some(0);
        }
        let idle = self.terms.idle_secs >= self.policy.to_zero_after.as_secs_f64();
        let sure = starting == 0 && self.saw_all() && !announced && !foreseen;
        (current == 1 && idle && sure).then_some(0)
    }

    fn sizing(&mut self, lag: &Lag, demand: Demand, mu: f64) -> Sizing {
        // Commit steps leave half an interval of the demand uncertain: never take that for a backlog.
        let unseen = demand.expected * self.policy.commit_interval.as_secs_f64() / 2.0;
        let slo_secs = self.policy.slo_delay.as_secs_f64();
        let starting = self.remaining_secs.iter().copied();
        let packing = History::packing(self.seen, lag);
        self.terms.backlog_target = backlog_target(mu, self.terms.ready, starting, slo_secs, unseen);
        self.terms.assignor = packing.assignor();
        self.terms.even = packing.is_even();
        self.terms.hottest_share = packing.hottest_share();
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
            packing,
            knobs: self.policy.knobs,
        }
    }

    /// mu is known: size the group.
    fn decide(mut self, lag: &Lag, demand: Demand, mu: f64) -> Decision {
        let sizing = self.sizing(lag, demand, mu);
        let wanted = self.want(&sizing, demand);
        let Terms { current, upper, .. } = self.terms;
        let outside = self.limits.clamp(current).0 != current;
        let short = wanted.fitting > current && !sizing.fits(demand.low, FILL_HOLD, current);
        if short && current <= upper {
            return self.grow(wanted.fitting);
        }
        if outside {
            return self.into_limits();
        }
        if wanted.cautious < current {
            return self.shrink(&sizing);
        }
        let (bound, reason) = match self.no_count_would_do(current) {
            true if self.terms.partition_too_hot => (Bound::Partitions, Reason::PartitionTooHot),
            true => (Bound::Partitions, Reason::Limited),
            false => (Bound::Demand, Reason::Fits),
        };
        self.settle(bound, reason, current)
    }

    fn want(&mut self, sizing: &Sizing, demand: Demand) -> Wanted {
        let wanted =
            Wanted { fitting: sizing.smallest(demand.expected), cautious: sizing.smallest(demand.high) };
        let need = sizing.need(demand.expected, FILL, wanted.fitting);
        let hottest = sizing.hottest(demand.expected, FILL, wanted.fitting);
        let most = self.history.window.most(self.now, self.policy.down_after).max(wanted);
        let Need { load, catch_up, growth, rebalance } = need;
        self.terms.need = need.total();
        self.terms.need_load = load;
        self.terms.need_catch_up = catch_up;
        self.terms.need_growth = growth;
        self.terms.need_rebalance = rebalance;
        self.terms.moved = sizing.moved(wanted.fitting);
        self.terms.hottest_load = hottest.whole;
        self.terms.hottest_partitions = hottest.partitions;
        self.terms.fitting = wanted.fitting;
        self.terms.cautious = wanted.cautious;
        self.terms.fitting_most = most.fitting;
        self.terms.cautious_most = most.cautious;
        self.terms.whole = self.saw_all();
        self.terms.partition_too_hot = sizing.partition_too_hot(demand.expected);
        wanted
    }

    /// Returns whether one member has too much although `count` is as good as any: it is one partition that is too much.
    fn no_count_would_do(&self, count: u32) -> bool {
        count >= self.terms.fitting && self.terms.mu.is_some_and(|mu| self.terms.hottest_load > mu * ROUNDING)
    }

    fn grow(self, fitting: u32) -> Decision {
        let Terms { current, demand, .. } = self.terms;
        let (allowed, mut bound) = self.limits.clamp(fitting);
        let step = current.saturating_add(self.policy.up_max_step);
        let to = allowed.min(step).max(self.limits.lower);
        if to < allowed {
            bound = Bound::UpStep;
        }
        if to > current && self.terms.no_effect_secs.is_some() && current >= self.limits.lower && current > 0
        {
            return self.settle(Bound::Effect, Reason::Ineffective, current);
        }
        let beyond_load = self.terms.need - self.terms.need_load;
        let is_demand = |part: Option<f64>| part.is_some_and(|part| part >= demand);
        if bound == Bound::Demand && self.no_count_would_do(to) {
            bound = Bound::Partitions;
        }
        let reason = if self.terms.partition_too_hot && to >= fitting {
            Reason::PartitionTooHot
        } else if to == current {
            if matches!(bound, Bound::Room | Bound::Unschedulable) { Reason::NoRoom } else { Reason::Limited }
        } else if current == 0 {
            Reason::Activated
        } else if is_demand(self.terms.burst) {
            Reason::Burst
        } else if beyond_load > self.terms.need_load {
            Reason::CatchUp
        } else if is_demand(self.terms.forecast) {
            Reason::Forecast
        } else {
            Reason::Demand
        };
        self.settle(bound, reason, to)
    }

    /// Fewer would do now; were they enough for long enough, may that be believed, and is it worth it?
    fn shrink(self, sizing: &Sizing) -> Decision {
        let Terms { current, fitting_most, cautious_most, .. } = self.terms;
        if current == self.limits.lower {
            let bound = self.limits.lower_is();
            return self.settle(bound, Reason::Fits, current);
        }
        let watched = self.history.window.watched(self.now, self.policy.stale_after);
        let (allowed, bound) = self.limits.clamp(fitting_most);
        let step = current.saturating_sub(self.policy.down_max_step);
        let (to, bound) = if step > allowed { (step, Bound::DownStep) } else { (allowed, bound) };
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
        } else if !self.saves(sizing, to) {
            Some(Reason::NotWorthIt)
        } else {
            None
        };
        if let Some(reason) = held {
            return self.settle(Bound::Hold, reason, current);
        }
        self.settle(bound, Reason::Surplus, to)
    }

    /// Returns whether what is saved outlives the rebalance. A quiet that has lasted some time is expected to last as long
    /// again: that many replica-seconds are saved, and the rebalance stops its part of those that stay.
    fn saves(&self, sizing: &Sizing, to: u32) -> bool {
        if !self.policy.knobs.rebalance_price {
            return true;
        }
        let saved = f64::from(self.terms.current.saturating_sub(to)) * self.terms.held_secs;
        let stopped = f64::from(to) * sizing.moved(to) * self.terms.rebalance_secs;
        saved >= stopped
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
    fn learn(mut self, lag: &Lag, demand: Demand) -> Decision {
        let current = self.terms.current;
        if self.limits.clamp(current).0 != current {
            return self.into_limits();
        }
        if current == 0 {
            let (to, bound) = self.limits.clamp(1);
            return self.settle(bound, Reason::Activated, to);
        }
        // More than the promise and the commit steps explain, and more than chance.
        let tolerated =
            demand.expected * self.policy.slo_delay.max(2 * self.policy.commit_interval).as_secs_f64();
        let waits = self.terms.backlog > tolerated + LEARNING_DEVIATIONS * tolerated.sqrt();
        let grows = waits && demand.low > self.terms.consumed;
        let pause = Duration::from_secs_f64(self.terms.start_secs) + FIRST_WINDOW;
        let rested = self.history.changed_at.is_none_or(|at| self.now.since(at) >= pause);
        if grows && rested && self.terms.starting == 0 {
            if self.terms.no_effect_secs.is_some() {
                return self.settle(Bound::Effect, Reason::Ineffective, current);
            }
            let (to, bound) = self.limits.clamp(current.saturating_mul(2));
            return self.settle(bound, Reason::Learning, to);
        }
        let at_least = self.history.mu(self.policy).at_least;
        if at_least <= 0.0 || waits {
            return self.settle(Bound::Hold, Reason::Learning, current);
        }
        let sizing = self.sizing(lag, demand, at_least);
        let wanted = self.want(&sizing, demand);
        if wanted.cautious < current {
            self.shrink(&sizing)
        } else {
            self.settle(Bound::Demand, Reason::Learning, current)
        }
    }

    /// Limits moved over the present count: they hold at once. With room it is only what is not placed that is taken back.
    fn into_limits(self) -> Decision {
        let (to, bound) = self.limits.clamp(self.terms.current);
        let no_room = matches!(bound, Bound::Room | Bound::Unschedulable);
        self.settle(bound, if no_room { Reason::NoRoom } else { Reason::Limits }, to)
    }

    /// Nothing can be concluded: keep what there is, within what the operator allows; or, if nothing has been known for
    /// long, what he asked for in that case.
    fn hold(self, reason: Reason) -> Decision {
        let current = self.terms.current;
        let fallback = self.policy.fallback.filter(|fallback| {
            reason != Reason::Measuring
                && self.terms.blind_secs >= fallback.after.as_secs_f64()
                && fallback.replicas > current
        });
        if let Some(fallback) = fallback {
            let limits = self.limits.within(self.policy, self.seen.room, self.history.ceiling);
            let (to, bound) = limits.clamp(fallback.replicas);
            let to = to.max(current);
            let bound = if bound == Bound::Demand { Bound::Fallback } else { bound };
            return self.settle(bound, Reason::Fallback, to);
        }
        match self.limits.clamp(current) {
            (current, Bound::Demand) => self.settle(Bound::Hold, reason, current),
            (to, bound) => self.settle(bound, Reason::Limits, to),
        }
    }

    fn settle(self, bound: Bound, reason: Reason, replicas: u32) -> Decision {
        Decision { replicas, bound, reason, terms: self.terms }
    }
}
