//! One commit of one lane: a batch of frames, one write, one sync; and the segments it goes to.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Entry, Record, Writer};
use crate::base::lock;
use crate::catalog::{Segment, add_to};
use crate::disk::{Disk, File};
use crate::format::FORMAT;
use crate::format::frame::{COMMIT_BYTES, Seal, encode_commit, encode_topic, topic_bytes};
use crate::format::header::Header;
use crate::health::{FullReason, Health};
use crate::ids::{SegmentId, TopicId};

/// Largest commit: bounds how long another lane waits, and the buffer.
const MAX_COMMIT_BYTES: usize = 4 * 1024 * 1024;
/// Submissions whose marks are looked up under one lock.
const LOOK_AHEAD: usize = 128;
/// Abandoned segments that a header lists: after so many in one boot the disk is beyond help, and recovery cuts their
/// tails by itself unless those look whole.
const MAX_ABANDONED: usize = 256;

/// Why a commit did not happen. Nothing was stored, nothing was acknowledged.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no room.
    Full(FullReason),
    /// The disk fails.
    Fault(io::Error),
}

/// The segment being written.
pub(super) struct Active<F> {
    id: SegmentId,
    file: Arc<F>,
    seal: Seal,
    /// Up to where it is durable; 0 as long as not even the header is.
    end: u64,
    /// Topics that the segment's table has.
    topics_known: usize,
    header: Option<Vec<u8>>,
}

/// What a commit consists of.
struct Batch {
    /// Submissions it settles, from the first one waiting.
    count: usize,
    /// Which of these are in it; the others are in Kafka already.
    written: Vec<usize>,
    topics_known: usize,
}

impl<D: Disk, R: Record> Writer<D, R> {
    /// Writes one batch and makes it durable. Returns how many submissions that settles.
    pub(super) fn commit(&mut self, index: usize, clock: &dyn Fn() -> Duration) -> Result<usize, Failure> {
        if !self.next_fits(index) {
            self.seal(index, clock());
        }
        if self.lanes[index].active.is_none() {
            self.begin_segment(index)?;
        }
        let batch = self.fill_buffer(index);
        // A disk that was down has to prove itself even if nothing is left to write.
        if batch.written.is_empty() && self.lanes[index].watch.health() == Health::Ok {
            self.base.stats(|stats| stats.spared_records += batch.count as u64);
            return Ok(batch.count);
        }
        self.write_durably(index, clock)?;
        self.publish(index, &batch);
        Ok(batch.count)
    }

    /// Whether the next submission fits the active segment.
    fn next_fits(&self, index: usize) -> bool {
        let lane = &self.lanes[index];
        let Some(active) = &lane.active else { return true };
        let next = lane.pending.front().map_or(0, |entry| entry.frame().bytes());
        let topics =
            self.topic_frames(active.topics_known, lane.pending.front().map(|entry| entry.frame().topic));
        active.end + (COMMIT_BYTES + topics + next) as u64 <= self.base.settings.segment_bytes
    }

    /// Bytes of the topic frames that a record for `topic` needs before it.
    fn topic_frames(&self, known: usize, topic: Option<TopicId>) -> usize {
        let Some(topic) = topic.filter(|topic| usize::from(topic.0) >= known) else { return 0 };
        let topics = lock(&self.base.topics);
        let names =
            (known..=usize::from(topic.0)).filter_map(|id| topics.name(TopicId(u16::try_from(id).ok()?)));
        names.map(|name| topic_bytes(name)).sum()
    }

