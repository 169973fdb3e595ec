//! Who this spool belongs to, and how often it was opened.

use super::FORMAT;
use super::block::{self, Unusable};
use super::wire::Put as _;
use crate::ids::{GatewayId, SHARDS};

const MAGIC: [u8; 8] = *b"TGIDENTY";

/// The identity file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) gateway: GatewayId,
    /// Epoch of the latest boot that could write it down.
    pub(crate) epoch: u32,
    /// Frames are ordered by shards of this many.
    pub(crate) shards: u8,
}

impl Identity {
    pub(crate) const fn new(gateway: GatewayId, epoch: u32) -> Self {
        Self { gateway, epoch, shards: SHARDS }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        content.put(&self.gateway.0);
        content.put_u32(self.epoch);
        content.put_u8(self.shards);
        block::wrap(MAGIC, FORMAT, &content)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let (_, mut content) = block::unwrap(MAGIC, bytes)?;
        let mut fields = || {
            let gateway = GatewayId(content.array()?);
            Some(Self { gateway, epoch: content.u32()?, shards: content.u8()? })
        };
        fields().ok_or(Unusable::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_back() {
        let identity = Identity::new(GatewayId([9; 16]), 77);
        assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
        assert_eq!(Identity::decode(&identity.encode()[1..]), Err(Unusable::Damaged));
    }
}
