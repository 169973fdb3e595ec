//! What one device may send: its class, its bucket, its hold queue.
//!
//! Owns the order of one device's messages up to the route: what is held goes before what comes. Does not know
//! sockets or packets.

use std::rc::Rc;
use std::time::Duration;

use tidegate_core::admission::{Asked, Bucket, ClassId, Demand, Limit, Outcome, ShedReason, decide};
use tidegate_core::time::Timestamp;
use tidegate_mqtt::AckSlot;

use super::pipeline::{Pipeline, Room, Sender};
use super::slab::ConnectionId;
use crate::hold::HoldQueue;
use crate::message::Message;
use crate::route::{StreamId, TargetId};

/// QoS 0 is held only while fewer messages than this wait; QoS 1 is bounded by the connection's window.
pub(crate) const MAX_HELD_WITH_QOS_0: usize = 32;
/// How often a message that waits for room in a queue tries again. All devices do while Kafka is away, and ten
/// thousand of them must not keep the worker busy with it.
const QUEUE_RETRY: Duration = Duration::from_millis(50);

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is on its way, waits, or was QoS 0 and is gone: the sender need not be told anything now.
    Done,
    /// It will never be taken.
    Refused(Option<AckSlot>, ShedReason),
}

/// Where the messages of a topic go; the answer for the last topic is kept.
#[derive(Debug, Default)]
struct LastTopic {
    topic: String,
    found: Option<(ClassId, TargetId)>,
}

/// The device behind a connection, as admission sees it.
pub(crate) struct Intake {
    pub(crate) id: ConnectionId,
    pub(crate) client_id: Rc<str>,
    pub(crate) client_hash: u64,
    pub(crate) bucket: Bucket,
    pub(crate) demand: Demand,
    /// Class by CONNECT.
    pub(crate) class: ClassId,
    pub(crate) shard: u8,
    /// Messages that wait; made when first needed.
    hold: Option<Box<HoldQueue>>,
    last: Option<Box<LastTopic>>,
}

impl Intake {
    pub(crate) fn new(
        id: ConnectionId,
        client_id: Rc<str>,
        client_hash: u64,
        shard: u8,
        class: ClassId,
        bucket: Bucket,
    ) -> Self {
        let demand = Demand::default();
        Self { id, client_id, client_hash, bucket, demand, class, shard, hold: None, last: None }
    }

    /// Takes a message that was just decoded. `may_refuse`: its sender's MQTT has words for a refusal.
    pub(crate) fn offer(
        &mut self,
        message: &Message<'_>,
        may_refuse: bool,
        pipeline: &mut Pipeline,
        now: Timestamp,
    ) -> Taken {
        pipeline.counters.received.add(1);
        self.demand.arrived(second(now));
        let Some((class, target)) = self.find(message.topic, pipeline) else {
            pipeline.counters.shed(self.class, ShedReason::NoRoute, 1);
            return Taken::Refused(message.ack, ShedReason::NoRoute);
        };
        let stream = pipeline.shared.router.stream(target);
        pipeline.counters.streams[stream.index()].arrived.add(1);
        let sender = Sender { connection: self.id, client_id: &self.client_id, shard: self.shard };
        if !pipeline.fits(&sender, message) {
            shed(pipeline, class, stream, ShedReason::TooLarge);
            return Taken::Refused(message.ack, ShedReason::TooLarge);
        }
        let limit = pipeline.shared.classes.get(class).limit;
        let held = self.held();
        let others_wait = held > 0;
        let within_limit = self.bucket.ready_at(limit) <= now;
        // The queue is only asked when nothing else is in the way: asking may make it grow.
        let room = if others_wait || !within_limit {
            Room::Full
        } else {
            pipeline.room(target, &sender, message, now)
        };
        if room == Room::Shed || (room == Room::Rejected && (may_refuse || message.ack.is_none())) {
            shed(pipeline, class, stream, ShedReason::SpoolFull);
            return Taken::Refused(message.ack, ShedReason::SpoolFull);
        }
        let route = if let Room::Open(route) = room { Some(route) } else { None };
        let asked = Asked {
            fire_and_forget: message.ack.is_none(),
            others_wait,
            within_limit,
            queue_room: route.is_some(),
            hold_room: held < MAX_HELD_WITH_QOS_0,
        };
        match (decide(asked), route) {
            (Outcome::Admit, Some(route)) => {
                self.bucket.try_take(limit, now);
                pipeline.admit(route, target, &sender, message, now);
            }
            (Outcome::Shed(reason), _) => shed(pipeline, class, stream, reason),
            (Outcome::Admit | Outcome::Hold(_), _) => self.hold(message, pipeline, class, stream),
        }
        Taken::Done
    }

