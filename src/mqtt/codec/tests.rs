//! What the laws in `laws/` cannot generate: malformed answers of servers, and packets that cannot be written.

use std::num::{NonZeroU16, NonZeroU32};

use super::{
    Ack, Auth, ConnAck, Connect, Disconnect, EncodeError, List, Packet, Properties, Property, Publish,
    RetainHandling, SubAck, Subscribe, Subscription, UnsubAck, decode, encode,
};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{QoS, ReasonCode, Version};

#[test]
fn a_client_sees_what_is_wrong_with_a_servers_answer() {
    let (v311, v5) = (Version::V311, Version::V5);
    for (what, version, bytes, reason, statement) in [
        ("CONNACK flags", v311, &[0x20, 2, 2, 0][..], Reason::FixedHeaderFlags, "MQTT-3.2.2-1"),
        (
            "CONNACK that refuses a session it has",
            v5,
            &[0x20, 3, 1, 0x89, 0],
            Reason::ReasonCode,
            "MQTT-3.2.2-6",
        ),
        ("CONNACK code of 3.1.1", v311, &[0x20, 2, 0, 6], Reason::ReasonCode, "MQTT-3.2.2-8"),
        ("CONNACK code of DISCONNECT", v5, &[0x20, 3, 0, 0x8B, 0], Reason::ReasonCode, "MQTT-3.2.2-8"),
        ("CONNACK without properties", v5, &[0x20, 2, 0, 0], Reason::Truncated, Violation::GENERAL),
        ("SUBACK code of 3.1.1", v311, &[0x90, 3, 0, 1, 0x87], Reason::ReasonCode, "MQTT-3.9.3-2"),
        ("SUBACK code", v5, &[0x90, 4, 0, 1, 0, 0x03], Reason::ReasonCode, "MQTT-3.9.3-2"),
        ("UNSUBACK code", v5, &[0xB0, 4, 0, 1, 0, 0x01], Reason::ReasonCode, "MQTT-3.11.3-2"),
        ("UNSUBACK with a code", v311, &[0xB0, 3, 0, 1, 0], Reason::TrailingBytes, Violation::GENERAL),
        ("AUTH code", v5, &[0xF0, 1, 0x87], Reason::ReasonCode, "MQTT-3.15.2-1"),
        ("PINGRESP with a body", v5, &[0xD0, 1, 0], Reason::TrailingBytes, Violation::GENERAL),
    ] {
        assert_eq!(decode(bytes, version, 1000), Err(Violation::new(reason, statement)), "{what}");
    }
}

#[test]
fn what_cannot_be_said_is_not_written() {
    let id = NonZeroU16::MIN;
    let long = "x".repeat(65_536);
    let ack = Ack { packet_id: id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "t",
        packet_id: None,
        properties: Properties::EMPTY,
        payload: b"",
    };
    let connect = Connect {
        version: Version::V311,
        clean_start: true,
        keep_alive_secs: 0,
        client_id: "c",
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    };
    let big_id = [Property::SubscriptionIdentifier(NonZeroU32::MAX)];
    let options = [Subscription {
        filter: "f",
        qos: QoS::AtMostOnce,
        no_local: true,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    }];
    let subscribe =
        Subscribe { packet_id: id, properties: Properties::EMPTY, subscriptions: List::new(&options) };
    let (v311, v5) = (Version::V311, Version::V5);
    for (packet, version, error) in [
        (Packet::Auth(Auth::default()), v311, EncodeError::NotInVersion),
        (Packet::Connect(connect), v5, EncodeError::NotInVersion),
        (Packet::Connect(Connect { password: Some(b"p"), ..connect }), v311, EncodeError::NotInVersion),
        (Packet::Connect(Connect { client_id: &long, ..connect }), v311, EncodeError::TooLong),
        (
            Packet::ConnAck(ConnAck { reason: ReasonCode::MALFORMED_PACKET, ..ConnAck::default() }),
            v311,
            EncodeError::NotInVersion,
        ),
        (
            Packet::ConnAck(ConnAck { reason: ReasonCode::SERVER_SHUTTING_DOWN, ..ConnAck::default() }),
            v5,
            EncodeError::Misplaced,
        ),
        (Packet::Publish(Publish { topic: &long, ..publish }), v5, EncodeError::TooLong),
        (Packet::Publish(Publish { packet_id: Some(id), ..publish }), v5, EncodeError::PacketId),
        (Packet::Publish(Publish { qos: QoS::AtLeastOnce, ..publish }), v5, EncodeError::PacketId),
        (
            Packet::Publish(Publish { properties: Properties::new(&big_id), ..publish }),
            v5,
            EncodeError::TooLong,
        ),
        (Packet::PubAck(Ack { reason: ReasonCode::QUOTA_EXCEEDED, ..ack }), v311, EncodeError::NotInVersion),
        (Packet::PubAck(Ack { reason: ReasonCode::SERVER_BUSY, ..ack }), v5, EncodeError::Misplaced),
        (Packet::Subscribe(subscribe), v311, EncodeError::NotInVersion),
        (
            Packet::SubAck(SubAck { packet_id: id, properties: Properties::EMPTY, codes: &[0x87] }),
            v311,
            EncodeError::Misplaced,
        ),
        (
            Packet::UnsubAck(UnsubAck { packet_id: id, properties: Properties::EMPTY, codes: &[0] }),
            v311,
            EncodeError::NotInVersion,
        ),
        (
            Packet::Disconnect(Disconnect { reason: ReasonCode::SERVER_BUSY, ..Disconnect::default() }),
            v311,
            EncodeError::NotInVersion,
        ),
    ] {
        let mut out = vec![7];
        assert_eq!(encode(&packet, version, &mut out), Err(error), "{:?} in {version:?}", packet.kind());
        assert_eq!(out, [7], "an error leaves the output as it was");
    }
}

#[test]
fn a_length_takes_as_few_bytes_as_it_can() {
    // Table 1-1: the largest value of each number of bytes, and the one after it.
    for (len, header) in [
        (127, &[0x30, 0x7F][..]),
        (128, &[0x30, 0x80, 0x01]),
        (16_383, &[0x30, 0xFF, 0x7F]),
        (16_384, &[0x30, 0x80, 0x80, 0x01]),
        (2_097_151, &[0x30, 0xFF, 0xFF, 0x7F]),
        (2_097_152, &[0x30, 0x80, 0x80, 0x80, 0x01]),
    ] {
        let payload = vec![0; len - 3];
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "t",
            packet_id: None,
            properties: Properties::EMPTY,
            payload: &payload,
        };
        let mut out = Vec::new();
        encode(&Packet::Publish(publish), Version::V311, &mut out).unwrap();
        assert!(out.starts_with(header), "{len}");
        let decoded = decode(&out, Version::V311, u32::MAX).unwrap();
        assert_eq!(decoded, Some((Packet::Publish(publish), header.len() + len)));
    }
}
