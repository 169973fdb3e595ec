//! Holds one client's connection to the rules of the standard.
//!
//! Bytes go into [`Protocol::step`], events come out; answers are appended to the caller's buffer. Knows what only the
//! history of a connection shows: its version, the first packet, topic aliases, unacknowledged messages. Deliberately
//! knows no time (the limit for an unfinished CONNECT and the keep-alive are the gateway's) and no session.

mod aliases;
mod limits;
mod replies;

#[cfg(test)]
mod connect_tests;
#[cfg(test)]
mod packet_tests;
#[cfg(test)]
mod publish_tests;
#[cfg(test)]
mod reply_tests;
#[cfg(test)]
mod support;

pub use limits::{Limits, RetainPolicy};
pub use replies::Accept;

use std::num::{NonZeroU16, NonZeroU32};

use crate::codec::{
    Connect, Disconnect, Frame, Greeting, Header, Packet, PacketType, Properties, Property, Publish,
    Subscribe, Unsubscribe, decode_whole, encode_puback, frame, greeting,
};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{AckRing, AckSlot, QoS, ReasonCode, Version};
use aliases::Aliases;

/// What a client wants. Only a PUBLISH borrows from the [`Protocol`] (`'p`, its topic may stand in the alias table);
/// all else borrows from the bytes (`'b`), so that the answer can be made while the event is in hand.
#[derive(Debug)]
pub enum Event<'p, 'b> {
    /// The connection asks to be let in: answer with [`Protocol::accept`] or [`Protocol::refuse`].
    Connect(Connect<'b>),
    /// A message; its topic is never empty.
    Publish {
        /// The message.
        publish: Publish<'p>,
        /// Set at QoS 1: what to give to [`Protocol::complete`] once the message is safe.
        ack: Option<AckSlot>,
    },
    /// The next packet is a QoS 1 PUBLISH of a 3.1.1 client, and as many as allowed await their PUBACK. It takes 0
    /// bytes: step again when [`Protocol::drain_acks`] made room. (MQTT 5 has a Receive Maximum instead.)
    WindowFull,
    /// The client lets go of a QoS 2 message of an earlier time: answer with [`Protocol::pubcomp`], or it asks forever.
    PubRel(NonZeroU16),
    /// Answer with [`Protocol::suback`].
    Subscribe(Subscribe<'b>),
    /// Answer with [`Protocol::unsuback`].
    Unsubscribe(Unsubscribe<'b>),
    /// Answer at once with [`crate::codec::PINGRESP`] [MQTT-3.12.4-1].
    PingReq,
    /// The end; whatever follows is not read. `0x00` drops the Will Message [MQTT-3.14.4-3].
    Disconnect(Disconnect<'b>),
    /// A packet that is allowed and changes nothing: an answer to a message that the gateway never sends.
    Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but CONNECT may come [MQTT-3.1.0-1].
    AwaitConnect,
    /// A CONNECT that cannot be accepted came; what can be said to it.
    Rejected(Greeting),
    /// CONNECT is with the caller. Nothing else is read before its answer [MQTT-3.1.4-6].
    Answering,
    Open,
    /// DISCONNECT came or went, or CONNECT was refused.
    Closed,
}

/// The protocol state of one connection. Small while idle: ring and alias table are made when first needed.
#[derive(Debug)]
pub struct Protocol {
    limits: Limits,
    state: State,
    version: Version,
    clean_start: bool,
    /// The session ends with the connection, and DISCONNECT may not change that.
    session_ends: bool,
    /// Largest packet that the client takes.
    client_max_packet_bytes: Option<NonZeroU32>,
    acks: Option<Box<AckRing>>,
    aliases: Option<Box<Aliases>>,
}

impl Protocol {
    /// Returns the state of a connection that was just accepted.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::AwaitConnect,
            version: Version::V311,
            clean_start: true,
            session_ends: true,
            client_max_packet_bytes: None,
            acks: None,
            aliases: None,
        }
    }

    /// Returns the version of the connection; 3.1.1 until a CONNECT said otherwise.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the next event of `buf` and how many of its bytes it took; `None` while the packet is incomplete, and
    /// between [`Event::Connect`] and its answer, even if bytes are there.
    ///
    /// # Errors
    /// The [`Violation`] for which the connection must be closed, after [`Protocol::violation_reply`].
    pub fn step<'p, 'b: 'p>(
        &'p mut self,
        buf: &'b [u8],
    ) -> Result<Option<(Event<'p, 'b>, usize)>, Violation> {
        let Some(&first) = buf.first() else { return Ok(None) };
        match self.state {
            State::AwaitConnect => return self.first_packet(first, buf),
            State::Answering => return Ok(None),
            State::Open => {}
            State::Rejected(_) | State::Closed => {
                return Err(Violation::new(Reason::AfterDisconnect, "MQTT-3.14.4-1"));
            }
        }
        self.check_first_byte(first)?;
        let header = match frame(buf, self.limits.max_packet_bytes)? {
            Frame::Partial => return Ok(None),
            Frame::Whole(header) => header,
        };
        if self.must_wait(first) {
            return Ok(Some((Event::WindowFull, 0)));
        }
        Ok(Some((self.handle(header, buf)?, header.packet_len())))
    }

    fn first_packet<'b>(
        &mut self,
        first: u8,
        buf: &'b [u8],
    ) -> Result<Option<(Event<'b, 'b>, usize)>, Violation> {
        if PacketType::from_first_byte(first) != Some(PacketType::Connect) {
            return Err(Violation::new(Reason::FirstPacketNotConnect, "MQTT-3.1.0-1"));
        }
        let limit = self.limits.max_packet_bytes.min(self.limits.max_connect_bytes);
        let connect = frame(buf, limit).and_then(|frame| match frame {
            Frame::Partial => Ok(None),
            Frame::Whole(header) => match decode_whole(header, header.body_of(buf), Version::V311)? {
                Packet::Connect(connect) => {
                    self.check_connect(&connect).map(|()| Some((connect, header.packet_len())))
                }
                _ => Err(Violation::new(Reason::FirstPacketNotConnect, "MQTT-3.1.0-1")),
            },
        });
        match connect {
            Ok(None) => Ok(None),
            Ok(Some((connect, len))) => {
                self.state = State::Answering;
                self.version = connect.version;
                self.clean_start = connect.clean_start;
                self.session_ends = connect.properties.session_expiry_secs().is_none_or(|secs| secs == 0);
                self.client_max_packet_bytes = connect.properties.maximum_packet_bytes();
                Ok(Some((Event::Connect(connect), len)))
            }
            Err(violation) => {
                self.state = State::Rejected(greeting(buf));
                Err(violation)
            }
        }
    }

