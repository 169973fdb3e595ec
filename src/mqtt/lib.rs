//! The server side of MQTT 3.1.1 and 5 without I/O.
//!
//! Bytes go in, events and answers come out: no sockets, no clock, no tasks. [`codec`] reads and writes packets in
//! both directions (simulated devices and tests are clients); [`Protocol`] holds one connection to the rules of the
//! standard; [`AckRing`] lets acknowledgements out in the order of their PUBLISH packets.
//!
//! Deliberately absent: sessions, retained messages, subscriptions that deliver anything, and time. The limit for a
//! CONNECT that never completes and the keep-alive are the gateway's, which owns the clock.
//!
//! Statements are cited as `[MQTT-x.y.z-n]` with the numbers of MQTT 5.0, or those of 3.1.1 where only it has the
//! rule; the text beside them says so.

#![forbid(unsafe_code)]

mod ack_ring;
pub mod codec;
mod protocol;
mod reason;
mod subscribe_policy;
pub mod topic;
mod violation;

pub use ack_ring::{AckRing, AckSlot, Full};
pub use protocol::{Accept, Event, Limits, Protocol, RetainPolicy};
pub use reason::ReasonCode;
pub use subscribe_policy::SubscribePolicy;
pub use violation::{Violation, ViolationReason};

/// Protocol versions that the gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol version 5.
    V5,
}

/// How often a message may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum QoS {
    /// At most once: never acknowledged.
    AtMostOnce = 0,
    /// At least once: acknowledged by PUBACK.
    AtLeastOnce = 1,
    /// Exactly once: the PUBREC, PUBREL, PUBCOMP exchange.
    ExactlyOnce = 2,
}

impl QoS {
    /// Returns the level that two bits of a packet stand for; `None` for 3, which is reserved [MQTT-3.3.1-4].
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}
