//! Decoding: what each packet means for the connection, and how far decoding may go.

use std::time::Duration;

use tidegate_core::admission::ShedReason;
use tidegate_mqtt::codec::{Frame, PINGRESP, PacketType, Publish, frame};
use tidegate_mqtt::{AckSlot, Event, ReasonCode, Version};

use super::super::intake::Taken;
use super::{Connection, Desk, Ended, Reading};
use crate::message::Message;
use crate::reason::CloseReason;

impl Connection {
    /// Decodes packets until something is in the way; returns how many bytes are done with.
    pub(super) fn decode(&mut self, bytes: &[u8], desk: &mut Desk<'_>) -> Result<usize, Ended> {
        let shared = &desk.pipeline.shared;
        let (received, clock_sure, arrived) = ((shared.unix_clock)(), shared.wall.is_sure(), desk.now);
        let mut used = 0;
        let may_refuse = self.protocol.version() == Version::V5;
        self.reading = Reading::On;
        loop {
            let rest = &bytes[used..];
            if self.intake.held() > 0 && !self.may_hold(rest, desk) {
                self.reading = Reading::Stopped;
                return Ok(used);
            }
            let (event, len) = match self.protocol.step(rest) {
                Ok(Some(step)) => step,
                Ok(None) => return Ok(used),
                Err(violation) => {
                    desk.pipeline.counters.violation(&violation, &self.intake.client_id);
                    self.protocol.violation_reply(&violation, desk.out);
                    return Err(CloseReason::Violation);
                }
            };
            used += len;
            match event {
                Event::Publish { publish, ack } => {
                    let Publish { topic, payload, dup, retain, properties, .. } = publish;
                    // An interval of 0 is rounded up to the least that can be told from none.
                    let lifetime_s = properties.message_expiry_secs().map_or(0, |seconds| seconds.max(1));
                    let message = Message {
                        topic,
                        payload,
                        ack,
                        dup,
                        retain,
                        received,
                        clock_sure,
                        arrived,
                        lifetime_s,
                    };
                    let held = self.intake.held();
                    let taken = self.intake.offer(&message, may_refuse, desk.pipeline, desk.now);
                    match taken {
                        Taken::Done if ack.is_some() && self.intake.held() == held => self.in_flight += 1,
                        Taken::Done => {}
                        Taken::Refused(ack, reason) => self.refuse(ack, reason, desk)?,
                    }
                }
                Event::WindowFull => {
                    self.reading = Reading::Stopped;
                    return Ok(used);
                }
                Event::PingReq => desk.out.extend_from_slice(&PINGRESP),
                Event::PubRel(packet_id) => self.protocol.pubcomp(packet_id, desk.out),
                Event::Subscribe(subscribe) => {
                    self.protocol.suback(&subscribe, desk.out).map_err(|_| CloseReason::Violation)?;
                }
                Event::Unsubscribe(unsubscribe) => {
                    self.protocol.unsuback(&unsubscribe, desk.out).map_err(|_| CloseReason::Violation)?;
                }
                Event::Disconnect(disconnect) => {
                    if let Some(secs) = disconnect.properties.session_expiry_secs() {
                        self.session = Duration::from_secs(secs.into());
                    }
                    return Err(CloseReason::Disconnect);
                }
                Event::Ignored | Event::Connect(_) => {}
            }
        }
    }

    /// Returns true if the next packet could be held; one that is not whole yet may be waited for.
    fn may_hold(&mut self, rest: &[u8], desk: &Desk<'_>) -> bool {
        let limits = &desk.pipeline.shared.limits;
        match frame(rest, limits.max_packet_bytes) {
            // An alias stands for a topic that is not in the packet.
            Ok(Frame::Whole(header)) if header.kind() == PacketType::Publish => {
                self.intake.has_room(header.packet_len() + usize::from(limits.max_topic_bytes))
            }
            _ => true,
        }
    }

    /// Answers a message that is never taken. MQTT 5 has codes for it; 3.1.1 must be acknowledged or closed
    /// [MQTT-3.3.5-2, 3.1.1], and what is not in Kafka is not acknowledged.
    fn refuse(&mut self, ack: Option<AckSlot>, reason: ShedReason, desk: &mut Desk<'_>) -> Result<(), Ended> {
        let Some(ack) = ack else {
            return Ok(());
        };
        if self.protocol.version() == Version::V311 {
            return Err(CloseReason::Unacceptable);
        }
        let code = if reason == ShedReason::NoRoute {
            ReasonCode::TOPIC_NAME_INVALID
        } else {
            ReasonCode::QUOTA_EXCEEDED
        };
        self.protocol.complete(ack, code);
        self.protocol.drain_acks(desk.out);
        Ok(())
    }
}
