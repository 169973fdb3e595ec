//! PUBLISH (section 3.3).

use std::num::NonZeroU16;

use super::PacketType;
use super::properties::{Place, Properties};
use super::reader::Reader;
use super::writer::{EncodeError, Sink};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{QoS, Version};

const PLACE: Place = Place::Packet(PacketType::Publish);

/// A message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Publish<'a> {
    /// True if the sender may have sent it before. Never a reason to drop it.
    pub dup: bool,
    /// How often it may arrive.
    pub qos: QoS,
    /// Whether the server is asked to keep it for later subscribers.
    pub retain: bool,
    /// Topic name; empty only beside a topic alias, which [`crate::Protocol`] resolves.
    pub topic: &'a str,
    /// Set exactly if `qos` is above 0.
    pub packet_id: Option<NonZeroU16>,
    /// Properties of the message.
    pub properties: Properties<'a>,
    /// The message itself.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// `flags` were checked with the fixed header.
    pub(crate) fn read(flags: u8, reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let qos = QoS::from_bits((flags >> 1) & 0b11).expect("qos 3 was refused with the fixed header");
        let topic = reader.topic_name("MQTT-3.3.2-2")?;
        let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
        let properties = Properties::read(reader, PLACE, version)?;
        if topic.is_empty() {
            match version {
                Version::V311 => return Err(Violation::new(Reason::TopicName, "MQTT-4.7.3-1")),
                // Section 3.3.2.1: a Protocol Error without a number.
                Version::V5 if properties.topic_alias().is_none() => {
                    return Err(Violation::general(Reason::TopicMissing));
                }
                Version::V5 => {}
            }
        }
        let payload = reader.take_rest();
        let (dup, retain) = (flags & 0b1000 != 0, flags & 1 != 0);
        Ok(Self { dup, qos, retain, topic, packet_id, properties, payload })
    }

    pub(crate) const fn flags(&self) -> u8 {
        (self.dup as u8) << 3 | (self.qos as u8) << 1 | self.retain as u8
    }

    pub(crate) fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        out.utf8(self.topic)?;
        match (self.qos, self.packet_id) {
            (QoS::AtMostOnce, None) => {}
            (QoS::AtLeastOnce | QoS::ExactlyOnce, Some(id)) => out.packet_id(id),
            _ => return Err(EncodeError::PacketId),
        }
        self.properties.write(PLACE, version, out)?;
        out.put(self.payload);
        Ok(())
    }
}
