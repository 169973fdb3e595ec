//! What is encoded decodes to the same packet, and takes exactly its own bytes.

use proptest::prelude::*;
use tidegate_mqtt::Version;
use tidegate_mqtt::codec::{Packet, decode, encode};

use super::counting::{HeapUse, measure};
use super::generators::{packet, version};

fn packets() -> impl Strategy<Value = (Version, Packet<'static>)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}

fn encoded(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, version, &mut bytes).expect("generated packets are well-formed");
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_packet_survives_a_round_trip_and_decodes_without_allocating(
        (version, packet) in packets(), tail in any::<Vec<u8>>()
    ) {
        let mut bytes = encoded(&packet, version);
        let len = bytes.len();
        bytes.extend(&tail);
        let (decoded, heap) = measure(|| decode(&bytes, version, u32::MAX));
        prop_assert_eq!(heap, HeapUse::default());
        prop_assert_eq!(decoded, Ok(Some((packet, len))));
    }

    #[test]
    fn a_part_of_a_packet_is_partial_never_wrong((version, packet) in packets(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&packet, version);
        let part = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(decode(part, version, u32::MAX), Ok(None));
    }

    #[test]
    fn a_packet_of_exactly_the_limit_passes_and_one_byte_more_does_not((version, packet) in packets()) {
        let bytes = encoded(&packet, version);
        let len = u32::try_from(bytes.len()).expect("generated packets are small");
        prop_assert!(decode(&bytes, version, len).is_ok());
        prop_assert!(decode(&bytes, version, len - 1).is_err());
    }

    #[test]
    fn what_decodes_encodes_again_to_the_same_meaning(
        (version, packet) in packets(), at in any::<prop::sample::Index>(), byte: u8
    ) {
        let mut bytes = encoded(&packet, version);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Some((changed, len))) = decode(&bytes, version, u32::MAX) {
            // A CONNECT may have become one of the other version.
            let version = if let Packet::Connect(connect) = &changed { connect.version } else { version };
            let again = encoded(&changed, version);
            prop_assert!(again.len() <= len, "a longer form of {:?}", changed);
            prop_assert_eq!(decode(&again, version, u32::MAX), Ok(Some((changed, again.len()))));
        }
    }
}
