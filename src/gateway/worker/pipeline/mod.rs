//! A worker's way to Kafka and to the disk: routes, window, reports.
//!
//! Owns the routes of the worker's shards and its port. Knows connections only as the target of an
//! acknowledgement; who that is, and whether it is still there, is the worker's business.

mod from_log;
mod outlet;
mod stow;
mod times;
mod to_log;

use std::sync::Arc;

use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_kafka::classify::{Class, Condition, condition};
use tidegate_kafka::delivery::{Outcome, Port};
use tidegate_kafka::partitioner::partition_for;
use tidegate_mqtt::AckSlot;
use tidegate_spool::Verdict;

use super::slab::ConnectionId;
use crate::Error;
use crate::config::AckAt;
use crate::message::Message;
use crate::route::{
    Completed, Flight, HeaderSet, NewRecord, Reported, RouteId, RouteKey, RouteTable, TargetId,
};
use crate::shared::Shared;
use crate::stats::Counters;
use outlet::{Outlet, Way};
use stow::Stow;
use times::RefusedTimes;

/// Names and values of our own headers, at most.
const OWN_HEADER_BYTES: usize = 384;

/// Who waits for a record's PUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckTarget {
    pub(crate) connection: ConnectionId,
    /// None with QoS 0: nobody waits.
    pub(crate) ack: Option<AckSlot>,
}

/// Who sends a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender<'a> {
    pub(crate) connection: ConnectionId,
    pub(crate) client_id: &'a str,
    pub(crate) shard: u8,
}

/// Whether a message's route can take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It can.
    Open(RouteId),
    /// Not now.
    Full,
    /// The disk is full, and its policy drops QoS 0 like this one.
    Shed,
    /// The disk is full, and its policy refuses what comes.
    Rejected,
}

pub(crate) struct Pipeline {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) routes: RouteTable<AckTarget>,
    out: Outlet,
    /// The disk, if there is a spool.
    stow: Option<Stow>,
    /// Routes whose records must be handed over again; kept for its memory.
    again: Vec<RouteId>,
}

impl Pipeline {
    pub(crate) fn new(worker: usize, shared: &Arc<Shared>, counters: &Arc<Counters>, port: Port) -> Self {
        let store = shared.store.as_ref();
        let epoch = store.map_or(crate::shared::EPOCH_WITHOUT_SPOOL, |store| store.epoch());
        let always_behind = store.is_some_and(|store| store.ack == AckAt::Disk);
        Self {
            shared: Arc::clone(shared),
            counters: Arc::clone(counters),
            routes: RouteTable::new(&shared.queue_ceiling, epoch, always_behind),
            out: Outlet::new(port, shared),
            stow: store.map(|store| Stow::new(worker, store, shared)),
            again: Vec::new(),
        }
    }

    /// Returns true if a message fits a Kafka record, and the log if there is one.
    pub(crate) fn fits(&self, sender: &Sender<'_>, message: &Message<'_>) -> bool {
        // Key and the two optional headers are parts of client id and topic.
        let texts = 2 * (sender.client_id.len() + message.topic.len());
        texts + message.payload.len() + OWN_HEADER_BYTES <= self.shared.max_record_bytes
    }

    /// Returns whether the message's route has room.
    pub(crate) fn room(
        &mut self,
        target: TargetId,
        sender: &Sender<'_>,
        message: &Message<'_>,
        now: Timestamp,
    ) -> Room {
        let router = &self.shared.router;
        let stream = router.stream(target);
        let (start, len) = router.rule(target).key.range(sender.client_id, message.topic);
        let split = sender.client_id.len();
        let key = if start < split {
            &sender.client_id.as_bytes()[start..start + len]
        } else {
            &message.topic.as_bytes()[start - split..start - split + len]
        };
        let destination = router.destination(stream);
        let partition = partition_for(key, destination.partitions);
        let id = self.routes.open(RouteKey { shard: sender.shard, stream, partition }, now);
        let route = self.routes.get_mut(id);
        let bytes = split + message.topic.len() + message.payload.len();
        if !route.queue.reserve(bytes) {
            return Room::Full;
        }
        let stow = self.stow.as_ref().filter(|_| route.mode.is_behind());
        match stow.map(|stow| stow.admit(destination.class, message.ack.is_some())) {
            None | Some(Verdict::Store) => Room::Open(id),
            Some(Verdict::Wait) => Room::Full,
            Some(Verdict::Shed) => Room::Shed,
            Some(Verdict::Reject) => Room::Rejected,
        }
    }

