//! What the server says of its own accord: CONNACK, SUBACK, DISCONNECT.

use std::num::{NonZeroU16, NonZeroU32};

use super::{Protocol, RetainPolicy, State};
use crate::codec::{
    ConnAck, Disconnect, EncodeError, Greeting, Packet, PacketType, Properties, Property, Subscribe,
    Unsubscribe, encode, encode_pubcomp,
};
use crate::violation::Violation;
use crate::{ReasonCode, SubscribePolicy, Version};

/// What is decided for a client that is let in. What its listener allows anyway comes from [`super::Limits`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Accept<'a> {
    /// True if the session of an earlier connection is still there. Never said after a clean start [MQTT-3.2.2-2].
    pub session_present: bool,
    /// Seconds that the session outlives the connection, if not what the client asked for.
    pub session_expiry_secs: Option<u32>,
    /// The client identifier, if the server chose it [MQTT-3.2.2-16].
    pub assigned_client_id: Option<&'a str>,
    /// Seconds of keep-alive, if not what the client asked for [MQTT-3.2.2-21].
    pub server_keep_alive_secs: Option<u16>,
}

impl Protocol {
    /// Appends the CONNACK that lets the client in; from then on [`Protocol::step`] reads on.
    ///
    /// # Errors
    /// [`EncodeError::OverClientMaximum`] if the client takes no packet that large (about 40 bytes): close.
    pub fn accept(&mut self, accept: &Accept<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let session_present = accept.session_present && !self.clean_start;
        let offered = match self.version {
            Version::V311 => Vec::new(),
            Version::V5 => self.offer(accept),
        };
        let properties = Properties::new(&offered);
        self.send(&Packet::ConnAck(ConnAck { session_present, properties, ..ConnAck::default() }), out)?;
        self.state = State::Open;
        Ok(())
    }

