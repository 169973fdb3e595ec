//! The properties against table 2-4 of the standard, written down once more.

use super::property::{Place, Property};
use super::{Properties, Reader};
use crate::Version;
use crate::codec::PacketType::{
    Auth, ConnAck, Connect, Disconnect, PubAck, PubComp, PubRec, PubRel, Publish, SubAck, Subscribe,
    UnsubAck, Unsubscribe,
};
use crate::codec::{EncodeError, PacketType};
use crate::violation::{Violation, ViolationReason as Reason};

/// A valid value of each property, and the packets that may carry it; true if also the Will Message.
type Row = (&'static [u8], &'static [PacketType], bool);

const EVERYWHERE: &[PacketType] = &[
    Connect,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    Disconnect,
    Auth,
];

const TABLE: [Row; 27] = [
    (b"\x01\x01", &[Publish], true),
    (b"\x02\0\0\0\x01", &[Publish], true),
    (b"\x03\0\x01c", &[Publish], true),
    (b"\x08\0\x01t", &[Publish], true),
    (b"\x09\0\x01d", &[Publish], true),
    (b"\x0B\x01", &[Publish, Subscribe], false),
    (b"\x11\0\0\0\x01", &[Connect, ConnAck, Disconnect], false),
    (b"\x12\0\x01i", &[ConnAck], false),
    (b"\x13\0\x01", &[ConnAck], false),
    (b"\x15\0\x01m", &[Connect, ConnAck, Auth], false),
    // Data may not come without its method.
    (b"\x15\0\x01m\x16\0\x01d", &[Connect, ConnAck, Auth], false),
    (b"\x17\x01", &[Connect], false),
    (b"\x18\0\0\0\x01", &[], true),
    (b"\x19\x01", &[Connect], false),
    (b"\x1A\0\x01r", &[ConnAck], false),
    (b"\x1C\0\x01s", &[ConnAck, Disconnect], false),
    (b"\x1F\0\x01r", &[ConnAck, PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck, Disconnect, Auth], false),
    (b"\x21\0\x01", &[Connect, ConnAck], false),
    (b"\x22\0\x01", &[Connect, ConnAck], false),
    (b"\x23\0\x01", &[Publish], false),
    (b"\x24\x01", &[ConnAck], false),
    (b"\x25\x01", &[ConnAck], false),
    (b"\x26\0\x01n\0\x01v", EVERYWHERE, true),
    (b"\x27\0\0\0\x01", &[Connect, ConnAck], false),
    (b"\x28\x01", &[ConnAck], false),
    (b"\x29\x01", &[ConnAck], false),
    (b"\x2A\x01", &[ConnAck], false),
];

fn read(wire: &[u8], place: Place) -> Result<usize, Violation> {
    let bytes = [&[u8::try_from(wire.len()).unwrap()], wire].concat();
    Properties::read(&mut Reader::new(&bytes), place, Version::V5).map(|properties| properties.iter().count())
}

#[test]
fn each_property_is_allowed_exactly_where_the_standard_lists_it() {
    for (wire, packets, in_will) in TABLE {
        let places = EVERYWHERE.iter().map(|&kind| (Place::Packet(kind), packets.contains(&kind)));
        for (place, allowed) in places.chain([(Place::Will, in_will)]) {
            let seen = read(wire, place);
            if allowed {
                assert!(seen.is_ok(), "{wire:02x?} in {place:?}: {seen:?}");
            } else {
                assert_eq!(
                    seen,
                    Err(Violation::general(Reason::PropertyMisplaced)),
                    "{wire:02x?} in {place:?}"
                );
            }
        }
    }
}

#[test]
fn each_property_may_come_once_unless_the_standard_says_otherwise() {
    for (wire, packets, in_will) in TABLE {
        let places = packets.iter().map(|&kind| Place::Packet(kind)).chain(in_will.then_some(Place::Will));
        for place in places {
            let seen = read(&wire.repeat(2), place);
            let repeatable = wire[0] == 0x26 || (wire[0] == 0x0B && place == Place::Packet(Publish));
            if repeatable {
                assert_eq!(seen, Ok(2));
            } else {
                assert_eq!(
                    seen,
                    Err(Violation::general(Reason::PropertyDuplicate)),
                    "{wire:02x?} in {place:?}"
                );
            }
        }
    }
}

#[test]
fn identifiers_that_the_standard_does_not_list_are_unknown() {
    let known: Vec<u8> = TABLE.iter().map(|(wire, ..)| wire[0]).chain([0x16]).collect();
    for identifier in (0..=u8::MAX).filter(|identifier| !known.contains(identifier)) {
        assert_eq!(
            read(&[identifier, 0, 1, b'x', 0, 1, b'y'], Place::Packet(Publish)),
            Err(Violation::general(Reason::PropertyUnknown)),
            "{identifier:#x}"
        );
    }
}

#[test]
fn a_value_that_is_cut_off_is_truncated_whatever_follows_the_properties() {
    for (wire, packets, _) in TABLE {
        let Some(&kind) = packets.first() else { continue };
        let cut = &wire[..wire.len() - 1];
        let bytes = [&[u8::try_from(cut.len()).unwrap()], cut, b"payload"].concat();
        let seen = Properties::read(&mut Reader::new(&bytes), Place::Packet(kind), Version::V5);
        assert_eq!(seen, Err(Violation::general(Reason::Truncated)), "{wire:02x?}");
    }
}

#[test]
fn a_misplaced_property_or_one_in_3_1_1_is_not_written() {
    let list = [Property::MaximumQos(true)];
    let properties = Properties::new(&list);
    let mut out = Vec::new();
    assert_eq!(properties.write(Place::Packet(Publish), Version::V5, &mut out), Err(EncodeError::Misplaced));
    assert_eq!(
        properties.write(Place::Packet(ConnAck), Version::V311, &mut out),
        Err(EncodeError::NotInVersion)
    );
    assert_eq!(out, b"");
    properties.write(Place::Packet(ConnAck), Version::V5, &mut out).unwrap();
    assert_eq!(out, [2, 0x24, 1]);
}