    /// Queues a message on the route that [`Self::room`] returned, and hands over what the window lets through.
    pub(crate) fn admit(
        &mut self,
        id: RouteId,
        target: TargetId,
        sender: &Sender<'_>,
        message: &Message<'_>,
        now: Timestamp,
    ) {
        let rule = self.shared.router.rule(target);
        let headers = rule
            .headers
            .with(HeaderSet::DUP, message.dup)
            .with(HeaderSet::RETAIN, message.retain)
            .with(HeaderSet::CLOCK_UNSURE, !message.clock_sure);
        let record = NewRecord {
            client_id: sender.client_id,
            topic: message.topic,
            payload: message.payload,
            key: rule.key.range(sender.client_id, message.topic),
            received: message.received,
            arrived: message.arrived,
            lifetime_s: message.lifetime_s,
            since: now,
            headers,
            awaited: message.ack.is_some(),
            ack: AckTarget { connection: sender.connection, ack: message.ack },
        };
        self.counters.streams[self.shared.router.stream(target).index()].admitted.add(1);
        let route = self.routes.get_mut(id);
        route.queue.push(&record);
        if route.mode.is_behind() {
            self.submit(id);
        }
        self.hand_over(id, now);
    }

    /// Takes what Kafka, and the disk, have said since the last call: adds whom to acknowledge to `confirmed`, and hands
    /// over what waited for it.
    pub(crate) fn take_news(&mut self, confirmed: &mut Vec<AckTarget>, now: Timestamp) {
        self.take_letters(confirmed, now);
        self.take_reports(confirmed, now);
        self.take_stored(confirmed);
        self.take_read(now);
        self.hand_over_waiting(now);
        self.take_passed_over(confirmed);
        if let Some(error) = self.shared.delivery.fatal() {
            self.shared.fail(Error::Fatal(error));
        }
    }

    fn take_reports(&mut self, confirmed: &mut Vec<AckTarget>, now: Timestamp) {
        let Self { routes, out: Outlet { shared, way }, stow, again, counters, .. } = self;
        let Way { port, flights, refused_times, .. } = way;
        port.completions(now, |report| {
            let Some(Flight { route: id, number, asked_at, own_time }) =
                flights.end(report.tag, report.generation)
            else {
                return;
            };
            let completed = match (report.outcome, &mut *stow) {
                (Outcome::Delivered { .. }, Some(stow)) => {
                    stow.proven(now.since(asked_at), now);
                    Completed::Proven
                }
                (Outcome::Delivered { .. }, None) => Completed::Proven,
                (Outcome::Unproven, _) => Completed::Unproven,
                (Outcome::Failed(class, code), Some(stow)) => {
                    if class == Class::Drop {
                        if report.alone && stow.put_aside(routes, id, number, &format!("{code:?}")) {
                            return;
                        }
                        let route = stow.log_route(routes.key(id));
                        routes.queue(id).expect_refusal(route);
                    }
                    if report.alone && condition(code) == Some(Condition::RecordTime) {
                        // It is handed over again when it is due, and then with another time: see `Way::times`.
                        let now = (shared.unix_clock)();
                        let refused = &mut refused_times[routes.key(id).stream.index()];
                        refuse_time(refused, own_time, now, report.partition);
                    }
                    // Its producer is being replaced; all that it had is handed over again.
                    Completed::Unproven
                }
                (Outcome::Failed(_, code), None) => {
                    // The record stays where it is, and what is behind it: nothing of it is acknowledged.
                    let topic = shared.topic_names[routes.key(id).stream.index()].clone();
                    shared.fail(Error::Refused {
                        topic,
                        partition: report.partition,
                        code: format!("{code:?}"),
                    });
                    return;
                }
            };
            finish(routes, stow, counters, again, (id, number), completed, confirmed);
        });
        self.note_done();
        while let Some(id) = self.again.pop() {
            self.rewound(id);
            self.hand_over(id, now);
        }
    }

