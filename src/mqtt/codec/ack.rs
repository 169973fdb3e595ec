//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7), which share one layout.

use std::num::NonZeroU16;

use super::PacketType;
use super::properties::{Place, Properties};
use super::reader::Reader;
use super::writer::{EncodeError, Sink};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{ReasonCode, Version};

/// One step of the acknowledgement of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ack<'a> {
    /// Identifier of the PUBLISH that it belongs to.
    pub packet_id: NonZeroU16,
    /// The outcome; 3.1.1 only knows success.
    pub reason: ReasonCode,
    /// Explanations.
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    pub(crate) fn read(
        kind: PacketType,
        reader: &mut Reader<'a>,
        version: Version,
    ) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let (reason, properties) = read_tail(kind, reader, version)?;
        Ok(Self { packet_id, reason, properties })
    }

    pub(crate) fn write(
        &self,
        kind: PacketType,
        version: Version,
        out: &mut impl Sink,
    ) -> Result<(), EncodeError> {
        out.packet_id(self.packet_id);
        write_tail(kind, self.reason, &self.properties, version, out)
    }
}

/// Reads reason code and properties where both may be missing: they stand for success and none. PUBACK and its
/// kin, DISCONNECT and AUTH end this way.
pub(super) fn read_tail<'a>(
    kind: PacketType,
    reader: &mut Reader<'a>,
    version: Version,
) -> Result<(ReasonCode, Properties<'a>), Violation> {
    if version == Version::V311 || reader.is_empty() {
        return Ok((ReasonCode::SUCCESS, Properties::EMPTY));
    }
    let reason = ReasonCode::from_byte(reader.u8()?);
    if !reason.allowed_in(kind) {
        return Err(Violation::new(Reason::ReasonCode, reason_code_statement(kind)));
    }
    if reader.is_empty() {
        return Ok((reason, Properties::EMPTY));
    }
    Ok((reason, Properties::read(reader, Place::Packet(kind), version)?))
}

pub(super) fn write_tail(
    kind: PacketType,
    reason: ReasonCode,
    properties: &Properties<'_>,
    version: Version,
    out: &mut impl Sink,
) -> Result<(), EncodeError> {
    let plain = reason == ReasonCode::SUCCESS && properties.is_empty();
    match version {
        _ if plain => Ok(()),
        Version::V311 => Err(EncodeError::NotInVersion),
        Version::V5 if !reason.allowed_in(kind) => Err(EncodeError::Misplaced),
        Version::V5 => {
            out.u8(reason.as_byte());
            if properties.is_empty() { Ok(()) } else { properties.write(Place::Packet(kind), version, out) }
        }
    }
}

/// Returns the statement that ties a packet to its reason codes.
const fn reason_code_statement(kind: PacketType) -> &'static str {
    match kind {
        PacketType::PubAck => "MQTT-3.4.2-1",
        PacketType::PubRec => "MQTT-3.5.2-1",
        PacketType::PubRel => "MQTT-3.6.2-1",
        PacketType::PubComp => "MQTT-3.7.2-1",
        PacketType::Disconnect => "MQTT-3.14.2-1",
        PacketType::Auth => "MQTT-3.15.2-1",
        _ => Violation::GENERAL,
    }
}

/// Appends a PUBACK without properties: 4 bytes, or 5 with a code other than success. 3.1.1 has no codes there: a
/// PUBACK says that the message is not to be sent again, whatever became of it.
pub fn encode_puback(packet_id: NonZeroU16, reason: ReasonCode, version: Version, out: &mut Vec<u8>) {
    short_ack(PacketType::PubAck, packet_id, reason, version, out);
}

/// Appends a PUBCOMP without properties: 4 bytes, or 5 with a code other than success.
pub fn encode_pubcomp(packet_id: NonZeroU16, reason: ReasonCode, version: Version, out: &mut Vec<u8>) {
    short_ack(PacketType::PubComp, packet_id, reason, version, out);
}

fn short_ack(
    kind: PacketType,
    packet_id: NonZeroU16,
    reason: ReasonCode,
    version: Version,
    out: &mut Vec<u8>,
) {
    debug_assert!(reason.allowed_in(kind), "{reason} in {kind:?}");
    let first = (kind as u8) << 4;
    let [high, low] = packet_id.get().to_be_bytes();
    if version == Version::V311 || reason == ReasonCode::SUCCESS {
        out.extend_from_slice(&[first, 2, high, low]);
    } else {
        out.extend_from_slice(&[first, 3, high, low, reason.as_byte()]);
    }
}
