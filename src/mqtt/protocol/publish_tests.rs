//! Rules of PUBLISH: names, aliases, windows, and acknowledgements in order.

use std::num::NonZeroU16;

use super::support::{check, field, open, packet, published, violation};
use super::{Event, Limits, Protocol, RetainPolicy};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{ReasonCode, Version};

fn v311() -> Protocol {
    open(Version::V311, Limits::default())
}

fn v5() -> Protocol {
    open(Version::V5, Limits::default())
}

/// A MQTT 5 PUBLISH at QoS 0.
fn with_properties(topic: &str, properties: &[u8]) -> Vec<u8> {
    let len = u8::try_from(properties.len()).unwrap();
    packet(0x30, &[&field(topic.as_bytes())[..], &[len], properties, b"payload"].concat())
}

/// A QoS 1 PUBLISH to `t`.
fn qos1(id: u8, version: Version) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    packet(0x32, &[b"\0\x01t\0", &[id][..], properties].concat())
}

#[test]
fn a_malformed_publish_names_the_rule_it_breaks() {
    let table = [
        ("qos 3", vec![0x36], Reason::QosReserved, "MQTT-3.3.1-4"),
        ("dup at qos 0", vec![0x38], Reason::DupAtQos0, "MQTT-3.3.1-2"),
        ("multi-level wildcard", packet(0x30, b"\0\x03a/#"), Reason::TopicName, "MQTT-3.3.2-2"),
        ("single-level wildcard", packet(0x30, b"\0\x03+/a"), Reason::TopicName, "MQTT-3.3.2-2"),
        ("empty topic", packet(0x30, b"\0\0"), Reason::TopicName, "MQTT-4.7.3-1"),
        ("U+0000 in the topic", packet(0x30, b"\0\x02a\0"), Reason::Utf8, "MQTT-1.5.4-2"),
        ("surrogate in the topic", packet(0x30, b"\0\x03\xED\xBF\xBF"), Reason::Utf8, "MQTT-1.5.4-1"),
        ("overlong form in the topic", packet(0x30, b"\0\x02\xC0\xAF"), Reason::Utf8, "MQTT-1.5.4-1"),
        ("packet id 0", packet(0x32, b"\0\x01t\0\0"), Reason::PacketIdZero, "MQTT-2.2.1-3"),
        ("no packet id", packet(0x32, b"\0\x01t\0"), Reason::Truncated, Violation::GENERAL),
        ("topic longer than packet", packet(0x30, b"\0\x09t"), Reason::Truncated, Violation::GENERAL),
        ("qos 2", packet(0x34, b"\0\x01t\0\x01"), Reason::QosNotSupported, "MQTT-3.2.2-11"),
        (
            "length of five bytes",
            vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            Reason::VariableLength,
            Violation::GENERAL,
        ),
    ];
    check(&table, v311);
}

#[test]
fn properties_of_publish_are_checked() {
    let table = [
        ("neither topic nor alias", with_properties("", b""), Reason::TopicMissing, Violation::GENERAL),
        ("alias 0", with_properties("t", b"\x23\0\0"), Reason::TopicAlias, "MQTT-3.3.2-8"),
        ("alias 17 of 16", with_properties("t", b"\x23\0\x11"), Reason::TopicAlias, "MQTT-3.2.2-17"),
        (
            "alias without a name",
            with_properties("", b"\x23\0\x01"),
            Reason::TopicAliasUnknown,
            Violation::GENERAL,
        ),
        ("unknown", with_properties("t", b"\x04\0"), Reason::PropertyUnknown, Violation::GENERAL),
        ("of CONNECT", with_properties("t", b"\x21\0\x01"), Reason::PropertyMisplaced, Violation::GENERAL),
        (
            "expiry twice",
            with_properties("t", b"\x02\0\0\0\x01\x02\0\0\0\x01"),
            Reason::PropertyDuplicate,
            Violation::GENERAL,
        ),
        ("format 2", with_properties("t", b"\x01\x02"), Reason::PropertyValue, Violation::GENERAL),
        ("response to a wildcard", with_properties("t", b"\x08\0\x01#"), Reason::TopicName, "MQTT-3.3.2-14"),
        ("subscription id", with_properties("t", b"\x0B\x01"), Reason::PropertyMisplaced, "MQTT-3.3.4-6"),
        ("subscription id 0", with_properties("t", b"\x0B\0"), Reason::PropertyValue, Violation::GENERAL),
        ("qos 2", packet(0x34, b"\0\x01t\0\x01\0"), Reason::QosNotSupported, "MQTT-3.2.2-11"),
        (
            "length padded to two bytes",
            vec![0x30, 0x84, 0, 0, 1, b't', 0],
            Reason::VariableLength,
            "MQTT-1.5.5-1",
        ),
        (
            "properties longer than packet",
            packet(0x30, b"\0\x01t\x09"),
            Reason::Truncated,
            Violation::GENERAL,
        ),
    ];
    check(&table, v5);
}

#[test]
fn a_v311_client_may_pad_the_length_as_some_modems_do() {
    assert_eq!(published(&mut v311(), &[0x30, 0x83, 0, 0, 1, b't']).0, "t");
}

