//! Rules of CONNECT, and of what comes before it.

use super::support::{check, connect_with, good_connect, open, packet, violation};
use super::{Accept, Event, Limits, Protocol, RetainPolicy};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{QoS, Version};

fn fresh() -> Protocol {
    Protocol::new(Limits::default())
}

/// A CONNECT with this level and these flags; `rest` follows the keep-alive.
fn connect(level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    packet(0x10, &[b"\0\x04MQTT", &[level, flags, 0, 60][..], rest].concat())
}

#[test]
fn the_first_packet_is_connect() {
    let table = [
        ("PUBLISH", vec![0x30], Reason::FirstPacketNotConnect, "MQTT-3.1.0-1"),
        ("PINGREQ", vec![0xC0, 0], Reason::FirstPacketNotConnect, "MQTT-3.1.0-1"),
        ("reserved type 0", vec![0x00], Reason::FirstPacketNotConnect, "MQTT-3.1.0-1"),
        ("AUTH", vec![0xF0, 0], Reason::FirstPacketNotConnect, "MQTT-3.1.0-1"),
        ("an HTTP request", b"GET / HTTP/1.1".to_vec(), Reason::FirstPacketNotConnect, "MQTT-3.1.0-1"),
        ("a TLS hello", vec![0x16, 3, 1], Reason::FixedHeaderFlags, "MQTT-2.1.3-1"),
    ];
    check(&table, fresh);
}

#[test]
fn a_second_connect_is_refused_by_its_first_byte() {
    for version in [Version::V311, Version::V5] {
        let seen = violation(&mut open(version, Limits::default()), &[0x10]);
        assert_eq!(seen, Violation::new(Reason::SecondConnect, "MQTT-3.1.0-2"));
    }
}

#[test]
fn a_malformed_connect_names_the_rule_it_breaks() {
    let name = |name: &[u8]| packet(0x10, &[&[0, 4][..], name, b"\x04\x02\0\x3C\0\x01c"].concat());
    let table = [
        ("another protocol", name(b"MQTX"), Reason::ProtocolName, "MQTT-3.1.2-1"),
        ("lower case", name(b"mqtt"), Reason::ProtocolName, "MQTT-3.1.2-1"),
        (
            "MQTT 3.1",
            packet(0x10, b"\0\x06MQIsdp\x03\x02\0\x3C\0\x01c"),
            Reason::ProtocolName,
            "MQTT-3.1.2-1",
        ),
        ("level 3", connect(3, 2, b"\0\x01c"), Reason::ProtocolLevel, "MQTT-3.1.2-2"),
        ("level 6", connect(6, 2, b"\0\0\x01c"), Reason::ProtocolLevel, "MQTT-3.1.2-2"),
        ("bridge bit of level", connect(0x84, 2, b"\0\x01c"), Reason::ProtocolLevel, "MQTT-3.1.2-2"),
        ("reserved flag", connect(4, 3, b"\0\x01c"), Reason::ConnectFlags, "MQTT-3.1.2-3"),
        ("will qos without will", connect(4, 0x0A, b"\0\x01c"), Reason::ConnectFlags, "MQTT-3.1.2-11"),
        ("will qos 3", connect(4, 0x1E, b"\0\x01c\0\x01t\0\0"), Reason::ConnectFlags, "MQTT-3.1.2-12"),
        ("will retain without will", connect(4, 0x22, b"\0\x01c"), Reason::ConnectFlags, "MQTT-3.1.2-13"),
        ("password without user", connect(4, 0x42, b"\0\x01c\0\x01p"), Reason::ConnectFlags, "MQTT-3.1.2-22"),
        ("empty id, clean session 0", connect(4, 0, b"\0\0"), Reason::ClientId, "MQTT-3.1.3-8"),
        ("id with U+0000", connect(4, 2, b"\0\x01\0"), Reason::Utf8, "MQTT-1.5.4-2"),
        ("id with a surrogate", connect(4, 2, b"\0\x03\xED\xA0\x80"), Reason::Utf8, "MQTT-1.5.4-1"),
        ("user name not UTF-8", connect(4, 0x82, b"\0\x01c\0\x01\xFF"), Reason::Utf8, "MQTT-1.5.4-1"),
        ("will topic with wildcard", connect(4, 6, b"\0\x01c\0\x01#\0\0"), Reason::TopicName, "MQTT-4.7.0-1"),
        ("will topic empty", connect(4, 6, b"\0\x01c\0\0\0\0"), Reason::TopicName, "MQTT-4.7.3-1"),
        ("no client id", connect(4, 2, b""), Reason::Truncated, Violation::GENERAL),
        ("promised user name", connect(4, 0x82, b"\0\x01c"), Reason::Truncated, Violation::GENERAL),
        ("promised will", connect(4, 6, b"\0\x01c"), Reason::Truncated, Violation::GENERAL),
        ("id longer than packet", connect(4, 2, b"\0\x09c"), Reason::Truncated, Violation::GENERAL),
        ("more than was promised", connect(4, 2, b"\0\x01c\0"), Reason::TrailingBytes, Violation::GENERAL),
        ("header flags", packet(0x12, b""), Reason::FixedHeaderFlags, "MQTT-2.1.3-1"),
        (
            "length of five bytes",
            vec![0x10, 0x80, 0x80, 0x80, 0x80],
            Reason::VariableLength,
            Violation::GENERAL,
        ),
    ];
    check(&table, fresh);
}

