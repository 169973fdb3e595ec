//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10).

use std::marker::PhantomData;
use std::num::NonZeroU16;

use super::PacketType;
use super::properties::{Place, Properties};
use super::reader::Reader;
use super::writer::{EncodeError, Sink};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{QoS, Version};

/// Entries of a payload: bytes that were checked when they were decoded, or a list to encode.
#[derive(Clone, Copy)]
pub struct List<'a, T>(Source<'a, T>);

#[derive(Clone, Copy)]
enum Source<'a, T> {
    Wire(&'a [u8], Version, PhantomData<T>),
    List(&'a [T]),
}

/// One entry of a payload.
pub(super) trait Entry<'a>: Copy {
    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation>;
    fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError>;
}

impl<'a, T> List<'a, T> {
    /// Returns the entries of a packet to encode.
    #[must_use]
    pub const fn new(list: &'a [T]) -> Self {
        Self(Source::List(list))
    }
}

#[allow(private_bounds, reason = "the two kinds of entries are public, how they are read is not")]
impl<'a, T: Entry<'a>> List<'a, T> {
    /// Returns the entries in the order of the packet; never none in a decoded packet.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let (mut wire, version, mut list) = match self.0 {
            Source::Wire(bytes, version, _) => (Reader::new(bytes), version, [].iter()),
            Source::List(list) => (Reader::new(&[]), Version::V5, list.iter()),
        };
        std::iter::from_fn(move || {
            if wire.is_empty() { list.next().copied() } else { T::read(&mut wire, version).ok() }
        })
    }

    fn read(reader: &mut Reader<'a>, version: Version, none: &'static str) -> Result<Self, Violation> {
        let wire = reader.take_rest();
        let mut rest = Reader::new(wire);
        if rest.is_empty() {
            return Err(Violation::new(Reason::NoTopicFilter, none));
        }
        while !rest.is_empty() {
            T::read(&mut rest, version)?;
        }
        Ok(Self(Source::Wire(wire, version, PhantomData)))
    }

    fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        self.iter().try_for_each(|entry| entry.write(version, out))
    }
}

#[allow(private_bounds, reason = "as above")]
impl<'a, T: Entry<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

#[allow(private_bounds, reason = "as above")]
impl<'a, T: Entry<'a> + std::fmt::Debug> std::fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// When retained messages are wanted (MQTT 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE; all there is in 3.1.1.
    #[default]
    Send = 0,
    /// If the subscription is new.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// One topic filter with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The topic filter as sent: UTF-8, but not checked for misplaced wildcards (see [`crate::topic`]), which are
    /// answered filter by filter.
    pub filter: &'a str,
    /// Highest QoS wanted.
    pub qos: QoS,
    /// The client does not want its own messages (MQTT 5).
    pub no_local: bool,
    /// Messages are to keep their RETAIN flag (MQTT 5).
    pub retain_as_published: bool,
    /// When retained messages are wanted (MQTT 5).
    pub retain_handling: RetainHandling,
}

impl<'a> Entry<'a> for Subscription<'a> {
    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let filter = reader.utf8()?;
        let options = reader.u8()?;
        let reserved = if version == Version::V311 { 0b1111_1100 } else { 0b1100_0000 };
        if options & reserved != 0 {
            return Err(Violation::new(Reason::SubscriptionOptions, "MQTT-3.8.3-5"));
        }
        let qos = QoS::from_bits(options & 0b11).ok_or(Violation::general(Reason::SubscriptionOptions))?;
        let retain_handling = match options >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(Violation::general(Reason::SubscriptionOptions)),
        };
        let no_local = options & 0b0100 != 0;
        if no_local && crate::topic::is_shared(filter) {
            return Err(Violation::new(Reason::NoLocalShared, "MQTT-3.8.3-4"));
        }
        Ok(Self { filter, qos, no_local, retain_as_published: options & 0b1000 != 0, retain_handling })
    }

    fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        let options = (self.retain_handling as u8) << 4
            | u8::from(self.retain_as_published) << 3
            | u8::from(self.no_local) << 2
            | self.qos as u8;
        if version == Version::V311 && options > 2 {
            return Err(EncodeError::NotInVersion);
        }
        out.utf8(self.filter)?;
        out.u8(options);
        Ok(())
    }
}

impl<'a> Entry<'a> for &'a str {
    fn read(reader: &mut Reader<'a>, _: Version) -> Result<Self, Violation> {
        reader.utf8()
    }

    fn write(&self, _: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        out.utf8(self)
    }
}

/// A client asks for messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// Identifier that the SUBACK repeats.
    pub packet_id: NonZeroU16,
    /// Properties of the packet.
    pub properties: Properties<'a>,
    /// What is asked for.
    pub subscriptions: List<'a, Subscription<'a>>,
}

impl<'a> Subscribe<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = Properties::read(reader, Place::Packet(PacketType::Subscribe), version)?;
        Ok(Self { packet_id, properties, subscriptions: List::read(reader, version, "MQTT-3.8.3-2")? })
    }

    pub(crate) fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        out.packet_id(self.packet_id);
        self.properties.write(Place::Packet(PacketType::Subscribe), version, out)?;
        self.subscriptions.write(version, out)
    }
}

/// A client takes subscriptions back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    /// Identifier that the UNSUBACK repeats.
    pub packet_id: NonZeroU16,
    /// Properties of the packet.
    pub properties: Properties<'a>,
    /// The topic filters, character by character as they were subscribed.
    pub filters: List<'a, &'a str>,
}

impl<'a> Unsubscribe<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = Properties::read(reader, Place::Packet(PacketType::Unsubscribe), version)?;
        Ok(Self { packet_id, properties, filters: List::read(reader, version, "MQTT-3.10.3-2")? })
    }

    pub(crate) fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        out.packet_id(self.packet_id);
        self.properties.write(Place::Packet(PacketType::Unsubscribe), version, out)?;
        self.filters.write(version, out)
    }
}
