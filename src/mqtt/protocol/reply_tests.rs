//! What the server says, byte by byte.

use super::support::{connect_with, good_connect, open, open_with, packet, reply_to};
use super::{Accept, Event, Limits, Protocol, RetainPolicy};
use crate::codec::{EncodeError, Packet, Property, decode};
use crate::{ReasonCode, SubscribePolicy, Version};

const NOTHING: &[u8] = &[];

fn asked(connect: &[u8], limits: Limits) -> Protocol {
    let mut protocol = Protocol::new(limits);
    assert!(matches!(protocol.step(connect), Ok(Some((Event::Connect(_), _)))));
    protocol
}

#[test]
fn a_bad_connect_is_answered_as_its_version_understands() {
    let table: [(&str, Vec<u8>, &[u8]); 11] = [
        ("first packet not CONNECT", vec![0xC0, 0], NOTHING),
        ("another protocol", packet(0x10, b"\0\x04MQTX\x04\x02\0\x3C\0\x01c"), NOTHING),
        // 3.1.1 [MQTT-3.1.2-2]: return code 1.
        ("level 3", packet(0x10, b"\0\x04MQTT\x03\x02\0\x3C\0\x01c"), &[0x20, 2, 0, 1]),
        ("MQTT 3.1", packet(0x10, b"\0\x06MQIsdp\x03\x02\0\x3C\0\x01c"), &[0x20, 2, 0, 1]),
        ("level 6", packet(0x10, b"\0\x04MQTT\x06\x02\0\x3C\0\0\x01c"), &[0x20, 3, 0, 0x84, 0]),
        // 3.1.1 [MQTT-3.1.3-8]: return code 2.
        ("empty id, clean session 0", packet(0x10, b"\0\x04MQTT\x04\0\0\x3C\0\0"), &[0x20, 2, 0, 2]),
        ("malformed 3.1.1", packet(0x10, b"\0\x04MQTT\x04\x02\0\x3C\0\x01c!"), NOTHING),
        ("malformed 5", packet(0x10, b"\0\x04MQTT\x05\x02\0\x3C\0\0\x01c!"), &[0x20, 3, 0, 0x81, 0]),
        ("property twice", connect_with(b"\x21\0\x01\x21\0\x01"), &[0x20, 3, 0, 0x82, 0]),
        ("authentication method", connect_with(b"\x15\0\x01x"), &[0x20, 3, 0, 0x8C, 0]),
        (
            "will topic",
            packet(0x10, b"\0\x04MQTT\x05\x06\0\x3C\0\0\x01c\0\0\x01#\0\0"),
            &[0x20, 3, 0, 0x90, 0],
        ),
    ];
    for (what, bytes, reply) in table {
        assert_eq!(reply_to(&mut Protocol::new(Limits::default()), &bytes), reply, "{what}");
    }
}

#[test]
fn an_oversized_connect_is_answered_once_its_version_shows() {
    let bytes = b"\x10\xFF\x7F\0\x04MQTT\x05";
    let fresh = || Protocol::new(Limits { max_connect_bytes: 100, ..Limits::default() });
    assert_eq!(reply_to(&mut fresh(), bytes), [0x20, 3, 0, 0x95, 0]);
    assert_eq!(reply_to(&mut fresh(), &bytes[..5]), NOTHING);
}

#[test]
fn a_violation_later_is_a_disconnect_in_mqtt_5_and_silence_in_3_1_1() {
    let table: [(&str, Vec<u8>, u8); 9] = [
        ("second CONNECT", good_connect(Version::V5), 0x82),
        ("wildcard", packet(0x30, b"\0\x01#\0"), 0x90),
        ("qos 2", packet(0x34, b"\0\x01t\0\x01\0"), 0x9B),
        ("packet id 0", packet(0x32, b"\0\x01t\0\0\0"), 0x82),
        ("topic alias 0", packet(0x30, b"\0\x01t\x03\x23\0\0"), 0x94),
        ("unknown alias", packet(0x30, b"\0\0\x03\x23\0\x01"), 0x82),
        ("too large", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F], 0x95),
        ("not UTF-8", packet(0x30, b"\0\x01\xFF\0"), 0x81),
        ("AUTH", vec![0xF0, 0], 0x82),
    ];
    for (what, bytes, code) in table {
        assert_eq!(reply_to(&mut open(Version::V5, Limits::default()), &bytes), [0xE0, 1, code], "{what}");
    }
    for bytes in [good_connect(Version::V311), packet(0x30, b"\0\x01#"), packet(0x34, b"\0\x01t\0\x01")] {
        assert_eq!(reply_to(&mut open(Version::V311, Limits::default()), &bytes), NOTHING);
    }
}

