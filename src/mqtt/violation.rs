//! What a peer did wrong, as a closed set that can label a metric.
//!
//! Owns the mapping to the reason code of MQTT 5; which packet carries it (if any) is [`crate::Protocol`]'s.

use std::fmt;

use crate::ReasonCode;

/// One breach of the standard: the connection is to be closed [MQTT-4.13.1-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    /// What was wrong.
    pub reason: ViolationReason,
    /// The broken statement, such as `MQTT-3.1.0-1`. [`Violation::GENERAL`] where the standard gives a rule no number.
    pub statement: &'static str,
}

impl Violation {
    /// "A Malformed Packet or Protocol Error closes the connection": stands for rules without a number of their own.
    pub const GENERAL: &'static str = "MQTT-4.13.1-1";

    pub(crate) const fn new(reason: ViolationReason, statement: &'static str) -> Self {
        Self { reason, statement }
    }

    pub(crate) const fn general(reason: ViolationReason) -> Self {
        Self::new(reason, Self::GENERAL)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.reason.as_str(), self.statement)
    }
}

macro_rules! violation_reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal => $code:ident,)*) => {
        /// Kinds of violation; the names are stable, they label a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ViolationReason { $($(#[$doc])* $name,)* }

        impl ViolationReason {
            /// Every reason, so that a counter can show all of its series from the start.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the metric label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// Returns the MQTT 5 reason code that tells the peer.
            #[must_use]
            pub const fn code(self) -> ReasonCode {
                match self { $(Self::$name => ReasonCode::$code,)* }
            }
        }
    };
}

violation_reasons! {
    /// The first packet was not CONNECT.
    FirstPacketNotConnect = "first_packet_not_connect" => PROTOCOL_ERROR,
    /// A second CONNECT came on one connection.
    SecondConnect = "second_connect" => PROTOCOL_ERROR,
    /// The fixed header announces more bytes than are allowed.
    PacketTooLarge = "packet_too_large" => PACKET_TOO_LARGE,
    /// A length of five bytes, or (MQTT 5) one that takes more bytes than it needs.
    VariableLength = "variable_length" => MALFORMED_PACKET,
    /// The packet type is reserved, or not of this version.
    PacketType = "packet_type" => MALFORMED_PACKET,
    /// Reserved bits of the fixed header are not as they must be.
    FixedHeaderFlags = "fixed_header_flags" => MALFORMED_PACKET,
    /// A field runs past the end of its packet.
    Truncated = "truncated" => MALFORMED_PACKET,
    /// The packet goes on after its last field.
    TrailingBytes = "trailing_bytes" => MALFORMED_PACKET,
    /// A string is not UTF-8, or contains U+0000.
    Utf8 = "utf8" => MALFORMED_PACKET,
    /// The protocol name is not `MQTT`.
    ProtocolName = "protocol_name" => UNSUPPORTED_PROTOCOL_VERSION,
    /// The protocol level is neither 4 nor 5.
    ProtocolLevel = "protocol_level" => UNSUPPORTED_PROTOCOL_VERSION,
    /// The flags of CONNECT contradict one another.
    ConnectFlags = "connect_flags" => MALFORMED_PACKET,
    /// An empty client identifier without clean session (3.1.1).
    ClientId = "client_id" => CLIENT_IDENTIFIER_NOT_VALID,
    /// The client wants extended authentication, which is not offered.
    AuthenticationMethod = "authentication_method" => BAD_AUTHENTICATION_METHOD,
    /// Authentication data without a method, or an AUTH packet nobody asked for.
    Authentication = "authentication" => PROTOCOL_ERROR,
    /// QoS 3.
    QosReserved = "qos_reserved" => MALFORMED_PACKET,
    /// QoS 2, which the CONNACK excluded.
    QosNotSupported = "qos_not_supported" => QOS_NOT_SUPPORTED,
    /// RETAIN where the settings refuse it.
    RetainNotSupported = "retain_not_supported" => RETAIN_NOT_SUPPORTED,
    /// DUP on a QoS 0 PUBLISH.
    DupAtQos0 = "dup_at_qos0" => MALFORMED_PACKET,
    /// A topic name that is empty or contains a wildcard.
    TopicName = "topic_name" => TOPIC_NAME_INVALID,
    /// A topic name longer than the settings allow.
    TopicTooLong = "topic_too_long" => TOPIC_NAME_INVALID,
    /// Neither topic name nor alias.
    TopicMissing = "topic_missing" => PROTOCOL_ERROR,
    /// A topic alias of 0, or above the announced maximum.
    TopicAlias = "topic_alias" => TOPIC_ALIAS_INVALID,
    /// A topic alias that was never given a name.
    TopicAliasUnknown = "topic_alias_unknown" => PROTOCOL_ERROR,
    /// A packet identifier of 0.
    PacketIdZero = "packet_id_zero" => PROTOCOL_ERROR,
    /// More unacknowledged PUBLISH packets than were allowed.
    ReceiveMaximum = "receive_maximum" => RECEIVE_MAXIMUM_EXCEEDED,
    /// A property that the standard does not know.
    PropertyUnknown = "property_unknown" => MALFORMED_PACKET,
    /// A property that this packet may not carry.
    PropertyMisplaced = "property_misplaced" => MALFORMED_PACKET,
    /// A property that may appear once appeared twice.
    PropertyDuplicate = "property_duplicate" => PROTOCOL_ERROR,
    /// A property with a value outside its range.
    PropertyValue = "property_value" => PROTOCOL_ERROR,
    /// A reason code that this packet may not carry.
    ReasonCode = "reason_code" => MALFORMED_PACKET,
    /// SUBSCRIBE or UNSUBSCRIBE without a topic filter.
    NoTopicFilter = "no_topic_filter" => PROTOCOL_ERROR,
    /// Subscription options outside their range.
    SubscriptionOptions = "subscription_options" => MALFORMED_PACKET,
    /// No Local on a shared subscription.
    NoLocalShared = "no_local_shared" => PROTOCOL_ERROR,
    /// DISCONNECT revives a session that CONNECT let end with the connection.
    SessionExpiry = "session_expiry" => PROTOCOL_ERROR,
    /// A packet that only servers send.
    ServerPacket = "server_packet" => PROTOCOL_ERROR,
    /// A packet after DISCONNECT.
    AfterDisconnect = "after_disconnect" => PROTOCOL_ERROR,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::codec::PacketType;

    #[test]
    fn every_reason_has_a_label_of_its_own_and_a_code_that_can_be_sent() {
        let labels: BTreeSet<_> = ViolationReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(labels.len(), ViolationReason::ALL.len());
        for reason in ViolationReason::ALL {
            let code = reason.code();
            assert!(code.is_error());
            assert!(
                code.allowed_in(PacketType::ConnAck) || code.allowed_in(PacketType::Disconnect),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_violation_reads_as_label_and_statement() {
        let violation = Violation::new(ViolationReason::SecondConnect, "MQTT-3.1.0-2");
        assert_eq!(violation.to_string(), "second_connect [MQTT-3.1.0-2]");
    }
}
