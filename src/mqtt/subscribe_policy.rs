//! What a gateway that delivers nothing answers to SUBSCRIBE and UNSUBSCRIBE.

use crate::codec::{Sink, Subscribe, Unsubscribe};
use crate::topic::{validate_filter, validate_subscription};
use crate::{QoS, ReasonCode, Version};

/// How subscriptions are met. Either way no message is ever delivered: commands to devices need a broker beside us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscribePolicy {
    /// SUBACK says that each is refused: the truth.
    #[default]
    Refuse,
    /// SUBACK grants them, since many devices take a failed SUBSCRIBE for the end of the connection.
    AcceptSilently,
}

impl SubscribePolicy {
    /// Returns the SUBACK code for one topic filter: at most QoS 1, which is all that the gateway knows.
    fn code(self, version: Version, filter: &str, wanted: QoS) -> u8 {
        // Shared subscriptions came with MQTT 5; the one failure code of 3.1.1 is 0x80.
        let (valid, invalid, refused) = match version {
            Version::V311 => {
                (validate_filter(filter), ReasonCode::UNSPECIFIED_ERROR, ReasonCode::UNSPECIFIED_ERROR)
            }
            Version::V5 => {
                (validate_subscription(filter), ReasonCode::TOPIC_FILTER_INVALID, ReasonCode::NOT_AUTHORIZED)
            }
        };
        match self {
            _ if valid.is_err() => invalid.as_byte(),
            Self::Refuse => refused.as_byte(),
            Self::AcceptSilently => wanted.min(QoS::AtLeastOnce) as u8,
        }
    }

    /// Appends the SUBACK: one code for each topic filter, in order [MQTT-3.8.4-6, 3.9.3-1].
    pub fn encode_suback(self, version: Version, subscribe: &Subscribe<'_>, out: &mut Vec<u8>) {
        let codes = || subscribe.subscriptions.iter().map(|s| self.code(version, s.filter, s.qos));
        encode(0x90, subscribe.packet_id.get(), version, codes().count(), codes(), out);
    }

    /// Appends the UNSUBACK: MQTT 5 has one code for each topic filter [MQTT-3.11.3-1], 3.1.1 has none.
    pub fn encode_unsuback(self, version: Version, unsubscribe: &Unsubscribe<'_>, out: &mut Vec<u8>) {
        let code = match self {
            Self::Refuse => ReasonCode::NO_SUBSCRIPTION_EXISTED,
            Self::AcceptSilently => ReasonCode::SUCCESS,
        };
        let count = if version == Version::V311 { 0 } else { unsubscribe.filters.iter().count() };
        encode(
            0xB0,
            unsubscribe.packet_id.get(),
            version,
            count,
            std::iter::repeat_n(code.as_byte(), count),
            out,
        );
    }
}

/// SUBACK and UNSUBACK differ in their first byte only. No code needs memory of its own: the packet that asked holds
/// at least three bytes for each.
fn encode(
    first: u8,
    packet_id: u16,
    version: Version,
    count: usize,
    codes: impl Iterator<Item = u8>,
    out: &mut Vec<u8>,
) {
    let properties_len = usize::from(version == Version::V5);
    out.u8(first);
    out.varint(2 + properties_len + count).expect("the answer is shorter than the packet it answers");
    out.u16(packet_id);
    if version == Version::V5 {
        out.u8(0);
    }
    out.extend(codes);
}
