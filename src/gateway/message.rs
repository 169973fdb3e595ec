//! A PUBLISH on its way through the gateway, borrowed from wherever its bytes are.

use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_mqtt::AckSlot;
use tidegate_spool::Lifetime;

/// One PUBLISH: what admission, hold queue and routes need of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// The MQTT topic, aliases resolved.
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    /// Where its PUBACK waits; absent with QoS 0.
    pub(crate) ack: Option<AckSlot>,
    /// The device says that it has sent this before.
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// When it was read from the socket: the Kafka record's timestamp.
    pub(crate) received: UnixMillis,
    /// The wall clock was synchronised then.
    pub(crate) clock_sure: bool,
    /// The same moment on the monotonic clock.
    pub(crate) arrived: Timestamp,
    /// Message Expiry Interval, from then on; 0 = for ever.
    pub(crate) lifetime_s: u32,
}

impl Message<'_> {
    /// Returns whether its Message Expiry Interval has passed.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        Lifetime::left(self.lifetime_s, now.since(self.arrived)) == Lifetime::Over
    }
}
