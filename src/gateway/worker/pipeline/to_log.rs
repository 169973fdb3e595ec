//! From memory to the disk: what the writer gets, and what becomes of it.

use std::collections::BTreeSet;

use tidegate_core::route::Mode;
use tidegate_core::time::Timestamp;
use tidegate_spool::{LaneId, Record as _, Refused, RefusedBecause};

use super::stow::{Letter, Stow, Ticket};
use super::{AckTarget, Pipeline};
use crate::Error;
use crate::route::{Completed, Owned, RouteId, RouteKey, RouteTable};
use crate::spool::Store;

impl Pipeline {
    /// Gives the writer what it has not got of a route that is BEHIND.
    pub(super) fn submit(&mut self, id: RouteId) {
        self.give_writer(id);
        self.note_done();
    }

    fn give_writer(&mut self, id: RouteId) {
        let Some(stow) = &mut self.stow else { return };
        let route = self.routes.get_mut(id);
        let (key, class) = (route.key, stow.class(route.key));
        let (lane, log_route, epoch) = (Store::lane(class), stow.store.route(key), stow.store.epoch());
        while let Some(queued) = route.queue.next_to_submit() {
            if stow.down[class.index()] {
                stow.refused.insert(id, lane);
                return;
            }
            let seq = queued.seq;
            match stow.store.spool.submit(lane, Owned::of(&queued, log_route, epoch)) {
                Ok(number) => {
                    let done_bytes = route.queue.submitted();
                    stow.reported(id, done_bytes);
                    let tickets = stow.tickets.entry((lane, key.shard)).or_default();
                    tickets.push_back(Ticket { number, route: id, seq });
                }
                Err(Refused {
                    because: RefusedBecause::QueueFull | RefusedBecause::Down | RefusedBecause::Closed,
                    ..
                }) => {
                    stow.refused.insert(id, lane);
                    return;
                }
                Err(Refused { because, .. }) => {
                    // Excluded by what is admitted and by positions that only rise: a defect must not go on silently.
                    self.shared.fail(Error::Spool(because.to_string()));
                    return;
                }
            }
        }
    }

    pub(super) fn submit_refused(&mut self) {
        let refused = self.stow.as_mut().map(|stow| std::mem::take(&mut stow.refused)).unwrap_or_default();
        for id in refused.into_keys() {
            if self.routes.find(id).is_some_and(|route| route.mode.is_behind()) {
                self.submit(id);
            }
        }
    }

    /// Lets routes go on whose dead letters are durable.
    pub(super) fn take_letters(&mut self, confirmed: &mut Vec<AckTarget>, now: Timestamp) {
        let Some(stow) = self.stow.as_mut().filter(|stow| !stow.letters.is_empty()) else { return };
        let settled = stow.settled_letters();
        for Letter { route, number, .. } in settled {
            self.counters.dead_letters.add(1);
            self.finish(route, number, Completed::Proven, confirmed);
            self.hand_over(route, now);
        }
        self.note_done();
    }

    /// Takes note of what is settled: durable, or in Kafka meanwhile.
    pub(super) fn take_stored(&mut self, confirmed: &mut Vec<AckTarget>) {
        let Self { routes, stow: Some(stow), .. } = self else { return };
        if stow.tickets.is_empty() {
            return;
        }
        let mut tickets = std::mem::take(&mut stow.tickets);
        let mut unread = BTreeSet::new();
        let mut moved = false;
        tickets.retain(|(lane, shard), waiting| {
            let settled = stow.store.spool.settled(*lane, *shard);
            while let Some(ticket) = waiting.pop_front_if(|ticket| ticket.number < settled) {
                moved = true;
                // A route is not freed while one of its records is unsettled.
                let Some(route) = routes.find(ticket.route) else { continue };
                let at = stow.ack_at(route.key);
                route.queue.stored(ticket.seq, at, |target| confirmed.push(target));
                if route.queue.needs_log() && !route.is_read {
                    unread.insert(ticket.route);
                }
            }
            !waiting.is_empty()
        });
        stow.tickets = tickets;
        for id in unread {
            self.start_reading(id);
        }
        if moved {
            self.submit_refused();
        }
    }

    /// Tells the log what Kafka has.
    pub(super) fn note_done(&mut self) {
        let Self { routes, stow: Some(stow), .. } = self else { return };
        let mut done = std::mem::take(&mut stow.done);
        let mut freed = Vec::new();
        for (id, bytes) in done.drain(..) {
            let Some(route) = routes.find(id) else { continue };
            let (lane, log_route) = (stow.lane(route.key), stow.store.route(route.key));
            stow.store.spool.done(lane, log_route, route.queue.done(), bytes);
            if stow.elders.done(log_route, id, route.queue.done()) {
                freed.push(route.key);
            }
        }
        stow.done = done;
        for elder in freed {
            self.let_go_behind(elder);
        }
    }

    /// Lets routes go on that end where `elder` does.
    fn let_go_behind(&mut self, elder: RouteKey) {
        let Some(stow) = &self.stow else { return };
        let (place, now) = (stow.store.route(elder), (stow.shared.clock)());
        let streams = stow.shared.router.streams();
        let keys = streams.map(|stream| RouteKey { stream, ..elder });
        let behind: Vec<RouteId> = keys
            .filter(|key| stow.store.route(*key) == place)
            .filter_map(|key| self.routes.id(key))
            .collect();
        for id in behind {
            self.hand_over(id, now);
        }
    }

    /// Lets everything in memory go to the disk, and reads nothing from it any more: the gateway stops.
    pub(crate) fn stow_all(&mut self, now: Timestamp) {
        if self.stow.is_none() {
            return;
        }
        let ids: Vec<RouteId> = self.routes.iter_mut().map(|(id, _)| id).collect();
        for id in ids {
            self.routes.get_mut(id).mode = Mode::Behind { since: now };
            self.submit(id);
        }
    }

    /// Returns true if the disk may still take something that is in memory.
    pub(crate) fn is_stowing(&self) -> bool {
        let Some(stow) = &self.stow else { return false };
        let down = |lane: LaneId| stow.down[lane.index()];
        let waiting = stow.tickets.keys().map(|(lane, _)| *lane).chain(stow.refused.values().copied());
        waiting.into_iter().any(|lane| !down(lane)) || !stow.letters.is_empty()
    }
}

impl Stow {
    /// Puts aside a record that Kafka refuses for good; returns false if it must be handed over again first.
    pub(super) fn put_aside(
        &mut self,
        routes: &mut RouteTable<AckTarget>,
        route: RouteId,
        number: u64,
        error: &str,
    ) -> bool {
        let key = routes.key(route);
        let Some(record) = routes.queue(route).refused(number, self.store.route(key)) else { return false };
        match self.store.spool.dead_letter(self.lane(key), &record.frame(), error) {
            Ok(ticket) => {
                tracing::error!(
                    error,
                    shard = key.shard,
                    "kafka refuses a record for good: it is a dead letter"
                );
                self.letters.push(Letter { ticket, shard: key.shard, route, number });
                true
            }
            Err(because) => {
                tracing::warn!(%because, "kafka refuses a record for good, and there is no place for it");
                false
            }
        }
    }

    /// Takes the letters that are durable.
    fn settled_letters(&mut self) -> Vec<Letter> {
        let Self { letters, store, .. } = self;
        letters
            .extract_if(.., |letter| store.spool.settled(store.dead_letters, letter.shard) > letter.ticket)
            .collect()
    }
}
