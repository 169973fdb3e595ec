//! Rewriting a segment to what of it is still needed: one dead partition must not pin the log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Base, lock};
use crate::catalog::{Segment, topic_of};
use crate::disk::{Disk, File, UNFINISHED};
use crate::format::FORMAT;
use crate::format::footer::Span;
use crate::format::frame::{Flags, Part};
use crate::ids::{LaneId, RouteId, SegmentId};
use crate::scan::{Item, Scan};

/// Read in one step, so that a commit never waits long.
const STEP_BYTES: u64 = 1024 * 1024;

/// What to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// What is not done.
    Needed,
    /// Of that, what devices were told is safe.
    Acknowledged,
    /// Nothing.
    Nothing,
}

/// A rewrite under way: a file beside the segment, which replaces it in the end.
pub(super) struct Rewrite<D: Disk> {
    base: Arc<Base<D>>,
    lane: LaneId,
    keep: Keep,
    old: Segment,
    new: Segment,
    scan: Scan<D::File>,
    out: D::File,
    written: u64,
    dropped: (u64, u64),
}

impl<D: Disk> Rewrite<D> {
    /// Begins; `None` if the segment is gone or the disk has no room, which is nothing to complain about.
    pub(super) fn begin(base: Arc<Base<D>>, lane: LaneId, id: SegmentId, keep: Keep) -> Option<Self> {
        let shared = &base.lanes[lane.index()];
        let old = shared.catalog().segments.get(&id)?.clone();
        let mut new = old.clone();
        new.version = FORMAT;
        new.salt = base.salt();
        new.generation += 1;
        new.newest_unix_ms = i64::MIN;
        new.spans.clear();
        let header = {
            let topics = lock(&base.topics);
            let abandoned = shared.catalog().abandoned.iter().map(|(id, end)| (*id, *end)).collect();
            new.header(abandoned, &topics).encode()
        };
        let file = base.disk.open(&shared.path(id)).ok()?;
        let path = format!("{}{UNFINISHED}", shared.path(id));
        let _ = base.disk.remove(&path);
        let out = base.disk.create(&path, 0).ok()?;
        if out.write_at(&header, 0).is_err() {
            let _ = base.disk.remove(&path);
            return None;
        }
        let written = header.len() as u64;
        new.frames = (written, written);
        let scan = Scan::new(Arc::new(file), old.seal(), old.frames.0, old.frames.1);
        Some(Self { lane, keep, new, scan, out, written, dropped: (0, 0), old, base })
    }

    /// Copies for a while; true once the new file has replaced the old one.
    pub(super) fn step(&mut self, now: Duration) -> io::Result<bool> {
        let until = self.scan.at() + STEP_BYTES;
        let mut buffer = Vec::new();
        let mut ended = false;
        while self.scan.at() < until && !ended {
            ended = self.copy_one(&mut buffer)?;
        }
        self.out.write_at(&buffer, self.written)?;
        self.written += buffer.len() as u64;
        let shared = &self.base.lanes[self.lane.index()];
        shared.catalog().unfinished_bytes = self.written;
        if ended {
            self.replace(now)?;
        }
        Ok(ended)
    }

    /// Copies one frame if it is to be kept; true at the end.
    fn copy_one(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let end = self.old.frames.1;
        let (at, next) = match self.scan.next()? {
            Item::Frame { at, next } => (at, next),
            Item::Hole { from, to } => {
                self.base.count_hole(to - from);
                return Ok(false);
            }
            Item::End { at, .. } => {
                if at < end {
                    self.base.count_hole(end - at);
                }
                return Ok(true);
            }
        };
        let Part::Record(mut frame) = self.scan.part(at, next) else { return Ok(next >= end) };
        let local = frame.topic;
        let Some(topic) = topic_of(&self.old.topics, local) else { return Ok(next >= end) };
        let route = RouteId { topic, ..frame.route() };
        let needed = {
            let catalog = self.base.lanes[self.lane.index()].catalog();
            frame.position > catalog.needed_after(route)
        };
        let acknowledged = frame.flags.has(Flags::ACKNOWLEDGED);
        let kept = match self.keep {
            Keep::Needed => needed,
            Keep::Acknowledged => needed && acknowledged,
            Keep::Nothing => false,
        };
        if kept {
            frame.topic = topic;
            self.new.add(route, &frame, next - at);
            frame.encode(self.new.seal(), local.0, buffer);
        } else if needed && acknowledged {
            self.dropped.1 += 1;
        } else if needed {
            self.dropped.0 += 1;
        }
        Ok(next >= end)
    }

    fn replace(&mut self, now: Duration) -> io::Result<()> {
        let base = &self.base;
        let shared = &base.lanes[self.lane.index()];
        self.new.frames.1 = self.written;
        let footer = self.new.footer(&lock(&base.topics)).encode();
        self.out.write_at(&footer, self.written)?;
        self.new.file_bytes = self.written + footer.len() as u64;
        self.out.truncate(self.new.file_bytes)?;
        self.out.sync()?;
        let path = shared.path(self.old.id);
        {
            // Renamed under the lock, the one exception: a reader that opens the file must see either the old file
            // and the old generation, or both new.
            let mut catalog = shared.catalog();
            base.disk.rename(&format!("{path}{UNFINISHED}"), &path)?;
            catalog.unfinished_bytes = 0;
            catalog.abandoned.remove(&self.old.id);
            catalog.counters.dropped_qos0 += self.dropped.0;
            catalog.counters.dropped_acknowledged += self.dropped.1;
            let shorter = |(route, span): &(&RouteId, &Span)| {
                self.new.spans.get(route).is_none_or(|kept| kept.last < span.last)
            };
            catalog.note_lost(self.old.spans.iter().filter(shorter));
            if let Some(segment) = catalog.segments.get_mut(&self.old.id) {
                *segment = self.new.clone();
            }
        }
        base.disk.sync_folder(&shared.name)?;
        base.stats(|stats| stats.wear.add(now, 0, self.new.file_bytes));
        Ok(())
    }

    /// Leaves the segment as it is.
    pub(super) fn give_up(self) {
        let shared = &self.base.lanes[self.lane.index()];
        shared.catalog().unfinished_bytes = 0;
        // Recovery removes what cannot be removed now.
        let _ = self.base.disk.remove(&format!("{}{UNFINISHED}", shared.path(self.old.id)));
    }
}