#[test]
fn a_packet_above_the_limit_is_refused_by_its_header_alone() {
    let limits = Limits { max_packet_bytes: 300, ..Limits::default() };
    assert!(matches!(open(Version::V5, limits).step(&[0x30, 0xA9, 0x02]), Ok(None)));
    let seen = violation(&mut open(Version::V5, limits), &[0x30, 0xAA, 0x02]);
    assert_eq!(seen, Violation::new(Reason::PacketTooLarge, "MQTT-3.2.2-15"));
}

#[test]
fn a_topic_longer_than_the_settings_allow_is_refused() {
    let fresh = || open(Version::V311, Limits { max_topic_bytes: 4, ..Limits::default() });
    assert_eq!(published(&mut fresh(), &packet(0x30, b"\0\x04abcd")).0, "abcd");
    let table = [("5 of 4 bytes", packet(0x30, b"\0\x05abcde"), Reason::TopicTooLong, Violation::GENERAL)];
    check(&table, fresh);
}

#[test]
fn retain_is_taken_or_refused_as_the_settings_say() {
    let retained = packet(0x31, b"\0\x01t");
    assert_eq!(published(&mut v311(), &retained).0, "t");
    let table = [("retain", retained, Reason::RetainNotSupported, "MQTT-3.2.2-14")];
    check(&table, || open(Version::V311, Limits { retain: RetainPolicy::Refuse, ..Limits::default() }));
}

#[test]
fn an_alias_stands_for_the_name_it_was_last_given() {
    let mut protocol = v5();
    for (topic, alias, meant) in
        [("a", 1, "a"), ("", 1, "a"), ("b", 16, "b"), ("c", 1, "c"), ("", 1, "c"), ("", 16, "b")]
    {
        assert_eq!(published(&mut protocol, &with_properties(topic, &[0x23, 0, alias])).0, meant);
    }
}

#[test]
fn aliases_that_were_never_announced_are_refused() {
    let table = [("alias 1 of 0", with_properties("t", b"\x23\0\x01"), Reason::TopicAlias, "MQTT-3.2.2-18")];
    check(&table, || open(Version::V5, Limits { topic_alias_maximum: 0, ..Limits::default() }));
}

#[test]
fn an_mqtt_5_client_that_exceeds_the_receive_maximum_is_cut_off() {
    let limits = Limits { receive_maximum: NonZeroU16::new(2).unwrap(), ..Limits::default() };
    let mut protocol = open(Version::V5, limits);
    let first = published(&mut protocol, &qos1(1, Version::V5)).1.unwrap();
    published(&mut protocol, &qos1(2, Version::V5));
    // A PUBACK makes room for one more, whatever its code [MQTT-4.4.0-2].
    assert!(protocol.complete(first, ReasonCode::QUOTA_EXCEEDED));
    let mut out = Vec::new();
    assert_eq!(protocol.drain_acks(&mut out), 1);
    assert_eq!(out, [0x40, 3, 0, 1, 0x97]);
    published(&mut protocol, &qos1(3, Version::V5));
    let seen = violation(&mut protocol, &qos1(4, Version::V5));
    assert_eq!(seen, Violation::new(Reason::ReceiveMaximum, "MQTT-3.3.4-7"));
}

#[test]
fn a_v311_client_beyond_the_window_waits_and_goes_on() {
    let limits = Limits { v311_window: NonZeroU16::new(1).unwrap(), ..Limits::default() };
    let mut protocol = open(Version::V311, limits);
    let ack = published(&mut protocol, &qos1(1, Version::V311)).1.unwrap();
    let next = qos1(2, Version::V311);
    for _ in 0..2 {
        assert!(matches!(protocol.step(&next), Ok(Some((Event::WindowFull, 0)))));
    }
    // What needs no room is served meanwhile.
    assert!(matches!(protocol.step(&[0xC0, 0]), Ok(Some((Event::PingReq, 2)))));
    assert_eq!(published(&mut protocol, &packet(0x30, b"\0\x01q")).0, "q");
    protocol.complete(ack, ReasonCode::SUCCESS);
    protocol.drain_acks(&mut Vec::new());
    published(&mut protocol, &next);
}

#[test]
fn acknowledgements_leave_in_the_order_of_their_messages() {
    let mut protocol = v311();
    let slots: Vec<_> =
        (1..=3).map(|id| published(&mut protocol, &qos1(id, Version::V311)).1.unwrap()).collect();
    let mut out = Vec::new();
    protocol.complete(slots[2], ReasonCode::SUCCESS);
    protocol.complete(slots[1], ReasonCode::SUCCESS);
    assert_eq!((protocol.drain_acks(&mut out), protocol.unacknowledged()), (0, 3));
    protocol.complete(slots[0], ReasonCode::SUCCESS);
    assert_eq!((protocol.drain_acks(&mut out), protocol.unacknowledged()), (3, 0));
    assert_eq!(out, [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3]);
}

#[test]
fn qos_0_has_nothing_to_acknowledge() {
    assert_eq!(published(&mut v311(), &packet(0x30, b"\0\x01tpayload")), ("t".to_owned(), None));
}
