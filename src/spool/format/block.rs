//! The envelope of everything that is no frame: magic, version, length, checksum.

use crc32c::{crc32c, crc32c_append};

use super::wire::{Fields, Put as _};
use super::{FORMAT, OLDEST_FORMAT};

/// Bytes around the content: magic 8, version 2, zero 2, length 4, crc32c 4.
pub(crate) const AROUND_BYTES: usize = 20;

/// Why a block cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Not this magic, or a checksum that does not fit.
    Damaged,
    /// Whole, but of a format that is not read.
    Foreign(u16),
}

/// Returns a block around `content`.
pub(crate) fn wrap(magic: [u8; 8], version: u16, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(AROUND_BYTES + content.len());
    out.put(&magic);
    out.put_u16(version);
    out.put_u16(0);
    out.put_len32(content.len());
    let crc = crc32c_append(crc32c(&out[8..]), content);
    out.put_u32(crc);
    out.put(content);
    out
}

/// Returns how long the block is whose beginning `bytes` are, content and envelope; `None` if none begins here.
pub(crate) fn len_from_start(magic: [u8; 8], bytes: &[u8]) -> Option<usize> {
    let mut fields = Fields(bytes);
    if fields.array()? != magic {
        return None;
    }
    fields.u32()?;
    Some(AROUND_BYTES + fields.u32()? as usize)
}

/// Returns version and content of the block at the beginning of `bytes`.
pub(crate) fn unwrap(magic: [u8; 8], bytes: &[u8]) -> Result<(u16, Fields<'_>), Unusable> {
    let parts = || {
        let len = len_from_start(magic, bytes)?;
        let (head, content) = bytes.get(..len)?.split_at_checked(AROUND_BYTES)?;
        let version = Fields(&head[8..]).u16()?;
        let crc = Fields(&head[16..]).u32()?;
        (crc == crc32c_append(crc32c(&head[8..16]), content)).then_some((version, Fields(content)))
    };
    let (version, content) = parts().ok_or(Unusable::Damaged)?;
    if (OLDEST_FORMAT..=FORMAT).contains(&version) {
        Ok((version, content))
    } else {
        Err(Unusable::Foreign(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"TGTESTED";

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let newer = wrap(MAGIC, FORMAT + 1, b"what it may be");
        assert_eq!(unwrap(MAGIC, &newer).err(), Some(Unusable::Foreign(FORMAT + 1)));
        let mut damaged = wrap(MAGIC, FORMAT, b"content");
        for at in 0..damaged.len() {
            damaged[at] ^= 1;
            assert_eq!(unwrap(MAGIC, &damaged).err(), Some(Unusable::Damaged), "byte {at}");
            damaged[at] ^= 1;
        }
        assert!(unwrap(MAGIC, &damaged).is_ok());
        assert_eq!(unwrap(MAGIC, &damaged[..damaged.len() - 1]).err(), Some(Unusable::Damaged));
    }
}
