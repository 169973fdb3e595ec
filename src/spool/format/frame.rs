//! Frames: what the log consists of.
//!
//! ```text
//! marker u32 | len u32 | crc32c u32 | body (len bytes)            crc over len and body, begun with the segment's salt
//! body = kind u8 ...
//!   record  flags u8, shard u8, 0 u8, topic u16, key_len u16, partition u32, epoch u32, headers_len u32, lifetime_s u32,
//!           seq u64, time_unix_ms i64, uptime_ms u64, key, headers, payload
//!   commit  committed_to u64        first frame of every commit: what the commits before have made durable
//!   topic   index u16, name text    adds to the segment's topic table
//! ```
//!
//! Marker and crc depend on a salt that each segment draws: a device cannot plant a payload that looks like a frame when
//! the reader looks for the next whole frame behind damage.

use crc32c::crc32c_append;

use super::wire::{Fields, Put as _};
use crate::ids::{Position, TopicId};

/// Bytes before a frame's body.
pub(crate) const HEAD_BYTES: usize = 12;
/// Bytes of a record's body before key, headers and payload.
const RECORD_FIXED_BYTES: usize = 48;
/// Bytes of a commit frame.
pub(crate) const COMMIT_BYTES: usize = HEAD_BYTES + 9;
/// What the marker is made of, so that a salt of zero has one too.
const MARKER: u32 = 0x7467_6652;

const KIND_RECORD: u8 = 1;
const KIND_COMMIT: u8 = 2;
const KIND_TOPIC: u8 = 3;

/// What frames of one segment are sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal(u32);

impl Seal {
    pub(crate) const fn new(salt: u32) -> Self {
        Self(salt)
    }

    pub(crate) const fn marker(self) -> [u8; 4] {
        (self.0.rotate_left(16) ^ MARKER).to_le_bytes()
    }

    fn crc(self, len: [u8; 4], body: &[u8]) -> u32 {
        crc32c_append(crc32c_append(self.0, &len), body)
    }
}

/// What else is to be known of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// QoS 1 or 2: its sender waits for an acknowledgement, so it may not be dropped.
    pub const ACKNOWLEDGED: Self = Self(1);
    /// The device had set DUP.
    pub const DUP: Self = Self(2);
    /// The device had set RETAIN.
    pub const RETAIN: Self = Self(4);
    /// The wall clock was synchronised when the record was received.
    pub const CLOCK_SURE: Self = Self(8);
    /// There is a key, if only an empty one.
    const KEY: Self = Self(128);

    /// Returns these flags and `other`'s.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether all flags of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A record as the log keeps it, borrowed from wherever its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Shard of the client id, below [`crate::SHARDS`].
    pub shard: u8,
    /// Kafka topic.
    pub topic: TopicId,
    /// Kafka partition.
    pub partition: u32,
    /// Where it stands in its route.
    pub position: Position,
    /// Wall-clock time of receipt, ms since 1970: the Kafka record's timestamp.
    pub time_unix_ms: i64,
    /// Monotonic time of receipt, ms since the gateway of this epoch started.
    pub uptime_ms: u64,
    /// Message Expiry Interval in seconds; 0 = for ever.
    pub lifetime_s: u32,
    /// QoS and what else is to be known.
    pub flags: Flags,
    /// Kafka key.
    pub key: Option<&'a [u8]>,
    /// Further Kafka headers, made by [`put_header`] and read by [`headers`].
    pub headers: &'a [u8],
    /// Kafka value.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Returns the route it belongs to.
    #[must_use]
    pub const fn route(&self) -> crate::RouteId {
        crate::RouteId { shard: self.shard, topic: self.topic, partition: self.partition }
    }

    /// Returns the bytes it takes in the log.
    #[must_use]
    pub fn bytes(&self) -> usize {
        HEAD_BYTES
            + RECORD_FIXED_BYTES
            + self.key.map_or(0, <[u8]>::len)
            + self.headers.len()
            + self.payload.len()
    }

    /// Appends the frame, naming its topic by its `index` in the segment's table.
    pub(crate) fn encode(&self, seal: Seal, index: u16, out: &mut Vec<u8>) {
        let flags =
            self.flags.without(Flags::KEY).with(if self.key.is_some() { Flags::KEY } else { Flags::NONE });
        let key = self.key.unwrap_or_default();
        sealed(seal, out, |out| {
            out.put(&[KIND_RECORD, flags.0, self.shard, 0]);
            out.put_u16(index);
            out.put_len16(key.len());
            out.put_u32(self.partition);
            out.put_u32(self.position.epoch);
            out.put_len32(self.headers.len());
            out.put_u32(self.lifetime_s);
            out.put_u64(self.position.seq);
            out.put_i64(self.time_unix_ms);
            out.put_u64(self.uptime_ms);
            out.put(key);
            out.put(self.headers);
            out.put(self.payload);
        });
    }
}

