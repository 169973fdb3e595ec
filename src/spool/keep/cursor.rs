//! Writing the cursor, and unlinking the segments that it no longer lists.
//!
//! The cursor is durable before anything is unlinked: a power cut in between leaves segments that no cursor lists, which
//! recovery removes, and never a cursor that lists segments which are gone.

use std::io;
use std::time::Duration;

use super::Keeper;
use crate::base::{CURSOR, lock};
use crate::disk::{self, Disk};
use crate::format::cursor::{Cursor, LaneCursor};
use crate::ids::{LaneId, RouteId, SegmentId};

/// Name of a file that holds room for the cursor: without it a disk that others have filled could never be drained,
/// since segments go only after a cursor.
pub(crate) const BALLAST: &str = "ballast";
/// A cursor of ten thousand routes is smaller.
const BALLAST_BYTES: u64 = 1024 * 1024;

/// A commit that no other follows is noted after this: the next commit notes it anyway.
const QUIET: Duration = Duration::from_secs(1);

/// The last commit of a lane, as the cursor knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct LastCommit {
    written: (u64, u64),
    seen: (u64, u64),
    since: Duration,
}

impl LastCommit {
    /// Whether the last commit stands in no cursor and no later commit follows it: then only a cursor can prove, after
    /// a crash, that it was durable, and tell damage in it from a torn tail.
    fn is_quiet(&mut self, committed: (u64, u64), now: Duration) -> bool {
        if self.seen != committed {
            (self.seen, self.since) = (committed, now);
        }
        self.seen != self.written && now >= self.since + QUIET
    }
}

impl<D: Disk> Keeper<D> {
    /// Writes a cursor if it says something new, and unlinks what is no longer needed.
    pub(super) fn turn(&mut self, now: Duration) {
        let mut due = false;
        for (lane, last) in self.base.lanes.iter().zip(&mut self.commits) {
            let mut catalog = lane.catalog();
            catalog.age(now);
            let spent = catalog.segments.values().any(|segment| catalog.is_spent(segment));
            due |= catalog.changed || spent || last.is_quiet(catalog.committed, now);
        }
        if !due {
            return;
        }
        let (cursor, spent) = self.image();
        let bytes = cursor.encode();
        match self.write(&bytes) {
            Ok(()) => {
                for (last, lane) in self.commits.iter_mut().zip(&cursor.lanes) {
                    last.written = lane.committed;
                }
                self.cursor_fails = false;
                self.base.stats(|stats| {
                    stats.cursors += 1;
                    stats.wear.add(now, 0, bytes.len() as u64);
                });
                self.unlink(&spent);
                self.renew_ballast();
            }
            Err(error) => {
                for lane in &self.base.lanes {
                    lane.catalog().changed = true;
                }
                self.base.stats(|stats| stats.failed_cursors += 1);
                // Said once: it is tried again every second.
                if !self.cursor_fails {
                    tracing::error!(%error, "the cursor cannot be written");
                }
                self.cursor_fails = true;
            }
        }
    }

    /// What the cursor is to say, and the segments that it does not list because nothing in them is needed.
    fn image(&self) -> (Cursor, Vec<(LaneId, SegmentId)>) {
        let mut spent = Vec::new();
        let topics = lock(&self.base.topics);
        let lanes = self.base.lanes.iter().map(|lane| {
            let mut catalog = lane.catalog();
            catalog.changed = false;
            catalog.done_bytes = 0;
            let mut segments = Vec::new();
            for segment in catalog.segments.values() {
                if catalog.is_spent(segment) {
                    spent.push((lane.id, segment.id));
                } else if segment.closed || segment.frames.1 > segment.frames.0 {
                    // One that is only begun may not exist after a power cut.
                    segments.push(segment.id);
                }
            }
            let listed =
                |route: RouteId| segments.iter().any(|id| catalog.segments[id].spans.contains_key(&route));
            let marks = catalog.marks().filter(|(route, _)| listed(*route)).collect();
            segments.extend(catalog.set_aside.keys());
            segments.sort_unstable();
            LaneCursor {
                name: lane.name.clone(),
                last: catalog.last,
                committed: catalog.committed,
                marks,
                segments,
            }
        });
        let lanes =
            lanes.collect::<Vec<_>>().into_iter().chain(self.base.foreign_lanes.iter().cloned()).collect();
        let who = *lock(&self.base.who);
        let machine_boot = self.base.machine_boot;
        (Cursor { gateway: who.spool, epoch: who.epoch, machine_boot, topics: topics.names(), lanes }, spent)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match disk::replace(&self.base.disk, "", CURSOR, bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.base.disk.remove(BALLAST)?;
                disk::replace(&self.base.disk, "", CURSOR, bytes)
            }
            written => written,
        }
    }

    fn unlink(&self, spent: &[(LaneId, SegmentId)]) {
        for (lane, id) in spent {
            let lane = &self.base.lanes[lane.index()];
            {
                let mut catalog = lane.catalog();
                catalog.segments.remove(id);
                catalog.abandoned.remove(id);
            }
            self.base.stats(|stats| stats.freed_segments += 1);
            // The next boot removes what cannot be removed now: no cursor lists it.
            if let Err(error) = self.base.disk.remove(&lane.path(*id)) {
                tracing::warn!(lane = %lane.name, segment = %id, %error, "a segment cannot be removed");
            }
        }
    }

    /// Sets room aside for a cursor on a full disk, unless that is so already.
    fn renew_ballast(&self) {
        if let Ok(file) = self.base.disk.create(BALLAST, BALLAST_BYTES) {
            // Room that is taken in the file system's books only may be given to others after a power cut.
            let _ = crate::disk::File::sync(&file);
        }
    }
}
