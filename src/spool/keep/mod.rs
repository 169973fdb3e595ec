//! Housekeeping: the cursor, segments that go, and segments that are rewritten so that they can.
//!
//! Runs on the writer's thread between commits, since a device does one thing at a time anyway; each step is short.

mod cursor;
pub(crate) use cursor::BALLAST;
mod rewrite;

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Base, Lane, Next};
use crate::catalog::{Catalog, SpanExt as _};
use crate::disk::Disk;
use crate::full::Policy;
use crate::ids::SegmentId;
use rewrite::{Keep, Rewrite};

/// A cursor is written this often, if it would say something new ...
const CURSOR_EVERY: Duration = Duration::from_secs(1);
/// ... or when so many bytes became done: both bound what is sent to Kafka twice after a crash.
const CURSOR_AFTER_BYTES: u64 = 4 * 1024 * 1024;
/// A lane this full has its emptiest segment rewritten ...
const REWRITE_FROM_PERCENT: u64 = 50;
/// ... if less than this of it is still needed: a rewrite must give back more than it costs ...
const REWRITE_LIVE_PERCENT: u64 = 50;
/// ... and at least this much.
const REWRITE_GAIN_MIN: u64 = 64 * 1024;
/// After a rewrite that failed, the disk is left alone.
const REWRITE_RETRY: Duration = Duration::from_secs(30);

/// The housekeeping of a device.
pub(crate) struct Keeper<D: Disk> {
    base: Arc<Base<D>>,
    next_cursor: Duration,
    rewrite: Option<Rewrite<D>>,
    no_rewrite_before: Duration,
    commits: Vec<cursor::LastCommit>,
    cursor_fails: bool,
}

impl<D: Disk> Keeper<D> {
    pub(crate) fn new(base: Arc<Base<D>>) -> Self {
        let commits = vec![cursor::LastCommit::default(); base.lanes.len()];
        Self {
            base,
            next_cursor: Duration::ZERO,
            rewrite: None,
            no_rewrite_before: Duration::ZERO,
            commits,
            cursor_fails: false,
        }
    }

    /// Does what is due.
    pub(crate) fn step(&mut self, now: Duration) -> Next {
        if self.base.lanes.iter().any(|lane| lane.catalog().done_bytes >= CURSOR_AFTER_BYTES) {
            self.next_cursor = self.next_cursor.min(now);
        }
        if now >= self.next_cursor {
            self.next_cursor = now + CURSOR_EVERY;
            self.base.look_at_the_disk();
            self.turn(now);
            if self.rewrite.is_none() && now >= self.no_rewrite_before {
                self.rewrite = self.choose();
            }
        }
        if self.rewrite.is_some() {
            self.go_on_rewriting(now);
            return Next::Now;
        }
        Next::At(self.next_cursor)
    }

    /// Writes the last cursor, whatever the clock says.
    pub(crate) fn finish(&mut self, now: Duration) {
        if let Some(rewrite) = self.rewrite.take() {
            rewrite.give_up();
        }
        self.turn(now);
    }

    /// Returns the segment whose rewriting helps most.
    fn choose(&self) -> Option<Rewrite<D>> {
        self.base.lanes.iter().find_map(|lane| {
            let (id, keep) = choose_in(lane, &mut lane.catalog(), self.base.settings.reserve_bytes())?;
            Rewrite::begin(Arc::clone(&self.base), lane.id, id, keep)
        })
    }

    fn go_on_rewriting(&mut self, now: Duration) {
        let Some(rewrite) = &mut self.rewrite else { return };
        match rewrite.step(now) {
            Ok(false) => {}
            Ok(true) => {
                self.rewrite = self.choose();
                self.base.stats(|stats| stats.rewritten_segments += 1);
            }
            Err(error) => {
                tracing::warn!(%error, "a segment cannot be rewritten");
                self.base.stats(|stats| stats.failed_rewrites += 1);
                self.no_rewrite_before = now + REWRITE_RETRY;
                if let Some(rewrite) = self.rewrite.take() {
                    rewrite.give_up();
                }
            }
        }
    }
}

/// Returns what to rewrite in a lane, and what to keep of it.
fn choose_in(lane: &Lane, catalog: &mut Catalog, reserve_bytes: u64) -> Option<(SegmentId, Keep)> {
    let level = catalog.level(lane.capacity_bytes, reserve_bytes);
    catalog.oldest_can_go = false;
    if level.used_bytes < level.full_bytes() / 100 * REWRITE_FROM_PERCENT {
        return None;
    }
    let live = |id: &SegmentId| {
        let segment = &catalog.segments[id];
        (catalog.live_bytes(segment), segment.frames.1 - segment.frames.0)
    };
    let closed: Vec<SegmentId> =
        catalog.segments.values().filter(|segment| segment.closed).map(|segment| segment.id).collect();
    // Spent ones go with the next cursor, for nothing.
    let emptiest = closed
        .iter()
        .map(|id| (live(id), *id))
        .filter(|((live, bytes), _)| *live > 0 && *live < bytes / 100 * REWRITE_LIVE_PERCENT)
        .filter(|((live, bytes), _)| bytes - live >= REWRITE_GAIN_MIN)
        .min_by_key(|((live, bytes), _)| live * 1000 / bytes.max(&1));
    if let Some((_, id)) = emptiest {
        return Some((id, Keep::Needed));
    }
    let Policy::DropOldest { allow_acked_loss } = lane.policy else { return None };
    // The oldest that holds something that may be dropped.
    let oldest = closed.into_iter().find(|id| {
        let segment = &catalog.segments[id];
        segment.spans.iter().any(|(route, span)| {
            let (acknowledged, others) = span.records_after(catalog.needed_after(*route));
            others > 0 || (allow_acked_loss && acknowledged > 0)
        })
    })?;
    catalog.oldest_can_go = true;
    let keep = if allow_acked_loss { Keep::Nothing } else { Keep::Acknowledged };
    level.is_full().then_some((oldest, keep))
}

#[cfg(test)]
#[path = "hour_tests.rs"]
mod hour_tests;
#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