#[test]
fn a_retain_or_receive_maximum_violation_has_its_own_code() {
    let limits = Limits {
        retain: RetainPolicy::Refuse,
        receive_maximum: std::num::NonZeroU16::MIN,
        ..Limits::default()
    };
    assert_eq!(reply_to(&mut open(Version::V5, limits), &packet(0x31, b"\0\x01t\0")), [0xE0, 1, 0x9A]);
    let mut protocol = open(Version::V5, limits);
    assert!(matches!(protocol.step(&packet(0x32, b"\0\x01t\0\x01\0")), Ok(Some(_))));
    assert_eq!(reply_to(&mut protocol, &packet(0x32, b"\0\x01t\0\x02\0")), [0xE0, 1, 0x93]);
}

#[test]
fn connack_of_3_1_1_says_whether_the_session_is_there() {
    let unclean = packet(0x10, b"\0\x04MQTT\x04\0\0\x3C\0\x01c");
    for (connect, present, connack) in [
        (&unclean, true, [0x20, 2, 1, 0]),
        (&unclean, false, [0x20, 2, 0, 0]),
        // [MQTT-3.2.2-2]: after a clean start there is none, whatever the caller says.
        (&good_connect(Version::V311), true, [0x20, 2, 0, 0]),
    ] {
        let mut out = Vec::new();
        let accept = Accept { session_present: present, ..Accept::default() };
        asked(connect, Limits::default()).accept(&accept, &mut out).unwrap();
        assert_eq!(out, connack);
    }
}

#[test]
fn connack_of_mqtt_5_announces_every_limit() {
    let limits = Limits { retain: RetainPolicy::Refuse, ..Limits::default() };
    let accept = Accept {
        session_expiry_secs: Some(86_400),
        assigned_client_id: Some("tg-1"),
        server_keep_alive_secs: Some(30),
        ..Accept::default()
    };
    let mut out = Vec::new();
    asked(&connect_with(b""), limits).accept(&accept, &mut out).unwrap();
    let Ok(Some((Packet::ConnAck(connack), _))) = decode(&out, Version::V5, 1000) else {
        panic!("{out:02x?}")
    };
    assert_eq!((connack.session_present, connack.reason), (false, ReasonCode::SUCCESS));
    let announced: Vec<_> = connack.properties.iter().collect();
    assert_eq!(
        announced,
        [
            Property::ReceiveMaximum(limits.receive_maximum),
            Property::MaximumQos(true),
            Property::MaximumPacketSize(std::num::NonZeroU32::new(262_144).unwrap()),
            Property::TopicAliasMaximum(16),
            Property::RetainAvailable(false),
            Property::WildcardSubscriptionAvailable(false),
            Property::SubscriptionIdentifierAvailable(false),
            Property::SharedSubscriptionAvailable(false),
            Property::SessionExpiryInterval(86_400),
            Property::AssignedClientIdentifier("tg-1"),
            Property::ServerKeepAlive(30),
        ]
    );
}

#[test]
fn connack_does_not_announce_what_the_standard_assumes_anyway() {
    let limits =
        Limits { subscribe: SubscribePolicy::AcceptSilently, topic_alias_maximum: 0, ..Limits::default() };
    let mut out = Vec::new();
    asked(&connect_with(b""), limits).accept(&Accept::default(), &mut out).unwrap();
    assert_eq!(out, [0x20, 13, 0, 0, 10, 0x21, 0, 16, 0x24, 1, 0x27, 0, 4, 0, 0]);
}

#[test]
fn a_refusal_tells_mqtt_5_when_to_come_back_and_3_1_1_what_it_can() {
    let advice = [Property::ReasonString("later"), Property::UserProperty("retry-after-ms", "1200")];
    let mut out = Vec::new();
    asked(&connect_with(b""), Limits::default()).refuse(ReasonCode::SERVER_BUSY, &advice, &mut out).unwrap();
    let Ok(Some((Packet::ConnAck(connack), _))) = decode(&out, Version::V5, 1000) else {
        panic!("{out:02x?}")
    };
    assert_eq!(
        (connack.reason, connack.properties.reason_string()),
        (ReasonCode::SERVER_BUSY, Some("later"))
    );
    assert_eq!(connack.properties.user_properties().collect::<Vec<_>>(), [("retry-after-ms", "1200")]);
    for (reason, connack) in [
        (ReasonCode::SERVER_BUSY, &[0x20, 2, 0, 3][..]),
        (ReasonCode::CONNECTION_RATE_EXCEEDED, &[0x20, 2, 0, 3]),
        (ReasonCode::BAD_USER_NAME_OR_PASSWORD, &[0x20, 2, 0, 4]),
        (ReasonCode::NOT_AUTHORIZED, &[0x20, 2, 0, 5]),
        (ReasonCode::UNSPECIFIED_ERROR, NOTHING),
    ] {
        let mut out = Vec::new();
        let mut protocol = asked(&good_connect(Version::V311), Limits::default());
        protocol.refuse(reason, &advice, &mut out).unwrap();
        assert_eq!(out, connack, "{reason}");
    }
}

