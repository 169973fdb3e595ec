//! Rules of all packets but CONNECT and PUBLISH.

use super::support::{check, connect_with, open, open_with, packet, violation};
use super::{Event, Limits, Protocol};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{ReasonCode, Version};

fn v311() -> Protocol {
    open(Version::V311, Limits::default())
}

fn v5() -> Protocol {
    open(Version::V5, Limits::default())
}

#[test]
fn reserved_types_and_flags_are_refused_by_the_first_byte() {
    let mut table = vec![
        ("type 0", vec![0x00], Reason::PacketType, Violation::GENERAL),
        ("CONNACK", vec![0x20], Reason::ServerPacket, Violation::GENERAL),
        ("SUBACK", vec![0x90], Reason::ServerPacket, Violation::GENERAL),
        ("UNSUBACK", vec![0xB0], Reason::ServerPacket, Violation::GENERAL),
        ("PINGRESP", vec![0xD0], Reason::ServerPacket, Violation::GENERAL),
    ];
    // Table 2-2: PUBREL, SUBSCRIBE and UNSUBSCRIBE have 0010, all others 0000.
    for (what, first) in [
        ("PUBACK", 0x42),
        ("PUBREC", 0x51),
        ("PUBREL", 0x60),
        ("PUBCOMP", 0x78),
        ("SUBSCRIBE", 0x80),
        ("UNSUBSCRIBE", 0xA0),
        ("PINGREQ", 0xC1),
        ("DISCONNECT", 0xE2),
    ] {
        table.push((what, vec![first], Reason::FixedHeaderFlags, "MQTT-2.1.3-1"));
    }
    check(&table, v311);
    check(&table, v5);
}

#[test]
fn auth_is_refused_in_either_version() {
    assert_eq!(violation(&mut v311(), &[0xF0, 0]), Violation::general(Reason::PacketType));
    assert_eq!(violation(&mut v5(), &[0xF0, 0]), Violation::new(Reason::Authentication, "MQTT-4.12.0-6"));
}

#[test]
fn malformed_packets_of_3_1_1_name_the_rule_they_break() {
    let table = [
        ("PUBACK 0", packet(0x40, b"\0\0"), Reason::PacketIdZero, "MQTT-2.2.1-3"),
        ("PUBACK without id", packet(0x40, b""), Reason::Truncated, Violation::GENERAL),
        ("PUBACK with a code", packet(0x40, b"\0\x01\0"), Reason::TrailingBytes, Violation::GENERAL),
        ("PINGREQ with a body", packet(0xC0, b"x"), Reason::TrailingBytes, Violation::GENERAL),
        ("DISCONNECT with a code", packet(0xE0, b"\0"), Reason::TrailingBytes, Violation::GENERAL),
        ("SUBSCRIBE 0", packet(0x82, b"\0\0\0\x01a\0"), Reason::PacketIdZero, "MQTT-2.2.1-3"),
        ("SUBSCRIBE to nothing", packet(0x82, b"\0\x01"), Reason::NoTopicFilter, "MQTT-3.8.3-2"),
        ("SUBSCRIBE without qos", packet(0x82, b"\0\x01\0\x01a"), Reason::Truncated, Violation::GENERAL),
        (
            "SUBSCRIBE at qos 3",
            packet(0x82, b"\0\x01\0\x01a\x03"),
            Reason::SubscriptionOptions,
            Violation::GENERAL,
        ),
        (
            "options of MQTT 5",
            packet(0x82, b"\0\x01\0\x01a\x04"),
            Reason::SubscriptionOptions,
            "MQTT-3.8.3-5",
        ),
        ("filter with U+0000", packet(0x82, b"\0\x01\0\x01\0\0"), Reason::Utf8, "MQTT-1.5.4-2"),
        ("UNSUBSCRIBE from nothing", packet(0xA2, b"\0\x01"), Reason::NoTopicFilter, "MQTT-3.10.3-2"),
        ("UNSUBSCRIBE cut short", packet(0xA2, b"\0\x01\0\x02a"), Reason::Truncated, Violation::GENERAL),
    ];
    check(&table, v311);
}

