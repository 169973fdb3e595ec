//! Reason codes of MQTT 5 (section 2.4), and the six return codes of 3.1.1 among them.

use std::fmt;

use crate::codec::PacketType;

/// One reason code. Codes from 0x80 on are failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReasonCode(u8);

const fn packets<const N: usize>(kinds: [PacketType; N]) -> u16 {
    let (mut mask, mut i) = (0, 0);
    while i < N {
        mask |= kinds[i].bit();
        i += 1;
    }
    mask
}

macro_rules! reason_codes {
    ($($name:ident = $code:literal, $text:literal, [$($kind:ident)*];)*) => {
        impl ReasonCode {
            $(#[doc = concat!("`", stringify!($code), "`: ", $text, ".")] pub const $name: Self = Self($code);)*

            /// Returns the code as the standard names it, in lower case; `unknown` for codes it does not list.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self.0 { $($code => $text,)* _ => "unknown" }
            }

            /// Returns one bit for each packet type that may carry the code.
            const fn carriers(self) -> u16 {
                match self.0 { $($code => packets([$(PacketType::$kind),*]),)* _ => 0 }
            }
        }
    };
}

reason_codes! {
    SUCCESS = 0x00, "success", [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth];
    GRANTED_QOS_1 = 0x01, "granted qos 1", [SubAck];
    GRANTED_QOS_2 = 0x02, "granted qos 2", [SubAck];
    DISCONNECT_WITH_WILL = 0x04, "disconnect with will message", [Disconnect];
    NO_MATCHING_SUBSCRIBERS = 0x10, "no matching subscribers", [PubAck PubRec];
    NO_SUBSCRIPTION_EXISTED = 0x11, "no subscription existed", [UnsubAck];
    CONTINUE_AUTHENTICATION = 0x18, "continue authentication", [Auth];
    REAUTHENTICATE = 0x19, "re-authenticate", [Auth];
    UNSPECIFIED_ERROR = 0x80, "unspecified error", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    MALFORMED_PACKET = 0x81, "malformed packet", [ConnAck Disconnect];
    PROTOCOL_ERROR = 0x82, "protocol error", [ConnAck Disconnect];
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83, "implementation specific error",
        [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    UNSUPPORTED_PROTOCOL_VERSION = 0x84, "unsupported protocol version", [ConnAck];
    CLIENT_IDENTIFIER_NOT_VALID = 0x85, "client identifier not valid", [ConnAck];
    BAD_USER_NAME_OR_PASSWORD = 0x86, "bad user name or password", [ConnAck];
    NOT_AUTHORIZED = 0x87, "not authorized", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    SERVER_UNAVAILABLE = 0x88, "server unavailable", [ConnAck];
    SERVER_BUSY = 0x89, "server busy", [ConnAck Disconnect];
    BANNED = 0x8A, "banned", [ConnAck];
    SERVER_SHUTTING_DOWN = 0x8B, "server shutting down", [Disconnect];
    BAD_AUTHENTICATION_METHOD = 0x8C, "bad authentication method", [ConnAck Disconnect];
    KEEP_ALIVE_TIMEOUT = 0x8D, "keep alive timeout", [Disconnect];
    SESSION_TAKEN_OVER = 0x8E, "session taken over", [Disconnect];
    TOPIC_FILTER_INVALID = 0x8F, "topic filter invalid", [SubAck UnsubAck Disconnect];
    TOPIC_NAME_INVALID = 0x90, "topic name invalid", [ConnAck PubAck PubRec Disconnect];
    PACKET_IDENTIFIER_IN_USE = 0x91, "packet identifier in use", [PubAck PubRec SubAck UnsubAck];
    PACKET_IDENTIFIER_NOT_FOUND = 0x92, "packet identifier not found", [PubRel PubComp];
    RECEIVE_MAXIMUM_EXCEEDED = 0x93, "receive maximum exceeded", [Disconnect];
    TOPIC_ALIAS_INVALID = 0x94, "topic alias invalid", [Disconnect];
    PACKET_TOO_LARGE = 0x95, "packet too large", [ConnAck Disconnect];
    MESSAGE_RATE_TOO_HIGH = 0x96, "message rate too high", [Disconnect];
    QUOTA_EXCEEDED = 0x97, "quota exceeded", [ConnAck PubAck PubRec SubAck Disconnect];
    ADMINISTRATIVE_ACTION = 0x98, "administrative action", [Disconnect];
    PAYLOAD_FORMAT_INVALID = 0x99, "payload format invalid", [ConnAck PubAck PubRec Disconnect];
    RETAIN_NOT_SUPPORTED = 0x9A, "retain not supported", [ConnAck Disconnect];
    QOS_NOT_SUPPORTED = 0x9B, "qos not supported", [ConnAck Disconnect];
    USE_ANOTHER_SERVER = 0x9C, "use another server", [ConnAck Disconnect];
    SERVER_MOVED = 0x9D, "server moved", [ConnAck Disconnect];
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E, "shared subscriptions not supported", [SubAck Disconnect];
    CONNECTION_RATE_EXCEEDED = 0x9F, "connection rate exceeded", [ConnAck Disconnect];
    MAXIMUM_CONNECT_TIME = 0xA0, "maximum connect time", [Disconnect];
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1, "subscription identifiers not supported", [SubAck Disconnect];
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2, "wildcard subscriptions not supported", [SubAck Disconnect];
}

impl ReasonCode {
    /// Returns the code with this number, whether the standard lists it or not.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// Returns the number on the wire (MQTT 5).
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        self.0
    }

    /// Returns true for failures.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// Returns true if the standard lets a packet of type `kind` carry the code.
    #[must_use]
    pub const fn allowed_in(self, kind: PacketType) -> bool {
        self.carriers() & kind.bit() != 0
    }

    /// Returns the CONNACK return code of 3.1.1 that says the same; `None` where it has none and one only closes.
    #[must_use]
    pub const fn to_v311(self) -> Option<u8> {
        match self {
            Self::SUCCESS => Some(0),
            Self::UNSUPPORTED_PROTOCOL_VERSION => Some(1),
            Self::CLIENT_IDENTIFIER_NOT_VALID => Some(2),
            // 3.1.1 has one code for everything that passes: the client is to come back later.
            Self::SERVER_UNAVAILABLE
            | Self::SERVER_BUSY
            | Self::QUOTA_EXCEEDED
            | Self::USE_ANOTHER_SERVER
            | Self::CONNECTION_RATE_EXCEEDED => Some(3),
            Self::BAD_USER_NAME_OR_PASSWORD => Some(4),
            Self::NOT_AUTHORIZED | Self::BANNED => Some(5),
            _ => None,
        }
    }

    /// Returns what a CONNACK return code of 3.1.1 means; `None` for the reserved ones.
    #[must_use]
    pub const fn from_v311(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::SUCCESS),
            1 => Some(Self::UNSUPPORTED_PROTOCOL_VERSION),
            2 => Some(Self::CLIENT_IDENTIFIER_NOT_VALID),
            3 => Some(Self::SERVER_UNAVAILABLE),
            4 => Some(Self::BAD_USER_NAME_OR_PASSWORD),
            5 => Some(Self::NOT_AUTHORIZED),
            _ => None,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.as_str(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_3_1_1_survive_the_way_there_and_back() {
        for byte in 0..=5 {
            assert_eq!(ReasonCode::from_v311(byte).and_then(ReasonCode::to_v311), Some(byte));
        }
        assert_eq!(ReasonCode::from_v311(6), None);
        assert_eq!(ReasonCode::MALFORMED_PACKET.to_v311(), None);
    }

    #[test]
    fn codes_belong_to_the_packets_of_table_2_6() {
        let listed = (0..=u8::MAX).map(ReasonCode::from_byte).filter(|code| code.carriers() != 0);
        assert_eq!(listed.count(), 43);
        assert!(ReasonCode::QUOTA_EXCEEDED.allowed_in(PacketType::PubAck));
        assert!(!ReasonCode::SERVER_BUSY.allowed_in(PacketType::PubAck));
        assert!(!ReasonCode::from_byte(0x03).allowed_in(PacketType::SubAck));
        assert_eq!(ReasonCode::SERVER_BUSY.to_string(), "server busy (0x89)");
        assert_eq!(ReasonCode::from_byte(0x03).to_string(), "unknown (0x03)");
    }
}