#[test]
fn a_client_that_takes_small_packets_is_told_less_or_nothing() {
    let advice = [Property::ReasonString("later")];
    let mut out = Vec::new();
    // Maximum Packet Size 5 holds a bare CONNACK [MQTT-3.2.2-19].
    let mut protocol = asked(&connect_with(b"\x27\0\0\0\x05"), Limits::default());
    protocol.refuse(ReasonCode::SERVER_BUSY, &advice, &mut out).unwrap();
    assert_eq!(out, [0x20, 3, 0, 0x89, 0]);
    // The announcements of a CONNACK cannot be left out [MQTT-3.1.2-24].
    let mut protocol = asked(&connect_with(b"\x27\0\0\0\x05"), Limits::default());
    out.clear();
    assert_eq!(protocol.accept(&Accept::default(), &mut out), Err(EncodeError::OverClientMaximum));
    assert_eq!(out, NOTHING);
}

#[test]
fn disconnect_is_said_by_the_server_in_mqtt_5_only_and_once() {
    let mut out = Vec::new();
    let mut protocol = open(Version::V5, Limits::default());
    protocol.disconnect(ReasonCode::SERVER_SHUTTING_DOWN, &[], &mut out).unwrap();
    protocol.disconnect(ReasonCode::SERVER_SHUTTING_DOWN, &[], &mut out).unwrap();
    assert_eq!(out, [0xE0, 1, 0x8B]);
    out.clear();
    open(Version::V311, Limits::default())
        .disconnect(ReasonCode::SERVER_SHUTTING_DOWN, &[], &mut out)
        .unwrap();
    // [MQTT-3.14.0-1]: not before CONNACK.
    asked(&connect_with(b""), Limits::default())
        .disconnect(ReasonCode::SERVER_SHUTTING_DOWN, &[], &mut out)
        .unwrap();
    assert_eq!(out, NOTHING);
}

#[test]
fn subscriptions_are_answered_filter_by_filter() {
    // a/b at QoS 2, an invalid filter, an empty one, a shared one at QoS 0.
    let filters = b"\0\x03a/b\x02\0\x03a#b\x01\0\0\x01\0\x0A$share/g/t\0";
    let v5 = packet(0x82, &[b"\0\x07\0", &filters[..]].concat());
    let v311 = packet(0x82, &[b"\0\x07", &filters[..]].concat());
    let (refuse, accept) = (SubscribePolicy::Refuse, SubscribePolicy::AcceptSilently);
    for (policy, version, bytes, suback) in [
        (refuse, Version::V5, &v5, &[0x90, 7, 0, 7, 0, 0x87, 0x8F, 0x8F, 0x87][..]),
        (refuse, Version::V311, &v311, &[0x90, 6, 0, 7, 0x80, 0x80, 0x80, 0x80]),
        (accept, Version::V5, &v5, &[0x90, 7, 0, 7, 0, 1, 0x8F, 0x8F, 0]),
        (accept, Version::V311, &v311, &[0x90, 6, 0, 7, 1, 0x80, 0x80, 0]),
    ] {
        let mut out = Vec::new();
        let mut protocol = open(version, Limits { subscribe: policy, ..Limits::default() });
        match protocol.step(bytes) {
            Ok(Some((Event::Subscribe(subscribe), _))) => protocol.suback(&subscribe, &mut out).unwrap(),
            other => panic!("{other:?}"),
        }
        assert_eq!(out, suback, "{policy:?} {version:?}");
    }
}

#[test]
fn unsubscribe_is_answered_with_codes_in_mqtt_5_and_without_in_3_1_1() {
    let (refuse, accept) = (SubscribePolicy::Refuse, SubscribePolicy::AcceptSilently);
    for (policy, version, bytes, unsuback) in [
        (refuse, Version::V5, &b"\0\x07\0\0\x01a\0\x01b"[..], &[0xB0, 5, 0, 7, 0, 0x11, 0x11][..]),
        (accept, Version::V5, b"\0\x07\0\0\x01a\0\x01b", &[0xB0, 5, 0, 7, 0, 0, 0]),
        (refuse, Version::V311, b"\0\x07\0\x01a\0\x01b", &[0xB0, 2, 0, 7]),
    ] {
        let mut out = Vec::new();
        let mut protocol = open(version, Limits { subscribe: policy, ..Limits::default() });
        match protocol.step(&packet(0xA2, bytes)) {
            Ok(Some((Event::Unsubscribe(unsubscribe), _))) => {
                protocol.unsuback(&unsubscribe, &mut out).unwrap();
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(out, unsuback);
    }
}

#[test]
fn a_suback_above_the_clients_maximum_is_not_sent() {
    // 60 bytes hold a CONNACK, but not a SUBACK of 70 codes.
    let mut protocol = open_with(&connect_with(b"\x27\0\0\0\x3C"), Limits::default());
    let body = [&b"\0\x07\0"[..], &b"\0\x01a\0".repeat(70)].concat();
    let bytes = [&[0x82, 0x9B, 0x02], &body[..]].concat();
    let mut out = Vec::new();
    match protocol.step(&bytes) {
        Ok(Some((Event::Subscribe(subscribe), _))) => {
            assert_eq!(protocol.suback(&subscribe, &mut out), Err(EncodeError::OverClientMaximum));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(out, NOTHING);
}
