//! Reads the data types of the standard (section 1.5) from one packet; borrows, never allocates.

use std::num::NonZeroU16;

use crate::violation::{Violation, ViolationReason as Reason};

/// What is left of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes all that is left.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the packet: bytes after its last field make it malformed.
    pub(crate) const fn end(self) -> Result<(), Violation> {
        if self.rest.is_empty() { Ok(()) } else { Err(Violation::general(Reason::TrailingBytes)) }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Violation> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Violation::general(Reason::Truncated))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (taken, rest) =
            self.rest.split_first_chunk::<N>().ok_or(Violation::general(Reason::Truncated))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Violation> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Violation> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_be_bytes)
    }

    /// Packet identifiers are never 0 [MQTT-2.2.1-3].
    pub(crate) fn packet_id(&mut self) -> Result<NonZeroU16, Violation> {
        NonZeroU16::new(self.u16()?).ok_or(Violation::new(Reason::PacketIdZero, "MQTT-2.2.1-3"))
    }

    /// A Variable Byte Integer in as few bytes as it needs [MQTT-1.5.5-1].
    pub(crate) fn varint(&mut self) -> Result<u32, Violation> {
        match varint(self.rest)? {
            None => Err(Violation::general(Reason::Truncated)),
            Some((value, len)) => {
                if len != varint_len(value) {
                    return Err(NOT_MINIMAL);
                }
                self.rest = &self.rest[len..];
                Ok(value)
            }
        }
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Violation> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    pub(crate) fn utf8(&mut self) -> Result<&'a str, Violation> {
        let bytes = self.binary()?;
        if bytes.contains(&0) {
            return Err(NULL_CHARACTER);
        }
        utf8(bytes)
    }

    /// A string that names a topic; an empty one is the caller's to judge. Every PUBLISH has one, so the bytes that
    /// may not be there are looked for in one pass without branches.
    pub(crate) fn topic_name(&mut self, no_wildcard: &'static str) -> Result<&'a str, Violation> {
        let bytes = self.binary()?;
        if bytes.iter().fold(0, |found, b| found | u8::from(matches!(b, 0 | b'+' | b'#'))) != 0 {
            let null = bytes.contains(&0);
            return Err(if null { NULL_CHARACTER } else { Violation::new(Reason::TopicName, no_wildcard) });
        }
        utf8(bytes)
    }

    /// A byte that may only be 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, Violation> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Violation::general(Reason::PropertyValue)),
        }
    }
}

/// Also refuses surrogates, as [MQTT-1.5.4-1] demands.
fn utf8(bytes: &[u8]) -> Result<&str, Violation> {
    str::from_utf8(bytes).map_err(|_| Violation::new(Reason::Utf8, "MQTT-1.5.4-1"))
}

const NULL_CHARACTER: Violation = Violation::new(Reason::Utf8, "MQTT-1.5.4-2");

pub(crate) const NOT_MINIMAL: Violation = Violation::new(Reason::VariableLength, "MQTT-1.5.5-1");

/// Reads a Variable Byte Integer and how many bytes it took; `None` if `bytes` end within it.
pub(crate) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, Violation> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    // Four bytes at most (section 1.5.5).
    if bytes.len() >= 4 { Err(Violation::general(Reason::VariableLength)) } else { Ok(None) }
}

/// Returns how many bytes the value needs.
pub(crate) const fn varint_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}
