//! Packets to and from bytes, for both ends of a connection and both versions.
//!
//! Decoding borrows from the input and never allocates; encoding appends to the caller's buffer. What one packet
//! alone can show to be wrong is found here; what needs the history of the connection is [`crate::Protocol`]'s.

mod ack;
mod connack;
mod connect;
mod disconnect;
mod frame;
mod properties;
mod publish;
mod reader;
mod suback;
mod subscribe;
#[cfg(test)]
mod tests;
mod writer;

pub use ack::{Ack, encode_puback, encode_pubcomp};
pub use connack::ConnAck;
pub use connect::{Connect, Will};
pub(crate) use connect::{Greeting, greeting};
pub use disconnect::{Auth, Disconnect};
pub use frame::{Frame, Header, PacketType, frame};
pub use properties::{Properties, Property};
pub use publish::Publish;
pub use suback::{SubAck, UnsubAck};
pub use subscribe::{List, RetainHandling, Subscribe, Subscription, Unsubscribe};
pub use writer::EncodeError;

use crate::Version;
use crate::violation::{Violation, ViolationReason as Reason};
use reader::{NOT_MINIMAL, Reader};
pub(crate) use writer::Sink;
use writer::{Counter, VARINT_MAX};

/// The two bytes of PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0];
/// The two bytes of PINGRESP.
pub const PINGRESP: [u8; 2] = [0xD0, 0];

/// One packet; borrows from the bytes it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Packet<'a> {
    /// A client asks for a connection.
    Connect(Connect<'a>),
    /// The server's answer to CONNECT.
    ConnAck(ConnAck<'a>),
    /// A message.
    Publish(Publish<'a>),
    /// A QoS 1 message is taken over.
    PubAck(Ack<'a>),
    /// A QoS 2 message is taken over (first answer).
    PubRec(Ack<'a>),
    /// The sender of a QoS 2 message lets go of it.
    PubRel(Ack<'a>),
    /// The end of a QoS 2 exchange.
    PubComp(Ack<'a>),
    /// A client asks for messages.
    Subscribe(Subscribe<'a>),
    /// The answer to SUBSCRIBE.
    SubAck(SubAck<'a>),
    /// A client takes a subscription back.
    Unsubscribe(Unsubscribe<'a>),
    /// The answer to UNSUBSCRIBE.
    UnsubAck(UnsubAck<'a>),
    /// A client shows that it is alive.
    PingReq,
    /// The answer to PINGREQ.
    PingResp,
    /// The last packet of a connection.
    Disconnect(Disconnect<'a>),
    /// A step of extended authentication (MQTT 5).
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// Returns the packet's type.
    #[must_use]
    pub const fn kind(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Returns the low four bits of the first byte.
    const fn flags(&self) -> u8 {
        match self {
            Self::Publish(publish) => publish.flags(),
            other => other.kind().fixed_flags(),
        }
    }

    fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        match self {
            Self::Connect(connect) if connect.version != version => Err(EncodeError::NotInVersion),
            Self::Connect(connect) => connect.write(out),
            Self::ConnAck(connack) => connack.write(version, out),
            Self::Publish(publish) => publish.write(version, out),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                ack.write(self.kind(), version, out)
            }
            Self::Subscribe(subscribe) => subscribe.write(version, out),
            Self::SubAck(suback) => suback.write(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.write(version, out),
            Self::UnsubAck(unsuback) => unsuback.write(version, out),
            Self::PingReq | Self::PingResp => Ok(()),
            Self::Disconnect(disconnect) => disconnect.write(version, out),
            Self::Auth(auth) => auth.write(version, out),
        }
    }
}

/// Decodes the first packet of `buf`, and returns it with the number of bytes it takes; `None` while it is incomplete.
///
/// `version` is the connection's; a CONNECT brings its own.
///
/// # Errors
/// The [`Violation`] that makes the packet malformed, as soon as the bytes show it. A packet above
/// `max_packet_bytes`, header included, is refused by its header alone.
pub fn decode(
    buf: &[u8],
    version: Version,
    max_packet_bytes: u32,
) -> Result<Option<(Packet<'_>, usize)>, Violation> {
    match frame(buf, max_packet_bytes)? {
        Frame::Partial => Ok(None),
        Frame::Whole(header) => {
            Ok(Some((decode_whole(header, header.body_of(buf), version)?, header.packet_len())))
        }
    }
}

/// Decodes the body of a packet whose header was read by [`frame()`].
pub(crate) fn decode_whole(header: Header, body: &[u8], version: Version) -> Result<Packet<'_>, Violation> {
    let mut reader = Reader::new(body);
    let read = &mut reader;
    let kind = header.kind();
    let packet = match kind {
        PacketType::Connect => Packet::Connect(Connect::read(read)?),
        PacketType::ConnAck => Packet::ConnAck(ConnAck::read(read, version)?),
        PacketType::Publish => Packet::Publish(Publish::read(header.flags(), read, version)?),
        PacketType::PubAck => Packet::PubAck(Ack::read(kind, read, version)?),
        PacketType::PubRec => Packet::PubRec(Ack::read(kind, read, version)?),
        PacketType::PubRel => Packet::PubRel(Ack::read(kind, read, version)?),
        PacketType::PubComp => Packet::PubComp(Ack::read(kind, read, version)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::read(read, version)?),
        PacketType::SubAck => Packet::SubAck(SubAck::read(read, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::read(read, version)?),
        PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::read(read, version)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::read(read, version)?),
        // Type 15 is reserved in 3.1.1 (its table 2.1).
        PacketType::Auth if version == Version::V311 => return Err(Violation::general(Reason::PacketType)),
        PacketType::Auth => Packet::Auth(Auth::read(read)?),
    };
    reader.end()?;
    let version = if let Packet::Connect(connect) = &packet { connect.version } else { version };
    // 3.1.1 does not ask for the shortest form, and some modem firmware always writes two bytes.
    if version == Version::V5 && !header.is_minimal() {
        return Err(NOT_MINIMAL);
    }
    Ok(packet)
}

/// Appends a packet to `out`.
///
/// # Errors
/// [`EncodeError`] if the packet cannot be said in this version; `out` is unchanged then.
pub fn encode(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut counter = Counter::default();
    packet.write(version, &mut counter)?;
    if counter.0 > VARINT_MAX as usize {
        return Err(EncodeError::TooLong);
    }
    out.reserve(counter.0 + 5);
    out.u8(packet.kind() as u8 * 16 + packet.flags());
    out.varint(counter.0)?;
    packet.write(version, out)
}
