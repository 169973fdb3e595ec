//! The footer of a sealed segment: what is in it, so that nobody needs to read it to know.
//!
//! It repeats the header, so that a segment whose header is lost can still be read.

use super::block;
use super::header::Header;
use super::wire::{Fields, Put as _};
use crate::ids::{GatewayId, Position, RouteId, SegmentId, TopicId};

const MAGIC: [u8; 8] = *b"TGFOOTER";
const TRAILER_MAGIC: u32 = 0x7467_4674;
/// Last bytes of a sealed segment: length of the footer, and a magic.
pub(crate) const TRAILER_BYTES: usize = 8;

/// The records of one route in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) count: u32,
    /// How many of them may not be dropped: QoS 1 and 2.
    pub(crate) acknowledged: u32,
    pub(crate) bytes: u64,
}

/// What the end of a sealed segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// The header again; its topic table is complete here.
    pub(crate) header: Header,
    /// Where frames begin and end.
    pub(crate) frames: (u64, u64),
    /// Latest wall-clock time of a record, ms since 1970.
    pub(crate) newest_unix_ms: i64,
    /// Per route, its topic by index in the header's table.
    pub(crate) spans: Vec<(RouteId, Span)>,
}

impl Footer {
    /// Returns the footer with its trailer: the last bytes of the segment.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        content.put_u64(self.header.id.0);
        content.put(&self.header.gateway.0);
        content.put_u32(self.header.epoch);
        content.put_u32(self.header.salt);
        content.put_u64(self.frames.0);
        content.put_u64(self.frames.1);
        content.put_i64(self.newest_unix_ms);
        content.put_len16(self.header.topics.len());
        for topic in &self.header.topics {
            content.put_text(topic);
        }
        content.put_len32(self.spans.len());
        for (route, span) in &self.spans {
            put_route(&mut content, *route);
            put_position(&mut content, span.first);
            put_position(&mut content, span.last);
            content.put_u32(span.count);
            content.put_u32(span.acknowledged);
            content.put_u64(span.bytes);
        }
        let mut out = block::wrap(MAGIC, self.header.version, &content);
        let len = out.len();
        out.put_len32(len);
        out.put_u32(TRAILER_MAGIC);
        out
    }

    /// Returns how many bytes before the trailer the footer begins; `None` if these are no trailer's bytes.
    pub(crate) fn len_from_trailer(trailer: [u8; TRAILER_BYTES]) -> Option<usize> {
        let mut fields = Fields(&trailer);
        let len = fields.u32()? as usize;
        (fields.u32()? == TRAILER_MAGIC).then_some(len)
    }

    /// Reads a footer; `None` if it is damaged or of a foreign format.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, mut content) = block::unwrap(MAGIC, bytes).ok()?;
        let id = SegmentId(content.u64()?);
        let gateway = GatewayId(content.array()?);
        let epoch = content.u32()?;
        let salt = content.u32()?;
        let frames = (content.u64()?, content.u64()?);
        let newest_unix_ms = content.i64()?;
        let topics = content.list16(|fields| fields.text().map(str::to_owned))?;
        let spans = content.list32(|fields| {
            let route = route(fields)?;
            let (first, last) = (position(fields)?, position(fields)?);
            let (count, acknowledged, bytes) = (fields.u32()?, fields.u32()?, fields.u64()?);
            (usize::from(route.topic.0) < topics.len())
                .then_some((route, Span { first, last, count, acknowledged, bytes }))
        })?;
        let header = Header { version, id, gateway, epoch, salt, abandoned: Vec::new(), topics };
        (frames.0 <= frames.1).then_some(Self { header, frames, newest_unix_ms, spans })
    }
}

pub(super) fn put_route(out: &mut Vec<u8>, route: RouteId) {
    out.put_u8(route.shard);
    out.put_u16(route.topic.0);
    out.put_u32(route.partition);
}

pub(super) fn route(fields: &mut Fields<'_>) -> Option<RouteId> {
    Some(RouteId { shard: fields.u8()?, topic: TopicId(fields.u16()?), partition: fields.u32()? })
}

pub(super) fn put_position(out: &mut Vec<u8>, position: Position) {
    out.put_u32(position.epoch);
    out.put_u64(position.seq);
}

pub(super) fn position(fields: &mut Fields<'_>) -> Option<Position> {
    Some(Position { epoch: fields.u32()?, seq: fields.u64()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FORMAT;

    #[test]
    fn a_footer_comes_back_and_damage_is_seen() {
        let header = Header {
            version: FORMAT,
            id: SegmentId(4),
            gateway: GatewayId([1; 16]),
            epoch: 2,
            salt: 5,
            abandoned: Vec::new(),
            topics: vec!["t".to_owned()],
        };
        let span = Span {
            first: Position { epoch: 1, seq: 9 },
            last: Position { epoch: 2, seq: 1 },
            count: 2,
            acknowledged: 1,
            bytes: 300,
        };
        let route = RouteId { shard: 3, topic: TopicId(0), partition: 12 };
        let footer = Footer { header, frames: (1024, 4000), newest_unix_ms: -5, spans: vec![(route, span)] };
        let mut bytes = footer.encode();
        let trailer: [u8; TRAILER_BYTES] = *bytes.last_chunk().unwrap();
        let len = Footer::len_from_trailer(trailer).unwrap();
        assert_eq!(len + TRAILER_BYTES, bytes.len());
        assert_eq!(Footer::decode(&bytes[..len]), Some(footer));
        for at in 0..len {
            bytes[at] ^= 2;
            assert_eq!(Footer::decode(&bytes[..len]), None, "byte {at}");
            bytes[at] ^= 2;
        }
    }
}