    fn check_connect(&self, connect: &Connect<'_>) -> Result<(), Violation> {
        if connect.version == Version::V311 {
            return if connect.client_id.is_empty() && !connect.clean_start {
                // Its own rule; MQTT 5 allows it.
                Err(Violation::new(Reason::ClientId, "MQTT-3.1.3-8"))
            } else {
                self.check_will_topic(connect)
            };
        }
        if connect.properties.authentication_method().is_some() {
            return Err(Violation::new(Reason::AuthenticationMethod, "MQTT-4.12.0-1"));
        }
        // 3.1.1 cannot announce limits to a Will Message; there it is published as far as the gateway can.
        if let Some(will) = &connect.will {
            if will.qos == QoS::ExactlyOnce {
                return Err(Violation::new(Reason::QosNotSupported, "MQTT-3.2.2-12"));
            }
            if will.retain && self.limits.retain == RetainPolicy::Refuse {
                return Err(Violation::new(Reason::RetainNotSupported, "MQTT-3.2.2-13"));
            }
        }
        self.check_will_topic(connect)
    }

    fn check_will_topic(&self, connect: &Connect<'_>) -> Result<(), Violation> {
        connect.will.map_or(Ok(()), |will| self.limits.check_topic_len(will.topic))
    }

    /// Judges what a client may send at all by its first byte, before a body is waited for.
    fn check_first_byte(&self, first: u8) -> Result<(), Violation> {
        match PacketType::from_first_byte(first) {
            Some(PacketType::Connect) => Err(Violation::new(Reason::SecondConnect, "MQTT-3.1.0-2")),
            Some(PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp) => {
                Err(Violation::general(Reason::ServerPacket))
            }
            // A method in CONNECT was refused, so there is none [MQTT-4.12.0-6].
            Some(PacketType::Auth) if self.version == Version::V5 => {
                Err(Violation::new(Reason::Authentication, "MQTT-4.12.0-6"))
            }
            _ => Ok(()),
        }
    }

    /// 3.1.1 has no Receive Maximum: a client that sends more than the window waits instead of being cut off.
    fn must_wait(&self, first: u8) -> bool {
        self.version == Version::V311
            && PacketType::from_first_byte(first) == Some(PacketType::Publish)
            && (first >> 1) & 0b11 == QoS::AtLeastOnce as u8
            && self.acks.as_ref().is_some_and(|acks| acks.is_full())
    }

