//! One segment being read, whether it is still written, is rewritten meanwhile, or goes.

use std::io;
use std::sync::Arc;

use crate::base::{Base, Lane};
use crate::catalog::{Segment, topic_of};
use crate::disk::Disk;
use crate::disk::File;
use crate::format::frame::{Frame, Part};
use crate::ids::{GatewayId, LaneId, Position, RouteId, SegmentId, TopicId};
use crate::scan::{Item, Scan};

/// What asking for one route costs, in bytes that could be read meanwhile.
const ASK_BYTES: u64 = 256;

/// A place in a lane's log. Offsets of a generation that is no longer there count as the segment's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: SegmentId,
    generation: u32,
    offset: u64,
}

impl Place {
    /// Before every segment.
    pub(super) const START: Self = Self::start_of(SegmentId(0));

    pub(super) const fn start_of(segment: SegmentId) -> Self {
        Self { segment, generation: 0, offset: 0 }
    }

    /// Whether nothing lies between here and `front`. In two generations of one segment offsets cannot be compared:
    /// then only its end counts.
    pub(super) fn has_reached(self, front: Self) -> bool {
        self.segment > front.segment
            || (self.segment == front.segment
                && self.generation == front.generation
                && self.offset >= front.offset)
    }
}

/// A segment that is being read.
#[derive(Debug)]
pub(super) struct OpenSegment<F> {
    lane: LaneId,
    id: SegmentId,
    generation: u32,
    gateway: GatewayId,
    topics: Vec<TopicId>,
    end: u64,
    closed: bool,
    scan: Scan<F>,
}

impl<F: File> OpenSegment<F> {
    /// Opens the first segment at or after `place` that holds something `wanted`, which is asked with a route and its
    /// last position there. The last segment is opened anyway: more will come. If `blind`, what cannot be read is passed
    /// over, of a segment or whole ones.
    ///
    /// # Errors
    /// If the segment cannot be opened, unless `blind`.
    pub(super) fn at_or_after<D: Disk<File = F>>(
        base: &Base<D>,
        lane: &Lane,
        place: Place,
        blind: bool,
        mut wanted: impl FnMut(RouteId, Position) -> bool,
    ) -> io::Result<Option<Self>> {
        let mut from = place.segment;
        // Each turn goes to a later segment, or to a later generation of one, which takes a rewrite.
        loop {
            // Cloned, so that the sink is not asked under the lock.
            let next = lane.catalog().segments.range(from..).next().map(|(_, segment)| segment.clone());
            let Some(segment) = next else { return Ok(None) };
            if segment.closed && !segment.spans.iter().any(|(route, span)| wanted(*route, span.last)) {
                from = SegmentId(segment.id.0 + 1);
                continue;
            }
            let file = base.disk.open(&lane.path(segment.id));
            let generation = lane.catalog().segments.get(&segment.id).map(|segment| segment.generation);
            match (file, generation) {
                // Gone in between.
                (_, None) => from = SegmentId(segment.id.0 + 1),
                // Rewritten in between.
                (_, Some(generation)) if generation != segment.generation => {}
                (Ok(file), Some(_)) => return Ok(Some(Self::new(lane.id, segment, file, place, blind))),
                (Err(error), Some(_)) if !blind => return Err(error),
                (Err(error), Some(_)) => {
                    tracing::error!(lane = %lane.name, segment = %segment.id, %error, "a segment cannot be opened");
                    base.stats(|stats| stats.failed_reads += 1);
                    lane.catalog().note_lost(&segment.spans);
                    from = SegmentId(segment.id.0 + 1);
                }
            }
        }
    }

    fn new(lane: LaneId, segment: Segment, file: F, place: Place, blind: bool) -> Self {
        let same = place.segment == segment.id && place.generation == segment.generation;
        let at = if same { place.offset.max(segment.frames.0) } else { segment.frames.0 };
        let scan = Scan::new(Arc::new(file), segment.seal(), at, segment.frames.1);
        Self {
            lane,
            id: segment.id,
            generation: segment.generation,
            gateway: segment.gateway,
            end: segment.frames.1,
            closed: segment.closed,
            scan: if blind { scan.go_blind() } else { scan },
            topics: segment.topics,
        }
    }