    fn finish(&mut self, id: RouteId, number: u64, completed: Completed, confirmed: &mut Vec<AckTarget>) {
        let Self { routes, stow, again, counters, .. } = self;
        finish(routes, stow, counters, again, (id, number), completed, confirmed);
    }

    /// Lets go what was passed over and has no elder that is still with Kafka.
    fn take_passed_over(&mut self, confirmed: &mut Vec<AckTarget>) {
        let Self { routes, stow, counters, .. } = self;
        while let Some(id) = routes.next_that_passed_over() {
            let key = routes.key(id);
            let at = ack_at(stow.as_ref(), key);
            let reported = routes.queue(id).move_done(at, |target| confirmed.push(target));
            note(stow, counters, (id, key), reported);
        }
        self.note_done();
    }

    fn hand_over_waiting(&mut self, now: Timestamp) {
        self.out.way.retry_at = None;
        if self.routes.anyone_waits() {
            let Self { routes, out, .. } = self;
            routes.hand_over_waiting(|turn| out.give(turn, now));
        }
        self.tell_reader();
    }

    /// Returns when [`Self::take_news`] is due though no report comes.
    pub(crate) fn retry_at(&self) -> Option<Timestamp> {
        if self.routes.has_passed_over() { Some(Timestamp::ZERO) } else { self.out.way.retry_at }
    }

    fn hand_over(&mut self, id: RouteId, now: Timestamp) {
        let Self { routes, out, stow, .. } = self;
        if stow.as_ref().is_some_and(|stow| stow.holds_back(id, routes)) {
            return;
        }
        // A route that was refused is in the waiting list now.
        let _ = routes.hand_over(id, |turn| out.give(turn, now));
    }
}

/// Notes what became of a hand-over: adds whom to acknowledge to `confirmed`, and the route to `again` if its records must
/// be handed over again.
fn finish(
    routes: &mut RouteTable<AckTarget>,
    stow: &mut Option<Stow>,
    counters: &Counters,
    again: &mut Vec<RouteId>,
    (id, number): (RouteId, u64),
    completed: Completed,
    confirmed: &mut Vec<AckTarget>,
) {
    let key = routes.key(id);
    let at = ack_at(stow.as_ref(), key);
    let reported = routes.queue(id).complete(number, completed, at, |target| confirmed.push(target));
    note(stow, counters, (id, key), reported);
    if reported.again > 0 {
        counters.streams[key.stream.index()].handed_again.add(reported.again);
        tracing::warn!(
            repeated = reported.again,
            partition = key.partition,
            "a report proved nothing: handing over again"
        );
        again.push(id);
    }
}

/// Notes what is done: for the log, and for people.
fn note(stow: &mut Option<Stow>, counters: &Counters, (id, key): (RouteId, RouteKey), reported: Reported) {
    if let Some(stow) = stow {
        stow.reported(id, reported.logged_bytes);
    }
    if reported.expired > 0 {
        counters.streams[key.stream.index()].expired.add(reported.expired);
    }
}

fn ack_at(stow: Option<&Stow>, key: RouteKey) -> AckAt {
    stow.map_or(AckAt::First, |stow| stow.ack_at(key))
}

/// Kafka has refused the time of a record that was alone. `own_time`: when it was received, if it was sent with that.
fn refuse_time(refused: &mut RefusedTimes, own_time: Option<UnixMillis>, now: UnixMillis, partition: u32) {
    if let Some(time) = own_time {
        tracing::warn!(
            time_ms = time.0,
            now_ms = now.0,
            partition,
            "kafka refuses the time of a record: it is sent again with the time of its sending"
        );
        refused.refuse(time, now);
    } else {
        tracing::warn!(now_ms = now.0, partition, "kafka refuses the present time: is the clock right?");
    }
}
