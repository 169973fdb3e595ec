//! Why a decision was taken: a closed set for labels, and a sentence with the numbers for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bounds::Bound;
use super::capacity::MuSource;
use super::terms::{Decision, Terms};

/// Why the group gets the count it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// More: gateways report a burst that Kafka has not seen yet.
    Burst,
    /// More: arrivals need it.
    Demand,
    /// More: a forecast that has proven itself expects them to be needed when they are ready.
    Forecast,
    /// More: mainly to work off what waits.
    CatchUp,
    /// More, or as many: mu is unknown and has to be learned.
    Learning,
    /// More: something waits for a group that had ended.
    Activated,
    /// More: Kafka has told nothing for long, and the operator said what to run then.
    Fallback,
    /// Fewer: fewer were enough for the whole of `down.after`.
    Surplus,
    /// None, or none yet: nothing has arrived for long.
    Idle,
    /// The operator's limits, or the partitions, changed.
    Limits,
    /// As many: they fit.
    Fits,
    /// As many: more are needed, but not allowed.
    Limited,
    /// As many, or fewer: nodes have no room for what is not placed.
    NoRoom,
    /// As many: more are needed, but the last additions changed nothing.
    Ineffective,
    /// All partitions have a replica of their own and one of them is still too much for it.
    PartitionTooHot,
    /// As many: fewer would do, but not for long enough yet.
    CoolingDown,
    /// As many: fewer would do, but a rebalance would cost more than it saves.
    NotWorthIt,
    /// As many: fewer would do, but replicas are starting.
    Starting,
    /// As many: fewer would do, but too much of the offered load is not measurable.
    Censored,
    /// As many: not enough has been seen yet.
    Measuring,
    /// As many: Kafka did not answer for all partitions.
    LagUnknown,
    /// As many: the last answer of Kafka is too old.
    LagStale,
}

impl Reason {
    /// Every reason, for metric labels.
    pub const ALL: [Self; 22] = [
        Self::Burst,
        Self::Demand,
        Self::Forecast,
        Self::CatchUp,
        Self::Learning,
        Self::Activated,
        Self::Fallback,
        Self::Surplus,
        Self::Idle,
        Self::Limits,
        Self::Fits,
        Self::Limited,
        Self::NoRoom,
        Self::Ineffective,
        Self::PartitionTooHot,
        Self::CoolingDown,
        Self::NotWorthIt,
        Self::Starting,
        Self::Censored,
        Self::Measuring,
        Self::LagUnknown,
        Self::LagStale,
    ];

    /// Returns the name that labels and JSON use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Demand => "demand",
            Self::Forecast => "forecast",
            Self::CatchUp => "catch_up",
            Self::Learning => "learning",
            Self::Activated => "activated",
            Self::Fallback => "fallback",
            Self::Surplus => "surplus",
            Self::Idle => "idle",
            Self::Limits => "limits",
            Self::Fits => "fits",
            Self::Limited => "limited",
            Self::NoRoom => "no_room",
            Self::Ineffective => "ineffective",
            Self::PartitionTooHot => "partition_too_hot",
            Self::CoolingDown => "cooling_down",
            Self::NotWorthIt => "not_worth_it",
            Self::Starting => "starting",
            Self::Censored => "censored",
            Self::Measuring => "measuring",
            Self::LagUnknown => "lag_unknown",
            Self::LagStale => "lag_stale",
        }
    }
}

