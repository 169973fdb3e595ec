//! Writes the data types of the standard (section 1.5).
//!
//! A packet's body is written twice by the same code, first to a counter: the fixed header needs the length. An
//! error therefore shows before the first byte is appended.

use std::num::NonZeroU16;

use super::reader::varint_len;

/// Why a packet cannot be written; the output is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string, a binary field or the packet is longer than its length field can say.
    #[error("a field or the packet is longer than the protocol allows")]
    TooLong,
    /// The packet or one of its fields does not exist in the protocol version.
    #[error("the protocol version does not have this packet, property or reason code")]
    NotInVersion,
    /// The packet type may not carry one of its properties or its reason code.
    #[error("the packet may not carry this property or reason code")]
    Misplaced,
    /// A packet identifier at QoS 0, or none above it.
    #[error("a publish packet has a packet identifier exactly when its qos is above 0")]
    PacketId,
    /// The packet is larger than the peer said it takes [MQTT-3.1.2-24].
    #[error("the packet is larger than the client accepts")]
    OverClientMaximum,
}

/// Largest value of a Variable Byte Integer.
pub(crate) const VARINT_MAX: u32 = 268_435_455;

/// Where bytes go: to a buffer, or to a counter.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn packet_id(&mut self, id: NonZeroU16) {
        self.u16(id.get());
    }

    fn varint(&mut self, value: usize) -> Result<(), EncodeError> {
        let mut rest = u32::try_from(value).ok().filter(|&v| v <= VARINT_MAX).ok_or(EncodeError::TooLong)?;
        for _ in 1..varint_len(rest) {
            self.u8(low_seven_bits(rest) | 0x80);
            rest >>= 7;
        }
        self.u8(low_seven_bits(rest));
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.u16(u16::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?);
        self.put(bytes);
        Ok(())
    }

    fn utf8(&mut self, text: &str) -> Result<(), EncodeError> {
        self.binary(text.as_bytes())
    }
}

fn low_seven_bits(value: u32) -> u8 {
    value.to_le_bytes()[0] & 0x7F
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts what would be written.
#[derive(Default)]
pub(crate) struct Counter(pub(crate) usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}
