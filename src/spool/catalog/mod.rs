//! What a lane's log consists of, in memory: its segments, what is in them, and how far each route has come.
//!
//! Writer, reader and housekeeping share it under one lock, which is never held over I/O.

mod segment;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) use segment::{Segment, SpanExt, add_to, topic_of};

use crate::format::cursor::Mark;
use crate::format::footer::Span;
use crate::full::{self, Level};
use crate::ids::{Position, RouteId, SegmentId, TopicId};
use crate::spool::Backlog;

/// How long a record must have been done before a broker's page cache is trusted to be on its disk.
pub(crate) const SAFE_AFTER: Duration = Duration::from_mins(1);

/// A route's marks, and the one that is growing old.
#[derive(Clone, Copy, Debug, Default)]
struct Aging {
    mark: Mark,
    /// `done` as it was then: becomes `safe` in a minute.
    young: Option<(Duration, Position)>,
}

/// The log of one lane.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) segments: BTreeMap<SegmentId, Segment>,
    marks: BTreeMap<RouteId, Aging>,
    /// Topics of which several brokers have each record: `done` is as good as `safe`.
    replicated: BTreeSet<TopicId>,
    /// Up to where the log may hold less of a route than was written: it is damaged there, or was dropped. Until that is
    /// done.
    lost: BTreeMap<RouteId, Position>,
    /// Highest segment number ever used.
    pub(crate) last: SegmentId0,
    /// Up to where which segment was durable at the last commit.
    pub(crate) committed: (SegmentId0, u64),
    /// Segments of this boot that end at their last good commit, since fsync failed there.
    pub(crate) abandoned: BTreeMap<SegmentId, u64>,
    /// Segments that this version cannot read, and their bytes: left alone, and listed, so that no boot removes them.
    pub(crate) set_aside: BTreeMap<SegmentId, u64>,
    /// The file system is at its floor.
    pub(crate) disk_full: bool,
    /// Housekeeping found something that a `drop-oldest` policy lets it drop.
    pub(crate) oldest_can_go: bool,
    /// A file that is being made to replace a segment.
    pub(crate) unfinished_bytes: u64,
    pub(crate) counters: full::Counters,
    /// Bytes that became done since the last cursor.
    pub(crate) done_bytes: u64,
    /// The last cursor is out of date.
    pub(crate) changed: bool,
}

/// A segment number, or 0 for none: numbers begin at 1.
pub(crate) type SegmentId0 = u64;

impl Catalog {
    pub(crate) fn mark(&self, route: RouteId) -> Mark {
        self.marks.get(&route).map_or_else(Mark::default, |aging| aging.mark)
    }

