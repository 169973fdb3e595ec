//! The last step to Kafka: one record, with its headers, through the worker's port.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_kafka::delivery::{Port, Record, Refusal};
use tidegate_spool::{Flags, headers};

use crate::Error;
use crate::route::{Flights, HeaderSet, Logged, Next, Queued, Turn, Wait};
use crate::shared::Shared;

/// When librdkafka refuses for a reason that no report ends.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Headers of a record: four that identify it, and four that the settings or the device ask for.
const MAX_HEADERS: usize = 8;

/// The part of the pipeline that a hand-over needs beside the routes.
pub(super) struct Outlet {
    pub(super) shared: Arc<Shared>,
    pub(super) way: Way,
}

/// The worker's port, and what is on its way through it.
pub(super) struct Way {
    pub(super) port: Port,
    pub(super) flights: Flights,
    /// When to try again though no report comes.
    pub(super) retry_at: Option<Timestamp>,
}

/// A record's headers while they are put together; what is beyond their bound is dropped.
struct Headers<'a> {
    all: [(&'a str, &'a [u8]); MAX_HEADERS],
    count: usize,
}

impl Outlet {
    pub(super) fn new(port: Port, shared: &Arc<Shared>) -> Self {
        let way = Way { port, flights: Flights::default(), retry_at: None };
        Self { shared: Arc::clone(shared), way }
    }

    /// Hands one record over.
    pub(super) fn give(&mut self, turn: &Turn<'_>, now: Timestamp) -> Result<(), Wait> {
        match turn.next {
            Next::Fresh(queued) => self.give_fresh(turn, &queued, now),
            Next::Logged(logged) => self.give_logged(turn, logged, now),
        }
    }

    fn give_fresh(&mut self, turn: &Turn<'_>, queued: &Queued<'_>, now: Timestamp) -> Result<(), Wait> {
        let Self { shared, way } = self;
        let mut digits = [0; 20];
        let identity = &shared.identity;
        let seq = decimal(queued.seq, &mut digits);
        let mut headers = Headers::new(shared, turn, &identity.gateway, identity.epoch.as_bytes(), seq);
        let optional: [(HeaderSet, &str, &[u8]); 4] = [
            (HeaderSet::TOPIC, "mqtt-topic", queued.topic),
            (HeaderSet::CLIENT_ID, "mqtt-client-id", queued.client_id),
            (HeaderSet::DUP, "tg-dup", b"1"),
            (HeaderSet::RETAIN, "tg-retain", b"1"),
        ];
        for (header, name, value) in optional {
            headers.push(name, value, queued.headers.has(header));
        }
        let record = (queued.key, queued.payload, queued.received);
        way.send(shared, turn, record, &headers, now)
    }

    fn give_logged(&mut self, turn: &Turn<'_>, logged: &Logged, now: Timestamp) -> Result<(), Wait> {
        let Self { shared, way } = self;
        let frame = logged.frame();
        let (mut digits, mut epoch_digits) = ([0; 20], [0; 20]);
        let seq = decimal(frame.position.seq, &mut digits);
        let epoch = decimal(frame.position.epoch.into(), &mut epoch_digits);
        let gateway = shared.identity.of(logged.gateway);
        let mut all = Headers::new(shared, turn, &gateway, epoch, seq);
        for (name, value) in headers(frame.headers) {
            all.push(name, value, true);
        }
        all.push("tg-dup", b"1", frame.flags.has(Flags::DUP));
        all.push("tg-retain", b"1", frame.flags.has(Flags::RETAIN));
        let record = (frame.key.unwrap_or_default(), frame.payload, UnixMillis(frame.time_unix_ms));
        way.send(shared, turn, record, &all, now)
    }
}

impl<'a> Headers<'a> {
    /// Begins with the four headers that tell whose record it is.
    fn new(shared: &'a Shared, turn: &Turn<'_>, gateway: &'a str, epoch: &'a [u8], seq: &'a [u8]) -> Self {
        let class = shared.router.destination(turn.key.stream).class;
        let mut headers = Self { all: [("", b""); MAX_HEADERS], count: 0 };
        headers.push("tg-gw", gateway.as_bytes(), true);
        headers.push("tg-src", shared.identity.source(turn.key.shard, class.index()).as_bytes(), true);
        headers.push("tg-epoch", epoch, true);
        headers.push("tg-seq", seq, true);
        headers
    }

    fn push(&mut self, name: &'a str, value: &'a [u8], wanted: bool) {
        if wanted && let Some(place) = self.all.get_mut(self.count) {
            *place = (name, value);
            self.count += 1;
        }
    }
}

impl Way {
    fn send(
        &mut self,
        shared: &Shared,
        turn: &Turn<'_>,
        (key, payload, timestamp): (&[u8], &[u8], UnixMillis),
        headers: &Headers<'_>,
        now: Timestamp,
    ) -> Result<(), Wait> {
        let Self { port, flights, retry_at } = self;
        let route = turn.key;
        let record = Record {
            topic: shared.router.destination(route.stream).topic,
            partition: route.partition,
            key,
            payload,
            headers: &headers.all[..headers.count],
            timestamp,
        };
        match port.hand_over(&record, flights.next_tag(), now) {
            Ok(generation) => {
                flights.start(turn.route, turn.number, generation, turn.asked_at(now));
                Ok(())
            }
            // A closed lane opens again with its next producer, or never; the other classes go on.
            Err(Refusal::Window | Refusal::Cold | Refusal::Closed) => Err(Wait::Partition),
            Err(Refusal::QueueFull | Refusal::Unknown(_) | Refusal::Shut) => {
                *retry_at = Some(now + RETRY_AFTER);
                Err(Wait::Partition)
            }
            Err(Refusal::Credits) => Err(Wait::Everything),
            Err(Refusal::TooLarge) => {
                // Excluded when it was admitted; a defect must not become a silent standstill.
                let topic = shared.topic_names[route.stream.index()].clone();
                shared.fail(Error::Refused {
                    topic,
                    partition: route.partition,
                    code: "TooLarge".to_owned(),
                });
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