    /// Lists all in which the server differs from what the standard lets a client assume.
    fn offer<'a>(&self, accept: &Accept<'a>) -> Vec<Property<'a>> {
        let limits = &self.limits;
        // More than there can be, so that the list is allocated once.
        let mut list = Vec::with_capacity(12);
        list.push(Property::ReceiveMaximum(limits.receive_maximum));
        list.push(Property::MaximumQos(true));
        list.extend(NonZeroU32::new(limits.max_packet_bytes).map(Property::MaximumPacketSize));
        if limits.topic_alias_maximum > 0 {
            list.push(Property::TopicAliasMaximum(limits.topic_alias_maximum));
        }
        if limits.retain == RetainPolicy::Refuse {
            list.push(Property::RetainAvailable(false));
        }
        if limits.subscribe == SubscribePolicy::Refuse {
            list.push(Property::WildcardSubscriptionAvailable(false));
            list.push(Property::SubscriptionIdentifierAvailable(false));
            list.push(Property::SharedSubscriptionAvailable(false));
        }
        list.extend(accept.session_expiry_secs.map(Property::SessionExpiryInterval));
        list.extend(accept.assigned_client_id.map(Property::AssignedClientIdentifier));
        list.extend(accept.server_keep_alive_secs.map(Property::ServerKeepAlive));
        list
    }

    /// Appends the CONNACK that turns the client away; then close. `advice` may hold a Reason String, user properties
    /// and a Server Reference, and is left out where 3.1.1 has no room for it. A `reason` that 3.1.1 cannot say adds
    /// nothing there: closing is the answer.
    ///
    /// # Errors
    /// [`EncodeError`] if `reason` or `advice` do not belong into a CONNACK, or it is too large for the client: close.
    pub fn refuse(
        &mut self,
        reason: ReasonCode,
        advice: &[Property<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.state = State::Closed;
        match self.version {
            Version::V311 if reason.to_v311().is_none() => Ok(()),
            Version::V311 => self.send(&Packet::ConnAck(ConnAck { reason, ..ConnAck::default() }), out),
            Version::V5 => self.send_with(advice, out, |properties| {
                Packet::ConnAck(ConnAck { session_present: false, reason, properties })
            }),
        }
    }

    /// Appends the DISCONNECT with which the server ends the connection; then close. Adds nothing in 3.1.1, where only
    /// clients send it, and nothing before CONNACK [MQTT-3.14.0-1].
    ///
    /// # Errors
    /// [`EncodeError`] if `reason` or `advice` do not belong into a DISCONNECT, or it is too large for the client.
    pub fn disconnect(
        &mut self,
        reason: ReasonCode,
        advice: &[Property<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let open = std::mem::replace(&mut self.state, State::Closed) == State::Open;
        if !open || self.version == Version::V311 {
            return Ok(());
        }
        self.send_with(advice, out, |properties| Packet::Disconnect(Disconnect { reason, properties }))
    }

    /// Appends the SUBACK that the listener's policy asks for.
    ///
    /// # Errors
    /// [`EncodeError::OverClientMaximum`] if the client takes no packet that large: close.
    pub fn suback(&self, subscribe: &Subscribe<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.within_client_maximum(out, |out| {
            self.limits.subscribe.encode_suback(self.version, subscribe, out);
            Ok(())
        })
    }

    /// Appends the UNSUBACK that the listener's policy asks for.
    ///
    /// # Errors
    /// [`EncodeError::OverClientMaximum`] if the client takes no packet that large: close.
    pub fn unsuback(&self, unsubscribe: &Unsubscribe<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.within_client_maximum(out, |out| {
            self.limits.subscribe.encode_unsuback(self.version, unsubscribe, out);
            Ok(())
        })
    }

    /// Appends the PUBCOMP for a PUBREL: the message of an earlier time is not known here.
    pub fn pubcomp(&self, packet_id: NonZeroU16, out: &mut Vec<u8>) {
        encode_pubcomp(packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND, self.version, out);
    }

    /// Appends what the standard has the server say before it closes for `violation`: a CONNACK if the CONNECT was at
    /// fault, a DISCONNECT later, or nothing where the version has no words for it.
    pub fn violation_reply(&self, violation: &Violation, out: &mut Vec<u8>) {
        let code = violation.reason.code();
        let connack_version = match self.state {
            // [MQTT-3.1.0-1] says to close; nobody knows what the peer understands.
            State::AwaitConnect | State::Closed | State::Rejected(Greeting::Foreign) => return,
            State::Rejected(Greeting::Known(version)) => version,
            State::Rejected(Greeting::Older) => Version::V311,
            State::Rejected(Greeting::Newer) => Version::V5,
            State::Answering => self.version,
            State::Open => {
                if self.version == Version::V5 {
                    let disconnect = Disconnect { reason: code, ..Disconnect::default() };
                    // A client that takes no packet of three bytes gets none.
                    let _ = self.send(&Packet::Disconnect(disconnect), out);
                }
                return;
            }
        };
        let allowed = code.allowed_in(PacketType::ConnAck);
        let reason = if allowed { code } else { ReasonCode::PROTOCOL_ERROR };
        // 3.1.1 has no return code for most violations: closing says it.
        let _ = encode(&Packet::ConnAck(ConnAck { reason, ..ConnAck::default() }), connack_version, out);
    }

    fn send(&self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.within_client_maximum(out, |out| encode(packet, self.version, out))
    }

    /// Sends a packet with advice, and without what only people read if the client takes no packet that large
    /// [MQTT-3.2.2-19, 3.2.2-20, 3.14.2-3, 3.14.2-4].
    fn send_with<'a>(
        &self,
        advice: &'a [Property<'a>],
        out: &mut Vec<u8>,
        packet: impl Fn(Properties<'a>) -> Packet<'a>,
    ) -> Result<(), EncodeError> {
        match self.send(&packet(Properties::new(advice)), out) {
            Err(EncodeError::OverClientMaximum) => self.send(&packet(Properties::EMPTY), out),
            sent => sent,
        }
    }

    /// Takes back what `write` appended if the client would not take it [MQTT-3.1.2-24].
    fn within_client_maximum(
        &self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        write(out)?;
        if self.client_max_packet_bytes.is_some_and(|max| out.len() - start > max.get() as usize) {
            out.truncate(start);
            return Err(EncodeError::OverClientMaximum);
        }
        Ok(())
    }
}
