//! The 27 properties: identifier, type and the packets that may carry each (table 2-4).

use std::num::{NonZeroU16, NonZeroU32};

use crate::codec::PacketType;
use crate::codec::reader::Reader;
use crate::codec::writer::{EncodeError, Sink};
use crate::violation::{Violation, ViolationReason as Reason};

/// Where properties stand: in a packet, or with the Will Message within CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Packet(PacketType),
    Will,
}

/// Packet types start at 1, so the lowest bit is free.
const WILL: u16 = 1;

impl Place {
    const fn bit(self) -> u16 {
        match self {
            Self::Packet(kind) => kind.bit(),
            Self::Will => WILL,
        }
    }
}

/// One property. Types make the values that the standard forbids unwritable where they can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// True if the payload is UTF-8 text.
    PayloadFormatIndicator(bool),
    /// Seconds that a message may wait.
    MessageExpiryInterval(u32),
    /// Description of the payload, such as a MIME type.
    ContentType(&'a str),
    /// Topic for a response; no wildcards [MQTT-3.3.2-14].
    ResponseTopic(&'a str),
    /// What ties a response to its request.
    CorrelationData(&'a [u8]),
    /// Number of a subscription, at most 268 435 455.
    SubscriptionIdentifier(NonZeroU32),
    /// Seconds that a session outlives its connection.
    SessionExpiryInterval(u32),
    /// Client identifier that the server chose.
    AssignedClientIdentifier(&'a str),
    /// Seconds of keep-alive that the server demands.
    ServerKeepAlive(u16),
    /// Name of the extended authentication method.
    AuthenticationMethod(&'a str),
    /// Data of the extended authentication method.
    AuthenticationData(&'a [u8]),
    /// True (default) if reasons and user properties may come with any packet.
    RequestProblemInformation(bool),
    /// Seconds between the end of the connection and the Will Message.
    WillDelayInterval(u32),
    /// True if the client wants Response Information.
    RequestResponseInformation(bool),
    /// Basis for a response topic.
    ResponseInformation(&'a str),
    /// Another server to use.
    ServerReference(&'a str),
    /// Reason for people to read.
    ReasonString(&'a str),
    /// QoS 1 and 2 messages taken at a time.
    ReceiveMaximum(NonZeroU16),
    /// Highest topic alias taken.
    TopicAliasMaximum(u16),
    /// Number that stands for a topic name.
    TopicAlias(NonZeroU16),
    /// True: QoS 1 at most; false: QoS 0.
    MaximumQos(bool),
    /// False if the server refuses RETAIN.
    RetainAvailable(bool),
    /// A name and a value.
    UserProperty(&'a str, &'a str),
    /// Largest packet taken, in bytes.
    MaximumPacketSize(NonZeroU32),
    /// False if the server refuses wildcards in SUBSCRIBE.
    WildcardSubscriptionAvailable(bool),
    /// False if the server refuses Subscription Identifiers.
    SubscriptionIdentifierAvailable(bool),
    /// False if the server refuses shared subscriptions.
    SharedSubscriptionAvailable(bool),
}

impl<'a> Property<'a> {
    pub(crate) const fn identifier(&self) -> u8 {
        match self {
            Self::PayloadFormatIndicator(_) => 0x01,
            Self::MessageExpiryInterval(_) => 0x02,
            Self::ContentType(_) => 0x03,
            Self::ResponseTopic(_) => 0x08,
            Self::CorrelationData(_) => 0x09,
            Self::SubscriptionIdentifier(_) => 0x0B,
            Self::SessionExpiryInterval(_) => 0x11,
            Self::AssignedClientIdentifier(_) => 0x12,
            Self::ServerKeepAlive(_) => 0x13,
            Self::AuthenticationMethod(_) => 0x15,
            Self::AuthenticationData(_) => 0x16,
            Self::RequestProblemInformation(_) => 0x17,
            Self::WillDelayInterval(_) => 0x18,
            Self::RequestResponseInformation(_) => 0x19,
            Self::ResponseInformation(_) => 0x1A,
            Self::ServerReference(_) => 0x1C,
            Self::ReasonString(_) => 0x1F,
            Self::ReceiveMaximum(_) => 0x21,
            Self::TopicAliasMaximum(_) => 0x22,
            Self::TopicAlias(_) => 0x23,
            Self::MaximumQos(_) => 0x24,
            Self::RetainAvailable(_) => 0x25,
            Self::UserProperty(..) => 0x26,
            Self::MaximumPacketSize(_) => 0x27,
            Self::WildcardSubscriptionAvailable(_) => 0x28,
            Self::SubscriptionIdentifierAvailable(_) => 0x29,
            Self::SharedSubscriptionAvailable(_) => 0x2A,
        }
    }

    const fn places(&self) -> u16 {
        const CONNECT: u16 = PacketType::Connect.bit();
        const CONNACK: u16 = PacketType::ConnAck.bit();
        const PUBLISH: u16 = PacketType::Publish.bit();
        const SUBSCRIBE: u16 = PacketType::Subscribe.bit();
        const UNSUBSCRIBE: u16 = PacketType::Unsubscribe.bit();
        const DISCONNECT: u16 = PacketType::Disconnect.bit();
        const AUTH: u16 = PacketType::Auth.bit();
        const ACKS: u16 = PacketType::PubAck.bit()
            | PacketType::PubRec.bit()
            | PacketType::PubRel.bit()
            | PacketType::PubComp.bit()
            | PacketType::SubAck.bit()
            | PacketType::UnsubAck.bit();
        match self {
            Self::PayloadFormatIndicator(_)
            | Self::MessageExpiryInterval(_)
            | Self::ContentType(_)
            | Self::ResponseTopic(_)
            | Self::CorrelationData(_) => PUBLISH | WILL,
            Self::SubscriptionIdentifier(_) => PUBLISH | SUBSCRIBE,
            Self::SessionExpiryInterval(_) => CONNECT | CONNACK | DISCONNECT,
            Self::AuthenticationMethod(_) | Self::AuthenticationData(_) => CONNECT | CONNACK | AUTH,
            Self::RequestProblemInformation(_) | Self::RequestResponseInformation(_) => CONNECT,
            Self::WillDelayInterval(_) => WILL,
            Self::ServerReference(_) => CONNACK | DISCONNECT,
            Self::ReasonString(_) => CONNACK | ACKS | DISCONNECT | AUTH,
            Self::ReceiveMaximum(_) | Self::TopicAliasMaximum(_) | Self::MaximumPacketSize(_) => {
                CONNECT | CONNACK
            }
            Self::TopicAlias(_) => PUBLISH,
            Self::UserProperty(..) => {
                CONNECT | CONNACK | PUBLISH | WILL | ACKS | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT | AUTH
            }
            Self::AssignedClientIdentifier(_)
            | Self::ServerKeepAlive(_)
            | Self::ResponseInformation(_)
            | Self::MaximumQos(_)
            | Self::RetainAvailable(_)
            | Self::WildcardSubscriptionAvailable(_)
            | Self::SubscriptionIdentifierAvailable(_)
            | Self::SharedSubscriptionAvailable(_) => CONNACK,
        }
    }

    pub(crate) const fn allowed_in(&self, place: Place) -> bool {
        self.places() & place.bit() != 0
    }

    /// User properties may come any number of times; so may the subscriptions that a delivered PUBLISH matched.
    pub(crate) const fn repeatable_in(&self, place: Place) -> bool {
        match self {
            Self::UserProperty(..) => true,
            Self::SubscriptionIdentifier(_) => matches!(place, Place::Packet(PacketType::Publish)),
            _ => false,
        }
    }

    /// Reads one property. Identifiers are Variable Byte Integers of which all known ones take one byte.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        const ZERO: Violation = Violation::general(Reason::PropertyValue);
        Ok(match reader.u8()? {
            0x01 => Self::PayloadFormatIndicator(reader.flag()?),
            0x02 => Self::MessageExpiryInterval(reader.u32()?),
            0x03 => Self::ContentType(reader.utf8()?),
            0x08 => Self::ResponseTopic(reader.topic_name("MQTT-3.3.2-14")?),
            0x09 => Self::CorrelationData(reader.binary()?),
            0x0B => Self::SubscriptionIdentifier(NonZeroU32::new(reader.varint()?).ok_or(ZERO)?),
            0x11 => Self::SessionExpiryInterval(reader.u32()?),
            0x12 => Self::AssignedClientIdentifier(reader.utf8()?),
            0x13 => Self::ServerKeepAlive(reader.u16()?),
            0x15 => Self::AuthenticationMethod(reader.utf8()?),
            0x16 => Self::AuthenticationData(reader.binary()?),
            0x17 => Self::RequestProblemInformation(reader.flag()?),
            0x18 => Self::WillDelayInterval(reader.u32()?),
            0x19 => Self::RequestResponseInformation(reader.flag()?),
            0x1A => Self::ResponseInformation(reader.utf8()?),
            0x1C => Self::ServerReference(reader.utf8()?),
            0x1F => Self::ReasonString(reader.utf8()?),
            0x21 => Self::ReceiveMaximum(NonZeroU16::new(reader.u16()?).ok_or(ZERO)?),
            0x22 => Self::TopicAliasMaximum(reader.u16()?),
            0x23 => Self::TopicAlias(
                NonZeroU16::new(reader.u16()?).ok_or(Violation::new(Reason::TopicAlias, "MQTT-3.3.2-8"))?,
            ),
            0x24 => Self::MaximumQos(reader.flag()?),
            0x25 => Self::RetainAvailable(reader.flag()?),
            0x26 => Self::UserProperty(reader.utf8()?, reader.utf8()?),
            0x27 => Self::MaximumPacketSize(NonZeroU32::new(reader.u32()?).ok_or(ZERO)?),
            0x28 => Self::WildcardSubscriptionAvailable(reader.flag()?),
            0x29 => Self::SubscriptionIdentifierAvailable(reader.flag()?),
            0x2A => Self::SharedSubscriptionAvailable(reader.flag()?),
            _ => return Err(Violation::general(Reason::PropertyUnknown)),
        })
    }

    pub(crate) fn write(&self, out: &mut impl Sink) -> Result<(), EncodeError> {
        out.u8(self.identifier());
        match *self {
            Self::PayloadFormatIndicator(flag)
            | Self::RequestProblemInformation(flag)
            | Self::RequestResponseInformation(flag)
            | Self::MaximumQos(flag)
            | Self::RetainAvailable(flag)
            | Self::WildcardSubscriptionAvailable(flag)
            | Self::SubscriptionIdentifierAvailable(flag)
            | Self::SharedSubscriptionAvailable(flag) => out.u8(u8::from(flag)),
            Self::ServerKeepAlive(value) | Self::TopicAliasMaximum(value) => out.u16(value),
            Self::ReceiveMaximum(value) | Self::TopicAlias(value) => out.u16(value.get()),
            Self::MessageExpiryInterval(value)
            | Self::SessionExpiryInterval(value)
            | Self::WillDelayInterval(value) => out.u32(value),
            Self::MaximumPacketSize(value) => out.u32(value.get()),
            Self::SubscriptionIdentifier(value) => out.varint(value.get() as usize)?,
            Self::CorrelationData(bytes) | Self::AuthenticationData(bytes) => out.binary(bytes)?,
            Self::ContentType(text)
            | Self::ResponseTopic(text)
            | Self::AssignedClientIdentifier(text)
            | Self::AuthenticationMethod(text)
            | Self::ResponseInformation(text)
            | Self::ServerReference(text)
            | Self::ReasonString(text) => out.utf8(text)?,
            Self::UserProperty(name, value) => {
                out.utf8(name)?;
                out.utf8(value)?;
            }
        }
        Ok(())
    }
}
