//! One segment as the catalog knows it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::format::footer::{Footer, Span};
use crate::format::frame::{Flags, Frame, Seal};
use crate::format::header::Header;
use crate::ids::{GatewayId, Position, RouteId, SegmentId, TopicId};
use crate::topics::Topics;

/// Stands in a topic table for a name that cannot be known any more.
const UNKNOWN: TopicId = TopicId(u16::MAX);

/// Returns the topic that a frame means by `local`, the index in its segment's table.
pub(crate) fn topic_of(table: &[TopicId], local: TopicId) -> Option<TopicId> {
    table.get(usize::from(local.0)).copied().filter(|topic| *topic != UNKNOWN)
}

/// A segment: where its frames are and what they hold.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    /// Grows when the segment is rewritten: positions in an older generation's file mean nothing here.
    pub(crate) generation: u32,
    pub(crate) version: u16,
    pub(crate) gateway: GatewayId,
    pub(crate) epoch: u32,
    pub(crate) salt: u32,
    /// The segment's topic table, in this process's numbers.
    pub(crate) topics: Vec<TopicId>,
    /// Where its durable frames begin and end.
    pub(crate) frames: (u64, u64),
    /// What it takes on the disk.
    pub(crate) file_bytes: u64,
    /// Nothing more is written to it.
    pub(crate) closed: bool,
    /// Latest wall-clock time of a record, ms since 1970.
    pub(crate) newest_unix_ms: i64,
    pub(crate) spans: BTreeMap<RouteId, Span>,
}

impl Segment {
    /// Returns a segment with the header's facts and nothing in it.
    pub(crate) fn from_header(header: &Header, frames_at: u64, topics: &mut Topics) -> Self {
        let table = header.topics.iter().map(|name| topics.intern(name).unwrap_or(UNKNOWN)).collect();
        Self {
            id: header.id,
            generation: 0,
            version: header.version,
            gateway: header.gateway,
            epoch: header.epoch,
            salt: header.salt,
            topics: table,
            frames: (frames_at, frames_at),
            file_bytes: 0,
            closed: false,
            newest_unix_ms: i64::MIN,
            spans: BTreeMap::new(),
        }
    }

    /// Returns a sealed segment as its footer describes it.
    pub(crate) fn from_footer(footer: &Footer, file_bytes: u64, topics: &mut Topics) -> Self {
        let mut segment = Self::from_header(&footer.header, footer.frames.0, topics);
        segment.frames = footer.frames;
        segment.file_bytes = file_bytes;
        segment.closed = true;
        segment.newest_unix_ms = footer.newest_unix_ms;
        for (route, span) in &footer.spans {
            if let Some(topic) = topic_of(&segment.topics, route.topic) {
                segment.spans.insert(RouteId { topic, ..*route }, *span);
            }
        }
        segment
    }

    /// Puts a topic into the segment's table; what damage has taken before it stays unknown.
    pub(crate) fn set_topic(&mut self, index: u16, topic: TopicId) {
        let index = usize::from(index);
        if self.topics.len() <= index {
            self.topics.resize(index + 1, UNKNOWN);
        }
        self.topics[index] = topic;
    }

    pub(crate) const fn seal(&self) -> Seal {
        Seal::new(self.salt)
    }

    /// Returns the header that begins the segment's file.
    pub(crate) fn header(&self, abandoned: Vec<(SegmentId, u64)>, topics: &Topics) -> Header {
        let name = |id: &TopicId| topics.name(*id).map_or_else(String::new, |name| (**name).to_owned());
        Header {
            version: self.version,
            id: self.id,
            gateway: self.gateway,
            epoch: self.epoch,
            salt: self.salt,
            abandoned,
            topics: self.topics.iter().map(name).collect(),
        }
    }

