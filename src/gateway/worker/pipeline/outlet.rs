//! The last step to Kafka: one record, with its headers, through the worker's port.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_kafka::delivery::{Port, Record, Refusal};
use tidegate_spool::{Clocks, Flags, Lifetime, headers};

use super::times::RefusedTimes;
use crate::Error;
use crate::route::{Flight, Flights, Given, HeaderSet, Logged, Next, Queued, StreamId, Turn, Wait};
use crate::shared::Shared;

/// When librdkafka refuses for a reason that no report ends.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Headers of a record: four that identify it, five that the settings or the device ask for, and two of its time.
const MAX_HEADERS: usize = 11;
/// No run has this epoch.
const NO_EPOCH: u32 = 0;

/// The part of the pipeline that a hand-over needs beside the routes.
pub(super) struct Outlet {
    pub(super) shared: Arc<Shared>,
    pub(super) way: Way,
}

/// The worker's port, and what is on its way through it.
pub(super) struct Way {
    pub(super) port: Port,
    pub(super) flights: Flights,
    /// By stream.
    pub(super) refused_times: Vec<RefusedTimes>,
    /// When to try again though no report comes.
    pub(super) retry_at: Option<Timestamp>,
}

/// A record's own time, and the one that it is sent with.
#[derive(Clone, Copy)]
struct Times {
    received: UnixMillis,
    /// The clock was synchronised then.
    sure: bool,
    sent: UnixMillis,
}

/// What headers are written in that are not at hand as text.
#[derive(Default)]
struct Digits {
    seq: [u8; 20],
    epoch: [u8; 20],
    time: [u8; 20],
    expiry: [u8; 20],
}

/// A record's headers while they are put together; what is beyond their bound is dropped.
struct Headers<'a> {
    all: [(&'a str, &'a [u8]); MAX_HEADERS],
    count: usize,
}

impl Outlet {
    pub(super) fn new(port: Port, shared: &Arc<Shared>) -> Self {
        let refused_times = vec![RefusedTimes::default(); shared.router.destinations.len()];
        let way = Way { port, flights: Flights::default(), refused_times, retry_at: None };
        Self { shared: Arc::clone(shared), way }
    }

    /// Hands one record over, unless its lifetime is over.
    pub(super) fn give(&mut self, turn: &Turn<'_>, now: Timestamp) -> Result<Given, Wait> {
        let lifetime = match turn.next {
            Next::Fresh(queued) => queued.lifetime(now),
            Next::Logged(logged) => self.lifetime(logged, now),
        };
        if turn.is_passed_over(lifetime) {
            return Ok(Given::PassedOver);
        }
        match turn.next {
            Next::Fresh(queued) => self.give_fresh(turn, &queued, lifetime, now)?,
            Next::Logged(logged) => self.give_logged(turn, logged, lifetime, now)?,
        }
        Ok(Given::Handed)
    }

    /// Returns what is left of the lifetime of a record that the log gave back.
    fn lifetime(&self, logged: &Logged, now: Timestamp) -> Lifetime {
        let (frame, shared) = (logged.frame(), &self.shared);
        if frame.lifetime_s == 0 {
            return Lifetime::Unlimited;
        }
        let store = shared.store.as_ref().filter(|_| shared.identity.is_own(logged.gateway));
        Lifetime::of(
            &frame,
            &Clocks {
                epoch: store.map_or(NO_EPOCH, |store| store.epoch()),
                uptime: now.since(Timestamp::ZERO),
                now_unix_ms: (shared.unix_clock)().0,
                synchronised: shared.wall.is_sure(),
            },
        )
    }

