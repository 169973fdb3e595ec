//! What happens to one PUBLISH, as a value.

/// What the gateway found out about one PUBLISH before it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent finding, and the names are the point"
)]
pub struct Asked {
    /// It has QoS 0: its device waits for no acknowledgement and will not send it again.
    pub fire_and_forget: bool,
    /// Messages of the same connection already wait; to pass them would reorder.
    pub others_wait: bool,
    /// The device's bucket would admit it now.
    pub within_limit: bool,
    /// Its route's queue can take it.
    pub queue_room: bool,
    /// The connection's hold queue can take one more that nobody will send again.
    pub hold_room: bool,
}

/// What to do with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Take a token and queue it for Kafka.
    Admit,
    /// Put it at the end of the connection's hold queue.
    Hold(WaitReason),
    /// Drop it and count it.
    Shed(ShedReason),
}

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// Its elders.
    Order,
    /// The device's bucket.
    Limit,
    /// Room in the queues towards Kafka.
    QueueRoom,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShedReason {
    /// QoS 0 over the device's limit, and its hold queue is full.
    OverLimit,
    /// QoS 0, no room towards Kafka, and the hold queue is full.
    NoRoom,
    /// QoS 0 that still waited when its connection ended.
    ConnectionEnded,
    /// No route takes its topic.
    NoRoute,
    /// Larger than a Kafka record may be.
    TooLarge,
    /// The spool is full, and its class's policy drops or refuses it.
    SpoolFull,
}

impl ShedReason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 6] = [
        Self::OverLimit,
        Self::NoRoom,
        Self::ConnectionEnded,
        Self::NoRoute,
        Self::TooLarge,
        Self::SpoolFull,
    ];

    /// Returns the reason as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OverLimit => "over_limit",
            Self::NoRoom => "no_room",
            Self::ConnectionEnded => "connection_ended",
            Self::NoRoute => "no_route",
            Self::TooLarge => "too_large",
            Self::SpoolFull => "spool_full",
        }
    }
}

/// Returns what happens to a message.
///
/// QoS 1 is never dropped: it waits, and the sender's own window (MQTT 5 Receive Maximum, or ours for 3.1.1) bounds
/// how many do. Nothing bounds QoS 0, so it waits only while there is room, and is shed then.
#[must_use]
pub const fn decide(asked: Asked) -> Outcome {
    let wait = if asked.others_wait {
        WaitReason::Order
    } else if !asked.within_limit {
        WaitReason::Limit
    } else if !asked.queue_room {
        WaitReason::QueueRoom
    } else {
        return Outcome::Admit;
    };
    if asked.hold_room || !asked.fire_and_forget {
        return Outcome::Hold(wait);
    }
    Outcome::Shed(if asked.within_limit { ShedReason::NoRoom } else { ShedReason::OverLimit })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Asked = Asked {
        fire_and_forget: false,
        others_wait: false,
        within_limit: true,
        queue_room: true,
        hold_room: true,
    };

    fn every_question() -> impl Iterator<Item = Asked> {
        (0u8..32).map(|bits| Asked {
            fire_and_forget: bits & 1 != 0,
            others_wait: bits & 2 != 0,
            within_limit: bits & 4 != 0,
            queue_room: bits & 8 != 0,
            hold_room: bits & 16 != 0,
        })
    }

    #[test]
    fn a_message_with_nothing_in_its_way_is_admitted() {
        assert_eq!(decide(FREE), Outcome::Admit);
    }

    #[test]
    fn qos_1_is_never_shed() {
        for asked in every_question().filter(|asked| !asked.fire_and_forget) {
            assert!(!matches!(decide(asked), Outcome::Shed(_)), "{asked:?}");
        }
    }

    #[test]
    fn nothing_passes_elders_of_its_connection() {
        for asked in every_question().filter(|asked| asked.others_wait) {
            assert_ne!(decide(asked), Outcome::Admit, "{asked:?}");
        }
    }

    #[test]
    fn only_qos_1_is_held_without_room() {
        for asked in every_question().filter(|asked| !asked.hold_room && asked.fire_and_forget) {
            assert!(!matches!(decide(asked), Outcome::Hold(_)), "{asked:?}");
        }
        let over = Asked { within_limit: false, hold_room: false, ..FREE };
        assert_eq!(decide(over), Outcome::Hold(WaitReason::Limit));
    }

    #[test]
    fn qos_0_over_its_limit_waits_while_there_is_room_and_is_shed_then() {
        let over = Asked { fire_and_forget: true, within_limit: false, ..FREE };
        assert_eq!(decide(over), Outcome::Hold(WaitReason::Limit));
        assert_eq!(decide(Asked { hold_room: false, ..over }), Outcome::Shed(ShedReason::OverLimit));
        let no_queue = Asked { fire_and_forget: true, queue_room: false, hold_room: false, ..FREE };
        assert_eq!(decide(no_queue), Outcome::Shed(ShedReason::NoRoom));
    }
}
