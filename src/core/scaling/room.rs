//! What the nodes can still take, and what the scheduler has refused.
//!
//! Owns how room bounds a count. Deliberately does not know nodes: the shell counts pods that fit, one ledger for all
//! scalers, and passes the sum.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Time that a pod may be unschedulable before the scheduler is believed: it is informed of a new node in less.
const REFUSED_AFTER: Duration = Duration::from_secs(15);
/// Pause before one more is tried; it doubles with each refusal, since each try leaves a pod pending.
const RETRY_FIRST: Duration = Duration::from_mins(1);
/// Longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_mins(15);

/// Places for replicas on nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Replicas that are bound to a node.
    pub scheduled: u32,
    /// Replicas that nodes can take beyond these.
    pub room: u32,
    /// Longest time that a replica has been unschedulable; `None` if none is.
    #[serde(default)]
    pub unschedulable_for: Option<Duration>,
    /// True if a node was added, changed or freed since the last observation: the scheduler may be asked again.
    #[serde(default)]
    pub node_event: bool,
}

/// What room means for the count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomMode {
    /// No more than fit.
    #[default]
    Respect,
    /// This many more than fit: a cluster autoscaler adds nodes only for pods that are pending.
    LeavePending(u32),
    /// Room is no bound.
    Ignore,
}

/// What the scheduler refused: a ceiling at what it placed, lifted by one on trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ceiling {
    /// It refused nothing, or placed what was tried.
    #[default]
    Free,
    /// No more than `at` until `retry_at`.
    Closed { at: u32, retry_at: Timestamp, pause: Duration },
    /// One more is on trial, up to `at`.
    Trial { at: u32, pause: Duration },
}

impl Ceiling {
    pub(super) fn see(&mut self, room: Room, now: Timestamp) {
        let refused = room.unschedulable_for.is_some_and(|waiting| waiting > REFUSED_AFTER);
        let close = |pause: Duration| Self::Closed { at: room.scheduled, retry_at: now + pause, pause };
        *self = match *self {
            Self::Free if refused => close(RETRY_FIRST),
            Self::Free => Self::Free,
            Self::Closed { retry_at, pause, .. } if room.node_event || now >= retry_at => {
                Self::Trial { at: room.scheduled.saturating_add(1), pause }
            }
            // Replicas that ended make no room for more than before.
            Self::Closed { at, retry_at, pause } => {
                Self::Closed { at: at.max(room.scheduled), retry_at, pause }
            }
            Self::Trial { at, .. } if room.scheduled >= at => Self::Free,
            Self::Trial { pause, .. } if refused => close((2 * pause).min(RETRY_MAX)),
            trial @ Self::Trial { .. } => trial,
        };
    }

    /// Returns the most replicas that the scheduler is asked for; `None` if it refused nothing.
    pub(super) fn at(self) -> Option<u32> {
        match self {
            Self::Free => None,
            Self::Closed { at, .. } | Self::Trial { at, .. } => Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn room(scheduled: u32, waiting: Option<u64>) -> Room {
        Room { scheduled, unschedulable_for: waiting.map(Duration::from_secs), ..Room::default() }
    }

    #[test]
    fn a_pod_that_waits_a_moment_is_no_refusal() {
        let mut ceiling = Ceiling::default();
        ceiling.see(room(4, Some(15)), at(0));
        assert_eq!(ceiling.at(), None);
        ceiling.see(room(4, Some(16)), at(1));
        assert_eq!(ceiling.at(), Some(4));
    }

    #[test]
    fn one_more_is_tried_after_a_minute_and_each_refusal_doubles_the_pause_up_to_a_quarter_of_an_hour() {
        let mut ceiling = Ceiling::default();
        ceiling.see(room(4, Some(20)), at(0));
        let mut now = 0;
        for pause in [60, 120, 240, 480, 900, 900] {
            ceiling.see(room(4, None), at(now + pause - 1));
            assert_eq!(ceiling.at(), Some(4), "after {pause} s");
            now += pause;
            ceiling.see(room(4, None), at(now));
            assert_eq!(ceiling.at(), Some(5), "after {pause} s");
            ceiling.see(room(4, Some(16)), at(now));
            assert_eq!(ceiling.at(), Some(4));
        }
    }

    #[test]
    fn a_refusal_that_is_still_visible_after_it_was_taken_back_does_not_count_twice() {
        let mut ceiling = Ceiling::default();
        ceiling.see(room(4, Some(20)), at(0));
        ceiling.see(room(4, Some(25)), at(5));
        ceiling.see(room(4, None), at(60));
        assert_eq!(ceiling.at(), Some(5));
    }

    #[test]
    fn what_was_tried_and_placed_frees_and_a_node_event_tries_at_once() {
        let mut ceiling = Ceiling::default();
        ceiling.see(room(4, Some(20)), at(0));
        ceiling.see(Room { node_event: true, ..room(4, None) }, at(5));
        assert_eq!(ceiling.at(), Some(5));
        ceiling.see(room(5, None), at(10));
        assert_eq!(ceiling.at(), None);
    }
}
