//! How much may enter a topic: what its consumers work off, and what may wait for those that are starting.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::blind::Blind;
use super::mode::Mode;
use crate::time::Timestamp;

/// Part of what the ready replicas do that the budget is laid out for: the rest is for what no model knows.
const UTILISATION: f64 = 0.95;
/// Part of the promise that the backlog may use up.
const TARGET_PART: f64 = 0.5;
/// Least time within which the backlog is brought to its target; the loop's own delays must be short against it.
const CORRECT_WITHIN_LEAST: Duration = Duration::from_secs(30);
/// The same in delays of the loop.
const CORRECT_WITHIN_LOOPS: f64 = 3.0;
/// Time between two steps of the gain.
const GAIN_STEP: Duration = Duration::from_secs(15);
/// Factor of a step down, and a step up: down fast, up slowly, so that the loop does not swing.
const GAIN_DOWN: f64 = 0.9;
const GAIN_UP: f64 = 0.05;
/// Least gain: the model may be wrong by half, not by more.
const GAIN_MIN: f64 = 0.5;
/// Part of what the fewest replicas do that floors may promise.
const FLOORS_PART: f64 = 0.8;

/// The consumers of a topic at one moment. Rates in messages per second, times in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consumers {
    /// mu: what one replica can do.
    pub mu: f64,
    /// Replicas that consume.
    pub ready: u32,
    /// Time left to each replica that is starting and bound to a node. One that is not placed may never come.
    pub remaining_secs: Vec<f64>,
    /// S: the promised delay.
    pub slo_secs: f64,
    /// D: what a start takes.
    pub start_secs: f64,
    /// Q: messages that wait in Kafka.
    pub backlog: f64,
    /// Kafka delay; `None` if something waits and nothing consumes it.
    pub delay_secs: Option<f64>,
    /// Messages per second that they consume.
    pub consumed: f64,
    /// Time from a report to the budget that follows from it being in force.
    pub loop_delay_secs: f64,
}

/// What set a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetBound {
    /// What consumers work off, and the way of the backlog to its target.
    #[default]
    FeedForward,
    /// What classes are promised at least.
    Floors,
    /// The lag is not known: a budget on its way down.
    Blind,
    /// Kafka is away: the last budget.
    Held,
}

/// A budget and the numbers it follows from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// B: messages per second that may enter.
    pub per_sec: f64,
    /// What set it.
    pub bound: BudgetBound,
    /// `Q_tgt`: backlog that it leads to.
    pub backlog_target: f64,
    /// Q.
    pub backlog: f64,
    /// `B_ff`, before the gain.
    pub feed_forward: f64,
    /// g: how far the model is trusted, 0.5 to 1.
    pub gain: f64,
    /// `T_c`: time within which the backlog is brought to its target.
    pub correct_secs: f64,
    /// Sum of the floors.
    pub floors: f64,
    /// True if starts take longer than the promise: what comes before a replica is ready cannot be in time.
    pub slo_below_start_time: bool,
}

/// The loop's memory for one topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetLoop {
    gain: f64,
    stepped_at: Option<Timestamp>,
    /// Kafka delay at the last step; infinite if nothing consumed what waited.
    delay_then: Option<f64>,
    blind: Blind,
    last: Option<Budget>,
}

impl Default for BudgetLoop {
    fn default() -> Self {
        Self { gain: 1.0, stepped_at: None, delay_then: None, blind: Blind::default(), last: None }
    }
}

impl BudgetLoop {
    /// Returns the budget that `consumers` allow; call it every 5 s, and when a gateway reports a burst.
    ///
    /// `B = max(floors, g B_ff)` with `B_ff = 0.95 mu ready + (Q_tgt - Q) / T_c`,
    /// `Q_tgt = 0.5 mu (ready S + sum of max(0, S - remaining))` and `T_c = max(S, 30 s, 3 x loop delay)`. While Kafka is away
    /// the last budget stands (gateways spool), and a blind controller lets in less and less. No leap needs to be
    /// capped: since `T_c >= S`, `B_ff` is at most `1.45 mu ready + 0.5 mu starting`.
    pub fn step(&mut self, mode: Mode, consumers: &Consumers, floors: f64, now: Timestamp) -> Budget {
        let last = self.last.unwrap_or(Budget { per_sec: floors, gain: self.gain, ..Budget::default() });
        let budget = match mode {
            Mode::KafkaDown => {
                Budget { per_sec: last.per_sec.max(floors), bound: BudgetBound::Held, floors, ..last }
            }
            Mode::Blind => {
                let per_sec = self.blind.budget(last.per_sec, floors, now);
                Budget { per_sec, bound: BudgetBound::Blind, floors, ..last }
            }
            Mode::Online | Mode::LinkDown => {
                let within = consumers.delay_secs.is_some_and(|delay| delay <= consumers.slo_secs);
                self.blind.see(consumers.consumed, within, now);
                self.trust(consumers, now);
                budget(consumers, self.gain, floors)
            }
        };
        if mode != Mode::Blind {
            self.last = Some(budget);
        }
        budget
    }

