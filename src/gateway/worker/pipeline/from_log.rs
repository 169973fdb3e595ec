//! From the disk back to memory: which routes the reader of the log knows, and how far they have come.

use tidegate_core::route::Mode;
use tidegate_core::time::Timestamp;

use super::Pipeline;
use crate::route::RouteId;
use crate::spool::{Resumed, log_clock};

impl Pipeline {
    /// Makes the routes of what an earlier run has left in the log.
    pub(crate) fn resume(&mut self, resumed: &[Resumed], now: Timestamp) {
        let Some(stow) = &mut self.stow else { return };
        for Resumed { key, done, last } in resumed {
            let id = self.routes.resume(*key, *done, *last, now);
            let log_route = stow.store.route(*key);
            stow.store.inlets.adopt(stow.lane(*key), log_route, id);
            if stow.store.routed_otherwise {
                stow.elders.add(log_route, id, *last);
            }
        }
    }

    /// Takes what the log gave back and hands it over.
    pub(super) fn take_read(&mut self, now: Timestamp) {
        let Some(stow) = &mut self.stow else { return };
        let mut filled = std::mem::take(&mut stow.filled);
        stow.store.inlets.take_filled(stow.worker, &mut filled);
        for id in filled.drain(..) {
            let Self { routes, stow: Some(stow), .. } = self else { break };
            let Some(route) = routes.find(id).filter(|route| route.is_read) else { continue };
            let (records, lost) = stow.store.inlets.take(stow.lane(route.key), stow.store.route(route.key));
            for logged in records {
                route.queue.give_back(logged);
            }
            self.hand_over(id, now);
            if let Some((after, until)) = lost {
                self.routes.lost(id, after, until);
                self.hand_over(id, now);
            }
            self.went_on(id);
        }
        if let Some(stow) = &mut self.stow {
            stow.filled = filled;
        }
    }

    /// Tells the reader of the log how far routes have come that it knows.
    pub(super) fn tell_reader(&mut self) {
        while let Some(id) = self.routes.next_that_went_on() {
            self.went_on(id);
        }
    }

    /// A route's records must be handed over again: those that have left memory, by way of the log.
    pub(super) fn rewound(&mut self, id: RouteId) {
        let Self { routes, stow: Some(stow), .. } = self else { return };
        let route = routes.get_mut(id);
        if route.is_read {
            let (lane, log_route) = (stow.lane(route.key), stow.store.route(route.key));
            stow.store.inlets.rewind(lane, log_route, route.queue.handed());
            stow.store.spool.rewind(lane, log_route);
        } else if route.queue.needs_log() {
            if !route.mode.is_behind() {
                route.mode = Mode::Behind { since: (stow.shared.clock)() };
                self.go_behind(id);
            }
            self.start_reading(id);
        }
    }

    pub(super) fn start_reading(&mut self, id: RouteId) {
        let Self { routes, stow: Some(stow), .. } = self else { return };
        let route = routes.get_mut(id);
        if stow.stopping || std::mem::replace(&mut route.is_read, true) {
            return;
        }
        let (lane, log_route) = (stow.lane(route.key), stow.store.route(route.key));
        stow.store.inlets.open(lane, log_route, Some(id), route.queue.handed());
        // The reader may have passed it, while nobody wanted it.
        stow.store.spool.rewind(lane, log_route);
    }

    pub(super) fn stop_reading(&mut self, id: RouteId) {
        let Self { routes, stow: Some(stow), .. } = self else { return };
        let route = routes.get_mut(id);
        if std::mem::replace(&mut route.is_read, false) {
            stow.store.inlets.close(stow.lane(route.key), stow.store.route(route.key));
        }
    }

    /// Reads nothing from the log any more: the gateway stops, and what is in it is the next run's.
    pub(crate) fn stop_reading_all(&mut self) {
        let Some(stow) = &mut self.stow else { return };
        stow.stopping = true;
        let ids: Vec<RouteId> = self.routes.iter_mut().map(|(id, _)| id).collect();
        for id in ids {
            self.stop_reading(id);
        }
    }

    fn went_on(&mut self, id: RouteId) {
        let Self { routes, stow: Some(stow), .. } = self else { return };
        let Some(route) = routes.find(id).filter(|route| route.is_read) else { return };
        let (lane, log_route) = (stow.lane(route.key), stow.store.route(route.key));
        let used = route.queue.take_read_bytes_used();
        let handed = route.queue.handed();
        if stow.store.inlets.went_on(lane, log_route, handed, used, log_clock()) {
            stow.store.spool.nudge();
        }
    }

    /// Frees routes that nobody uses.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        let Self { routes, stow, .. } = self;
        routes.sweep(now, |key| {
            if let Some(stow) = stow {
                stow.store.inlets.close(stow.lane(key), stow.store.route(key));
            }
        });
    }
}
