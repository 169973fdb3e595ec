//! One segment off the disk: by its footer, or by a scan of all of it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::report::{Finding, Findings};
use crate::catalog::{Segment, topic_of};
use crate::disk::{Disk, File};
use crate::format::block::Unusable;
use crate::format::footer::{Footer, TRAILER_BYTES};
use crate::format::frame::Part;
use crate::format::header::Header;
use crate::ids::{Position, RouteId, SegmentId};
use crate::scan::{Item, Scan};
use crate::topics::Topics;

/// Read at the beginning of a segment: more than two copies of the largest header.
const HEADER_READ_BYTES: u64 = 1024 * 1024 + 4096;

/// Read if that fails: two copies of a header with a few dozen topics.
const SMALL_HEADER_READ_BYTES: usize = 16 * 1024;

/// A segment as it was found.
pub(super) enum Loaded<F> {
    /// Its footer says what is in it.
    Sealed(Segment),
    /// It must be scanned.
    Open(OpenEnded<F>),
    /// Of a format that is not read here.
    Foreign(u16),
    /// Neither header nor footer is whole.
    Unreadable,
}

/// A segment without a footer.
pub(super) struct OpenEnded<F> {
    pub(super) segment: Segment,
    pub(super) abandoned: Vec<(SegmentId, u64)>,
    file: Arc<F>,
}

pub(super) fn load<D: Disk>(
    disk: &D,
    path: &str,
    id: SegmentId,
    topics: &mut Topics,
) -> io::Result<(Loaded<D::File>, u64)> {
    let file = disk.open(path)?;
    let bytes = file.bytes()?;
    if let Some(footer) = footer(&file, bytes).filter(|footer| footer.header.id == id) {
        return Ok((Loaded::Sealed(Segment::from_footer(&footer, bytes, topics)), bytes));
    }
    let len = usize::try_from(bytes.min(HEADER_READ_BYTES)).unwrap_or(usize::MAX);
    // A medium that cannot be read behind the header must not cost the header.
    let start = read(&file, 0, len)
        .or_else(|_| read(&file, 0, len.min(SMALL_HEADER_READ_BYTES)))?
        .unwrap_or_default();
    let loaded = match Header::decode(&start) {
        Ok((header, frames_at)) if header.id == id => {
            let mut segment = Segment::from_header(&header, frames_at, topics);
            segment.file_bytes = bytes;
            segment.closed = true;
            Loaded::Open(OpenEnded { segment, abandoned: header.abandoned, file: Arc::new(file) })
        }
        Err(Unusable::Foreign(version)) => Loaded::Foreign(version),
        Ok(_) | Err(Unusable::Damaged) => Loaded::Unreadable,
    };
    Ok((loaded, bytes))
}

/// The footer, if there is a whole one. A medium that cannot be read here has none: a scan may still read the rest.
fn footer<F: File>(file: &F, bytes: u64) -> Option<Footer> {
    let trailer_at = bytes.checked_sub(TRAILER_BYTES as u64)?;
    let trailer = read(file, trailer_at, TRAILER_BYTES).ok()??.try_into().ok()?;
    let len = Footer::len_from_trailer(trailer)?;
    let at = trailer_at.checked_sub(len as u64)?;
    let footer = Footer::decode(&read(file, at, len).ok()??)?;
    (footer.frames.1 <= at).then_some(footer)
}

/// That many bytes; `None` if the file is shorter.
fn read<F: File>(file: &F, at: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; len];
    let read = file.read_at(&mut buffer, at)?;
    Ok((read == len).then_some(buffer))
}

/// What is known of a segment before it is scanned.
pub(super) struct Known<'a> {
    pub(super) lane: &'a str,
    /// Where it was abandoned.
    pub(super) ends_at: Option<u64>,
    /// Up to where the cursor knows it to be durable.
    pub(super) committed: u64,
    /// The last position of each route in earlier segments.
    pub(super) last: &'a HashMap<RouteId, Position>,
}

/// What scans add up to.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) bytes: u64,
    pub(super) duplicates: u64,
}

impl<F: File> OpenEnded<F> {
    /// Reads the whole segment.
    pub(super) fn scan(
        mut self,
        known: &Known<'_>,
        topics: &mut Topics,
        findings: &mut Findings,
        scanned: &mut Scanned,
    ) -> io::Result<Segment> {
        let Known { ends_at, last, .. } = *known;
        let start = self.segment.frames.0;
        let end = ends_at.unwrap_or(self.segment.file_bytes).min(self.segment.file_bytes).max(start);
        // Before an abandoned segment's end everything is durable.
        let mut durable = if ends_at.is_some() { end } else { known.committed.min(end) };
        let mut walk = Scan::new(Arc::clone(&self.file), self.segment.seal(), start, end).go_blind();
        let (id, lane) = (self.segment.id, known.lane.to_owned());
        let mut seen_all_commits = false;
        scanned.bytes += end - start;
        let (at, torn) = loop {
            match walk.next()? {
                Item::Frame { at, next } => self.take(walk.part(at, next), next - at, last, topics, scanned),
                Item::Hole { from, to } => {
                    if from >= durable && !seen_all_commits {
                        // Whether it is damage or a torn tail is known once all commits behind it are.
                        durable = durable.max(last_commit(&mut walk)?);
                        seen_all_commits = true;
                        walk.seek(to);
                    }
                    if from >= durable {
                        break (from, true);
                    }
                    findings.push(Finding::Hole { lane: lane.clone(), segment: id, from, to });
                }
                Item::End { at, dirty } => break (at, dirty),
            }
        };
        if at < durable {
            findings.push(Finding::Hole { lane, segment: id, from: at, to: durable });
        } else if torn && ends_at.is_none() {
            findings.push(Finding::TornTail { lane, segment: id, at });
        }
        self.segment.frames.1 = at;
        Ok(self.segment)
    }

    fn take(
        &mut self,
        part: Part<'_>,
        bytes: u64,
        last: &HashMap<RouteId, Position>,
        topics: &mut Topics,
        scanned: &mut Scanned,
    ) {
        match part {
            Part::Commit { .. } => {}
            Part::Topic { index, name } => {
                if let Some(topic) = topics.intern(name) {
                    self.segment.set_topic(index, topic);
                }
            }
            Part::Record(frame) => {
                let Some(topic) = topic_of(&self.segment.topics, frame.topic) else { return };
                let route = RouteId { topic, ..frame.route() };
                let earlier = if last.is_empty() { None } else { last.get(&route) };
                let stands_twice = earlier.is_some_and(|earlier| *earlier >= frame.position);
                if stands_twice || !self.segment.add(route, &frame, bytes) {
                    scanned.duplicates += 1;
                }
            }
        }
    }
}

/// Goes on to the end and returns the highest `committed_to` on the way.
fn last_commit<F: File>(scan: &mut Scan<F>) -> io::Result<u64> {
    let mut highest = 0;
    loop {
        match scan.next()? {
            Item::Frame { at, next } => {
                if let Part::Commit { committed_to } = scan.part(at, next) {
                    highest = highest.max(committed_to);
                }
            }
            Item::Hole { .. } => {}
            Item::End { .. } => return Ok(highest),
        }
    }
}