    /// Moves the gain once in 15 s: down only while the delay is too long and rises although nothing more is coming.
    fn trust(&mut self, consumers: &Consumers, now: Timestamp) {
        if self.stepped_at.is_some_and(|at| now.since(at) < GAIN_STEP) {
            return;
        }
        let delay = consumers.delay_secs.unwrap_or(f64::MAX);
        let rising = self.delay_then.is_some_and(|then| delay > then || delay >= f64::MAX);
        let overrun = delay > consumers.slo_secs && rising && consumers.remaining_secs.is_empty();
        if self.stepped_at.is_some() {
            self.gain = if overrun { self.gain * GAIN_DOWN } else { self.gain + GAIN_UP };
            self.gain = self.gain.clamp(GAIN_MIN, 1.0);
        }
        (self.stepped_at, self.delay_then) = (Some(now), Some(delay));
    }
}

fn budget(consumers: &Consumers, gain: f64, floors: f64) -> Budget {
    let Consumers { mu, slo_secs, backlog, .. } = *consumers;
    let ready = f64::from(consumers.ready);
    let in_time: f64 = consumers.remaining_secs.iter().map(|left| (slo_secs - left).max(0.0)).sum();
    let backlog_target = TARGET_PART * mu * (ready * slo_secs + in_time);
    let correct_secs = slo_secs
        .max(CORRECT_WITHIN_LEAST.as_secs_f64())
        .max(CORRECT_WITHIN_LOOPS * consumers.loop_delay_secs);
    let feed_forward = UTILISATION * mu * ready + (backlog_target - backlog) / correct_secs;
    let (per_sec, bound) = if gain * feed_forward < floors {
        (floors, BudgetBound::Floors)
    } else {
        (gain * feed_forward, BudgetBound::FeedForward)
    };
    Budget {
        per_sec,
        bound,
        backlog_target,
        backlog,
        feed_forward,
        gain,
        correct_secs,
        floors,
        slo_below_start_time: consumers.start_secs >= slo_secs,
    }
}

/// Returns whether floors of `sum` messages per second can be promised with `min` replicas of `mu`: at most 0.8 of what these
/// do. Checked when settings are read.
#[must_use]
pub fn floors_allowed(sum: f64, mu: f64, min: u32) -> bool {
    sum <= FLOORS_PART * mu * f64::from(min)
}

/// Returns the budget of a topic that several groups consume: the smallest of those that enforce one; `None` if none does.
pub fn topic_budget(enforcing: impl IntoIterator<Item = f64>) -> Option<f64> {
    enforcing.into_iter().reduce(f64::min)
}

/// One line of arithmetic.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_sec, backlog, backlog_target, feed_forward, gain, correct_secs, floors, .. } = self;
        write!(f, "{per_sec:.0} msg/s may enter: ")?;
        match self.bound {
            BudgetBound::FeedForward => write!(
                f,
                "{gain:.2} x {feed_forward:.0} (of which {:+.0} to bring {backlog:.0} messages to {backlog_target:.0} in \
                 {correct_secs:.0} s)",
                (backlog_target - backlog) / correct_secs
            ),
            BudgetBound::Floors => {
                write!(f, "the floors of {floors:.0}, though only {feed_forward:.0} are worked off")
            }
            BudgetBound::Blind => f.write_str("less each minute, since the lag is not known"),
            BudgetBound::Held => f.write_str("as before, since Kafka is away"),
        }
    }
}

#[cfg(test)]
mod tests;