/// One sentence that a person can follow, with the numbers it rests on.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = &self.terms;
        if self.changes() {
            write!(f, "{} -> ", terms.current)?;
        }
        let noun = if self.replicas == 1 { "replica" } else { "replicas" };
        write!(f, "{} {noun}: ", self.replicas)?;
        match self.reason {
            Reason::Burst => {
                write!(f, "gateways report a burst of {:.0} msg/s; {}", terms.demand, Needs(terms))
            }
            Reason::Demand => write!(f, "{:.0} msg/s arrive; {}", terms.demand, Needs(terms)),
            Reason::Forecast => {
                write!(f, "{:.0} msg/s are forecast; {}", terms.forecast.unwrap_or(0.0), Needs(terms))
            }
            Reason::Activated => write!(f, "{} messages wait", terms.lag_read),
            Reason::Fallback => {
                write!(f, "Kafka has told nothing for {:.0} s, so the fallback applies", terms.blind_secs)
            }
            Reason::Idle => write!(f, "nothing has arrived for {:.0} s", terms.idle_secs),
            Reason::CatchUp => write!(f, "{:.0} messages wait; {}", terms.backlog, Needs(terms)),
            Reason::Learning if self.changes() => write!(
                f,
                "lag grows ({:.0} messages, {:.0} msg/s arrive, {:.0} are consumed) and it is not known what one \
                 replica can do",
                terms.backlog, terms.demand, terms.consumed
            ),
            Reason::Learning => f.write_str("it is not known yet what one replica can do"),
            Reason::Surplus => {
                write!(f, "{} were enough for the whole of down.after; {}", terms.fitting_most, Needs(terms))
            }
            Reason::Limits => f.write_str("the present count is outside the limits"),
            Reason::Fits => write!(f, "they fit {:.0} msg/s", terms.demand),
            Reason::Limited if terms.fitting <= self.replicas => write!(
                f,
                "the hottest member carries {:.0} msg/s, and no other count would change that",
                terms.hottest_load
            ),
            Reason::Limited => write!(f, "{} are needed; {}", terms.fitting, Needs(terms)),
            Reason::NoRoom => write!(f, "{} are needed and nodes have no room for more", terms.fitting),
            Reason::Ineffective => write!(
                f,
                "{} are needed by the numbers, but the last additions changed nothing: something behind the consumers is \
                 the limit; the next is tried in {:.0} s",
                terms.fitting,
                terms.no_effect_secs.unwrap_or(0.0)
            ),
            Reason::PartitionTooHot if terms.even => write!(
                f,
                "{:.0} msg/s over {} partitions are more than one replica per partition can do; more partitions would help",
                terms.demand, terms.partitions
            ),
            Reason::PartitionTooHot => write!(
                f,
                "{:.0} msg/s, of which one partition gets {:.0} %, are more for it than a replica can do; other keys would \
                 help",
                terms.demand,
                100.0 * terms.hottest_share
            ),
            Reason::CoolingDown => {
                write!(f, "{} would do now, but not for the whole of down.after yet", terms.fitting)
            }
            Reason::NotWorthIt => write!(
                f,
                "{} would do, but the rebalance would cost more than is saved yet",
                terms.fitting_most
            ),
            Reason::Starting => write!(f, "{} would do, but {} are starting", terms.fitting, terms.starting),
            Reason::Censored => write!(
                f,
                "{} would do, but {:.0} % of the offered load is held back and cannot be measured",
                terms.fitting,
                100.0 * terms.censored
            ),
            Reason::Measuring => f.write_str("not enough has been seen yet"),
            Reason::LagUnknown => {
                f.write_str("Kafka did not answer for all partitions, so nothing is given back")
            }
            Reason::LagStale => f.write_str("the last answer of Kafka is too old to act on"),
        }?;
        match self.bound {
            Bound::Demand | Bound::Hold => Ok(()),
            Bound::Min => f.write_str(" (bound by replicas.min)"),
            Bound::Schedule => write!(f, " (bound by the schedule: at least {})", terms.lower),
            Bound::Max => f.write_str(" (bound by replicas.max)"),
            Bound::Partitions => write!(f, " (bound by {} partitions)", terms.partitions),
            Bound::Room => write!(f, " (bound by room on nodes: {})", terms.upper),
            Bound::Unschedulable => write!(f, " (bound by what the scheduler placed: {})", terms.upper),
            Bound::Effect => f.write_str(" (bound by effect)"),
            Bound::Fallback => f.write_str(" (bound by fallback.replicas)"),
            Bound::UpStep => f.write_str(" (bound by up.max_step)"),
            Bound::DownStep => f.write_str(" (bound by down.max_step)"),
        }
    }
}

/// What the capacity needed is made of.
struct Needs<'a>(&'a Terms);

impl fmt::Display for Needs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Terms { need, need_load, need_catch_up, need_growth, need_rebalance, drain_secs, .. } = self.0;
        write!(f, "{need:.0} msg/s are needed ({need_load:.0} for the load at 75 % fill")?;
        let reserves = [
            (need_catch_up, "the backlog"),
            (need_growth, "what arrives during the start"),
            (need_rebalance, "the rebalance"),
        ];
        for (rate, what) in reserves {
            if *rate >= 0.5 {
                write!(f, ", {rate:.0} to work off {what} in {drain_secs:.0} s")?;
            }
        }
        f.write_str(")")?;
        if let Some(mu) = self.0.mu {
            let source = match self.0.mu_source {
                MuSource::Policy => "as configured",
                MuSource::Saturated => "as measured when saturated",
                MuSource::Busy => "as consumers report",
                MuSource::Unknown => "at least",
            };
            write!(f, "; one replica does {mu:.0} ({source}), {} partitions ", self.0.partitions)?;
            match self.0.partitions.div_ceil(self.0.fitting.max(1)) {
                _ if !self.0.even => {
                    write!(f, "of which the hottest member would carry {:.0} msg/s", self.0.hottest_load)?;
                }
                1 => f.write_str("one each")?,
                each => write!(f, "at most {each} each")?,
            }
        }
        Ok(())
    }
}