    pub(crate) fn marks(&self) -> impl Iterator<Item = (RouteId, Mark)> + '_ {
        self.marks.iter().map(|(route, aging)| (*route, aging.mark))
    }

    pub(crate) fn restore(&mut self, route: RouteId, mark: Mark) {
        self.marks.insert(route, Aging { mark, young: None });
    }

    /// Notes that Kafka has the route's records up to `position`; `bytes` of them since last told.
    pub(crate) fn done(&mut self, route: RouteId, position: Position, bytes: u64) {
        let aging = self.marks.entry(route).or_default();
        if position > aging.mark.done {
            aging.mark.done = position;
            self.done_bytes += bytes;
            self.changed = true;
            if self.lost.get(&route).is_some_and(|lost| position >= *lost) {
                self.lost.remove(&route);
            }
        }
    }

    /// Notes that a segment's records may not all be there any more; `spans` are those that it was said to hold.
    pub(crate) fn note_lost<'a>(&mut self, spans: impl IntoIterator<Item = (&'a RouteId, &'a Span)>) {
        for (route, span) in spans {
            if span.last > self.mark(*route).done {
                let lost = self.lost.entry(*route).or_default();
                *lost = span.last.max(*lost);
            }
        }
    }

    /// Returns the routes of which something may be lost, and up to where.
    pub(crate) const fn lost(&self) -> &BTreeMap<RouteId, Position> {
        &self.lost
    }

    /// Takes back what is not known to be safe of a partition: a broker without a second copy has lost its page cache.
    /// Returns the routes that must be handed over again, from where on.
    pub(crate) fn replay_from_safe(
        &mut self,
        topic: TopicId,
        partition: Option<u32>,
    ) -> Vec<(RouteId, Position)> {
        let mut replayed = Vec::new();
        for (route, aging) in &mut self.marks {
            let asked =
                route.topic == topic && partition.is_none_or(|partition| partition == route.partition);
            if asked && aging.mark.safe < aging.mark.done {
                aging.mark.done = aging.mark.safe;
                aging.young = None;
                replayed.push((*route, aging.mark.safe));
            }
        }
        self.changed |= !replayed.is_empty();
        replayed
    }

    /// Returns the routes with records that are done and not safe: those that [`Self::replay_from_safe`] may take back.
    pub(crate) fn unsafe_routes(&self) -> Vec<RouteId> {
        self.marks().filter(|(_, mark)| mark.safe < mark.done).map(|(route, _)| route).collect()
    }

    pub(crate) fn set_replicated(&mut self, topic: TopicId, replicated: bool) {
        if replicated {
            self.replicated.insert(topic);
        } else {
            self.replicated.remove(&topic);
        }
    }

    /// Lets `safe` follow `done` a minute behind.
    pub(crate) fn age(&mut self, now: Duration) {
        for aging in self.marks.values_mut() {
            match aging.young {
                Some((since, position)) if now >= since + SAFE_AFTER => {
                    aging.mark.safe = position;
                    aging.young = None;
                    self.changed = true;
                }
                Some(_) => continue,
                None => {}
            }
            if aging.mark.done > aging.mark.safe {
                aging.young = Some((now, aging.mark.done));
            }
        }
    }

    /// Returns up to where a route's records are needed no more.
    pub(crate) fn needed_after(&self, route: RouteId) -> Position {
        let mark = self.mark(route);
        if self.replicated.contains(&route.topic) { mark.done } else { mark.safe }
    }

    /// Returns whether nothing of a segment is needed any more.
    pub(crate) fn is_spent(&self, segment: &Segment) -> bool {
        segment.closed && segment.spans.iter().all(|(route, span)| self.needed_after(*route) >= span.last)
    }

    /// Returns the bytes of a segment that are still needed; an estimate where a span is partly done.
    pub(crate) fn live_bytes(&self, segment: &Segment) -> u64 {
        segment.spans.iter().map(|(route, span)| span.bytes_after(self.needed_after(*route))).sum()
    }

    /// Returns the routes with records that are not done.
    pub(crate) fn backlog(&self) -> Vec<Backlog> {
        let mut waiting: BTreeMap<RouteId, Backlog> = BTreeMap::new();
        for (route, span) in self.segments.values().flat_map(|segment| &segment.spans) {
            let done = self.mark(*route).done;
            if span.last > done {
                let new = || Backlog { route: *route, done, last: Position::START, records: 0, bytes: 0 };
                let backlog = waiting.entry(*route).or_insert_with(new);
                backlog.last = span.last.max(backlog.last);
                let (acknowledged, others) = span.records_after(done);
                backlog.records += acknowledged + others;
                backlog.bytes += span.bytes_after(done);
            }
        }
        waiting.into_values().collect()
    }

    /// Returns the bytes that the lane takes on the disk.
    pub(crate) fn used_bytes(&self) -> u64 {
        let segments: u64 = self.segments.values().map(|segment| segment.file_bytes).sum();
        segments + self.set_aside.values().sum::<u64>() + self.unfinished_bytes
    }

    pub(crate) fn level(&self, capacity_bytes: u64, reserve_bytes: u64) -> Level {
        Level { used_bytes: self.used_bytes(), capacity_bytes, reserve_bytes, disk_full: self.disk_full }
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