    /// Encodes header, commit frame and as many submissions as fit.
    fn fill_buffer(&mut self, index: usize) -> Batch {
        let lane = &self.lanes[index];
        let active = lane.active.as_ref().expect("a segment was begun");
        let out = &mut self.buffer;
        out.clear();
        out.extend_from_slice(active.header.as_deref().unwrap_or_default());
        let mut batch = Batch { count: 0, written: Vec::new(), topics_known: active.topics_known };
        encode_commit(active.seal, active.end, out);
        let room = usize::try_from(self.base.settings.segment_bytes - active.end).unwrap_or(usize::MAX);
        let topics = lock(&self.base.topics);
        let mut spared = Vec::with_capacity(LOOK_AHEAD);
        for (number, entry) in lane.pending.iter().enumerate() {
            if number % LOOK_AHEAD == 0 {
                // A few at once, so that workers who report what is done never wait for a whole commit.
                let catalog = self.base.lanes[index].catalog();
                let next = lane.pending.range(number..).take(LOOK_AHEAD).map(Entry::frame);
                spared.clear();
                spared.extend(next.map(|frame| frame.position <= catalog.needed_after(frame.route())));
            }
            if spared[number % LOOK_AHEAD] {
                batch.count += 1;
                continue;
            }
            let frame = entry.frame();
            let before = out.len();
            let known = batch.topics_known;
            while usize::from(frame.topic.0) >= batch.topics_known {
                let id = TopicId(u16::try_from(batch.topics_known).expect("topics are few"));
                let name = topics.name(id).expect("numbers come from here");
                encode_topic(active.seal, id.0, name, out);
                batch.topics_known += 1;
            }
            let full = out.len() + frame.bytes() > room || out.len() > MAX_COMMIT_BYTES;
            if full && !batch.written.is_empty() {
                out.truncate(before);
                batch.topics_known = known;
                break;
            }
            frame.encode(active.seal, frame.topic.0, out);
            batch.written.push(batch.count);
            batch.count += 1;
        }
        batch
    }

    fn write_durably(&mut self, index: usize, clock: &dyn Fn() -> Duration) -> Result<(), Failure> {
        let active = self.lanes[index].active.as_ref().expect("a segment was begun");
        let (file, at, fresh) = (Arc::clone(&active.file), active.end, active.header.is_some());
        if let Err(error) = file.write_at(&self.buffer, at) {
            // Nothing was synced, so nothing is lost: what stands behind `end` is written over.
            return Err(match no_space(&error) {
                Some(full) => {
                    self.base.lanes[index].catalog().disk_full = true;
                    Failure::Full(full)
                }
                None => self.abandon(index, error),
            });
        }
        if let Err(error) = file.sync() {
            return Err(self.abandon(index, error));
        }
        if fresh && let Err(error) = self.base.disk.sync_folder(&self.base.lanes[index].name) {
            return Err(self.abandon(index, error));
        }
        self.base.stats(|stats| stats.wear.add(clock(), at, self.buffer.len() as u64));
        Ok(())
    }

    /// Moves `stored` and tells readers.
    fn publish(&mut self, index: usize, batch: &Batch) {
        let end_of_batch = self.buffer.len() as u64;
        let lane = &mut self.lanes[index];
        let active = lane.active.as_mut().expect("a segment was begun");
        let end = active.end + end_of_batch;
        let (mut spans, mut newest_unix_ms, mut record_bytes) = (BTreeMap::new(), i64::MIN, 0);
        for at in &batch.written {
            let entry = &lane.pending[*at];
            let frame = entry.frame();
            add_to(&mut spans, frame.route(), &frame, entry.bytes);
            newest_unix_ms = frame.time_unix_ms.max(newest_unix_ms);
            record_bytes += entry.bytes;
        }
        let mut catalog = self.base.lanes[index].catalog();
        let segment = catalog.segments.get_mut(&active.id).expect("only sealed segments are freed");
        segment.frames.1 = end;
        let known = segment.topics.len()..batch.topics_known;
        segment.topics.extend(known.map(|id| TopicId(u16::try_from(id).expect("topics are few"))));
        segment.append(spans, newest_unix_ms);
        catalog.last = catalog.last.max(active.id.0);
        catalog.committed = (active.id.0, end);
        active.end = end;
        active.header = None;
        active.topics_known = batch.topics_known;
        drop(catalog);
        self.base.stats(|stats| {
            stats.commits += 1;
            stats.records += batch.written.len() as u64;
            stats.spared_records += (batch.count - batch.written.len()) as u64;
            stats.record_bytes += record_bytes;
        });
    }

