//! A record that owns its bytes: a copy for the writer of the log, or one that the log gave back.

use tidegate_core::time::UnixMillis;
use tidegate_spool::{Flags, Frame, GatewayId, Position, Record, RouteId, Stored, put_header};

use super::memory::Queued;
use super::router::HeaderSet;

/// What the log keeps of a record, all in one piece of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    route: RouteId,
    position: Position,
    time: UnixMillis,
    uptime_ms: u64,
    lifetime_s: u32,
    flags: Flags,
    key_bytes: u32,
    header_bytes: u32,
    /// Key, headers and payload, one after the other.
    bytes: Box<[u8]>,
}

impl Owned {
    /// Returns the copy of a record in memory.
    pub(crate) fn of(queued: &Queued<'_>, route: RouteId, epoch: u32) -> Self {
        let mut bytes = Vec::with_capacity(queued.key.len() + queued.topic.len() + queued.payload.len() + 32);
        bytes.extend_from_slice(queued.key);
        for (header, name, value) in [
            (HeaderSet::TOPIC, "mqtt-topic", queued.topic),
            (HeaderSet::CLIENT_ID, "mqtt-client-id", queued.client_id),
        ] {
            if queued.headers.has(header) {
                put_header(&mut bytes, name, value);
            }
        }
        let header_bytes = bytes.len() - queued.key.len();
        bytes.extend_from_slice(queued.payload);
        let flags = [
            (queued.awaited, Flags::ACKNOWLEDGED),
            (queued.headers.has(HeaderSet::DUP), Flags::DUP),
            (queued.headers.has(HeaderSet::RETAIN), Flags::RETAIN),
            (!queued.headers.has(HeaderSet::CLOCK_UNSURE), Flags::CLOCK_SURE),
        ];
        let flags =
            flags.into_iter().filter(|(set, _)| *set).fold(Flags::NONE, |all, (_, one)| all.with(one));
        Self {
            route,
            position: Position { epoch, seq: queued.seq },
            time: queued.received,
            uptime_ms: queued.arrived.as_nanos() / 1_000_000,
            lifetime_s: queued.lifetime_s,
            flags,
            key_bytes: small(queued.key.len()),
            header_bytes: small(header_bytes),
            bytes: bytes.into(),
        }
    }

    fn from_log(frame: &Frame<'_>) -> Self {
        let key = frame.key.unwrap_or_default();
        Self {
            route: frame.route(),
            position: frame.position,
            time: UnixMillis(frame.time_unix_ms),
            uptime_ms: frame.uptime_ms,
            lifetime_s: frame.lifetime_s,
            flags: frame.flags,
            key_bytes: small(key.len()),
            header_bytes: small(frame.headers.len()),
            bytes: [key, frame.headers, frame.payload].concat().into(),
        }
    }
}

impl Record for Owned {
    fn frame(&self) -> Frame<'_> {
        let (key, rest) = self.bytes.split_at(self.key_bytes as usize);
        let (headers, payload) = rest.split_at(self.header_bytes as usize);
        Frame {
            shard: self.route.shard,
            topic: self.route.topic,
            partition: self.route.partition,
            position: self.position,
            time_unix_ms: self.time.0,
            uptime_ms: self.uptime_ms,
            lifetime_s: self.lifetime_s,
            flags: self.flags,
            key: Some(key),
            headers,
            payload,
        }
    }
}

/// A record that the log gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Who received it: another than now if that run could not write its epoch down.
    pub(crate) gateway: GatewayId,
    record: Owned,
}

impl Logged {
    pub(crate) fn new(stored: &Stored<'_>) -> Self {
        Self { gateway: stored.gateway, record: Owned::from_log(&stored.frame) }
    }

    pub(crate) fn frame(&self) -> Frame<'_> {
        self.record.frame()
    }

    pub(crate) const fn position(&self) -> Position {
        self.record.position
    }

    pub(super) const fn record(&self) -> &Owned {
        &self.record
    }

    /// Returns the memory that it takes.
    pub(crate) const fn bytes(&self) -> usize {
        size_of::<Self>() + self.record.bytes.len()
    }
}

fn small(len: usize) -> u32 {
    u32::try_from(len).expect("a packet is below 4 GiB")
}