#[test]
fn malformed_packets_of_mqtt_5_name_the_rule_they_break() {
    let subscribe = |filter_and_options: &[u8]| packet(0x82, &[b"\0\x01\0", filter_and_options].concat());
    let table = [
        ("code of another packet", packet(0x40, b"\0\x01\x04"), Reason::ReasonCode, "MQTT-3.4.2-1"),
        ("code nobody has", packet(0x50, b"\0\x01\x77"), Reason::ReasonCode, "MQTT-3.5.2-1"),
        ("code of PUBREL", packet(0x62, b"\0\x01\x10"), Reason::ReasonCode, "MQTT-3.6.2-1"),
        ("code of PUBCOMP", packet(0x70, b"\0\x01\x10"), Reason::ReasonCode, "MQTT-3.7.2-1"),
        ("code of DISCONNECT", packet(0xE0, b"\x01"), Reason::ReasonCode, "MQTT-3.14.2-1"),
        (
            "property of CONNACK",
            packet(0x40, b"\0\x01\0\x02\x24\x01"),
            Reason::PropertyMisplaced,
            Violation::GENERAL,
        ),
        (
            "reason string twice",
            packet(0xE0, b"\0\x06\x1F\0\0\x1F\0\0"),
            Reason::PropertyDuplicate,
            Violation::GENERAL,
        ),
        ("session revived", packet(0xE0, b"\0\x05\x11\0\0\0\x01"), Reason::SessionExpiry, Violation::GENERAL),
        ("reserved options", subscribe(b"\0\x01a\x40"), Reason::SubscriptionOptions, "MQTT-3.8.3-5"),
        ("retain handling 3", subscribe(b"\0\x01a\x30"), Reason::SubscriptionOptions, Violation::GENERAL),
        ("no local, shared", subscribe(b"\0\x0A$share/a/b\x04"), Reason::NoLocalShared, "MQTT-3.8.3-4"),
        (
            "two subscription ids",
            packet(0x82, b"\0\x01\x04\x0B\x01\x0B\x01\0\x01a\0"),
            Reason::PropertyDuplicate,
            Violation::GENERAL,
        ),
        (
            "subscription id of five bytes",
            packet(0x82, b"\0\x01\x06\x0B\xFF\xFF\xFF\xFF\x01\0\x01a\0"),
            Reason::VariableLength,
            Violation::GENERAL,
        ),
    ];
    check(&table, v5);
}

#[test]
fn a_session_that_outlives_its_connection_may_be_given_another_end() {
    let mut protocol = open_with(&connect_with(b"\x11\0\0\0\x01"), Limits::default());
    let bytes = packet(0xE0, b"\0\x05\x11\0\0\0\x09");
    let Ok(Some((Event::Disconnect(disconnect), _))) = protocol.step(&bytes) else { panic!("refused") };
    assert_eq!(disconnect.properties.session_expiry_secs(), Some(9));
}

#[test]
fn disconnect_brings_its_reason_and_nothing_is_read_after_it() {
    let mut protocol = v5();
    let bytes = packet(0xE0, b"\x04");
    let Ok(Some((Event::Disconnect(disconnect), 3))) = protocol.step(&bytes) else { panic!("refused") };
    assert_eq!(disconnect.reason, ReasonCode::DISCONNECT_WITH_WILL);
    assert_eq!(
        violation(&mut protocol, &[0xC0, 0]),
        Violation::new(Reason::AfterDisconnect, "MQTT-3.14.4-1")
    );
}

#[test]
fn answers_to_what_was_never_sent_change_nothing() {
    for (mut protocol, bytes) in [
        (v311(), packet(0x40, b"\0\x07")),
        (v311(), packet(0x50, b"\0\x07")),
        (v311(), packet(0x70, b"\0\x07")),
        (v5(), packet(0x40, b"\0\x07\x10")),
        (v5(), packet(0x50, b"\0\x07\x80\x03\x1F\0\0")),
        (v5(), packet(0x70, b"\0\x07\x92")),
    ] {
        assert!(
            matches!(protocol.step(&bytes), Ok(Some((Event::Ignored, len))) if len == bytes.len()),
            "{bytes:x?}"
        );
    }
}

#[test]
fn a_pubrel_of_an_earlier_time_is_answered() {
    for (mut protocol, answer) in [(v311(), vec![0x70, 2, 0, 7]), (v5(), vec![0x70, 3, 0, 7, 0x92])] {
        let Ok(Some((Event::PubRel(id), 4))) = protocol.step(&[0x62, 2, 0, 7]) else { panic!("refused") };
        let mut out = Vec::new();
        protocol.pubcomp(id, &mut out);
        assert_eq!(out, answer);
    }
}
