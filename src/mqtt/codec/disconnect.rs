//! DISCONNECT and AUTH (sections 3.14 and 3.15).

use super::PacketType;
use super::ack::{read_tail, write_tail};
use super::properties::Properties;
use super::reader::Reader;
use super::writer::{EncodeError, Sink};
use crate::violation::Violation;
use crate::{ReasonCode, Version};

/// The last packet of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disconnect<'a> {
    /// Why; 3.1.1 only knows the normal end.
    pub reason: ReasonCode,
    /// Explanations, and from a client a new Session Expiry Interval.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let (reason, properties) = read_tail(PacketType::Disconnect, reader, version)?;
        Ok(Self { reason, properties })
    }

    pub(crate) fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        write_tail(PacketType::Disconnect, self.reason, &self.properties, version, out)
    }
}

/// A step of extended authentication (MQTT 5).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Auth<'a> {
    /// Which step.
    pub reason: ReasonCode,
    /// Method and data.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let (reason, properties) = read_tail(PacketType::Auth, reader, Version::V5)?;
        Ok(Self { reason, properties })
    }

    pub(crate) fn write(&self, version: Version, out: &mut impl Sink) -> Result<(), EncodeError> {
        if version == Version::V311 {
            return Err(EncodeError::NotInVersion);
        }
        write_tail(PacketType::Auth, self.reason, &self.properties, version, out)
    }
}
