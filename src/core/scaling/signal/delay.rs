//! How old a record is, without asking Kafka for it.
//!
//! Each look at a partition's end is a point (offset, time). A record between two points was appended between their
//! times; a straight line through them is exact to within one look while arrivals are even. The same idea, with a lookup
//! table of the same kind, is used by Lightbend's kafka-lag-exporter.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scaling::num::messages;
use crate::time::Timestamp;

/// Points kept of one partition. The older half is thinned when it is full, so that the table reaches back as far as
/// the backlog does, with an error that grows with the age.
const POINTS: usize = 32;

/// Time since a record was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Age {
    /// To within one look.
    Known(Duration),
    /// It was there before the first look: at least this much.
    AtLeast(Duration),
}

impl Age {
    /// Returns the age in seconds, or the least it can be.
    #[must_use]
    pub fn secs(self) -> f64 {
        let (Self::Known(age) | Self::AtLeast(age)) = self;
        age.as_secs_f64()
    }
}

/// The end was at `offset` from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    offset: i64,
    first: Timestamp,
    last: Timestamp,
}

/// When the end of one partition was where; at most [`POINTS`] points.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DelayTable {
    points: VecDeque<Point>,
}

impl DelayTable {
    /// Takes in that the partition's end was at `end`. What the group has passed (`position`) is forgotten.
    pub fn see(&mut self, end: i64, position: i64, at: Timestamp) {
        match self.points.back_mut() {
            Some(newest) if at < newest.last => return,
            Some(newest) if end == newest.offset => newest.last = at,
            Some(newest) if end > newest.offset => self.push(end, at),
            // Nothing yet; or the topic was made anew, and old offsets mean other records.
            _ => {
                self.points.clear();
                self.push(end, at);
            }
        }
        while self.points.get(1).is_some_and(|point| point.offset <= position) {
            self.points.pop_front();
        }
    }

    fn push(&mut self, offset: i64, at: Timestamp) {
        if self.points.len() >= POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index > POINTS / 2 || index % 2 == 1
            });
        }
        self.points.push_back(Point { offset, first: at, last: at });
    }

    /// Returns the age of the record at `position`, the next one the group will process: zero if there is none yet,
    /// `None` before the first look.
    #[must_use]
    pub fn age(&self, position: i64, now: Timestamp) -> Option<Age> {
        let newest = self.points.back()?;
        if position >= newest.offset {
            return Some(Age::Known(Duration::ZERO));
        }
        let next = self.points.partition_point(|point| point.offset <= position);
        let after = self.points.get(next)?;
        let Some(before) = next.checked_sub(1).and_then(|index| self.points.get(index)) else {
            return Some(Age::AtLeast(now.since(after.first)));
        };
        let part = messages(before.offset, position + 1) / messages(before.offset, after.offset);
        let appended = before.last + after.first.since(before.last).mul_f64(part.clamp(0.0, 1.0));
        Some(Age::Known(now.since(appended)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn secs(table: &DelayTable, position: i64, now: u64) -> f64 {
        match table.age(position, at(now)).unwrap() {
            Age::Known(age) => age.as_secs_f64(),
            Age::AtLeast(age) => panic!("only a lower bound: {age:?}"),
        }
    }

    #[test]
    fn a_steady_partition_has_the_age_of_its_backlog_by_its_rate() {
        let mut table = DelayTable::default();
        for look in 0..20 {
            table.see(look * 500, 0, at(u64::try_from(look).unwrap() * 5));
        }
        // 100 msg/s, the end at 9500 at 95 s: the record at 8000 came at about 80 s.
        assert!((secs(&table, 7_999, 95) - 15.0).abs() < 0.02);
        assert!(secs(&table, 9_500, 95).abs() < 1e-9, "nothing waits");
    }

    #[test]
    fn a_record_after_a_pause_is_as_old_as_itself_and_not_as_the_pause() {
        let mut table = DelayTable::default();
        for secs in (0..=600).step_by(5) {
            table.see(100, 100, at(secs));
        }
        table.see(101, 100, at(605));
        assert!(secs(&table, 100, 607) <= 2.0 + 1e-9);
    }

    #[test]
    fn what_was_there_before_the_first_look_has_a_least_age() {
        let mut table = DelayTable::default();
        assert_eq!(table.age(5, at(1)), None);
        table.see(1_000, 10, at(100));
        assert_eq!(table.age(10, at(130)), Some(Age::AtLeast(Duration::from_secs(30))));
    }

    #[test]
    fn a_long_outage_stays_known_with_few_points_to_within_a_tenth() {
        let mut table = DelayTable::default();
        for look in 0..5_000 {
            table.see(look * 50, 75, at(u64::try_from(look).unwrap() * 5));
            assert!(table.points.len() <= POINTS);
        }
        // The record at 75 came at 7.6 s or so; now is 24 995 s.
        assert!((secs(&table, 75, 24_995) / 24_987.0 - 1.0).abs() < 0.1);
    }

    #[test]
    fn a_topic_made_anew_begins_a_new_table() {
        let mut table = DelayTable::default();
        table.see(5_000, 0, at(0));
        table.see(10, 0, at(5));
        assert_eq!(table.age(3, at(6)), Some(Age::AtLeast(Duration::from_secs(1))));
    }
}