    /// Admits what waited and may go now; returns when to try again if something still waits. What has expired meanwhile
    /// goes nowhere, and its PUBACK, if it has one to come, to `over`.
    pub(crate) fn release(
        &mut self,
        pipeline: &mut Pipeline,
        now: Timestamp,
        mut over: impl FnMut(AckSlot),
    ) -> Option<Timestamp> {
        let Self { id, client_id, shard, bucket, hold, last, class: connected, .. } = self;
        let hold = hold.as_deref_mut()?;
        let sender = Sender { connection: *id, client_id, shard: *shard };
        while let Some(message) = hold.front() {
            let (class, target) =
                find(last, message.topic, *connected, pipeline).expect("it had a route when it was held");
            if message.is_over(now) {
                let stream = pipeline.shared.router.stream(target);
                pipeline.counters.streams[stream.index()].expired.add(1);
                message.ack.into_iter().for_each(&mut over);
                hold.pop();
                continue;
            }
            let limit = pipeline.shared.classes.get(class).limit;
            let ready = bucket.ready_at(limit);
            if ready > now {
                return Some(ready);
            }
            match pipeline.room(target, &sender, &message, now) {
                Room::Open(route) => {
                    bucket.try_take(limit, now);
                    pipeline.admit(route, target, &sender, &message, now);
                }
                Room::Shed | Room::Rejected if message.ack.is_none() => {
                    shed(pipeline, class, pipeline.shared.router.stream(target), ShedReason::SpoolFull);
                }
                // What waits already is not refused any more: it will be its turn.
                Room::Full | Room::Shed | Room::Rejected => return Some(now + QUEUE_RETRY),
            }
            hold.pop();
        }
        None
    }

    /// Returns how many messages wait.
    pub(crate) fn held(&self) -> usize {
        self.hold.as_ref().map_or(0, |hold| hold.len())
    }

    /// Returns how many of them have a PUBACK to come.
    pub(crate) fn held_acks(&self) -> u32 {
        let held = self.hold.as_ref().map_or(0, |hold| hold.len() - hold.fire_and_forget());
        u32::try_from(held).expect("a window is a u16")
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.hold.as_ref().map_or(0, |hold| hold.held_bytes())
    }

    /// Returns false if a packet of `bytes` could not be held: it is better left undecoded.
    pub(crate) fn has_room(&mut self, bytes: usize) -> bool {
        self.hold.as_mut().is_none_or(|hold| hold.is_empty() || hold.has_room(bytes))
    }

    /// Drops what waits; QoS 0 among it is lost and counted, QoS 1 is the device's to send again.
    pub(crate) fn drop_held(&mut self, pipeline: &Pipeline) {
        if let Some(hold) = self.hold.take() {
            pipeline.counters.shed(self.class, ShedReason::ConnectionEnded, hold.fire_and_forget() as u64);
        }
    }

    /// Gives back memory that an idle device does not need.
    pub(crate) fn rest(&mut self) {
        if self.held() == 0 {
            self.hold = None;
        }
    }

    /// Returns the stream of the last message, and its class's limit.
    pub(crate) fn stream(&self, pipeline: &Pipeline) -> Option<(StreamId, Limit)> {
        let (class, target) = self.last.as_ref()?.found?;
        Some((pipeline.shared.router.stream(target), pipeline.shared.classes.get(class).limit))
    }

    fn find(&mut self, topic: &str, pipeline: &Pipeline) -> Option<(ClassId, TargetId)> {
        find(&mut self.last, topic, self.class, pipeline)
    }

    fn hold(&mut self, message: &Message<'_>, pipeline: &Pipeline, class: ClassId, stream: StreamId) {
        let hold = self.hold.get_or_insert_with(|| Box::new(HoldQueue::new(&pipeline.shared.hold_ceiling)));
        let first = hold.front().map(|first| pipeline.shared.router.class(first.topic, self.class));
        if hold.push(message) {
            pipeline.counters.held.add(1);
            let priority = |class| pipeline.shared.classes.get(class).priority;
            let inverted = first.is_some_and(|first| priority(class) < priority(first));
            pipeline.counters.class_inversions.add(inverted.into());
        } else if message.ack.is_none() {
            shed(pipeline, class, stream, ShedReason::NoRoom);
        } else {
            // Never: a QoS 1 packet is decoded only after `has_room` said so, for the whole packet.
            tracing::error!(client_id = &*self.client_id, "a message that had room was not held");
        }
    }
}

fn shed(pipeline: &Pipeline, class: ClassId, stream: StreamId, reason: ShedReason) {
    pipeline.counters.shed(class, reason, 1);
    pipeline.counters.streams[stream.index()].shed.add(1);
}

fn find(
    last: &mut Option<Box<LastTopic>>,
    topic: &str,
    connected: ClassId,
    pipeline: &Pipeline,
) -> Option<(ClassId, TargetId)> {
    let last = last.get_or_insert_default();
    if last.topic != topic {
        last.topic.clear();
        last.topic.push_str(topic);
        let (class, target) = pipeline.shared.router.find(topic, connected);
        last.found = target.map(|target| (class, target));
    }
    last.found
}

/// Returns the second of the clock that `now` is in.
pub(crate) fn second(now: Timestamp) -> u32 {
    u32::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX)
}