    /// Sets a new segment aside.
    fn begin_segment(&mut self, index: usize) -> Result<(), Failure> {
        let base = &self.base;
        let shared = &base.lanes[index];
        let size = base.settings.segment_bytes;
        if shared.catalog().used_bytes() + size > shared.capacity_bytes {
            return Err(Failure::Full(FullReason::Capacity));
        }
        let fails = |error: io::Error| match no_space(&error) {
            Some(full) => {
                shared.catalog().disk_full = true;
                Failure::Full(full)
            }
            None => Failure::Fault(error),
        };
        if base.disk.free_bytes().map_err(fails)? < base.settings.free_floor_bytes.saturating_add(size) {
            shared.catalog().disk_full = true;
            return Err(Failure::Full(FullReason::Floor));
        }
        let lane = &mut self.lanes[index];
        if !lane.folder_made {
            base.disk.make_folder(&shared.name).map_err(fails)?;
            lane.folder_made = true;
        }
        let id = SegmentId(lane.next_segment);
        lane.next_segment += 1;
        let file = base.disk.create(&shared.path(id), size).map_err(fails)?;
        // A fast disk fills up between two looks of the housekeeping.
        base.look_at_the_disk();
        let who = *lock(&base.who);
        let mut topics = lock(&base.topics);
        let mut catalog = shared.catalog();
        let header = Header {
            version: FORMAT,
            id,
            gateway: who.run,
            epoch: who.epoch,
            salt: base.salt(),
            abandoned: catalog
                .abandoned
                .iter()
                .rev()
                .take(MAX_ABANDONED)
                .map(|(id, end)| (*id, *end))
                .collect(),
            topics: topics.names(),
        };
        let bytes = header.encode();
        let mut segment = Segment::from_header(&header, bytes.len() as u64, &mut topics);
        segment.file_bytes = size;
        lane.active = Some(Active {
            id,
            file: Arc::new(file),
            seal: header.seal(),
            end: 0,
            topics_known: header.topics.len(),
            header: Some(bytes),
        });
        catalog.segments.insert(id, segment);
        Ok(())
    }

    /// Ends the active segment at its last good commit: whether what was written behind it is durable will never be
    /// known. All of that is still in memory and goes to a new segment.
    fn abandon(&mut self, index: usize, error: io::Error) -> Failure {
        if let Some(active) = self.lanes[index].active.take() {
            let shared = &self.base.lanes[index];
            let mut catalog = shared.catalog();
            if active.header.is_some() {
                // Nothing in it was ever durable.
                catalog.segments.remove(&active.id);
                drop(catalog);
                // Recovery scans what cannot be removed, and finds nothing that was acknowledged.
                let _ = self.base.disk.remove(&shared.path(active.id));
            } else {
                catalog.abandoned.insert(active.id, active.end);
                if let Some(segment) = catalog.segments.get_mut(&active.id) {
                    segment.closed = true;
                }
                drop(catalog);
            }
            self.base.stats(|stats| stats.abandoned_segments += 1);
        }
        Failure::Fault(error)
    }

    /// Writes the footer of the active segment and gives back the room behind it. If that fails, recovery scans it.
    pub(super) fn seal(&mut self, index: usize, now: Duration) {
        let Some(active) = self.lanes[index].active.take() else { return };
        let shared = &self.base.lanes[index];
        let footer = {
            let topics = lock(&self.base.topics);
            let mut catalog = shared.catalog();
            let Some(segment) = catalog.segments.get_mut(&active.id) else { return };
            if active.header.is_some() {
                catalog.segments.remove(&active.id);
                None
            } else {
                segment.closed = true;
                Some(segment.footer(&topics).encode())
            }
        };
        let Some(footer) = footer else {
            let _ = self.base.disk.remove(&shared.path(active.id));
            return;
        };
        let file_bytes = active.end + footer.len() as u64;
        let sealed = active
            .file
            .write_at(&footer, active.end)
            .and_then(|()| active.file.truncate(file_bytes))
            .and_then(|()| active.file.sync());
        match sealed {
            Ok(()) => {
                if let Some(segment) = shared.catalog().segments.get_mut(&active.id) {
                    segment.file_bytes = file_bytes;
                }
                self.base.stats(|stats| stats.wear.add(now, active.end, footer.len() as u64));
            }
            Err(error) => {
                self.base.stats(|stats| stats.unsealed_segments += 1);
                tracing::warn!(lane = %shared.name, segment = %active.id, %error, "the segment gets no footer");
            }
        }
    }
}

/// Whether an error says that there is no room, rather than that the disk fails.
fn no_space(error: &io::Error) -> Option<FullReason> {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        .then_some(FullReason::NoSpace)
}
