//! A PUBLISH on its way through the gateway, borrowed from wherever its bytes are.

use tidegate_core::time::UnixMillis;
use tidegate_mqtt::AckSlot;

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
}
