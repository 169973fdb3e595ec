//! The cursor: what of the log is done, and which segments are the log.

use super::FORMAT;
use super::block::{self, Unusable};
use super::footer::{position, put_position, put_route, route};
use super::wire::{Fields, Put as _};
use crate::ids::{GatewayId, Position, RouteId, SegmentId};

const MAGIC: [u8; 8] = *b"TGCURSOR";

/// How far a route has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Everything up to here is in Kafka, proven.
    pub(crate) done: Position,
    /// Everything up to here has been in Kafka for a minute.
    pub(crate) safe: Position,
}

/// One lane's part of the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneCursor {
    pub(crate) name: String,
    /// Highest segment number that was ever used.
    pub(crate) last: u64,
    /// Up to where the newest segment was durable.
    pub(crate) committed: (u64, u64),
    /// The segments that make up the log. A lower number than `last` that is missing here is an unlinked segment that
    /// a power cut brought back.
    pub(crate) segments: Vec<SegmentId>,
    /// Routes with records in these segments; topics by index in the cursor's table.
    pub(crate) marks: Vec<(RouteId, Mark)>,
}

/// The cursor file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) gateway: GatewayId,
    pub(crate) epoch: u32,
    /// The machine's boot in which it was written: a new one means that a broker's page cache may be gone.
    pub(crate) machine_boot: [u8; 16],
    pub(crate) topics: Vec<String>,
    pub(crate) lanes: Vec<LaneCursor>,
}

impl Cursor {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        content.put(&self.gateway.0);
        content.put_u32(self.epoch);
        content.put(&self.machine_boot);
        content.put_len16(self.topics.len());
        for topic in &self.topics {
            content.put_text(topic);
        }
        content.put_len16(self.lanes.len());
        for lane in &self.lanes {
            content.put_text(&lane.name);
            content.put_u64(lane.last);
            content.put_u64(lane.committed.0);
            content.put_u64(lane.committed.1);
            content.put_len32(lane.segments.len());
            for segment in &lane.segments {
                content.put_u64(segment.0);
            }
            content.put_len32(lane.marks.len());
            for (route, mark) in &lane.marks {
                put_route(&mut content, *route);
                put_position(&mut content, mark.done);
                put_position(&mut content, mark.safe);
            }
        }
        block::wrap(MAGIC, FORMAT, &content)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let (_, content) = block::unwrap(MAGIC, bytes)?;
        Self::fields(content).ok_or(Unusable::Damaged)
    }

    fn fields(mut content: Fields<'_>) -> Option<Self> {
        let gateway = GatewayId(content.array()?);
        let epoch = content.u32()?;
        let machine_boot = content.array()?;
        let topics = content.list16(|fields| fields.text().map(str::to_owned))?;
        let lanes = content.list16(|fields| {
            Some(LaneCursor {
                name: fields.text()?.to_owned(),
                last: fields.u64()?,
                committed: (fields.u64()?, fields.u64()?),
                segments: fields.list32(|fields| fields.u64().map(SegmentId))?,
                marks: fields.list32(|fields| {
                    let route = route(fields)?;
                    let mark = Mark { done: position(fields)?, safe: position(fields)? };
                    (usize::from(route.topic.0) < topics.len()).then_some((route, mark))
                })?,
            })
        })?;
        Some(Self { gateway, epoch, machine_boot, topics, lanes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;

    #[test]
    fn a_cursor_comes_back_and_damage_is_seen() {
        let mark = Mark { done: Position { epoch: 1, seq: 5 }, safe: Position { epoch: 1, seq: 2 } };
        let lane = LaneCursor {
            name: "alarm".to_owned(),
            last: 12,
            committed: (12, 4096),
            segments: vec![SegmentId(3), SegmentId(12)],
            marks: vec![(RouteId { shard: 1, topic: TopicId(0), partition: 2 }, mark)],
        };
        let cursor = Cursor {
            gateway: GatewayId([3; 16]),
            epoch: 8,
            machine_boot: [4; 16],
            topics: vec!["t".to_owned()],
            lanes: vec![lane],
        };
        let mut bytes = cursor.encode();
        assert_eq!(Cursor::decode(&bytes), Ok(cursor));
        for at in 0..bytes.len() {
            bytes[at] ^= 64;
            assert_eq!(Cursor::decode(&bytes), Err(Unusable::Damaged), "byte {at}");
            bytes[at] ^= 64;
        }
    }
}
