//! A worker's way to Kafka: routes, window, reports.
//!
//! Owns the routes of the worker's shards and its port. Knows connections only as the target of an
//! acknowledgement; who that is, and whether it is still there, is the worker's business.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::time::Timestamp;
use tidegate_kafka::delivery::{Outcome, Port, Record, Refusal};
use tidegate_kafka::partitioner::partition_for;
use tidegate_mqtt::AckSlot;

use super::slab::ConnectionId;
use crate::Error;
use crate::message::Message;
use crate::route::{
    Completed, Flights, HeaderSet, NewRecord, Queued, RouteId, RouteKey, RouteTable, TargetId, Wait,
};
use crate::shared::{Identity, Shared};
use crate::stats::Counters;

/// When librdkafka refuses for a reason that no report ends.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Names and values of our own headers, at most.
const OWN_HEADER_BYTES: usize = 256;

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

pub(crate) struct Pipeline {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) routes: RouteTable<AckTarget>,
    out: Outlet,
    /// Routes whose records must be handed over again; kept for its memory.
    again: Vec<RouteId>,
}

/// The part of the pipeline that a hand-over needs beside the routes.
struct Outlet {
    port: Port,
    flights: Flights,
    shared: Arc<Shared>,
    retry_at: Option<Timestamp>,
}

impl Pipeline {
    pub(crate) fn new(shared: &Arc<Shared>, counters: &Arc<Counters>, port: Port) -> Self {
        Self {
            shared: Arc::clone(shared),
            counters: Arc::clone(counters),
            routes: RouteTable::new(&shared.queue_ceiling),
            out: Outlet { port, flights: Flights::default(), shared: Arc::clone(shared), retry_at: None },
            again: Vec::new(),
        }
    }

    /// Returns true if a message fits a Kafka record.
    pub(crate) fn fits(&self, sender: &Sender<'_>, message: &Message<'_>) -> bool {
        // Key and the two optional headers are parts of client id and topic.
        let texts = 2 * (sender.client_id.len() + message.topic.len());
        texts + message.payload.len() + OWN_HEADER_BYTES <= self.shared.max_record_bytes
    }

    /// Returns the message's route if its queue has room.
    pub(crate) fn room(
        &mut self,
        target: TargetId,
        sender: &Sender<'_>,
        message: &Message<'_>,
        now: Timestamp,
    ) -> Option<RouteId> {
        let router = &self.shared.router;
        let stream = router.stream(target);
        let (start, len) = router.rule(target).key.range(sender.client_id, message.topic);
        let split = sender.client_id.len();
        let key = if start < split {
            &sender.client_id.as_bytes()[start..start + len]
        } else {
            &message.topic.as_bytes()[start - split..start - split + len]
        };
        let partition = partition_for(key, router.destination(stream).partitions);
        let id = self.routes.open(RouteKey { shard: sender.shard, stream, partition }, now);
        let bytes = split + message.topic.len() + message.payload.len();
        self.routes.queue(id).reserve(bytes).then_some(id)
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
        let headers = rule.headers.with(HeaderSet::DUP, message.dup).with(HeaderSet::RETAIN, message.retain);
        let record = NewRecord {
            client_id: sender.client_id,
            topic: message.topic,
            payload: message.payload,
            key: rule.key.range(sender.client_id, message.topic),
            received: message.received,
            headers,
            ack: AckTarget { connection: sender.connection, ack: message.ack },
        };
        self.counters.streams[self.shared.router.stream(target).index()].admitted.add(1);
        self.routes.queue(id).push(&record);
        self.hand_over(id, now);
    }