/// Appends a header to a frame's headers. Names are cut at 64 KiB, values at 4 GiB, which no MQTT packet reaches.
pub fn put_header(headers: &mut Vec<u8>, name: &str, value: &[u8]) {
    headers.put_text(name);
    headers.put_len32(value.len());
    headers.put(value);
}

/// Returns the headers of a frame, name and value; ends early at bytes that are none.
pub fn headers(headers: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let mut rest = Fields(headers);
    std::iter::from_fn(move || {
        let name = rest.text()?;
        let len = rest.u32()?;
        Some((name, rest.bytes(len as usize)?))
    })
}

/// Appends the frame that begins a commit.
pub(crate) fn encode_commit(seal: Seal, committed_to: u64, out: &mut Vec<u8>) {
    sealed(seal, out, |out| {
        out.put_u8(KIND_COMMIT);
        out.put_u64(committed_to);
    });
}

/// Appends a frame that adds `name` to the segment's topic table.
pub(crate) fn encode_topic(seal: Seal, index: u16, name: &str, out: &mut Vec<u8>) {
    sealed(seal, out, |out| {
        out.put_u8(KIND_TOPIC);
        out.put_u16(index);
        out.put_text(name);
    });
}

/// Returns the bytes that a frame for topic `name` takes.
pub(crate) const fn topic_bytes(name: &str) -> usize {
    HEAD_BYTES + 5 + name.len()
}

fn sealed(seal: Seal, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put(&[0; HEAD_BYTES]);
    body(out);
    let frame = &mut out[start..];
    let len = u32::try_from(frame.len() - HEAD_BYTES).expect("a segment is below 4 GiB").to_le_bytes();
    let crc = seal.crc(len, &frame[HEAD_BYTES..]);
    frame[..4].copy_from_slice(&seal.marker());
    frame[4..8].copy_from_slice(&len);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// A frame of any kind. The topic of a record is its index in the segment's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Record(Frame<'a>),
    Commit { committed_to: u64 },
    Topic { index: u16, name: &'a str },
}

/// Returns the bytes of the frame that begins here, by its head; `None` if none begins here.
pub(crate) fn len_from_head(seal: Seal, bytes: &[u8]) -> Option<usize> {
    let mut head = Fields(bytes);
    let marker: [u8; 4] = head.array()?;
    let len = head.u32()? as usize;
    (marker == seal.marker() && len > 0).then_some(HEAD_BYTES + len)
}

/// Returns whether `bytes` are a whole frame, of a kind that is known.
pub(crate) fn is_whole(seal: Seal, bytes: &[u8]) -> bool {
    let checked = || {
        let (head, body) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let mut fields = Fields(head);
        let (marker, len) = (fields.array()?, fields.array()?);
        let fits = marker == seal.marker() && u32::from_le_bytes(len) as usize == body.len();
        (fits && fields.u32()? == seal.crc(len, body)).then(|| parse(bytes))?
    };
    checked().is_some()
}

/// Reads a frame that is known to be whole; `None` if its fields contradict each other.
pub(crate) fn parse(bytes: &[u8]) -> Option<Part<'_>> {
    let mut fields = Fields(bytes.get(HEAD_BYTES..)?);
    match fields.u8()? {
        KIND_RECORD => record(fields).map(Part::Record),
        KIND_COMMIT => Some(Part::Commit { committed_to: fields.u64()? }),
        KIND_TOPIC => Some(Part::Topic { index: fields.u16()?, name: fields.text()? }),
        _ => None,
    }
}

fn record(mut fields: Fields<'_>) -> Option<Frame<'_>> {
    let [flags, shard, _] = fields.array()?;
    let flags = Flags(flags);
    let topic = TopicId(fields.u16()?);
    let key_len = usize::from(fields.u16()?);
    let partition = fields.u32()?;
    let epoch = fields.u32()?;
    let headers_len = fields.u32()? as usize;
    let lifetime_s = fields.u32()?;
    let seq = fields.u64()?;
    let time_unix_ms = fields.i64()?;
    let uptime_ms = fields.u64()?;
    let key = fields.bytes(key_len)?;
    let headers = fields.bytes(headers_len)?;
    (shard < crate::SHARDS).then_some(Frame {
        shard,
        topic,
        partition,
        position: Position { epoch, seq },
        time_unix_ms,
        uptime_ms,
        lifetime_s,
        flags: flags.without(Flags::KEY),
        key: flags.has(Flags::KEY).then_some(key),
        headers,
        payload: fields.0,
    })
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
