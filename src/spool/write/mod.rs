//! The writer: what was submitted becomes durable, in order, many records a commit.
//!
//! One writer per device, since a device does one sync at a time anyway. The next commit starts when the previous has
//! returned and takes all that has come meanwhile: the slower the disk, the larger the batch.

mod commit;
mod queue;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Base, Next};
use crate::disk::Disk;
use crate::health::{Health, Watch};
use crate::ids::{LaneId, SHARDS};
use commit::{Active, Failure};
pub(crate) use queue::{Content, DeadLetter, Entry, Queue};
pub use queue::{Record, Refused, RefusedBecause};

/// What the writer does for one lane.
struct LaneWriter<D: Disk, R> {
    id: LaneId,
    active: Option<Active<D::File>>,
    /// Its folder is durable.
    folder_made: bool,
    next_segment: u64,
    pending: VecDeque<Entry<R>>,
    watch: Watch,
}

/// Told of each lane and shard of which tickets were settled.
pub(crate) type Settled<'a> = &'a mut dyn FnMut(LaneId, u8);

/// The writer of a device.
pub(crate) struct Writer<D: Disk, R> {
    base: Arc<Base<D>>,
    queue: Arc<Queue<R>>,
    lanes: Vec<LaneWriter<D, R>>,
    /// Reused from commit to commit.
    buffer: Vec<u8>,
    last_commit: Option<Duration>,
}

impl<D: Disk, R: Record> Writer<D, R> {
    /// Returns a writer that begins a new segment in each lane, once there is something to write.
    /// `next_segments`: per lane, a number above all that were used.
    pub(crate) fn new(base: Arc<Base<D>>, queue: Arc<Queue<R>>, next_segments: &[u64]) -> Self {
        let lane = |(lane, next_segment): (&crate::base::Lane, &u64)| LaneWriter {
            id: lane.id,
            active: None,
            folder_made: false,
            next_segment: *next_segment,
            pending: VecDeque::new(),
            watch: Watch::default(),
        };
        let lanes = base.lanes.iter().zip(next_segments).map(lane).collect();
        Self { base, queue, lanes, buffer: Vec::new(), last_commit: None }
    }

    /// Commits what waits, one commit per lane at most, if it is time.
    pub(crate) fn step(&mut self, clock: &dyn Fn() -> Duration, settled: Settled<'_>) -> Next {
        let now = clock();
        if let Some(last) = self.last_commit
            && now < last + self.base.settings.commit_interval_min
        {
            return Next::At(last + self.base.settings.commit_interval_min);
        }
        let mut next = Next::Idle;
        for index in 0..self.lanes.len() {
            next = next.min(self.step_lane(index, clock, settled));
        }
        next
    }

    fn step_lane(&mut self, index: usize, clock: &dyn Fn() -> Duration, settled: Settled<'_>) -> Next {
        let now = clock();
        let lane = &mut self.lanes[index];
        self.queue.take(lane.id, &mut lane.pending);
        let tries_again = match lane.watch.retry_at() {
            Some(at) if now < at => {
                // What Kafka has meanwhile need not hold memory until the disk is back.
                self.drop_done(index, settled);
                return Next::At(at);
            }
            Some(_) => lane.watch.health() == Health::Down,
            None => false,
        };
        if lane.pending.is_empty() && !tries_again {
            if lane.watch.health() != Health::Ok {
                // Whether there is room is known when there is something to write.
                lane.watch.committed(now, Duration::ZERO);
                self.base.status.set(lane.id, Health::Ok);
            }
            return Next::Idle;
        }
        self.last_commit = Some(now);
        self.base.status.commit_began(now);
        let committed = self.commit(index, clock);
        self.base.status.commit_ended();
        let (id, after) = (self.lanes[index].id, clock());
        let watch = &mut self.lanes[index].watch;
        match &committed {
            Ok(_) => watch.committed(after, after.saturating_sub(now)),
            Err(Failure::Full(reason)) => watch.full(after, *reason),
            Err(Failure::Fault(_)) => watch.fault(after),
        }
        let (health, retry_at) = (watch.health(), watch.retry_at());
        self.base.status.set(id, health);
        self.queue.set_down(id, health == Health::Down);
        match committed {
            Ok(count) => self.settle(index, count, settled),
            Err(failure) => self.report(id, &failure),
        }
        match retry_at {
            Some(at) => Next::At(at),
            None if !self.lanes[index].pending.is_empty() => Next::Now,
            None => Next::Idle,
        }
    }

    /// Gives up the first `count` submissions, which are durable now.
    fn settle(&mut self, index: usize, count: usize, settled: Settled<'_>) {
        let lane = &mut self.lanes[index];
        let mut below = [None; SHARDS as usize];
        let mut bytes = 0;
        for entry in lane.pending.drain(..count) {
            below[usize::from(entry.frame().shard)] = Some(entry.ticket + 1);
            bytes += entry.bytes;
        }
        self.queue.release(bytes);
        for (shard, below) in (0..SHARDS).zip(below) {
            if let Some(below) = below {
                self.queue.settle(lane.id, shard, below);
                settled(lane.id, shard);
            }
        }
    }

    /// Gives up submissions that Kafka has meanwhile, wherever they stand.
    fn drop_done(&mut self, index: usize, settled: Settled<'_>) {
        let lane = &mut self.lanes[index];
        let (mut bytes, mut count) = (0, 0);
        let mut gone = [None; SHARDS as usize];
        {
            let catalog = self.base.lanes[index].catalog();
            lane.pending.retain(|entry| {
                let frame = entry.frame();
                let keep = frame.position > catalog.needed_after(frame.route());
                if !keep {
                    gone[usize::from(frame.shard)] = Some(entry.ticket + 1);
                    bytes += entry.bytes;
                    count += 1;
                }
                keep
            });
        }
        if count == 0 {
            return;
        }
        self.queue.release(bytes);
        self.base.stats(|stats| stats.spared_records += count);
        for (shard, gone) in (0..SHARDS).zip(gone) {
            let Some(behind_gone) = gone else { continue };
            // Tickets of a shard are settled in their order, whatever their routes.
            let left = lane.pending.iter().find(|entry| entry.frame().shard == shard);
            self.queue.settle(lane.id, shard, left.map_or(behind_gone, |entry| entry.ticket));
            settled(lane.id, shard);
        }
    }

    fn report(&self, lane: LaneId, failure: &Failure) {
        let name = &self.base.lanes[lane.index()].name;
        match failure {
            Failure::Full(reason) => tracing::debug!(lane = %name, ?reason, "the spool has no room"),
            Failure::Fault(error) => {
                self.base.stats(|stats| stats.faults += 1);
                tracing::error!(lane = %name, %error, "the spool cannot be written");
            }
        }
    }

    /// Commits all that waits and seals the segments, so that the next boot need not scan them. Stops at the first
    /// failure of a lane: what is left was never acknowledged from here.
    pub(crate) fn finish(&mut self, clock: &dyn Fn() -> Duration, settled: Settled<'_>) {
        for index in 0..self.lanes.len() {
            self.queue.take(self.lanes[index].id, &mut self.lanes[index].pending);
            while !self.lanes[index].pending.is_empty() {
                match self.commit(index, clock) {
                    Ok(count) => self.settle(index, count, settled),
                    Err(failure) => {
                        self.report(self.lanes[index].id, &failure);
                        break;
                    }
                }
            }
            self.seal(index, clock());
        }
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
