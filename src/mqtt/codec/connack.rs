//! CONNACK (section 3.2).

use super::PacketType;
use super::properties::{Place, Properties};
use super::reader::Reader;
use super::writer::{EncodeError, Sink};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{ReasonCode, Version};

const PLACE: Place = Place::Packet(PacketType::ConnAck);

/// The server's answer to CONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConnAck<'a> {
    /// True if the server still has the session; false with every failure [MQTT-3.2.2-6].
    pub session_present: bool,
    /// The outcome. In 3.1.1 one of those that [`ReasonCode::to_v311`] knows.
    pub reason: ReasonCode,
    /// What the server offers.
    pub properties: Properties<'a>,
}

impl<'a> ConnAck<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let flags = reader.u8()?;
        if flags > 1 {
            return Err(Violation::new(Reason::FixedHeaderFlags, "MQTT-3.2.2-1"));
        }
        let byte = reader.u8()?;
        let reason = match version {
            Version::V311 => ReasonCode::from_v311(byte),
            Version::V5 => {
                Some(ReasonCode::from_byte(byte)).filter(|code| code.allowed_in(PacketType::ConnAck))
            }
        }
        .ok_or(Violation::new(Reason::ReasonCode, "MQTT-3.2.2-8"))?;
        if flags == 1 && reason.is_error() {
            return Err(Violation::new(Reason::ReasonCode, "MQTT-3.2.2-6"));
        }
        let properties = Properties::read(reader, PLACE, version)?;
        Ok(Self { session_present: flags == 1, reason, properties })
    }

    pub(crate) fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        out.u8(u8::from(self.session_present && !self.reason.is_error()));
        match version {
            Version::V311 => out.u8(self.reason.to_v311().ok_or(EncodeError::NotInVersion)?),
            Version::V5 if !self.reason.allowed_in(PacketType::ConnAck) => {
                return Err(EncodeError::Misplaced);
            }
            Version::V5 => out.u8(self.reason.as_byte()),
        }
        self.properties.write(PLACE, version, out)
    }
}
