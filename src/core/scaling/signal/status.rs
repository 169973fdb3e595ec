//! What state a partition is in, from what its committed offset did.
//!
//! The states are those of `LinkedIn`'s Burrow ("Consumer Lag Evaluation Rules" of its wiki), decided on our own looks
//! instead of the commits themselves: we do not see when a commit was made, so whether a partition that stands still is
//! stalled or stopped is told by whether a member of the group owns it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scaling::policy::Policy;
use crate::time::Timestamp;

/// Least time without progress after which a partition is stuck: far longer than a commit interval or a pause of a
/// garbage collector.
const STUCK_AFTER: Duration = Duration::from_mins(1);
/// The same in commit intervals of the group.
const STUCK_INTERVALS: u32 = 6;

/// State of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionStatus {
    /// It is worked on, or nothing waits.
    #[default]
    Ok,
    /// It is worked on, but its lag did not fall for a while.
    Warn,
    /// A member owns it, something waits, and the commit stands still.
    Stall,
    /// No member owns it, something waits, and the commit stands still.
    Stop,
    /// The commit went backwards a short time ago.
    Rewind,
    /// The group never committed.
    NoCommit,
}

impl PartitionStatus {
    /// Every status, for conditions and metric labels.
    pub const ALL: [Self; 6] = [Self::Ok, Self::Warn, Self::Stall, Self::Stop, Self::Rewind, Self::NoCommit];

    /// Returns the name that labels and JSON use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Stall => "stall",
            Self::Stop => "stop",
            Self::Rewind => "rewind",
            Self::NoCommit => "no-commit",
        }
    }

    /// Returns whether more replicas would not help: what stands still with its consumer does not go faster beside another.
    #[must_use]
    pub const fn is_stuck(self) -> bool {
        matches!(self, Self::Stall | Self::Stop)
    }
}

/// One look at a partition's commit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::scaling) struct Look {
    pub(in crate::scaling) committed: Option<i64>,
    pub(in crate::scaling) lag: u64,
    /// Whether a member of the group owns it; `None` if the members are not known.
    pub(in crate::scaling) owned: Option<bool>,
    /// Whether the group can work at all: somebody is ready and it is not rebalancing.
    pub(in crate::scaling) working: bool,
}

/// What is remembered of a partition's commits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::scaling) struct Progress {
    committed: Option<i64>,
    /// When the commit last advanced, or nothing waited, or nobody could work.
    moved_at: Timestamp,
    rewound_at: Option<Timestamp>,
    /// Lowest lag since `lowest_at`; a lower one restarts it.
    lowest: u64,
    lowest_at: Timestamp,
    status: PartitionStatus,
}

impl Progress {
    pub(in crate::scaling) fn first(look: Look, at: Timestamp) -> Self {
        let status = if look.committed.is_none() { PartitionStatus::NoCommit } else { PartitionStatus::Ok };
        Self {
            committed: look.committed,
            moved_at: at,
            rewound_at: None,
            lowest: look.lag,
            lowest_at: at,
            status,
        }
    }

    pub(in crate::scaling) fn status(&self) -> PartitionStatus {
        self.status
    }

    pub(in crate::scaling) fn see(&mut self, look: Look, at: Timestamp, policy: &Policy) {
        if look.committed < self.committed {
            self.rewound_at = Some(at);
        }
        if look.committed > self.committed || look.lag == 0 || !look.working {
            self.moved_at = at;
        }
        if look.lag <= self.lowest || !look.working {
            (self.lowest, self.lowest_at) = (look.lag, at);
        }
        self.committed = look.committed;
        let long = STUCK_AFTER.max(STUCK_INTERVALS * policy.commit_interval);
        let for_long = |since: Timestamp| at.since(since) >= long;
        self.status = if look.committed.is_none() {
            PartitionStatus::NoCommit
        } else if for_long(self.moved_at) {
            if look.owned == Some(false) { PartitionStatus::Stop } else { PartitionStatus::Stall }
        } else if self.rewound_at.is_some_and(|rewound| !for_long(rewound)) {
            PartitionStatus::Rewind
        } else if for_long(self.lowest_at) {
            PartitionStatus::Warn
        } else {
            PartitionStatus::Ok
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    const LOOK: Look = Look { committed: Some(0), lag: 0, owned: Some(true), working: true };

    /// Looks every 5 s; `of` gives commit and lag at a time.
    fn watch(until: u64, of: impl Fn(u64) -> Look) -> PartitionStatus {
        let policy = Policy::new(Duration::from_secs(10), 1, 8);
        let mut progress = Progress::first(of(0), at(0));
        for secs in (5..=until).step_by(5) {
            progress.see(of(secs), at(secs), &policy);
        }
        progress.status()
    }

    fn committed(secs: u64) -> i64 {
        i64::try_from(secs).unwrap() * 10
    }

    #[test]
    fn one_that_is_worked_on_or_empty_is_ok() {
        assert_eq!(watch(600, |_| LOOK), PartitionStatus::Ok);
        let steady = |secs| Look { committed: Some(committed(secs)), lag: 50 + secs % 20, ..LOOK };
        assert_eq!(watch(600, steady), PartitionStatus::Ok);
    }

    #[test]
    fn one_that_stands_still_is_stalled_with_an_owner_and_stopped_without() {
        let still = |owned| watch(60, move |_| Look { lag: 9, owned, ..LOOK });
        assert_eq!(still(Some(true)), PartitionStatus::Stall);
        assert_eq!(still(None), PartitionStatus::Stall);
        assert_eq!(still(Some(false)), PartitionStatus::Stop);
        assert_eq!(watch(55, |_| Look { lag: 9, ..LOOK }), PartitionStatus::Ok, "not for long enough");
    }

    #[test]
    fn nobody_is_stuck_while_nobody_can_work() {
        let idle = |_| Look { lag: 9, owned: Some(false), working: false, ..LOOK };
        assert_eq!(watch(600, idle), PartitionStatus::Ok);
    }

    #[test]
    fn one_that_falls_behind_for_a_while_is_a_warning() {
        let behind = |secs| Look { committed: Some(committed(secs)), lag: 100 + secs, ..LOOK };
        assert_eq!(watch(55, behind), PartitionStatus::Ok);
        assert_eq!(watch(60, behind), PartitionStatus::Warn);
    }

    #[test]
    fn a_commit_that_went_back_is_a_rewind_for_a_while() {
        let back = |secs| Look {
            committed: Some(if secs < 300 { 5_000 } else { 1_000 } + i64::try_from(secs).unwrap()),
            lag: 10_000 - secs,
            ..LOOK
        };
        assert_eq!(watch(310, back), PartitionStatus::Rewind);
        assert_eq!(watch(380, back), PartitionStatus::Ok);
    }

    #[test]
    fn a_group_that_never_committed_has_no_commit() {
        assert_eq!(watch(600, |_| Look { committed: None, lag: 9, ..LOOK }), PartitionStatus::NoCommit);
    }
}
