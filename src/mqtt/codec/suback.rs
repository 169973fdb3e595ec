//! SUBACK and UNSUBACK (sections 3.9 and 3.11).

use std::num::NonZeroU16;

use super::PacketType;
use super::properties::{Place, Properties};
use super::reader::Reader;
use super::writer::{EncodeError, Sink};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{ReasonCode, Version};

/// The answer to SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubAck<'a> {
    /// Identifier of the SUBSCRIBE.
    pub packet_id: NonZeroU16,
    /// Explanations.
    pub properties: Properties<'a>,
    /// One reason code for each topic filter, in order [MQTT-3.9.3-1]; those of 3.1.1 are among those of MQTT 5.
    pub codes: &'a [u8],
}

impl<'a> SubAck<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = Properties::read(reader, Place::Packet(PacketType::SubAck), version)?;
        let codes = reader.take_rest();
        if codes.iter().any(|&code| !allowed(code, version)) {
            return Err(Violation::new(Reason::ReasonCode, "MQTT-3.9.3-2"));
        }
        Ok(Self { packet_id, properties, codes })
    }

    pub(crate) fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        if self.codes.iter().any(|&code| !allowed(code, version)) {
            return Err(EncodeError::Misplaced);
        }
        out.packet_id(self.packet_id);
        self.properties.write(Place::Packet(PacketType::SubAck), version, out)?;
        out.put(self.codes);
        Ok(())
    }
}

fn allowed(code: u8, version: Version) -> bool {
    match version {
        // Its own [MQTT-3.9.3-2]: all others are reserved.
        Version::V311 => matches!(code, 0..=2 | 0x80),
        Version::V5 => ReasonCode::from_byte(code).allowed_in(PacketType::SubAck),
    }
}

/// The answer to UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    /// Identifier of the UNSUBSCRIBE.
    pub packet_id: NonZeroU16,
    /// Explanations.
    pub properties: Properties<'a>,
    /// One reason code for each topic filter, in order [MQTT-3.11.3-1]; none in 3.1.1.
    pub codes: &'a [u8],
}

impl<'a> UnsubAck<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = Properties::read(reader, Place::Packet(PacketType::UnsubAck), version)?;
        // In 3.1.1 the packet ends here, so that codes are trailing bytes.
        let codes = if version == Version::V311 { &[] } else { reader.take_rest() };
        if codes.iter().any(|&code| !ReasonCode::from_byte(code).allowed_in(PacketType::UnsubAck)) {
            return Err(Violation::new(Reason::ReasonCode, "MQTT-3.11.3-2"));
        }
        Ok(Self { packet_id, properties, codes })
    }

    pub(crate) fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        if version == Version::V311 && !self.codes.is_empty() {
            return Err(EncodeError::NotInVersion);
        }
        if self.codes.iter().any(|&code| !ReasonCode::from_byte(code).allowed_in(PacketType::UnsubAck)) {
            return Err(EncodeError::Misplaced);
        }
        out.packet_id(self.packet_id);
        self.properties.write(Place::Packet(PacketType::UnsubAck), version, out)?;
        out.put(self.codes);
        Ok(())
    }
}
