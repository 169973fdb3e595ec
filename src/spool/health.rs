//! How a lane fares, decided from failures and their times.

use std::collections::VecDeque;
use std::time::Duration;

/// A commit that takes longer counts as a disk that is down.
pub(crate) const SLOW_COMMIT: Duration = Duration::from_secs(10);
/// So many faults ...
const DOWN_AFTER: usize = 3;
/// ... within this make a lane DISK-DOWN.
const DOWN_WITHIN: Duration = Duration::from_mins(1);
/// A disk that is down is tried again so often.
pub(crate) const DOWN_RETRY: Duration = Duration::from_secs(30);
/// A single fault is followed by another try this much later.
pub(crate) const FAULT_RETRY: Duration = Duration::from_millis(100);
/// A full lane looks for room so often.
pub(crate) const FULL_RETRY: Duration = Duration::from_millis(250);

/// How a lane's log fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Commits succeed.
    Ok,
    /// Commits wait for room.
    Full(FullReason),
    /// DISK-DOWN: nothing can be stored; acknowledge at Kafka's acknowledgement.
    Down,
}

/// Why a lane is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullReason {
    /// It takes what it may.
    Capacity,
    /// The file system has less left than is to be left to others.
    Floor,
    /// The file system says that it has no room.
    NoSpace,
}

/// The state behind [`Health`].
#[derive(Debug)]
pub(crate) struct Watch {
    health: Health,
    faults: VecDeque<Duration>,
    retry_at: Option<Duration>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { health: Health::Ok, faults: VecDeque::with_capacity(DOWN_AFTER), retry_at: None }
    }
}

impl Watch {
    pub(crate) const fn health(&self) -> Health {
        self.health
    }

    /// Returns when to try again; `None` if nothing stands in the way.
    pub(crate) const fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// Takes a commit that succeeded and took `took`.
    pub(crate) fn committed(&mut self, now: Duration, took: Duration) {
        if took > SLOW_COMMIT {
            self.go_down(now);
        } else {
            self.health = Health::Ok;
            self.retry_at = None;
        }
    }

    /// Takes an error of the disk.
    pub(crate) fn fault(&mut self, now: Duration) {
        while self.faults.len() >= DOWN_AFTER
            || self.faults.front().is_some_and(|at| *at + DOWN_WITHIN <= now)
        {
            self.faults.pop_front();
        }
        self.faults.push_back(now);
        if self.health == Health::Down || self.faults.len() >= DOWN_AFTER {
            self.go_down(now);
        } else {
            self.retry_at = Some(now + FAULT_RETRY);
        }
    }

    pub(crate) fn full(&mut self, now: Duration, reason: FullReason) {
        if self.health != Health::Down {
            self.health = Health::Full(reason);
        }
        self.retry_at = Some(now + FULL_RETRY);
    }

    fn go_down(&mut self, now: Duration) {
        self.health = Health::Down;
        self.retry_at = Some(now + DOWN_RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn three_faults_in_a_minute_are_down_and_three_in_two_are_not() {
        let mut slow = Watch::default();
        for at in [0, 61, 122, 183] {
            slow.fault(secs(at));
            assert_eq!(slow.health(), Health::Ok, "{at} s");
        }
        let mut fast = Watch::default();
        for at in [0, 1] {
            fast.fault(secs(at));
            assert_eq!(fast.health(), Health::Ok);
        }
        fast.fault(secs(59));
        assert_eq!((fast.health(), fast.retry_at()), (Health::Down, Some(secs(89))));
        fast.fault(secs(89));
        assert_eq!(fast.retry_at(), Some(secs(119)));
        fast.committed(secs(119), secs(1));
        assert_eq!((fast.health(), fast.retry_at()), (Health::Ok, None));
    }

    #[test]
    fn one_commit_of_more_than_ten_seconds_is_down() {
        let mut watch = Watch::default();
        watch.committed(secs(20), secs(10));
        assert_eq!(watch.health(), Health::Ok);
        watch.committed(secs(40), secs(11));
        assert_eq!(watch.health(), Health::Down);
    }

    #[test]
    fn a_disk_that_is_down_is_not_called_merely_full() {
        let mut watch = Watch::default();
        (0..3).for_each(|at| watch.fault(secs(at)));
        watch.full(secs(40), FullReason::Floor);
        assert_eq!(watch.health(), Health::Down);
    }
}
