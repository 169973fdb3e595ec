//! Who this spool belongs to, and how often it was opened.

use super::FORMAT;
use super::block::{self, Unusable};
use super::wire::Put as _;
use crate::ids::{GatewayId, SHARDS};

const MAGIC: [u8; 8] = *b"TGIDENTY";

/// The identity file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) gateway: GatewayId,
    /// Epoch of the latest boot that could write it down.
    pub(crate) epoch: u32,
    /// Frames are ordered by shards of this many.
    pub(crate) shards: u8,
    /// The gateway's name; none where nobody has told it.
    pub(crate) name: Option<String>,
}

impl Identity {
    pub(crate) const fn new(gateway: GatewayId, epoch: u32, name: Option<String>) -> Self {
        Self { gateway, epoch, shards: SHARDS, name }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        content.put(&self.gateway.0);
        content.put_u32(self.epoch);
        content.put_u8(self.shards);
        // Behind what earlier versions read, and not there in what they wrote.
        if let Some(name) = &self.name {
            content.put_text(name);
        }
        block::wrap(MAGIC, FORMAT, &content)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let (_, mut content) = block::unwrap(MAGIC, bytes)?;
        let mut fields = || {
            let gateway = GatewayId(content.array()?);
            Some(Self {
                gateway,
                epoch: content.u32()?,
                shards: content.u8()?,
                name: content.text().map(str::to_owned),
            })
        };
        fields().ok_or(Unusable::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_back() {
        for name in [None, Some("gateway-7".to_owned())] {
            let identity = Identity::new(GatewayId([9; 16]), 77, name);
            assert_eq!(Identity::decode(&identity.encode()[1..]), Err(Unusable::Damaged));
            assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
        }
    }

    #[test]
    fn an_identity_of_a_version_that_kept_no_name_is_read() {
        let mut content = Vec::new();
        content.put(&[9; 16]);
        content.put_u32(77);
        content.put_u8(SHARDS);
        let read = Identity::decode(&block::wrap(MAGIC, FORMAT, &content));
        assert_eq!(read, Ok(Identity::new(GatewayId([9; 16]), 77, None)));
    }
}
