//! What a simulated device sends: a message that names itself and shows whether it is whole.
//!
//! ```text
//! 0   magic "TGF1"        16  device number, u32     32  length of the payload, u32
//! 4   class, u8           20  sequence number, u32   36  FNV-1a of bytes 0 to 35, u32
//! 5   zero, 3 bytes       24  send time, u64 us      40  padding: the low byte of the sequence number
//! 8   run, u64
//! ```
//! All numbers are big-endian, so that records sort as they were sent when a tool shows them as hexadecimal.

use crate::identity::DeviceClass;

const MAGIC: [u8; 4] = *b"TGF1";

/// One message of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Number of the fleet's run: tells its messages from those of other runs on the same topic.
    pub run: u64,
    /// Number of the device in its fleet, from 0.
    pub device: u32,
    /// Class of the device.
    pub class: DeviceClass,
    /// Number of the message, from 0 and without gaps per device.
    pub seq: u32,
    /// When it was first sent, in microseconds since 1970. A resend repeats the payload byte for byte.
    pub sent_unix_micros: u64,
}

/// Why bytes are not a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Too short, or other magic: somebody else's message.
    #[error("not a message of a simulated device")]
    Foreign,
    /// It was a payload, and something changed it.
    #[error("a damaged message of a simulated device")]
    Damaged,
}

impl Payload {
    /// Length without padding, in bytes.
    pub const MIN_BYTES: usize = 40;

    /// Replaces the content of `out` by the payload, padded to `len` bytes (at least [`Self::MIN_BYTES`]).
    pub fn encode(&self, len: usize, out: &mut Vec<u8>) {
        let len = u32::try_from(len.max(Self::MIN_BYTES)).unwrap_or(u32::MAX);
        out.clear();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[self.class as u8, 0, 0, 0]);
        out.extend_from_slice(&self.run.to_be_bytes());
        out.extend_from_slice(&self.device.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.sent_unix_micros.to_be_bytes());
        out.extend_from_slice(&len.to_be_bytes());
        let sum = checksum(out);
        out.extend_from_slice(&sum.to_be_bytes());
        out.resize(len as usize, self.padding());
    }

    /// Reads a payload and checks every byte of it.
    ///
    /// # Errors
    /// [`PayloadError::Foreign`] for other messages, [`PayloadError::Damaged`] if a byte is wrong or missing.
    pub fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        let (head, padding) = bytes.split_at_checked(Self::MIN_BYTES).ok_or(PayloadError::Foreign)?;
        if head[..4] != MAGIC {
            return Err(PayloadError::Foreign);
        }
        let class = DeviceClass::from_byte(head[4]).ok_or(PayloadError::Damaged)?;
        let payload = Self {
            run: u64::from_be_bytes(field(head, 8)),
            device: u32::from_be_bytes(field(head, 16)),
            class,
            seq: u32::from_be_bytes(field(head, 20)),
            sent_unix_micros: u64::from_be_bytes(field(head, 24)),
        };
        let whole = u32::from_be_bytes(field(head, 32)) as usize == bytes.len()
            && u32::from_be_bytes(field(head, 36)) == checksum(&head[..36])
            && padding.iter().all(|&byte| byte == payload.padding());
        if whole { Ok(payload) } else { Err(PayloadError::Damaged) }
    }

    /// Differs between neighbours, so that a payload whose end is another message's shows.
    const fn padding(&self) -> u8 {
        self.seq.to_be_bytes()[3]
    }
}

fn field<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    head[at..at + N].try_into().expect("all fields lie within the head")
}

/// FNV-1a, 32 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): against mistakes, not against forgers.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_payload()(run: u64, device: u32, class in 0u8..3, seq: u32, sent_unix_micros: u64) -> Payload {
            Payload { run, device, class: DeviceClass::from_byte(class).unwrap(), seq, sent_unix_micros }
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(payload in any_payload(), len in 0usize..2000) {
            let mut bytes = vec![7; 3];
            payload.encode(len, &mut bytes);
            prop_assert_eq!(bytes.len(), len.max(Payload::MIN_BYTES));
            prop_assert_eq!(Payload::decode(&bytes), Ok(payload));
        }

        #[test]
        fn every_changed_byte_is_noticed(payload in any_payload(), len in 40usize..300, at: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = Vec::new();
            payload.encode(len, &mut bytes);
            let at = at.index(len);
            bytes[at] ^= 1 << bit;
            prop_assert!(Payload::decode(&bytes).is_err());
        }

        #[test]
        fn a_cut_or_foreign_message_is_an_error(payload in any_payload(), len in 40usize..300, cut in 1usize..300, noise: Vec<u8>) {
            let mut bytes = Vec::new();
            payload.encode(len, &mut bytes);
            bytes.truncate(len.saturating_sub(cut));
            prop_assert!(Payload::decode(&bytes).is_err());
            prop_assert_eq!(Payload::decode(&noise), Err(PayloadError::Foreign));
        }
    }
}
