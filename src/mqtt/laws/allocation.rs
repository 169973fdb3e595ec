//! Whatever bytes come, in whatever pieces: no panic, and no memory beyond what the limits say.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tidegate_mqtt::codec::{Connect, Packet, Properties, Property, Publish, decode, encode, encode_puback};
use tidegate_mqtt::{Accept, AckSlot, Event, Limits, Protocol, QoS, ReasonCode, Version, Violation};

use super::counting::{HeapUse, measure};
use super::generators::{connect, from_client, version};

const MAX_PACKET_BYTES: u32 = 256;

fn limits() -> Limits {
    Limits {
        max_packet_bytes: MAX_PACKET_BYTES,
        max_topic_bytes: 80,
        receive_maximum: NonZeroU16::new(4).expect("not 0"),
        v311_window: NonZeroU16::new(4).expect("not 0"),
        topic_alias_maximum: 4,
        ..Limits::default()
    }
}

/// What [`limits`] let one connection keep: 4 waiting acknowledgements of 4 bytes and 4 topic names of 80 bytes, with
/// their tables (16 bytes an alias; a ring and a table head of 40 bytes each).
const KEPT_AT_MOST: isize = 4 * 4 + 4 * (80 + 16) + 2 * 40;

/// Anything between noise and a proper conversation: packets that are welcome, packets that are merely well-formed or
/// have a changed byte, random bytes.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    version().prop_flat_map(|version| {
        let encoded = move |packet: Packet<'static>| {
            let mut bytes = Vec::new();
            encode(&packet, version, &mut bytes).expect("generated packets are well-formed");
            bytes
        };
        let any_packet = from_client(version).prop_map(encoded).boxed();
        let welcome =
            from_client(version).prop_filter_map("a second CONNECT, the end", made_welcome).prop_map(encoded);
        let changed = (any_packet.clone(), any::<Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        });
        let noise = vec(any::<u8>(), 1..32);
        let pieces = vec(prop_oneof![40 => welcome, 1 => any_packet, 1 => changed, 1 => noise], 0..24);
        let greeting =
            prop_oneof![4 => connect(version).prop_map(let_in), 1 => connect(version)].prop_map(encoded);
        prop_oneof![
            9 => (greeting, pieces).prop_map(|(first, rest)| [vec![first], rest].concat().concat()),
            1 => vec(any::<u8>(), 0..600),
        ]
    })
}

