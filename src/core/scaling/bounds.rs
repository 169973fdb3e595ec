//! Which counts are allowed at all.

use serde::{Deserialize, Serialize};

use super::observation::ScheduledMin;
use super::policy::Policy;
use super::room::{Ceiling, Room, RoomMode};
use crate::time::Timestamp;

/// The one constraint that kept a decision from what the load asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Nothing: the count is what the load asks for.
    #[default]
    Demand,
    /// `replicas.min`.
    Min,
    /// An open window of the schedule.
    Schedule,
    /// `replicas.max`.
    Max,
    /// More members than partitions would idle; and a partition is never worked on by two.
    Partitions,
    /// Nodes have no room for more.
    Room,
    /// The scheduler did not place more.
    Unschedulable,
    /// `behavior.up.max_step`.
    UpStep,
    /// `behavior.down.max_step`.
    DownStep,
    /// The last additions changed nothing.
    Effect,
    /// `fallback.replicas`.
    Fallback,
    /// Fewer would do, but not yet for the whole of `behavior.down.after`, or nothing may be concluded now.
    Hold,
}

impl Bound {
    /// Every bound, for metric labels.
    pub const ALL: [Self; 12] = [
        Self::Demand,
        Self::Min,
        Self::Schedule,
        Self::Max,
        Self::Partitions,
        Self::Room,
        Self::Unschedulable,
        Self::UpStep,
        Self::DownStep,
        Self::Effect,
        Self::Fallback,
        Self::Hold,
    ];

    /// Returns the name that labels and JSON use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::Min => "min",
            Self::Schedule => "schedule",
            Self::Max => "max",
            Self::Partitions => "partitions",
            Self::Room => "room",
            Self::Unschedulable => "unschedulable",
            Self::UpStep => "up_step",
            Self::DownStep => "down_step",
            Self::Effect => "effect",
            Self::Fallback => "fallback",
            Self::Hold => "hold",
        }
    }
}

/// Counts between which a decision lies, and what each end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) lower: u32,
    lower_is: Bound,
    pub(super) upper: u32,
    upper_is: Bound,
}

impl Limits {
    /// Returns the operator's limits and, as far as known, the partitions:
    /// `upper = max(lower, min(max, P))`, `lower = min`, or that of an open window of the schedule up to `max`.
    pub(super) fn new(
        policy: &Policy,
        partitions: Option<u32>,
        scheduled: Option<ScheduledMin>,
        now: Timestamp,
    ) -> Self {
        let window =
            scheduled.filter(|window| now < window.until).map_or(0, |window| window.min.min(policy.max));
        let (lower, lower_is) =
            if window > policy.min { (window, Bound::Schedule) } else { (policy.min, Bound::Min) };
        let partitions = partitions.unwrap_or(u32::MAX);
        let upper_is = if partitions < policy.max { Bound::Partitions } else { Bound::Max };
        Self { lower, lower_is, upper: policy.max.min(partitions).max(lower), upper_is }
    }

    /// Adds what nodes can take, and what the scheduler refused: `upper = max(lower, min(upper, scheduled + room, ceiling))`.
    pub(super) fn within(mut self, policy: &Policy, room: Option<Room>, ceiling: Ceiling) -> Self {
        let pending = match policy.room {
            _ if !policy.knobs.room => return self,
            RoomMode::Ignore => return self,
            RoomMode::LeavePending(pending) => pending,
            RoomMode::Respect => 0,
        };
        let fit = room.map(|room| room.scheduled.saturating_add(room.room).saturating_add(pending));
        let placed = ceiling.at().filter(|_| policy.room == RoomMode::Respect);
        for (most, is) in [(fit, Bound::Room), (placed, Bound::Unschedulable)] {
            if let Some(most) = most.filter(|most| *most < self.upper) {
                (self.upper, self.upper_is) = (most.max(self.lower), is);
            }
        }
        self
    }

    /// Brings `wanted` within the limits and says which of them did.
    pub(super) fn clamp(self, wanted: u32) -> (u32, Bound) {
        if wanted < self.lower {
            (self.lower, self.lower_is)
        } else if wanted > self.upper {
            (self.upper, self.upper_is)
        } else {
            (wanted, Bound::Demand)
        }
    }

    /// Returns what the lower end is.
    pub(super) fn lower_is(self) -> Bound {
        self.lower_is
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const POLICY: Policy = Policy::new(Duration::from_secs(10), 2, 8);

    fn limits(partitions: Option<u32>) -> Limits {
        Limits::new(&POLICY, partitions, None, Timestamp::ZERO)
    }

    #[test]
    fn the_smaller_of_max_and_partitions_bounds_above_but_never_below_min() {
        assert_eq!(limits(Some(12)).clamp(20), (8, Bound::Max));
        assert_eq!(limits(Some(6)).clamp(20), (6, Bound::Partitions));
        assert_eq!(limits(Some(1)).clamp(20), (2, Bound::Partitions));
        assert_eq!(limits(Some(12)).clamp(1), (2, Bound::Min));
        assert_eq!(limits(None).clamp(5), (5, Bound::Demand));
    }

    #[test]
    fn an_open_window_lifts_the_lower_end_up_to_max() {
        let window = |min, secs: u64| {
            let until = Timestamp::from_millis(secs * 1000);
            let now = Timestamp::from_millis(5_000);
            Limits::new(&POLICY, Some(12), Some(ScheduledMin { min, until }), now).clamp(1)
        };
        assert_eq!(window(6, 10), (6, Bound::Schedule));
        assert_eq!(window(60, 10), (8, Bound::Schedule));
        assert_eq!(window(6, 5), (2, Bound::Min), "closed");
        assert_eq!(window(1, 10), (2, Bound::Min), "lower than min");
    }

    #[test]
    fn room_and_refusals_bound_above_but_never_below_min() {
        let clamp = |mode, scheduled, room, ceiling| {
            let policy = Policy { room: mode, ..POLICY };
            let room = Some(Room { scheduled, room, ..Room::default() });
            limits(Some(12)).within(&policy, room, ceiling).clamp(20)
        };
        let closed = Ceiling::Trial { at: 4, pause: Duration::from_mins(1) };
        assert_eq!(clamp(RoomMode::Respect, 3, 2, Ceiling::Free), (5, Bound::Room));
        assert_eq!(clamp(RoomMode::Respect, 3, 20, Ceiling::Free), (8, Bound::Max));
        assert_eq!(clamp(RoomMode::Respect, 3, 2, closed), (4, Bound::Unschedulable));
        assert_eq!(clamp(RoomMode::Respect, 0, 0, Ceiling::Free), (2, Bound::Room));
        assert_eq!(clamp(RoomMode::LeavePending(1), 3, 2, closed), (6, Bound::Room));
        assert_eq!(clamp(RoomMode::Ignore, 3, 2, closed), (8, Bound::Max));
    }
}