#[test]
fn properties_of_connect_are_checked() {
    let table = [
        ("unknown", connect_with(b"\x7F\0"), Reason::PropertyUnknown, Violation::GENERAL),
        ("of PUBLISH", connect_with(b"\x23\0\x01"), Reason::PropertyMisplaced, Violation::GENERAL),
        ("twice", connect_with(b"\x21\0\x01\x21\0\x01"), Reason::PropertyDuplicate, Violation::GENERAL),
        ("receive maximum 0", connect_with(b"\x21\0\0"), Reason::PropertyValue, Violation::GENERAL),
        ("maximum packet size 0", connect_with(b"\x27\0\0\0\0"), Reason::PropertyValue, Violation::GENERAL),
        ("problem information 2", connect_with(b"\x17\x02"), Reason::PropertyValue, Violation::GENERAL),
        ("cut in its value", connect_with(b"\x21\0"), Reason::Truncated, Violation::GENERAL),
        ("data without method", connect_with(b"\x16\0\x01x"), Reason::Authentication, Violation::GENERAL),
        ("a method", connect_with(b"\x15\0\x01x"), Reason::AuthenticationMethod, "MQTT-4.12.0-1"),
        (
            "length in more bytes than needed",
            connect(5, 2, b"\x80\0\0\x01c"),
            Reason::VariableLength,
            "MQTT-1.5.5-1",
        ),
    ];
    check(&table, fresh);
}

#[test]
fn mqtt_5_allows_what_3_1_1_does_not() {
    for (what, bytes) in [
        ("empty id without clean start", connect(5, 0, b"\0\0\0")),
        ("password without user name", connect(5, 0x42, b"\0\0\x01c\0\x01p")),
        ("user properties twice", connect_with(b"\x26\0\x01a\0\x01b\x26\0\x01a\0\x01b")),
    ] {
        assert!(matches!(fresh().step(&bytes), Ok(Some((Event::Connect(_), _)))), "{what}");
    }
}

#[test]
fn a_will_that_cannot_be_kept_is_refused_where_the_version_can_say_so() {
    let refuses_retain = || Protocol::new(Limits { retain: RetainPolicy::Refuse, ..Limits::default() });
    let will = |level, flags, properties: &[u8]| {
        connect(level, flags, &[properties, b"\0\x01c", properties, b"\0\x01t\0\x01p"].concat())
    };
    let table = [
        ("qos 2", will(5, 0x16, b"\0"), Reason::QosNotSupported, "MQTT-3.2.2-12"),
        ("retain", will(5, 0x26, b"\0"), Reason::RetainNotSupported, "MQTT-3.2.2-13"),
    ];
    check(&table, refuses_retain);
    for flags in [0x16, 0x26] {
        assert!(matches!(refuses_retain().step(&will(4, flags, b"")), Ok(Some((Event::Connect(_), _)))));
    }
}

#[test]
fn a_connect_has_a_limit_of_its_own_that_its_header_shows() {
    let limits = Limits { max_connect_bytes: 100, ..Limits::default() };
    assert!(matches!(Protocol::new(limits).step(&[0x10, 98]), Ok(None)));
    let seen = violation(&mut Protocol::new(limits), &[0x10, 99]);
    assert_eq!(seen, Violation::new(Reason::PacketTooLarge, "MQTT-3.2.2-15"));
    let never_above_packets = Limits { max_packet_bytes: 50, max_connect_bytes: 100, ..Limits::default() };
    assert_eq!(
        violation(&mut Protocol::new(never_above_packets), &[0x10, 49]).reason,
        Reason::PacketTooLarge
    );
}

#[test]
fn all_fields_of_a_connect_arrive() {
    let bytes = connect(4, 0xEE, b"\0\x01c\0\x01t\0\x02pl\0\x01u\0\x02pw");
    let mut protocol = fresh();
    let Ok(Some((Event::Connect(connect), len))) = protocol.step(&bytes) else { panic!("refused") };
    let will = connect.will.unwrap();
    assert_eq!((len, connect.version, connect.keep_alive_secs), (bytes.len(), Version::V311, 60));
    assert_eq!((connect.client_id, connect.user_name, connect.password), ("c", Some("u"), Some(&b"pw"[..])));
    assert_eq!((will.topic, will.payload, will.qos, will.retain), ("t", &b"pl"[..], QoS::AtLeastOnce, true));
}

#[test]
fn nothing_is_read_between_connect_and_its_answer() {
    let mut protocol = fresh();
    let bytes = [good_connect(Version::V311), vec![0xC0, 0]].concat();
    let Ok(Some((Event::Connect(_), len))) = protocol.step(&bytes) else { panic!("refused") };
    assert!(matches!(protocol.step(&bytes[len..]), Ok(None)));
    protocol.accept(&Accept::default(), &mut Vec::new()).unwrap();
    assert!(matches!(protocol.step(&bytes[len..]), Ok(Some((Event::PingReq, 2)))));
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Protocol>() <= 64, "{} bytes", size_of::<Protocol>());
}
