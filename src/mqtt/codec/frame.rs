//! The fixed header (section 2.1): type, flags and length of a packet, judged before its body is there.

use super::reader::{varint, varint_len};
use crate::violation::{Violation, ViolationReason as Reason};

/// Packet types by their number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the standard's own names")]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// Returns the type that a packet's first byte names; `None` for the reserved 0.
    #[must_use]
    pub const fn from_first_byte(byte: u8) -> Option<Self> {
        Some(match byte >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// Returns a mask with one bit, for sets of packet types.
    pub(crate) const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// Flags that every packet of the type carries (table 2-2); PUBLISH has flags of its own.
    pub(crate) const fn fixed_flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }
}

/// What [`frame`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// More bytes are needed. How many is not told: nobody shall reserve memory because a header says so.
    Partial,
    /// The packet is complete.
    Whole(Header),
}

/// The fixed header of a complete packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    kind: PacketType,
    flags: u8,
    body_offset: usize,
    body_len: u32,
}

impl Header {
    /// Returns the packet's type.
    #[must_use]
    pub const fn kind(self) -> PacketType {
        self.kind
    }

    /// Returns the low four bits of the first byte.
    pub(crate) const fn flags(self) -> u8 {
        self.flags
    }

    /// Returns the number of bytes of the packet, fixed header included.
    #[must_use]
    pub const fn packet_len(self) -> usize {
        self.body_offset + self.body_len as usize
    }

    /// Returns the body; `buf` is what the header was read from.
    pub(crate) fn body_of(self, buf: &[u8]) -> &[u8] {
        &buf[self.body_offset..self.packet_len()]
    }

    /// Returns true if the length takes as few bytes as it can.
    pub(crate) const fn is_minimal(self) -> bool {
        self.body_offset == 1 + varint_len(self.body_len)
    }
}

/// Reads the fixed header of the first packet in `buf` and tells whether the packet is complete.
///
/// # Errors
/// A reserved type or flag, a length of more than four bytes, or a packet above `max_packet_bytes` (header included):
/// each as soon as the header shows it, however little of the body is there.
pub fn frame(buf: &[u8], max_packet_bytes: u32) -> Result<Frame, Violation> {
    let Some((&first, rest)) = buf.split_first() else { return Ok(Frame::Partial) };
    let kind = PacketType::from_first_byte(first).ok_or(Violation::general(Reason::PacketType))?;
    let flags = first & 0x0F;
    check_flags(kind, flags)?;
    let Some((body_len, length_len)) = varint(rest)? else { return Ok(Frame::Partial) };
    let body_offset = 1 + length_len;
    if body_offset as u64 + u64::from(body_len) > u64::from(max_packet_bytes) {
        return Err(Violation::new(Reason::PacketTooLarge, "MQTT-3.2.2-15"));
    }
    if buf.len() - body_offset < body_len as usize {
        return Ok(Frame::Partial);
    }
    Ok(Frame::Whole(Header { kind, flags, body_offset, body_len }))
}

fn check_flags(kind: PacketType, flags: u8) -> Result<(), Violation> {
    if kind != PacketType::Publish {
        return if flags == kind.fixed_flags() {
            Ok(())
        } else {
            Err(Violation::new(Reason::FixedHeaderFlags, "MQTT-2.1.3-1"))
        };
    }
    match (flags >> 1) & 0b11 {
        3 => Err(Violation::new(Reason::QosReserved, "MQTT-3.3.1-4")),
        0 if flags & 0b1000 != 0 => Err(Violation::new(Reason::DupAtQos0, "MQTT-3.3.1-2")),
        _ => Ok(()),
    }
}
