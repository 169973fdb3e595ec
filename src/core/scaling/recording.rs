//! What a controller writes down so that its decisions can be taken again elsewhere.
//!
//! Owns the lines of a recording and taking decisions from them; files, their size and JSON are the shells'. A recording is
//! a ring: whoever starts a file over writes [`Line::Begin`] first, so that what was forgotten with the old lines is
//! known as the memory it had become.

use serde::{Deserialize, Serialize};

use super::bounds::Bound;
use super::decide::decide;
use super::history::History;
use super::observation::Observation;
use super::policy::Policy;
use super::reason::Reason;
use super::terms::Decision;
use crate::time::{Timestamp, UnixMillis};

/// Version of the lines; a reader refuses others.
pub const RECORDING_VERSION: u32 = 1;

/// One line of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Everything before the next look: first in each file, and again when the policy changes.
    Begin {
        /// [`RECORDING_VERSION`].
        version: u32,
        /// The policy from here on.
        policy: Box<Policy>,
        /// The memory so far.
        history: Box<History>,
        /// What the clocks of the process said; `None` where time is not that of a wall.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clocks: Option<Clocks>,
    },
    /// One look and what came of it.
    Look {
        /// When it was decided.
        now: Timestamp,
        /// What was seen.
        seen: Box<Observation>,
        /// What was decided.
        decided: Decided,
        /// Whether it took effect: nothing changed, or the target took the order.
        stands: bool,
    },
}

/// Both clocks of a process at one moment, so that a look can be found by the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// Monotonic time, as the looks have it.
    pub now: Timestamp,
    /// Wall-clock time.
    pub wall: UnixMillis,
}

impl Clocks {
    /// Returns the wall-clock time at `then`, as far as the wall clock was not set since.
    #[must_use]
    pub fn wall_at(self, then: Timestamp) -> UnixMillis {
        let millis = |earlier: Timestamp, later: Timestamp| {
            i64::try_from(later.since(earlier).as_millis()).unwrap_or(i64::MAX)
        };
        UnixMillis(self.wall.0.saturating_add(millis(self.now, then)).saturating_sub(millis(then, self.now)))
    }
}

/// The outcome of a decision; its terms follow from the observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Replicas ordered.
    pub replicas: u32,
    /// What bound them.
    pub bound: Bound,
    /// Why.
    pub reason: Reason,
}

impl From<&Decision> for Decided {
    fn from(decision: &Decision) -> Self {
        Self { replicas: decision.replicas, bound: decision.bound, reason: decision.reason }
    }
}

/// A decision taken again.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// When it was decided.
    pub now: Timestamp,
    /// The same by the wall clock; `None` if the recording does not say.
    pub wall: Option<UnixMillis>,
    /// The decision of the rule as it is today.
    pub decision: Decision,
    /// What was decided then.
    pub recorded: Decided,
}

impl Replayed {
    /// Returns whether today's rule decides as the recorded one did.
    #[must_use]
    pub fn is_same(&self) -> bool {
        Decided::from(&self.decision) == self.recorded
    }
}

/// Why a recording cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A look before any [`Line::Begin`].
    #[error("it begins with a look: allowed is a first line \"begin\" with policy and history")]
    NoBegin,
    /// Another version.
    #[error("version {0}: allowed is {RECORDING_VERSION}")]
    Version(u32),
}

/// Takes recorded decisions again, with the memory that they were taken with.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    state: Option<(Box<Policy>, Box<History>)>,
    clocks: Option<Clocks>,
}

impl Replay {
    /// Takes in the next line; returns the decision if it is a look.
    ///
    /// The memory goes on as it did: with the recorded outcome, so that one difference is told once and not for ever after.
    ///
    /// # Errors
    /// If the line cannot be the next.
    pub fn next(&mut self, line: Line) -> Result<Option<Replayed>, ReplayError> {
        match line {
            Line::Begin { version, .. } if version != RECORDING_VERSION => Err(ReplayError::Version(version)),
            Line::Begin { policy, history, clocks, .. } => {
                self.state = Some((policy, history));
                self.clocks = clocks;
                Ok(None)
            }
            Line::Look { now, seen, decided, stands } => {
                let (policy, history) = self.state.as_mut().ok_or(ReplayError::NoBegin)?;
                history.record(policy, &seen);
                let decision = decide(policy, &seen, history, now);
                if stands {
                    let Decided { replicas, bound, reason } = decided;
                    let then = Decision { replicas, bound, reason, ..decision.clone() };
                    history.record_decision(policy, &then, now);
                }
                let wall = self.clocks.map(|clocks| clocks.wall_at(now));
                Ok(Some(Replayed { now, wall, decision, recorded: decided }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scaling::Replicas;

    fn look(secs: u64, replicas: u32) -> Line {
        let seen = Observation {
            at: Timestamp::from_millis(1000 * secs),
            replicas: Replicas { ordered: 3, ready: 3, ..Replicas::default() },
            ..Observation::default()
        };
        let decided = Decided { replicas, bound: Bound::Hold, reason: Reason::LagUnknown };
        Line::Look { now: seen.at, seen: Box::new(seen), decided, stands: true }
    }

    fn begin(version: u32) -> Line {
        let policy = Box::new(Policy::new(Duration::from_secs(10), 1, 8));
        Line::Begin { version, policy, history: Box::default(), clocks: None }
    }

    #[test]
    fn a_look_needs_a_beginning_of_its_own_version() {
        let mut replay = Replay::default();
        assert_eq!(replay.next(look(1, 3)), Err(ReplayError::NoBegin));
        assert_eq!(replay.next(begin(9)), Err(ReplayError::Version(9)));
        assert_eq!(replay.next(begin(RECORDING_VERSION)), Ok(None));
        assert!(replay.next(look(1, 3)).unwrap().unwrap().is_same());
    }

    #[test]
    fn a_look_has_the_time_of_day_that_the_clocks_at_the_beginning_give_it() {
        let clocks = Clocks { now: Timestamp::from_millis(60_000), wall: UnixMillis(1_000_000) };
        let Line::Begin { version, policy, history, .. } = begin(RECORDING_VERSION) else { unreachable!() };
        let mut replay = Replay::default();
        replay.next(Line::Begin { version, policy, history, clocks: Some(clocks) }).unwrap();
        let wall = |replay: &mut Replay, secs| replay.next(look(secs, 3)).unwrap().unwrap().wall;
        assert_eq!(wall(&mut replay, 65), Some(UnixMillis(1_005_000)));
        assert_eq!(clocks.wall_at(Timestamp::from_millis(58_500)), UnixMillis(998_500));
        replay.next(begin(RECORDING_VERSION)).unwrap();
        assert_eq!(wall(&mut replay, 70), None);
    }

    #[test]
    fn a_difference_is_told_once() {
        let mut replay = Replay::default();
        replay.next(begin(RECORDING_VERSION)).unwrap();
        let same = |line| replay.next(line).unwrap().unwrap().is_same();
        assert_eq!([look(1, 3), look(6, 4), look(11, 3)].map(same), [true, false, true]);
    }

    #[test]
    fn lines_are_written_and_read_back() {
        for line in [begin(RECORDING_VERSION), look(1, 3)] {
            let text = serde_json::to_string(&line).unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
        }
    }
}
