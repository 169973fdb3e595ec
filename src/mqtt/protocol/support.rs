//! Connections and raw packets for the tables of rules.

use super::{Accept, Event, Limits, Protocol};
use crate::violation::{Violation, ViolationReason};
use crate::{AckSlot, Version};

/// Puts a fixed header before a body.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(body.len()).expect("test packets are short");
    assert!(len < 128, "test packets have a length of one byte");
    [&[first, len], body].concat()
}

/// Puts the length before a string or binary field.
pub(super) fn field(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("test fields are short");
    [&len.to_be_bytes(), bytes].concat()
}

/// A CONNECT of client `c` that nobody objects to.
pub(super) fn good_connect(version: Version) -> Vec<u8> {
    match version {
        Version::V311 => packet(0x10, b"\0\x04MQTT\x04\x02\0\x3C\0\x01c"),
        Version::V5 => packet(0x10, b"\0\x04MQTT\x05\x02\0\x3C\0\0\x01c"),
    }
}

/// A MQTT 5 CONNECT of client `c` with these properties.
pub(super) fn connect_with(properties: &[u8]) -> Vec<u8> {
    let len = u8::try_from(properties.len()).expect("short");
    packet(0x10, &[b"\0\x04MQTT\x05\x02\0\x3C", &[len][..], properties, b"\0\x01c"].concat())
}

/// A connection that was let in.
pub(super) fn open(version: Version, limits: Limits) -> Protocol {
    open_with(&good_connect(version), limits)
}

/// A connection that was let in after this CONNECT.
pub(super) fn open_with(connect: &[u8], limits: Limits) -> Protocol {
    let mut protocol = Protocol::new(limits);
    assert!(matches!(protocol.step(connect), Ok(Some((Event::Connect(_), len))) if len == connect.len()));
    protocol.accept(&Accept::default(), &mut Vec::new()).expect("the client set no maximum");
    protocol
}

/// The violation that the bytes are.
pub(super) fn violation(protocol: &mut Protocol, bytes: &[u8]) -> Violation {
    match protocol.step(bytes) {
        Err(violation) => violation,
        Ok(found) => panic!("{bytes:02x?} were taken for {found:?}"),
    }
}

/// What a violation answers, if anything.
pub(super) fn reply_to(protocol: &mut Protocol, bytes: &[u8]) -> Vec<u8> {
    let violation = violation(protocol, bytes);
    let mut reply = Vec::new();
    protocol.violation_reply(&violation, &mut reply);
    reply
}

/// The topic and ack slot of a PUBLISH that must be welcome.
pub(super) fn published(protocol: &mut Protocol, bytes: &[u8]) -> (String, Option<AckSlot>) {
    match protocol.step(bytes) {
        Ok(Some((Event::Publish { publish, ack }, len))) => {
            assert_eq!(len, bytes.len());
            (publish.topic.to_owned(), ack)
        }
        other => panic!("{bytes:02x?} gave {other:?}"),
    }
}

/// One row of a table: what is wrong, the bytes, and what they break.
pub(super) type Row = (&'static str, Vec<u8>, ViolationReason, &'static str);

/// Checks a table against fresh connections.
pub(super) fn check(table: &[Row], fresh: impl Fn() -> Protocol) {
    for (what, bytes, reason, statement) in table {
        let seen = violation(&mut fresh(), bytes);
        assert_eq!(seen, Violation::new(*reason, statement), "{what}: {bytes:02x?}");
    }
}
