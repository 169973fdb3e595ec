//! What one listener allows its clients.

use std::num::NonZeroU16;

use crate::SubscribePolicy;
use crate::violation::{Violation, ViolationReason as Reason};

/// What happens to PUBLISH packets with RETAIN = 1: the gateway never stores any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainPolicy {
    /// They are taken like others; many devices set the flag on every state they report.
    #[default]
    Ignore,
    /// CONNACK says Retain Available 0, and the packet ends the connection [MQTT-3.2.2-14].
    Refuse,
}

/// Limits of every connection of a listener. CONNACK announces them to MQTT 5 clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet, fixed header included, in bytes.
    pub max_packet_bytes: u32,
    /// Largest CONNECT in bytes (and never more than `max_packet_bytes`): what a stranger can make us hold.
    pub max_connect_bytes: u32,
    /// Longest topic name in bytes. With the alias maximum it bounds what a connection's alias table holds.
    pub max_topic_bytes: u16,
    /// QoS 1 messages of an MQTT 5 client that may be unacknowledged; one more ends the connection.
    pub receive_maximum: NonZeroU16,
    /// The same of a 3.1.1 client; one more waits, since 3.1.1 cannot announce it.
    pub v311_window: NonZeroU16,
    /// Highest topic alias; 0 for none.
    pub topic_alias_maximum: u16,
    /// What happens to RETAIN.
    pub retain: RetainPolicy,
    /// What SUBSCRIBE is answered.
    pub subscribe: SubscribePolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_bytes: 256 * 1024,
            max_connect_bytes: 16 * 1024,
            max_topic_bytes: 1024,
            receive_maximum: const { NonZeroU16::new(16).expect("not 0") },
            v311_window: const { NonZeroU16::new(32).expect("not 0") },
            topic_alias_maximum: 16,
            retain: RetainPolicy::Ignore,
            subscribe: SubscribePolicy::Refuse,
        }
    }
}

impl Limits {
    /// 0x90 also stands for a name that is well-formed but not accepted here (table 2-6).
    pub(super) fn check_topic_len(&self, topic: &str) -> Result<(), Violation> {
        if topic.len() > usize::from(self.max_topic_bytes) {
            return Err(Violation::general(Reason::TopicTooLong));
        }
        Ok(())
    }
}
