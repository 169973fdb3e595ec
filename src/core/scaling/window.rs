//! The maximum of what was wanted over `down.after`: what a group must have done without before it shrinks.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Parts that the window is kept in, so that its memory does not depend on the tick.
const PARTS: u32 = 32;

/// Replica counts that one look at the load asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// What the group would be sized to.
    pub(super) fitting: u32,
    /// What it would need if demand were as high as the readings allow: fewer than this are never thought enough.
    pub(super) cautious: u32,
}

impl Wanted {
    pub(super) fn max(self, other: Self) -> Self {
        Self { fitting: self.fitting.max(other.fitting), cautious: self.cautious.max(other.cautious) }
    }
}

/// A sliding maximum in at most `PARTS + 2` slots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct DownWindow {
    since: Option<Timestamp>,
    last: Timestamp,
    slots: VecDeque<(Timestamp, Wanted)>,
}

impl DownWindow {
    /// Begins anew at `now`: what came before does not count as having been watched.
    pub(super) fn restart(&mut self, now: Timestamp) {
        self.slots.clear();
        self.since = Some(now);
        self.last = now;
    }

    /// Takes in what is wanted now. After a gap longer than `gap` the watch begins anew.
    pub(super) fn push(&mut self, now: Timestamp, wanted: Wanted, length: Duration, gap: Duration) {
        if self.since.is_none() || now.since(self.last) > gap {
            self.restart(now);
        }
        self.last = now;
        let part = length / PARTS;
        match self.slots.back_mut() {
            Some((from, most)) if now.since(*from) < part => *most = most.max(wanted),
            _ => self.slots.push_back((now, wanted)),
        }
        while self.slots.front().is_some_and(|(from, _)| now.since(*from) > length + part) {
            self.slots.pop_front();
        }
    }

    /// Returns the time watched without a gap, up to `now`.
    pub(super) fn watched(&self, now: Timestamp, gap: Duration) -> Duration {
        match self.since {
            Some(since) if now.since(self.last) <= gap => now.since(since),
            _ => Duration::ZERO,
        }
    }

    /// Returns the maximum over the last `length`, a part more or less.
    pub(super) fn most(&self, now: Timestamp, length: Duration) -> Wanted {
        let part = length / PARTS;
        let recent = self.slots.iter().filter(|(from, _)| now.since(*from) <= length + part);
        recent.fold(Wanted::default(), |most, (_, wanted)| most.max(*wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_mins(5);
    const GAP: Duration = Duration::from_secs(15);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn both(n: u32) -> Wanted {
        Wanted { fitting: n, cautious: n }
    }

    #[test]
    fn a_peak_counts_for_the_length_of_the_window_and_then_no_more() {
        let mut window = DownWindow::default();
        for secs in (0..1000).step_by(5) {
            window.push(at(secs), both(if secs == 300 { 9 } else { 2 }), LENGTH, GAP);
            let expected = if (300..=600).contains(&secs) { 9 } else { 2 };
            if !(600..=610).contains(&secs) {
                assert_eq!(window.most(at(secs), LENGTH), both(expected), "at {secs} s");
            }
            assert!(window.slots.len() <= PARTS as usize + 2);
        }
        assert_eq!(window.watched(at(1000), GAP), Duration::from_secs(1000));
    }

    #[test]
    fn a_gap_begins_the_watch_anew() {
        let mut window = DownWindow::default();
        window.push(at(0), both(3), LENGTH, GAP);
        window.push(at(10), both(3), LENGTH, GAP);
        assert_eq!(window.watched(at(12), GAP), Duration::from_secs(12));
        assert_eq!(window.watched(at(40), GAP), Duration::ZERO);
        window.push(at(40), both(1), LENGTH, GAP);
        assert_eq!(window.watched(at(41), GAP), Duration::from_secs(1));
    }
}
