//! When a worker acts though nothing came: keep-alive, pacing, housekeeping.

use std::rc::Rc;
use std::time::Duration;

use tidegate_core::time::{Timestamp, UnixMillis};
use tokio::sync::Notify;

use super::Worker;
use super::intake::second;
use super::slab::ConnectionId;
use crate::reason::CloseReason;
use crate::wheel::Wheel;

/// Keep-alive is in seconds; half of one is fine enough, and 512 of them are more than four minutes.
const KEEP_ALIVE_TICK: Duration = Duration::from_millis(500);
const KEEP_ALIVE_SLOTS: usize = 512;
/// A held message of a 100/s device waits 10 ms; the horizon is above the longest look-ahead of 1 s.
const PACE_TICK: Duration = Duration::from_millis(5);
const PACE_SLOTS: usize = 256;
/// A connection that read nothing for this long needs no buffers.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// Gauges, and memory to give back.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Timers {
    keep_alive: Wheel<ConnectionId>,
    /// With the time it was set for: a connection counts the last one only.
    pace: Wheel<(ConnectionId, Timestamp)>,
    housekeeping: Timestamp,
    /// When the timer task wakes; an earlier timer must tell it.
    armed: Timestamp,
    changed: Rc<Notify>,
    fired: Vec<ConnectionId>,
    fired_pace: Vec<(ConnectionId, Timestamp)>,
}

impl Timers {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            keep_alive: Wheel::new(KEEP_ALIVE_TICK, KEEP_ALIVE_SLOTS, now),
            pace: Wheel::new(PACE_TICK, PACE_SLOTS, now),
            housekeeping: now + HOUSEKEEPING_EVERY,
            armed: now,
            changed: Rc::default(),
            fired: Vec::new(),
            fired_pace: Vec::new(),
        }
    }

    pub(super) fn changed(&self) -> Rc<Notify> {
        Rc::clone(&self.changed)
    }

    pub(super) fn pace(&mut self, id: ConnectionId, due: Timestamp) {
        self.pace.insert((id, due), due);
        self.tell(due);
    }

    pub(super) fn keep_alive(&mut self, id: ConnectionId, due: Timestamp) {
        self.keep_alive.insert(id, due);
        self.tell(due);
    }

    pub(super) fn tell(&mut self, due: Timestamp) {
        if due < self.armed {
            self.armed = due;
            self.changed.notify_one();
        }
    }
}

impl Worker {
    /// Returns when [`Self::on_time`] is due, and remembers it.
    pub(super) fn next_timer(&mut self) -> Timestamp {
        let timers = &mut self.timers;
        let pipeline = &self.pipeline;
        let dues =
            [timers.keep_alive.next_due(), timers.pace.next_due(), pipeline.retry_at(), pipeline.judge_at()];
        timers.armed = dues.into_iter().flatten().fold(timers.housekeeping, Timestamp::min);
        timers.armed
    }

    pub(super) fn on_time(&mut self, now: Timestamp) {
        if self.pipeline.retry_at().is_some_and(|due| due <= now) {
            self.on_news();
        }
        if self.pipeline.judge_at().is_some_and(|due| due <= now) {
            self.judge();
        }
        let mut fired = std::mem::take(&mut self.timers.fired_pace);
        self.timers.pace.advance(now, &mut fired);
        for (id, due) in fired.drain(..) {
            // A timer that an earlier one has replaced means nothing any more.
            if self.connections.get_mut(id).is_some_and(|connection| connection.paced_for == Some(due)) {
                self.serve(id, now, |connection, desk| {
                    connection.paced_for = None;
                    connection.pace(desk)
                });
            }
        }
        self.timers.fired_pace = fired;
        let mut fired = std::mem::take(&mut self.timers.fired);
        self.timers.keep_alive.advance(now, &mut fired);
        for id in fired.drain(..) {
            self.check_silence(id, now);
        }
        self.timers.fired = fired;
        if now >= self.timers.housekeeping {
            self.timers.housekeeping = now + HOUSEKEEPING_EVERY;
            self.keep_house(now);
        }
    }

    /// The timer of each connection with a keep-alive is always set; packets only move `last_seen`.
    fn check_silence(&mut self, id: ConnectionId, now: Timestamp) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.is_silent(now) {
            self.close(id, CloseReason::KeepAlive, now);
            return;
        }
        let due = (connection.last_seen + connection.silence).max(now + KEEP_ALIVE_TICK);
        self.timers.keep_alive(id, due);
    }

    fn keep_house(&mut self, now: Timestamp) {
        self.pipeline.sweep(now);
        self.devices.sweep(now);
        if let Some(error) = self.shared.delivery.fatal() {
            self.shared.fail(crate::Error::Fatal(error));
        }
        let counters = &self.counters;
        counters.queued_records.set(self.pipeline.routes.records());
        counters.routes.set(self.pipeline.routes.len() as u64);
        counters.routes_behind.set(self.pipeline.routes.behind() as u64);
        counters.forgotten_buckets.set(self.devices.forgotten());
        counters.forgotten_sessions.set(self.sessions.forgotten());
        self.note_ages();
        self.measure(now);
    }

    /// Notes how old what waits on the disk is, per stream.
    fn note_ages(&self) {
        let mut oldest = vec![None; self.counters.streams.len()];
        for (stream, received) in self.pipeline.routes.received_behind() {
            let oldest: &mut Option<UnixMillis> = &mut oldest[stream.index()];
            *oldest = Some(oldest.map_or(received, |oldest| oldest.min(received)));
        }
        for (counters, oldest) in self.counters.streams.iter().zip(oldest) {
            counters.oldest_behind_ms.set(oldest.map_or(0, |time| u64::try_from(time.0).unwrap_or(0)));
        }
    }

    /// Adds up what is held back now, per stream, and takes memory back from connections that are idle.
    fn measure(&mut self, now: Timestamp) {
        let second = second(now);
        let mut streams = vec![Held::default(); self.counters.streams.len()];
        let mut held = 0;
        for connection in self.connections.iter_mut() {
            connection.note_constraint(&self.pipeline, second);
            if now.since(connection.last_seen) >= IDLE_AFTER {
                connection.rest();
            }
            let intake = &connection.intake;
            held += intake.held() as u64;
            let waits = intake.held() > 0 || connection.unread_bytes() > 0;
            let Some((stream, limit)) =
                intake.stream(&self.pipeline).filter(|_| waits || intake.demand.is_constrained())
            else {
                continue;
            };
            let sum = &mut streams[stream.index()];
            sum.devices += u64::from(intake.demand.is_constrained());
            sum.bytes += intake.held_bytes() as u64;
            sum.unread += connection.unread_bytes() as u64;
            sum.hidden_per_sec += intake.demand.hidden_per_sec(second, limit.per_sec());
        }
        self.counters.held_now.set(held);
        for (counters, sum) in self.counters.streams.iter().zip(streams) {
            counters.constrained.set(sum.devices);
            counters.held_bytes.set(sum.bytes);
            counters.unread_bytes.set(sum.unread);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate, not negative and finite"
            )]
            counters.hidden_milli.set((sum.hidden_per_sec * 1000.0) as u64);
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Held {
    devices: u64,
    bytes: u64,
    unread: u64,
    hidden_per_sec: f64,
}