    fn give_fresh(
        &mut self,
        turn: &Turn<'_>,
        queued: &Queued<'_>,
        lifetime: Lifetime,
        now: Timestamp,
    ) -> Result<(), Wait> {
        let Self { shared, way } = self;
        let Digits { seq, time, expiry, .. } = &mut Digits::default();
        let sure = !queued.headers.has(HeaderSet::CLOCK_UNSURE);
        let times = way.times(shared, turn.key.stream, queued.received, sure);
        let identity = &shared.identity;
        let seq = decimal(queued.seq, seq);
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
        headers.push_lifetime(lifetime, expiry);
        headers.push_time(times, time);
        let record = (queued.key, queued.payload, times);
        way.send(shared, turn, record, &headers, now)
    }

    fn give_logged(
        &mut self,
        turn: &Turn<'_>,
        logged: &Logged,
        lifetime: Lifetime,
        now: Timestamp,
    ) -> Result<(), Wait> {
        let Self { shared, way } = self;
        let frame = logged.frame();
        let Digits { seq, epoch, time, expiry } = &mut Digits::default();
        let (received, sure) = (UnixMillis(frame.time_unix_ms), frame.flags.has(Flags::CLOCK_SURE));
        let times = way.times(shared, turn.key.stream, received, sure);
        let seq = decimal(frame.position.seq, seq);
        let epoch = decimal(frame.position.epoch.into(), epoch);
        let gateway = shared.identity.of(logged.gateway);
        let mut all = Headers::new(shared, turn, &gateway, epoch, seq);
        for (name, value) in headers(frame.headers) {
            all.push(name, value, true);
        }
        all.push("tg-dup", b"1", frame.flags.has(Flags::DUP));
        all.push("tg-retain", b"1", frame.flags.has(Flags::RETAIN));
        all.push_lifetime(lifetime, expiry);
        all.push_time(times, time);
        let record = (frame.key.unwrap_or_default(), frame.payload, times);
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

    /// Tells how much of a Message Expiry Interval is left, in seconds.
    fn push_lifetime(&mut self, lifetime: Lifetime, digits: &'a mut [u8; 20]) {
        let left = match lifetime {
            Lifetime::Unlimited => return,
            Lifetime::Left(seconds) => seconds,
            Lifetime::Over => 0,
        };
        self.push("mqtt-expiry-s", decimal(left.into(), digits), true);
    }

    /// Tells a record's own time, in milliseconds since 1970, if it is sent with another, and whether that is sure.
    fn push_time(&mut self, times: Times, digits: &'a mut [u8; 20]) {
        self.push("tg-clock", b"unsure", !times.sure);
        let received = u64::try_from(times.received.0).unwrap_or_default();
        self.push("tg-time", decimal(received, digits), times.sent != times.received);
    }
}

impl Way {
    /// Returns the times of a record. Kafka takes none that is too far from its clock, and a record is not lost for that;
    /// one from 1970, when a box begins without a clock, it takes and may delete the next moment.
    fn times(&self, shared: &Shared, stream: StreamId, received: UnixMillis, sure: bool) -> Times {
        let refused = &self.refused_times[stream.index()];
        if sure && refused.is_empty() {
            return Times { received, sure, sent: received };
        }
        let now = (shared.unix_clock)();
        let is_kept = sure && !refused.would_refuse(received, now);
        Times { received, sure, sent: if is_kept { received } else { now } }
    }

    fn send(
        &mut self,
        shared: &Shared,
        turn: &Turn<'_>,
        (key, payload, times): (&[u8], &[u8], Times),
        headers: &Headers<'_>,
        now: Timestamp,
    ) -> Result<(), Wait> {
        let Self { port, flights, retry_at, .. } = self;
        let route = turn.key;
        let record = Record {
            topic: shared.router.destination(route.stream).topic,
            partition: route.partition,
            key,
            payload,
            headers: &headers.all[..headers.count],
            timestamp: times.sent,
        };
        match port.hand_over(&record, flights.next_tag(), now) {
            Ok(generation) => {
                let (route, number, asked_at) = (turn.route, turn.number, turn.asked_at(now));
                let own_time = Some(times.received).filter(|received| *received == times.sent);
                flights.start(Flight { route, number, asked_at, own_time }, generation);
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
