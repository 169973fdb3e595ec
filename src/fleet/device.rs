//! One device as a client of MQTT: what it says next, and what it makes of the answers. No I/O.

use std::num::NonZeroU16;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tidegate_core::time::Timestamp;
use tidegate_mqtt::codec::{self, Connect, Disconnect, Packet, Properties, Publish};
use tidegate_mqtt::{QoS, ReasonCode, Version, Violation};

use crate::identity::Identity;
use crate::observer::{Acknowledged, Observer};
use crate::payload::Payload;
use crate::report::Tally;
use crate::run::Fleet;
use crate::session::{Outgoing, Session};

/// How long a device waits for CONNACK or PINGRESP before it takes the connection for dead.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Bytes that a device writes at most before it looks for answers.
const MAX_BATCH_BYTES: usize = 64 * 1024;
/// Longest packet that a server may send; ours are all short.
const MAX_PACKET_BYTES: u32 = 64 * 1024;
/// User property with which a server says when to come back, in milliseconds.
const RETRY_AFTER: &str = "retry-after-ms";

/// Why a connection ended before the device was finished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// By the network.
    #[error("cut: {0}")]
    Cut(#[from] std::io::Error),
    /// No CONNACK or PINGRESP in time.
    #[error("no answer in time")]
    Silent,
    /// The server sent what is not MQTT.
    #[error("against the protocol: {0}")]
    Violation(#[from] Violation),
    /// The server sent a packet that has no place here.
    #[error("an unexpected packet")]
    Unexpected,
    /// The server said no, in CONNACK or DISCONNECT.
    #[error("refused: {reason}")]
    Refused {
        /// Why.
        reason: ReasonCode,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
}

/// A device, over all of its connections.
pub(crate) struct Device<O> {
    fleet: Arc<Fleet<O>>,
    identity: Identity,
    client_id: String,
    topic: String,
    planned: u32,
    session: Session,
    /// When the next new message is due; `None` after the last.
    due: Option<Timestamp>,
    /// The run ends here, for this device.
    stop_at: Timestamp,
    stopping: bool,
    accepted: bool,
    last_sent: Timestamp,
    /// CONNACK or PINGRESP must be here by then.
    answer_by: Option<Timestamp>,
    pub(crate) tally: Tally,
}

impl<O: Observer> Device<O> {
    pub(crate) fn new(fleet: Arc<Fleet<O>>, number: u32) -> Self {
        let plan = &fleet.plan;
        let identity = Identity::draw(plan.seed, number, plan.versions);
        let planned = plan.load.messages_of(identity.phase);
        let mut device = Self {
            client_id: identity.client_id(&plan.prefix),
            topic: identity.topic(&plan.prefix),
            session: Session::new(planned),
            planned,
            due: None,
            stop_at: fleet.start + plan.deadline,
            stopping: false,
            accepted: false,
            last_sent: fleet.start,
            answer_by: None,
            tally: Tally::default(),
            identity,
            fleet,
        };
        device.due = device.due_of(0);
        device
    }

    /// Sends nothing new from now on.
    pub(crate) fn stop(&mut self, now: Timestamp) {
        self.session.close();
        self.stopping = true;
        self.stop_at = self.stop_at.min(now + self.fleet.plan.stop_grace);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Returns true if nothing is left to do, or no time to do it.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.stop_at || (self.session.is_finished() && (self.stopping || now >= self.load_ends()))
    }

    /// Returns true if an answer is overdue.
    pub(crate) fn is_waiting_in_vain(&self, now: Timestamp) -> bool {
        self.answer_by.is_some_and(|by| now >= by)
    }

    /// Returns the time when something is to be done although nothing was received.
    pub(crate) fn wake_at(&self) -> Timestamp {
        let due = if self.accepted && self.session.wants().is_some() { self.due } else { None };
        let end = self.session.is_finished().then(|| self.load_ends());
        let ping = if self.answer_by.is_none() { self.ping_at() } else { None };
        [due, end, ping, self.answer_by].into_iter().flatten().fold(self.stop_at, Timestamp::min)
    }

    /// Begins a connection: appends CONNECT.
    pub(crate) fn connect(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        let packet = Packet::Connect(Connect {
            version: self.identity.version,
            clean_start: false,
            keep_alive_secs: self.fleet.plan.keep_alive_secs,
            client_id: &self.client_id,
            will: None,
            user_name: self.fleet.plan.user_names.then(|| self.identity.class.as_str()),
            password: None,
            properties: Properties::EMPTY,
        });
        encode(&packet, self.identity.version, out);
        self.accepted = false;
        self.last_sent = now;
        self.answer_by = Some(now + ANSWER_TIME);
    }

    /// Ends a connection: the device waits for nothing.
    pub(crate) fn disconnected(&mut self) {
        (self.accepted, self.answer_by) = (false, None);
    }

    /// Appends all packets that go out now, up to a batch. `payload` is scratch space.
    pub(crate) fn fill(&mut self, now: Timestamp, out: &mut Vec<u8>, payload: &mut Vec<u8>) {
        if !self.accepted {
            return;
        }
        while out.len() < MAX_BATCH_BYTES {
            let Some(message) = self.next_message(now) else { break };
            self.publish(&message, out, payload);
        }
        if !out.is_empty() {
            self.last_sent = now;
        } else if self.answer_by.is_none() && self.ping_at().is_some_and(|at| now >= at) {
            encode(&Packet::PingReq, self.identity.version, out);
            self.last_sent = now;
            self.answer_by = Some(now + ANSWER_TIME);
        }
    }

    /// Appends DISCONNECT.
    pub(crate) fn disconnect(&self, out: &mut Vec<u8>) {
        encode(&Packet::Disconnect(Disconnect::default()), self.identity.version, out);
    }

    /// Takes what the server sent. Returns how many bytes of it were whole packets.
    pub(crate) fn receive(&mut self, bytes: &[u8], now: Timestamp) -> Result<usize, Lost> {
        let fleet = Arc::clone(&self.fleet);
        let mut ack_micros = fleet.ack_micros.lock().unwrap_or_else(PoisonError::into_inner);
        let mut used = 0;
        while let Some((packet, len)) =
            codec::decode(&bytes[used..], self.identity.version, MAX_PACKET_BYTES)?
        {
            used += len;
            match packet {
                Packet::ConnAck(connack) if !self.accepted => {
                    self.check("connack", connack.reason, &connack.properties)?;
                    let receive_maximum =
                        connack.properties.receive_maximum().map_or(u16::MAX, NonZeroU16::get);
                    self.session.connected(fleet.plan.window.min(receive_maximum));
                    (self.accepted, self.answer_by) = (true, None);
                    self.tally.connects += 1;
                }
                Packet::PubAck(ack) if self.accepted => {
                    let Some((seq, sent)) = self.session.settle(ack.packet_id) else {
                        self.tally.stray_acks += 1;
                        continue;
                    };
                    if ack.reason.is_error() {
                        self.tally.refuse("puback", ack.reason);
                        fleet.observer.refused(self.identity.device, seq);
                        continue;
                    }
                    self.tally.acknowledged += 1;
                    ack_micros
                        .saturating_record(u64::try_from(now.since(sent).as_micros()).unwrap_or(u64::MAX));
                    fleet.observer.acknowledged(Acknowledged {
                        device: self.identity.device,
                        seq,
                        sent,
                        at: now,
                    });
                }
                Packet::PingResp if self.accepted => self.answer_by = None,
                Packet::Disconnect(disconnect) if self.identity.version == Version::V5 => {
                    self.check("disconnect", disconnect.reason, &disconnect.properties)?;
                    return Err(Lost::Unexpected);
                }
                _ => return Err(Lost::Unexpected),
            }
        }
        Ok(used)
    }

    /// Returns what the device counted, at its end.
    pub(crate) fn into_tally(mut self) -> Tally {
        self.tally.unfinished = u64::from(self.session.unfinished(self.planned));
        self.tally
    }

    fn check(&mut self, packet: &str, reason: ReasonCode, properties: &Properties<'_>) -> Result<(), Lost> {
        if !reason.is_error() {
            return Ok(());
        }
        self.tally.refuse(packet, reason);
        let advice = properties.user_properties().find(|(name, _)| *name == RETRY_AFTER);
        let retry_after = advice.and_then(|(_, millis)| millis.parse().ok()).map(Duration::from_millis);
        Err(Lost::Refused { reason, retry_after })
    }

    fn next_message(&mut self, now: Timestamp) -> Option<Message> {
        // Most client libraries set DUP on whatever went out before, also if the server has no session of theirs.
        if let Some(again) = self.session.resend() {
            return Some(again.into());
        }
        let seq = self.session.wants().filter(|_| self.due.is_some_and(|due| due <= now))?;
        self.due = self.due_of(seq + 1);
        Some(match self.fleet.plan.qos {
            QoS::AtMostOnce => {
                Message { seq: self.session.send_and_forget(), packet_id: None, sent: now, resend: false }
            }
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.session.send(now).into(),
        })
    }

    fn publish(&mut self, message: &Message, out: &mut Vec<u8>, payload: &mut Vec<u8>) {
        let Message { seq, packet_id, sent, resend } = *message;
        let plan = &self.fleet.plan;
        let Identity { device, class, version, .. } = self.identity;
        let content =
            Payload { run: plan.run, device, class, seq, sent_unix_micros: self.fleet.unix_micros(sent) };
        content.encode(plan.payload_bytes, payload);
        let publish = Publish {
            dup: resend,
            qos: plan.qos,
            retain: false,
            topic: &self.topic,
            packet_id,
            properties: Properties::EMPTY,
            payload,
        };
        encode(&Packet::Publish(publish), version, out);
        *if resend { &mut self.tally.resent } else { &mut self.tally.published } += 1;
        self.fleet.observer.sent(device, seq, resend);
    }

    fn due_of(&self, seq: u32) -> Option<Timestamp> {
        self.fleet.plan.load.due(self.identity.phase, seq).map(|after| self.fleet.start + after)
    }

    fn load_ends(&self) -> Timestamp {
        self.fleet.start + self.fleet.plan.load.lasts()
    }

    /// At three quarters of the keep alive: a PINGREQ that is a little late is not yet too late.
    fn ping_at(&self) -> Option<Timestamp> {
        let keep_alive = Duration::from_secs(u64::from(self.fleet.plan.keep_alive_secs));
        (self.accepted && !keep_alive.is_zero()).then(|| self.last_sent + keep_alive * 3 / 4)
    }
}

/// A PUBLISH to write.
struct Message {
    seq: u32,
    packet_id: Option<NonZeroU16>,
    sent: Timestamp,
    resend: bool,
}

impl From<Outgoing> for Message {
    fn from(out: Outgoing) -> Self {
        let Outgoing { seq, packet_id, sent, resend } = out;
        Self { seq, packet_id: Some(packet_id), sent, resend }
    }
}

fn encode(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) {
    codec::encode(packet, version, out)
        .expect("the plan bounds every length, and the packets are of their version");
}
