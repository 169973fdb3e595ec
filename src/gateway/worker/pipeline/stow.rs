//! The disk's part in a worker's pipeline: which routes are BEHIND, and what the worker remembers of the log.
//!
//! Owns the tickets of what the writer has and has not settled; what goes to the log and comes back from it stands in
//! `to_log` and `from_log`. Without a spool there is none of this, and every call does nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::admission::ClassId;
use tidegate_core::route::{Ends, Judge, Mode, excess_bytes};
use tidegate_core::time::Timestamp;
use tidegate_spool::{Health, LaneId, RouteId as LogRoute, Verdict};

use super::{AckTarget, Pipeline};
use crate::config::AckAt;
use crate::route::{Elders, RouteId, RouteKey, RouteTable};
use crate::shared::Shared;
use crate::spool::Store;

/// How often routes are judged: a tenth of the least age that says that Kafka is slow.
const JUDGE_EVERY: Duration = Duration::from_millis(100);

/// A record that the writer has.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) route: RouteId,
    pub(super) seq: u64,
}

/// A record that Kafka refuses for good, on its way to the dead letters.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) ticket: u64,
    pub(super) shard: u8,
    pub(super) route: RouteId,
    /// Of its hand-over.
    pub(super) number: u64,
}

/// See the module.
pub(super) struct Stow {
    pub(super) worker: usize,
    pub(super) store: Arc<Store>,
    pub(super) shared: Arc<Shared>,
    judge: Judge,
    judge_at: Timestamp,
    /// In order, per lane and shard: as the writer settles them.
    pub(super) tickets: BTreeMap<(LaneId, u8), VecDeque<Ticket>>,
    /// Bounded by the routes: each waits for its own before it goes on.
    pub(super) letters: Vec<Letter>,
    /// Routes with records that the writer did not take, and their lanes.
    pub(super) refused: BTreeMap<RouteId, LaneId>,
    /// Routes with records that other settings have routed.
    pub(super) elders: Elders,
    /// Routes that Kafka has more of, and the bytes of that: the log wants to know. One entry per run of reports.
    pub(super) done: Vec<(RouteId, u64)>,
    /// Classes whose log is DISK-DOWN.
    pub(super) down: Vec<bool>,
    /// Classes whose log is full.
    full: Vec<bool>,
    /// Nothing is read from the log any more.
    pub(super) stopping: bool,
    /// Kept for its memory.
    pub(super) filled: Vec<RouteId>,
}

impl Stow {
    pub(super) fn new(worker: usize, store: &Arc<Store>, shared: &Arc<Shared>) -> Self {
        let now = (shared.clock)();
        Self {
            worker,
            store: Arc::clone(store),
            shared: Arc::clone(shared),
            judge: Judge::new(now),
            judge_at: now + JUDGE_EVERY,
            tickets: BTreeMap::new(),
            letters: Vec::new(),
            refused: BTreeMap::new(),
            elders: Elders::default(),
            done: Vec::new(),
            down: vec![false; shared.classes.iter().count()],
            full: vec![false; shared.classes.iter().count()],
            stopping: false,
            filled: Vec::new(),
        }
    }

    /// Says what the lane does with a record that comes for a route that is BEHIND.
    pub(super) fn admit(&self, class: ClassId, acknowledged: bool) -> Verdict {
        if self.down[class.index()] {
            // DISK-DOWN: memory takes what it can, on the way to Kafka.
            return Verdict::Store;
        }
        self.store.spool.admit(Store::lane(class), acknowledged)
    }

    /// Returns when a record of that route is acknowledged.
    pub(super) fn ack_at(&self, key: RouteKey) -> AckAt {
        let down = self.down[self.class(key).index()];
        if self.store.ack == AckAt::Disk && down { AckAt::First } else { self.store.ack }
    }

    /// Takes note of a proven report, for which Kafka took `delay`.
    pub(super) fn proven(&mut self, delay: Duration, now: Timestamp) {
        self.judge.reported(delay, now);
    }

    /// Takes note of records that are done and may be in the log.
    pub(super) fn reported(&mut self, id: RouteId, logged_bytes: u64) {
        match self.done.last_mut() {
            Some((last, bytes)) if *last == id => *bytes += logged_bytes,
            _ if logged_bytes > 0 => self.done.push((id, logged_bytes)),
            _ => {}
        }
    }

    /// Returns true if records that other settings have routed go first.
    pub(super) fn holds_back(&self, id: RouteId, routes: &RouteTable<AckTarget>) -> bool {
        !self.elders.is_empty() && self.elders.hold_back(self.store.route(routes.key(id)), id)
    }

    pub(super) fn class(&self, key: RouteKey) -> ClassId {
        self.shared.router.destination(key.stream).class
    }

    /// Returns the log's name of a route.
    pub(super) fn log_route(&self, key: RouteKey) -> LogRoute {
        self.store.route(key)
    }

    pub(super) fn lane(&self, key: RouteKey) -> LaneId {
        Store::lane(self.class(key))
    }
}

impl Pipeline {
    /// Returns when [`Self::judge`] is due.
    pub(crate) fn judge_at(&self) -> Option<Timestamp> {
        self.stow.as_ref().map(|stow| stow.judge_at)
    }

    /// Judges all routes. Kafka's reports must have been taken just before, or they would look slow for want of a look.
    pub(crate) fn judge(&mut self, confirmed: &mut Vec<AckTarget>, now: Timestamp) {
        let Some(stow) = &mut self.stow else { return };
        let due = std::mem::replace(&mut stow.judge_at, now + JUDGE_EVERY);
        if stow.look_at_disks() {
            for (_, route) in self.routes.iter_mut() {
                let at = stow.ack_at(route.key);
                route.queue.settle(at, |target| confirmed.push(target));
            }
        }
        let after = stow.judge.after(due, now);
        let ceiling = &self.shared.queue_ceiling;
        let excess = excess_bytes(ceiling.used_bytes(), ceiling.limit_bytes());
        let mut turned = Vec::new();
        let (port, router) = (&self.out.way.port, &self.shared.router);
        let ends = |key: RouteKey| {
            let to = router.destination(key.stream);
            let warm_since = port.warm_since(to.topic, key.partition, now);
            Ends { disk_full: stow.full[to.class.index()], warm_since }
        };
        self.routes.judge(after, excess, now, ends, |id, mode| turned.push((id, mode)));
        for (id, mode) in turned {
            match mode {
                Mode::Behind { .. } => self.go_behind(id),
                Mode::Direct => {
                    self.counters.routes_to_direct.add(1);
                    self.stop_reading(id);
                }
            }
        }
        self.submit_refused();
    }

    pub(super) fn go_behind(&mut self, id: RouteId) {
        self.counters.routes_to_behind.add(1);
        // From the beginning, so that the reader need not look for what it has passed.
        self.start_reading(id);
        self.submit(id);
    }
}

impl Stow {
    /// Looks which lanes are DISK-DOWN or full; returns true if one has come down or up.
    fn look_at_disks(&mut self) -> bool {
        let mut changed = false;
        for (class, _) in self.shared.classes.iter() {
            let lane = Store::lane(class);
            self.full[class.index()] = self.store.spool.level(lane).is_full();
            let down = self.store.spool.health(lane) == Health::Down;
            changed |= std::mem::replace(&mut self.down[class.index()], down) != down;
        }
        changed
    }
}