    /// Takes note of what was written meanwhile; false if the segment is gone or another generation.
    pub(super) fn refresh(&mut self, lane: &Lane) -> bool {
        if self.closed && self.unread_bytes() > 0 {
            // What is open stays readable, whatever becomes of its name.
            return true;
        }
        let catalog = lane.catalog();
        let Some(segment) = catalog.segments.get(&self.id) else { return false };
        if segment.generation != self.generation {
            return false;
        }
        self.end = segment.frames.1;
        self.closed = segment.closed;
        if self.topics.len() < segment.topics.len() {
            self.topics.clone_from(&segment.topics);
        }
        drop(catalog);
        self.scan.extend(self.end);
        true
    }

    /// Moves over the next frame, which [`Self::record`] reads, and returns where it lies; `None` at the end of what is
    /// durable. Passes over damage.
    pub(super) fn next<D: Disk>(&mut self, base: &Base<D>) -> io::Result<Option<(u64, u64)>> {
        while self.scan.at() < self.end {
            match self.scan.next()? {
                Item::Frame { at, next } => return Ok(Some((at, next))),
                Item::Hole { from, to } => self.count_hole(base, from, to),
                Item::End { at, .. } => {
                    self.count_hole(base, at, self.end);
                    self.scan.seek(self.end);
                }
            }
        }
        Ok(None)
    }

    /// Returns the record that [`Self::next`] has just moved over; `None` if the frame is no record.
    pub(super) fn record(&self, (at, next): (u64, u64)) -> Option<Frame<'_>> {
        let Part::Record(frame) = self.scan.part(at, next) else { return None };
        let topic = topic_of(&self.topics, frame.topic)?;
        Some(Frame { topic, ..frame })
    }

    /// Returns how much of what is known to be durable was not read yet.
    pub(super) const fn unread_bytes(&self) -> u64 {
        self.end.saturating_sub(self.scan.at())
    }

    /// Passes over what was not read yet if nothing in the segment is `wanted`, which is asked with a route and its last
    /// position there; returns whether it did. So in an outage, and while all is handed over from memory, what is much
    /// is not even read. If little is unread nobody is asked: reading it costs less.
    pub(super) fn skip_unwanted(
        &mut self,
        lane: &Lane,
        mut wanted: impl FnMut(RouteId, Position) -> bool,
    ) -> bool {
        let lasts: Vec<_> = {
            let catalog = lane.catalog();
            // Another generation than this will do: what it lacks of this one is done, or known to be lost.
            let Some(segment) = catalog.segments.get(&self.id) else { return false };
            if self.unread_bytes() < ASK_BYTES * segment.spans.len() as u64 {
                return false;
            }
            // Collected, so that the sink is not asked under the lock.
            segment.spans.iter().map(|(route, span)| (*route, span.last)).collect()
        };
        let is_unwanted = !lasts.into_iter().any(|(route, last)| wanted(route, last));
        if is_unwanted {
            self.scan.seek(self.end);
        }
        is_unwanted
    }

    pub(super) const fn closed(&self) -> bool {
        self.closed
    }

    pub(super) const fn gateway(&self) -> GatewayId {
        self.gateway
    }

    /// Where it stands.
    pub(super) const fn place(&self) -> Place {
        self.place_of(self.scan.at())
    }

    /// The place of a frame of this segment.
    pub(super) const fn place_of(&self, offset: u64) -> Place {
        Place { segment: self.id, generation: self.generation, offset }
    }

    pub(super) const fn back_to(&mut self, at: u64) {
        self.scan.seek(at);
    }

    fn count_hole<D: Disk>(&self, base: &Base<D>, from: u64, to: u64) {
        tracing::error!(segment = %self.id, from, to, "the log is damaged here");
        base.count_hole(to - from);
        let mut catalog = base.lanes[self.lane.index()].catalog();
        let spans = catalog.segments.get(&self.id).map(|segment| segment.spans.clone());
        catalog.note_lost(&spans.unwrap_or_default());
    }
}