    /// Takes Kafka's reports, adds whom to acknowledge to `confirmed`, and hands over what waited for them.
    pub(crate) fn take_reports(&mut self, confirmed: &mut Vec<AckTarget>, now: Timestamp) {
        let Self { routes, out: Outlet { port, flights, shared, .. }, again, counters, .. } = self;
        port.completions(now, |report| {
            let Some((route, position)) = flights.end(report.tag, report.generation) else {
                return;
            };
            let completed = match report.outcome {
                Outcome::Delivered { .. } => Completed::Proven,
                Outcome::Unproven => Completed::Unproven,
                Outcome::Failed(_, code) => {
                    // The record stays where it is, and what is behind it: nothing of it is acknowledged.
                    let topic = shared.topic_names[routes.key(route).stream.index()].clone();
                    shared.fail(Error::Refused {
                        topic,
                        partition: report.partition,
                        code: format!("{code:?}"),
                    });
                    return;
                }
            };
            let repeated = routes.queue(route).complete(position, completed, |target| {
                if target.ack.is_some() {
                    confirmed.push(target);
                }
            });
            if repeated > 0 {
                let stream = routes.key(route).stream;
                counters.streams[stream.index()].handed_again.add(repeated);
                tracing::warn!(
                    repeated,
                    partition = report.partition,
                    "a success proved nothing: handing over again"
                );
                again.push(route);
            }
        });
        while let Some(route) = self.again.pop() {
            self.hand_over(route, now);
        }
        self.hand_over_waiting(now);
        if let Some(error) = self.shared.delivery.fatal() {
            self.shared.fail(Error::Fatal(error));
        }
    }

    pub(crate) fn hand_over_waiting(&mut self, now: Timestamp) {
        self.out.retry_at = None;
        if self.routes.anyone_waits() {
            let Self { routes, out, .. } = self;
            routes.hand_over_waiting(|id, key, record| out.give(id, key, record, now));
        }
    }

    /// Returns when [`Self::hand_over_waiting`] is due though no report comes.
    pub(crate) const fn retry_at(&self) -> Option<Timestamp> {
        self.out.retry_at
    }

    fn hand_over(&mut self, id: RouteId, now: Timestamp) {
        let Self { routes, out, .. } = self;
        // A route that was refused is in the waiting list now.
        let _ = routes.hand_over(id, |id, key, record| out.give(id, key, record, now));
    }
}

impl Outlet {
    fn give(&mut self, id: RouteId, key: RouteKey, queued: &Queued<'_>, now: Timestamp) -> Result<(), Wait> {
        let Self { port, flights, shared, retry_at } = self;
        let destination = shared.router.destination(key.stream);
        let mut digits = [0; 20];
        let identity = &shared.identity;
        let source = identity.source(key.shard, destination.class.index());
        let mut headers: [(&str, &[u8]); 8] = [("", b""); 8];
        headers[0] = ("tg-gw", identity.gateway.as_bytes());
        headers[1] = ("tg-src", source.as_bytes());
        headers[2] = ("tg-epoch", Identity::epoch().as_bytes());
        headers[3] = ("tg-seq", decimal(queued.position, &mut digits));
        let optional: [(HeaderSet, &str, &[u8]); 4] = [
            (HeaderSet::TOPIC, "mqtt-topic", queued.topic),
            (HeaderSet::CLIENT_ID, "mqtt-client-id", queued.client_id),
            (HeaderSet::DUP, "tg-dup", b"1"),
            (HeaderSet::RETAIN, "tg-retain", b"1"),
        ];
        let mut count = 4;
        for (header, name, value) in optional {
            if queued.headers.has(header) {
                headers[count] = (name, value);
                count += 1;
            }
        }
        let record = Record {
            topic: destination.topic,
            partition: key.partition,
            key: queued.key,
            payload: queued.payload,
            headers: &headers[..count],
            timestamp: queued.received,
        };
        match port.hand_over(&record, flights.next_tag(), now) {
            Ok(generation) => {
                flights.start(id, queued.position, generation);
                Ok(())
            }
            Err(Refusal::Window | Refusal::Cold) => Err(Wait::Partition),
            Err(Refusal::QueueFull | Refusal::Unknown(_)) => {
                *retry_at = Some(now + RETRY_AFTER);
                Err(Wait::Partition)
            }
            Err(Refusal::Credits | Refusal::Closed) => Err(Wait::Everything),
            Err(Refusal::TooLarge) => {
                // Excluded when it was admitted; a defect must not become a silent standstill.
                let topic = shared.topic_names[key.stream.index()].clone();
                shared.fail(Error::Refused { topic, partition: key.partition, code: "TooLarge".to_owned() });
                Err(Wait::Everything)
            }
        }
    }
}

/// Writes a number in decimal at the end of `digits`, without the allocation of `to_string`.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
