//! The header of a segment: who wrote it, with which seal, and which topics its frames name.

use super::block::{self, Unusable};
use super::frame::Seal;
use super::wire::{Fields, Put as _};
use super::{FORMAT, OLDEST_FORMAT};
use crate::ids::{GatewayId, SegmentId};

const MAGIC: [u8; 8] = *b"TGSEGMNT";
/// Copies begin at multiples of this, so that one lost sector cannot take both.
const SECTOR_BYTES: usize = 512;
/// Where the second copy begins at the latest: a thousand topics with Kafka's longest names fit in it.
const MAX_HEADER_BYTES: usize = 512 * 1024;

/// What the beginning of a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Format of the segment.
    pub(crate) version: u16,
    pub(crate) id: SegmentId,
    pub(crate) gateway: GatewayId,
    pub(crate) epoch: u32,
    /// Begins every checksum of the segment's frames.
    pub(crate) salt: u32,
    /// Segments of this boot that end at their last good commit, whatever stands behind it: fsync has failed there.
    pub(crate) abandoned: Vec<(SegmentId, u64)>,
    /// Topic table: frames name their topic by its index here, which topic frames continue.
    pub(crate) topics: Vec<String>,
}

impl Header {
    pub(crate) const fn seal(&self) -> Seal {
        Seal::new(self.salt)
    }

    /// Returns a salt whose marker is not zero, since untouched space is zeros.
    pub(crate) const fn salt_from(random: u32) -> u32 {
        if u32::from_le_bytes(Seal::new(random).marker()) == 0 { random ^ 1 } else { random }
    }

    /// Returns the first bytes of the segment: the header, twice.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        content.put_u64(self.id.0);
        content.put(&self.gateway.0);
        content.put_u32(self.epoch);
        if self.version > OLDEST_FORMAT {
            content.put_u32(self.salt);
            content.put_len16(self.abandoned.len());
            for (id, end) in &self.abandoned {
                content.put_u64(id.0);
                content.put_u64(*end);
            }
        }
        content.put_len16(self.topics.len());
        for topic in &self.topics {
            content.put_text(topic);
        }
        let mut out = block::wrap(MAGIC, self.version, &content);
        out.resize(out.len().next_multiple_of(SECTOR_BYTES), 0);
        out.extend_from_within(..);
        out
    }

    /// Reads the header of the segment whose first bytes are given, and where its frames begin.
    pub(crate) fn decode(start: &[u8]) -> Result<(Self, u64), Unusable> {
        let mut worst = Unusable::Damaged;
        let ends = start.len().min(MAX_HEADER_BYTES + SECTOR_BYTES);
        for at in (0..ends).step_by(SECTOR_BYTES) {
            match block::unwrap(MAGIC, &start[at..]) {
                Ok((version, content)) => {
                    let len = block::len_from_start(MAGIC, &start[at..]).unwrap_or_default();
                    let frames = 2 * len.next_multiple_of(SECTOR_BYTES);
                    return match Self::fields(version, content) {
                        Some(header) => Ok((header, frames as u64)),
                        None => Err(Unusable::Damaged),
                    };
                }
                Err(foreign @ Unusable::Foreign(_)) => worst = foreign,
                Err(Unusable::Damaged) => {}
            }
        }
        Err(worst)
    }

    fn fields(version: u16, mut content: Fields<'_>) -> Option<Self> {
        let id = SegmentId(content.u64()?);
        let gateway = GatewayId(content.array()?);
        let epoch = content.u32()?;
        let (salt, abandoned) = if version == FORMAT {
            let salt = content.u32()?;
            (salt, content.list16(|fields| Some((SegmentId(fields.u64()?), fields.u64()?)))?)
        } else {
            (0, Vec::new())
        };
        let topics = content.list16(|fields| fields.text().map(str::to_owned))?;
        Some(Self { version, id, gateway, epoch, salt, abandoned, topics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u16) -> Header {
        let current = version == FORMAT;
        Header {
            version,
            id: SegmentId(9),
            gateway: GatewayId([7; 16]),
            epoch: 3,
            salt: if current { 0xdead_beef } else { 0 },
            abandoned: if current { vec![(SegmentId(8), 4096)] } else { Vec::new() },
            topics: vec!["sensors".to_owned(), "x".repeat(249)],
        }
    }

    #[test]
    fn both_formats_come_back() {
        for version in OLDEST_FORMAT..=FORMAT {
            let bytes = header(version).encode();
            assert_eq!(Header::decode(&bytes), Ok((header(version), bytes.len() as u64)));
        }
    }

    #[test]
    fn one_whole_copy_is_enough() {
        let whole = header(FORMAT).encode();
        for damaged in 0..whole.len() / 2 {
            let mut bytes = whole.clone();
            bytes[damaged] ^= 0x10;
            assert_eq!(Header::decode(&bytes), Ok((header(FORMAT), whole.len() as u64)), "byte {damaged}");
        }
    }

    #[test]
    fn a_header_of_a_newer_format_is_foreign() {
        let mut newer = header(FORMAT);
        newer.version = FORMAT + 1;
        assert_eq!(Header::decode(&newer.encode()), Err(Unusable::Foreign(FORMAT + 1)));
    }

    #[test]
    fn no_salt_makes_zeros_look_like_a_frame() {
        let bad = (0x7467_6652_u32).rotate_right(16);
        assert_eq!(Seal::new(bad).marker(), [0; 4]);
        assert_ne!(Seal::new(Header::salt_from(bad)).marker(), [0; 4]);
    }
}