    fn handle<'p, 'b: 'p>(&'p mut self, header: Header, buf: &'b [u8]) -> Result<Event<'p, 'b>, Violation> {
        Ok(match decode_whole(header, header.body_of(buf), self.version)? {
            Packet::Publish(publish) => self.publish(publish)?,
            Packet::PingReq => Event::PingReq,
            Packet::PubRel(ack) => Event::PubRel(ack.packet_id),
            Packet::Subscribe(subscribe) => Event::Subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => Event::Unsubscribe(unsubscribe),
            Packet::Disconnect(disconnect) => {
                self.check_session_expiry(&disconnect.properties)?;
                self.state = State::Closed;
                Event::Disconnect(disconnect)
            }
            Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubComp(_) => Event::Ignored,
            Packet::Connect(_) => return Err(Violation::new(Reason::SecondConnect, "MQTT-3.1.0-2")),
            Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Auth(_) => {
                return Err(Violation::general(Reason::ServerPacket));
            }
        })
    }

    fn publish<'p, 'b: 'p>(&'p mut self, publish: Publish<'b>) -> Result<Event<'p, 'b>, Violation> {
        // CONNACK said Maximum QoS 1; a 3.1.1 client cannot be told and is closed.
        if publish.qos == QoS::ExactlyOnce {
            return Err(Violation::new(Reason::QosNotSupported, "MQTT-3.2.2-11"));
        }
        if publish.retain && self.limits.retain == RetainPolicy::Refuse {
            return Err(Violation::new(Reason::RetainNotSupported, "MQTT-3.2.2-14"));
        }
        if publish.properties.iter().any(|p| matches!(p, Property::SubscriptionIdentifier(_))) {
            return Err(Violation::new(Reason::PropertyMisplaced, "MQTT-3.3.4-6"));
        }
        self.limits.check_topic_len(publish.topic)?;
        let ack = publish.packet_id.map(|id| self.expect_ack(id)).transpose()?;
        let topic = match publish.properties.topic_alias() {
            None => publish.topic,
            Some(alias) => self.resolve(alias, publish.topic)?,
        };
        Ok(Event::Publish { publish: Publish { topic, ..publish }, ack })
    }

    fn expect_ack(&mut self, packet_id: NonZeroU16) -> Result<AckSlot, Violation> {
        let bound = match self.version {
            Version::V311 => self.limits.v311_window,
            Version::V5 => self.limits.receive_maximum,
        };
        let acks = self.acks.get_or_insert_with(|| Box::new(AckRing::new(bound)));
        acks.push(packet_id).map_err(|_| Violation::new(Reason::ReceiveMaximum, "MQTT-3.3.4-7"))
    }

    fn resolve<'p, 'b: 'p>(&'p mut self, alias: NonZeroU16, topic: &'b str) -> Result<&'p str, Violation> {
        if alias.get() > self.limits.topic_alias_maximum {
            let statement =
                if self.limits.topic_alias_maximum == 0 { "MQTT-3.2.2-18" } else { "MQTT-3.2.2-17" };
            return Err(Violation::new(Reason::TopicAlias, statement));
        }
        let aliases = self.aliases.get_or_insert_default();
        if topic.is_empty() {
            return aliases.get(alias).ok_or(Violation::general(Reason::TopicAliasUnknown));
        }
        aliases.set(alias, topic);
        Ok(topic)
    }

    /// Section 3.14.2.2.2: a session that ends with its connection cannot be revived by DISCONNECT.
    fn check_session_expiry(&self, properties: &Properties<'_>) -> Result<(), Violation> {
        if self.session_ends && properties.session_expiry_secs().is_some_and(|secs| secs > 0) {
            return Err(Violation::general(Reason::SessionExpiry));
        }
        Ok(())
    }

    /// Records that a message is safe, or refused for good (a code from 0x80 on acknowledges it just as well
    /// [MQTT-4.4.0-2]; 3.1.1 has no codes). Returns false for a slot that is not waiting.
    pub fn complete(&mut self, ack: AckSlot, reason: ReasonCode) -> bool {
        self.acks.as_mut().is_some_and(|acks| acks.complete(ack, reason))
    }

    /// Appends the PUBACKs that no older PUBLISH holds back, and returns how many.
    pub fn drain_acks(&mut self, out: &mut Vec<u8>) -> usize {
        let version = self.version;
        let mut count = 0;
        if let Some(acks) = &mut self.acks {
            acks.drain_ready(|packet_id, reason| {
                encode_puback(packet_id, reason, version, out);
                count += 1;
            });
        }
        count
    }

    /// Returns how many PUBLISH packets await their PUBACK.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.acks.as_ref().map_or(0, |acks| acks.len())
    }
}