    /// Returns the footer that seals the segment.
    pub(crate) fn footer(&self, topics: &Topics) -> Footer {
        let local: BTreeMap<TopicId, u16> = self.topics.iter().copied().zip(0..).collect();
        let spans = self.spans.iter().filter_map(|(route, span)| {
            let topic = TopicId(*local.get(&route.topic)?);
            Some((RouteId { topic, ..*route }, *span))
        });
        Footer {
            frames: self.frames,
            newest_unix_ms: self.newest_unix_ms,
            spans: spans.collect(),
            header: self.header(Vec::new(), topics),
        }
    }

    /// Adds a record of `bytes` to what the segment holds; false if its route is further already: then it stands twice.
    pub(crate) fn add(&mut self, route: RouteId, frame: &Frame<'_>, bytes: u64) -> bool {
        self.newest_unix_ms = self.newest_unix_ms.max(frame.time_unix_ms);
        add_to(&mut self.spans, route, frame, bytes)
    }

    /// Adds the records of a commit, which stand behind all that the segment holds.
    pub(crate) fn append(&mut self, spans: BTreeMap<RouteId, Span>, newest_unix_ms: i64) {
        self.newest_unix_ms = self.newest_unix_ms.max(newest_unix_ms);
        for (route, added) in spans {
            self.spans
                .entry(route)
                .and_modify(|span| {
                    span.last = added.last;
                    span.count += added.count;
                    span.acknowledged += added.acknowledged;
                    span.bytes += added.bytes;
                })
                .or_insert(added);
        }
    }

    /// Returns how many records it holds.
    pub(crate) fn records(&self) -> u64 {
        self.spans.values().map(|span| u64::from(span.count)).sum()
    }
}

/// Adds a record to its route's span; false if the span is further already.
pub(crate) fn add_to(
    spans: &mut BTreeMap<RouteId, Span>,
    route: RouteId,
    frame: &Frame<'_>,
    bytes: u64,
) -> bool {
    let acknowledged = u32::from(frame.flags.has(Flags::ACKNOWLEDGED));
    match spans.entry(route) {
        Entry::Vacant(vacant) => {
            let (first, last) = (frame.position, frame.position);
            vacant.insert(Span { first, last, count: 1, acknowledged, bytes });
        }
        Entry::Occupied(mut occupied) => {
            let span = occupied.get_mut();
            if frame.position <= span.last {
                return false;
            }
            span.last = frame.position;
            span.count += 1;
            span.acknowledged += acknowledged;
            span.bytes += bytes;
        }
    }
    true
}

/// What can be said of a part of a span.
pub(crate) trait SpanExt {
    /// Returns the share of the span behind `position`, in parts of 2^16.
    fn share_after(&self, position: Position) -> u64;
    /// Returns the bytes behind `position`; all of them where nothing better is known.
    fn bytes_after(&self, position: Position) -> u64;
    /// Returns how many records stand behind `position`, acknowledged ones and others.
    fn records_after(&self, position: Position) -> (u64, u64);
}

impl SpanExt for Span {
    fn share_after(&self, position: Position) -> u64 {
        const WHOLE: u64 = 1 << 16;
        if position >= self.last {
            0
        } else if position < self.first || self.first.epoch != self.last.epoch {
            WHOLE
        } else {
            // Sequence numbers of a route follow one another, so positions say how many records there are.
            let width = self.last.seq - self.first.seq + 1;
            let left = self.last.seq - position.seq;
            u64::try_from(u128::from(left) * u128::from(WHOLE) / u128::from(width)).unwrap_or(WHOLE).max(1)
        }
    }

    fn bytes_after(&self, position: Position) -> u64 {
        scaled(self.bytes, self.share_after(position))
    }

    fn records_after(&self, position: Position) -> (u64, u64) {
        let share = self.share_after(position);
        let others = u64::from(self.count - self.acknowledged);
        (scaled(self.acknowledged.into(), share), scaled(others, share))
    }
}

/// `amount` x `share`, rounded up: what is partly needed is needed.
fn scaled(amount: u64, share: u64) -> u64 {
    u64::try_from((u128::from(amount) * u128::from(share)).div_ceil(1 << 16)).unwrap_or(u64::MAX)
}