/// Takes away what a CONNECT is refused for.
fn let_in(packet: Packet<'static>) -> Packet<'static> {
    match packet {
        Packet::Connect(connect) => Packet::Connect(Connect {
            clean_start: true,
            will: None,
            properties: Properties::EMPTY,
            ..connect
        }),
        other => other,
    }
}

/// Takes away what ends a connection, and `None` if nothing is left.
fn made_welcome(packet: Packet<'static>) -> Option<Packet<'static>> {
    const ALIASES: [Property<'static>; 4] = [
        Property::TopicAlias(NonZeroU16::MIN),
        Property::TopicAlias(NonZeroU16::MIN.saturating_add(1)),
        Property::TopicAlias(NonZeroU16::MIN.saturating_add(2)),
        Property::TopicAlias(NonZeroU16::MIN.saturating_add(3)),
    ];
    match packet {
        Packet::Connect(_) | Packet::Disconnect(_) => None,
        Packet::Publish(publish) => {
            let alias = publish.properties.topic_alias().map(|alias| usize::from(alias.get()) % 4);
            let properties = Properties::new(alias.map_or(&[], |n| std::slice::from_ref(&ALIASES[n])));
            Some(Packet::Publish(Publish { qos: publish.qos.min(QoS::AtLeastOnce), properties, ..publish }))
        }
        other => Some(other),
    }
}

/// What became of a connection.
#[derive(Debug, Default, PartialEq)]
struct Course {
    events: Vec<String>,
    violation: Option<Violation>,
}

/// One connection and the gateway's side of it: keeps the tail of a partial packet, answers, and acknowledges the
/// oldest message once `hold` of them wait.
struct Connection {
    protocol: Protocol,
    tail: Vec<u8>,
    waiting: VecDeque<AckSlot>,
    hold: usize,
    kept: isize,
    course: Course,
}

impl Connection {
    fn new(hold: usize) -> Self {
        let (protocol, course) = (Protocol::new(limits()), Course::default());
        Self { protocol, tail: Vec::new(), waiting: VecDeque::new(), hold, kept: 0, course }
    }

    /// Takes one piece of the stream; returns false once the connection is over.
    fn read(&mut self, piece: &[u8]) -> bool {
        self.tail.extend_from_slice(piece);
        loop {
            let (outcome, heap) = measure(|| self.protocol.step(&self.tail));
            assert!(heap.largest <= MAX_PACKET_BYTES as usize, "{heap:?}");
            self.kept += heap.kept;
            assert!(self.kept <= KEPT_AT_MOST, "{} bytes kept", self.kept);
            let (event, len) = match outcome {
                Ok(Some(found)) => found,
                Ok(None) => return true,
                Err(violation) => {
                    self.judge(violation);
                    return false;
                }
            };
            assert!(len <= MAX_PACKET_BYTES as usize);
            self.course.events.push(format!("{event:?}"));
            let (mut release, mut accept) = (false, false);
            match event {
                Event::WindowFull => release = true,
                Event::Publish { publish, ack } => {
                    assert!(!publish.topic.is_empty());
                    self.waiting.extend(ack);
                }
                Event::Connect(_) => accept = true,
                _ => {}
            }
            self.tail.drain(..len);
            if accept && self.protocol.accept(&Accept::default(), &mut Vec::new()).is_err() {
                return false;
            }
            if release || self.waiting.len() >= self.hold {
                let oldest = self.waiting.pop_front().expect("a full window has an oldest");
                assert!(self.protocol.complete(oldest, ReasonCode::SUCCESS));
                assert_eq!(self.protocol.drain_acks(&mut Vec::new()), 1);
            }
        }
    }

    fn judge(&mut self, violation: Violation) {
        let mut reply = Vec::new();
        self.protocol.violation_reply(&violation, &mut reply);
        if !reply.is_empty() {
            let readable = [Version::V311, Version::V5].map(|version| decode(&reply, version, 16));
            assert!(
                readable.iter().any(|r| matches!(r, Ok(Some((_, len))) if *len == reply.len())),
                "{reply:?}"
            );
        }
        self.course.violation = Some(violation);
    }
}

fn run(stream: &[u8], hold: usize, mut piece_lens: impl Iterator<Item = usize>) -> Course {
    let mut connection = Connection::new(hold);
    let mut unread = stream;
    while !unread.is_empty() {
        let len = piece_lens.next().map_or(unread.len(), |len| len.clamp(1, unread.len()));
        let (piece, rest) = unread.split_at(len);
        unread = rest;
        if !connection.read(piece) {
            break;
        }
    }
    connection.course
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_any_pieces_take_the_same_bounded_course(
        stream in stream(), hold in 1..6_usize, piece_lens in vec(1..40_usize, 0..200)
    ) {
        let whole = run(&stream, hold, std::iter::empty());
        prop_assert_eq!(&run(&stream, hold, piece_lens.into_iter()), &whole);
        prop_assert_eq!(&run(&stream, hold, std::iter::repeat(1)), &whole);
    }

    #[test]
    fn decoding_any_bytes_allocates_nothing(bytes in vec(any::<u8>(), 0..300), version in version()) {
        let (_, heap) = measure(|| decode(&bytes, version, MAX_PACKET_BYTES).map(|found| found.map(|(_, len)| len)));
        prop_assert_eq!(heap, HeapUse::default());
    }
}

#[test]
fn a_header_that_announces_much_reserves_nothing() {
    let mut protocol =
        Protocol::new(Limits { max_packet_bytes: u32::MAX, max_connect_bytes: u32::MAX, ..limits() });
    // A CONNECT of 268 435 455 bytes, of which the first few came.
    let begun = [0x10, 0xFF, 0xFF, 0xFF, 0x7F, 0, 4, b'M', b'Q'];
    let (outcome, heap) = measure(|| protocol.step(&begun).is_ok_and(|found| found.is_none()));
    assert!(outcome);
    assert_eq!(heap, HeapUse::default());
}

#[test]
fn a_puback_fits_into_a_buffer_that_has_room_for_four_bytes() {
    let mut out = Vec::with_capacity(4);
    let id = NonZeroU16::new(7).expect("not 0");
    let ((), heap) = measure(|| encode_puback(id, ReasonCode::SUCCESS, Version::V5, &mut out));
    assert_eq!((out.as_slice(), heap), (&[0x40, 2, 0, 7][..], HeapUse::default()));
}
