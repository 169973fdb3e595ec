//! Properties of MQTT 5 (section 2.2.2): a list that is checked once and read where it lies.

mod property;
#[cfg(test)]
mod tests;

pub(crate) use property::Place;
pub use property::Property;

use std::num::{NonZeroU16, NonZeroU32};

use super::reader::Reader;
use super::writer::{Counter, EncodeError, Sink};
use crate::Version;
use crate::violation::{Violation, ViolationReason as Reason};

/// The properties of one packet: bytes that were checked when they were decoded, or a list to encode.
#[derive(Clone, Copy)]
pub struct Properties<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Wire(&'a [u8]),
    List(&'a [Property<'a>]),
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $ty:ty;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> Option<$ty> {
            self.iter().find_map(|property| match property {
                Property::$variant(value) => Some(value),
                _ => None,
            })
        })*
    };
}

impl<'a> Properties<'a> {
    /// No properties: all there is in 3.1.1.
    pub const EMPTY: Self = Self(Source::List(&[]));

    /// Returns the properties of a packet to encode.
    #[must_use]
    pub const fn new(list: &'a [Property<'a>]) -> Self {
        Self(Source::List(list))
    }

    /// Returns true if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Source::Wire(bytes) => bytes.is_empty(),
            Source::List(list) => list.is_empty(),
        }
    }

    /// Returns the properties in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let (mut wire, mut list) = match self.0 {
            Source::Wire(bytes) => (Reader::new(bytes), [].iter()),
            Source::List(list) => (Reader::new(&[]), list.iter()),
        };
        std::iter::from_fn(move || {
            if wire.is_empty() { list.next().copied() } else { Property::read(&mut wire).ok() }
        })
    }

    getters! {
        /// Returns the Session Expiry Interval in seconds.
        session_expiry_secs: SessionExpiryInterval -> u32;
        /// Returns how many QoS 1 and 2 messages the peer takes at a time.
        receive_maximum: ReceiveMaximum -> NonZeroU16;
        /// Returns the largest packet the peer takes, in bytes.
        maximum_packet_bytes: MaximumPacketSize -> NonZeroU32;
        /// Returns the highest topic alias the peer takes.
        topic_alias_maximum: TopicAliasMaximum -> u16;
        /// Returns the Topic Alias of a PUBLISH.
        topic_alias: TopicAlias -> NonZeroU16;
        /// Returns the time a message may wait, in seconds.
        message_expiry_secs: MessageExpiryInterval -> u32;
        /// Returns the time between the end of a connection and its Will Message, in seconds.
        will_delay_secs: WillDelayInterval -> u32;
        /// Returns the MIME type or other description of a payload.
        content_type: ContentType -> &'a str;
        /// Returns the topic for a response.
        response_topic: ResponseTopic -> &'a str;
        /// Returns what ties a response to its request.
        correlation_data: CorrelationData -> &'a [u8];
        /// Returns the human-readable reason.
        reason_string: ReasonString -> &'a str;
        /// Returns the name of the extended authentication method.
        authentication_method: AuthenticationMethod -> &'a str;
        /// Returns the client identifier that the server chose.
        assigned_client_identifier: AssignedClientIdentifier -> &'a str;
        /// Returns the keep-alive that the server demands, in seconds.
        server_keep_alive_secs: ServerKeepAlive -> u16;
        /// Returns false if the server takes QoS 0 only, true if also QoS 1.
        maximum_qos_is_one: MaximumQos -> bool;
    }

    /// Returns the user properties, names and values.
    pub fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// Reads and checks the properties of one packet: each known, allowed in the place, within its range, and not
    /// there twice unless it may be. In 3.1.1 there are none.
    pub(crate) fn read(reader: &mut Reader<'a>, place: Place, version: Version) -> Result<Self, Violation> {
        if version == Version::V311 {
            return Ok(Self::EMPTY);
        }
        let len = reader.varint()?;
        let wire = reader.bytes(len as usize)?;
        let mut rest = Reader::new(wire);
        // Identifiers end at 42, so one bit each is enough.
        let mut seen = 0_u64;
        while !rest.is_empty() {
            let property = Property::read(&mut rest)?;
            if !property.allowed_in(place) {
                // [MQTT-3.3.4-6] and others; section 2.2.2.2 calls it malformed.
                return Err(Violation::general(Reason::PropertyMisplaced));
            }
            let bit = 1 << property.identifier();
            if seen & bit != 0 && !property.repeatable_in(place) {
                return Err(Violation::general(Reason::PropertyDuplicate));
            }
            seen |= bit;
        }
        let (method, data) = (1 << 0x15, 1 << 0x16);
        if seen & data != 0 && seen & method == 0 {
            // Sections 3.1.2.11.10, 3.15.2.2.3: data without a method is a Protocol Error.
            return Err(Violation::general(Reason::Authentication));
        }
        Ok(Self(Source::Wire(wire)))
    }

    pub(crate) fn write(
        &self,
        place: Place,
        version: Version,
        out: &mut impl Sink,
    ) -> Result<(), EncodeError> {
        if version == Version::V311 {
            return if self.is_empty() { Ok(()) } else { Err(EncodeError::NotInVersion) };
        }
        let mut len = Counter::default();
        for property in self.iter() {
            if !property.allowed_in(place) {
                return Err(EncodeError::Misplaced);
            }
            property.write(&mut len)?;
        }
        out.varint(len.0)?;
        self.iter().try_for_each(|property| property.write(out))
    }
}

impl Default for Properties<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for Properties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
