//! The routes of one worker: made on first use, freed when they have been empty for a while.
//!
//! Owns which queues there are, which of them wait for room in a partition's window, and which are BEHIND. Kafka itself
//! is a closure here, so that all of this is tested without one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::route::{Ends, Mode, relieve};
use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_spool::{Lifetime, Position};

use super::handed::Given;
use super::queue::{Next, RouteQueue};
use super::router::StreamId;
use super::turns::Turns;
use crate::ceiling::Ceiling;

/// An empty route is freed after this long: a device that sends every few seconds keeps its route, and one that
/// is gone does not keep memory.
const FREE_AFTER: Duration = Duration::from_secs(10);

/// What a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RouteKey {
    pub(crate) shard: u8,
    /// Class and Kafka topic.
    pub(crate) stream: StreamId,
    pub(crate) partition: u32,
}

/// Index of a route in its table; valid while the route has records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RouteId(u32);

/// Why a record could not be handed over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its partition has no room: the other routes of that partition need not be asked.
    Partition,
    /// Nothing can be handed over at all.
    Everything,
}

/// One record to hand over, and the number that its report must name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) route: RouteId,
    pub(crate) key: RouteKey,
    pub(crate) number: u64,
    pub(crate) next: Next<'a>,
    /// What became of it at an earlier turn.
    pub(crate) before: Option<Given>,
    /// It goes to Kafka only, so that its device waits for the report.
    pub(crate) is_direct: bool,
}

impl Turn<'_> {
    /// Returns whether it is passed over, with what is left of its lifetime: MQTT wants the delivery not to begin then
    /// [MQTT-3.3.2-5]. If it has begun it goes on, or first occurrences would not stay in order.
    pub(crate) fn is_passed_over(&self, lifetime: Lifetime) -> bool {
        self.before.map_or(lifetime == Lifetime::Over, |before| before == Given::PassedOver)
    }

    /// Returns since when Kafka is asked for its report, if it is handed over `now`. What it waits for room before counts, as
    /// it does in its age: a distant Kafka makes records wait there too.
    pub(crate) const fn asked_at(&self, now: Timestamp) -> Timestamp {
        match self.next {
            Next::Fresh(queued) if self.is_direct => queued.since,
            Next::Fresh(_) | Next::Logged(_) => now,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Route<A> {
    pub(crate) key: RouteKey,
    pub(crate) queue: RouteQueue<A>,
    pub(crate) mode: Mode,
    /// The reader of the log knows it.
    pub(crate) is_read: bool,
    /// It is in a waiting list.
    waits: bool,
    /// It is in the list of those that are read from the log and went on.
    went_on: bool,
    last_used: Timestamp,
}

/// Routes by key and by id.
#[derive(Debug)]
pub(crate) struct RouteTable<A> {
    by_key: HashMap<RouteKey, RouteId>,
    routes: Vec<Option<Route<A>>>,
    free: Vec<RouteId>,
    /// Routes with records to hand over, per partition that refused one, in turn.
    waiting: BTreeMap<(StreamId, u32), Turns<RouteId>>,
    /// Routes that the reader of the log knows and that handed something over: it wants to be told.
    went_on: Vec<RouteId>,
    /// Routes that have passed over something since that was last asked.
    passed_over: BTreeSet<RouteId>,
    /// Where sequence numbers go on when a freed route is made again, per shard and stream: at the highest
    /// number of all freed ones, so that none is used twice.
    next_sequence: HashMap<(u8, StreamId), u64>,
    ceiling: Arc<Ceiling>,
    epoch: u32,
    /// Every record goes to the disk.
    always_behind: bool,
}

impl<A: Copy> RouteTable<A> {
    /// Returns an empty table of the run `epoch`. `always_behind`: no route is ever DIRECT.
    pub(crate) fn new(ceiling: &Arc<Ceiling>, epoch: u32, always_behind: bool) -> Self {
        Self {
            by_key: HashMap::new(),
            routes: Vec::new(),
            free: Vec::new(),
            waiting: BTreeMap::new(),
            went_on: Vec::new(),
            passed_over: BTreeSet::new(),
            next_sequence: HashMap::new(),
            ceiling: Arc::clone(ceiling),
            epoch,
            always_behind,
        }
    }

    /// Returns the route of that key, made if there is none.
    pub(crate) fn open(&mut self, key: RouteKey, now: Timestamp) -> RouteId {
        if let Some(&id) = self.by_key.get(&key) {
            self.get_mut(id).last_used = now;
            return id;
        }
        let seq = self.next_sequence.get(&(key.shard, key.stream)).copied().unwrap_or(1);
        let queue = RouteQueue::new(Position { epoch: self.epoch, seq }, &self.ceiling);
        let mode = if self.always_behind { Mode::Behind { since: now } } else { Mode::Direct };
        let route =
            Some(Route { key, queue, mode, is_read: false, waits: false, went_on: false, last_used: now });
        let id = if let Some(id) = self.free.pop() {
            self.routes[id.0 as usize] = route;
            id
        } else {
            self.routes.push(route);
            RouteId(u32::try_from(self.routes.len() - 1).expect("shards x streams x partitions fit"))
        };
        self.by_key.insert(key, id);
        id
    }

    /// Makes the route of records that an earlier run has left in the log, behind `done`, up to `last`.
    pub(crate) fn resume(
        &mut self,
        key: RouteKey,
        done: Position,
        last: Position,
        now: Timestamp,
    ) -> RouteId {
        let id = self.open(key, now);
        let route = self.get_mut(id);
        route.queue.resume(done, last);
        route.mode = Mode::Behind { since: now };
        route.is_read = true;
        id
    }

    /// Returns the route of that key, if there is one.
    pub(crate) fn id(&self, key: RouteKey) -> Option<RouteId> {
        self.by_key.get(&key).copied()
    }

    pub(crate) fn queue(&mut self, id: RouteId) -> &mut RouteQueue<A> {
        &mut self.get_mut(id).queue
    }

    pub(crate) fn get_mut(&mut self, id: RouteId) -> &mut Route<A> {
        self.routes[id.0 as usize].as_mut().expect("ids are of routes that were opened and not freed since")
    }

    /// Returns a route that may have been freed meanwhile.
    pub(crate) fn find(&mut self, id: RouteId) -> Option<&mut Route<A>> {
        self.routes.get_mut(id.0 as usize)?.as_mut()
    }

    pub(crate) fn key(&self, id: RouteId) -> RouteKey {
        self.routes[id.0 as usize]
            .as_ref()
            .expect("ids are of routes that were opened and not freed since")
            .key
    }

    /// Hands over what the route has, in order, until it is empty or `hand_over` refuses; then the route waits
    /// for [`Self::hand_over_waiting`]. A route that waits already keeps its turn.
    pub(crate) fn hand_over(
        &mut self,
        id: RouteId,
        mut hand_over: impl FnMut(&Turn<'_>) -> Result<Given, Wait>,
    ) -> Result<(), Wait> {
        if self.get_mut(id).waits {
            return Ok(());
        }
        let Self { routes, went_on, passed_over, .. } = self;
        let route = routes[id.0 as usize].as_mut().expect("it was looked at just now");
        let ended = drain(id, route, usize::MAX, (went_on, passed_over), &mut hand_over);
        if ended.is_err() {
            route.waits = true;
            let turns = self.waiting.entry((route.key.stream, route.key.partition)).or_default();
            turns.push(id, route.mode.is_behind());
        }
        ended.map(|_| ())
    }

    /// Lets the routes that wait try again, each partition's in turn.
    pub(crate) fn hand_over_waiting(&mut self, mut hand_over: impl FnMut(&Turn<'_>) -> Result<Given, Wait>) {
        let Self { routes, waiting, went_on, passed_over, .. } = self;
        let mut stopped = false;
        waiting.retain(|_, turns| {
            while !stopped && let Some((id, limit)) = turns.next() {
                let route = routes[id.0 as usize].as_mut().expect("a route that waits has records");
                let ended = drain(id, route, limit, (went_on, passed_over), &mut hand_over);
                if ended == Ok(true) {
                    route.waits = false;
                    continue;
                }
                turns.push(id, route.mode.is_behind());
                if let Err(wait) = ended {
                    stopped = wait == Wait::Everything;
                    break;
                }
            }
            !turns.is_empty()
        });
    }

    /// Returns true if a route waits for room.
    pub(crate) fn anyone_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns a route that the reader of the log knows and that has handed something over since that was last asked.
    pub(crate) fn next_that_went_on(&mut self) -> Option<RouteId> {
        while let Some(id) = self.went_on.pop() {
            if let Some(route) = self.find(id) {
                route.went_on = false;
                return Some(id);
            }
        }
        None
    }

    /// The log has lost records of a route: see [`RouteQueue::lost`].
    pub(crate) fn lost(&mut self, id: RouteId, after: Position, until: Position) {
        if self.queue(id).lost(after, until) {
            self.passed_over.insert(id);
        }
    }

    /// Returns true if something was passed over, which may be done now: see [`RouteQueue::move_done`].
    pub(crate) fn has_passed_over(&self) -> bool {
        !self.passed_over.is_empty()
    }

    /// Returns a route that has passed over something since that was last asked. It is still there: a route with a record
    /// that is not done is not freed.
    pub(crate) fn next_that_passed_over(&mut self) -> Option<RouteId> {
        self.passed_over.pop_first()
    }

    /// Looks at all routes: `after` is the age from which on a record says that Kafka is slow, `None` if nobody is judged
    /// this time; `excess` are the bytes by which the memory of all routes is too full; `ends` looks where a route
    /// leads to. Tells `turned` who changed.
    pub(crate) fn judge(
        &mut self,
        after: Option<Duration>,
        excess: usize,
        now: Timestamp,
        ends: impl Fn(RouteKey) -> Ends,
        mut turned: impl FnMut(RouteId, Mode),
    ) {
        let mut heavy = Vec::new();
        for (slot, route) in (0u32..).zip(&mut self.routes) {
            let Some(route) = route else { continue };
            let seen = route.queue.seen(ends(route.key));
            let mode = route.mode.judged(seen, after, now);
            if mode != route.mode && !(self.always_behind && mode == Mode::Direct) {
                route.mode = mode;
                turned(RouteId(slot), mode);
            }
            if excess > 0
                && route.mode == Mode::Direct
                && let Some(oldest) = seen.oldest
            {
                heavy.push((oldest.queued, route.queue.memory_bytes(), RouteId(slot)));
            }
        }
        relieve(&mut heavy, excess);
        for (_, _, id) in heavy {
            self.get_mut(id).mode = Mode::Behind { since: now };
            turned(id, self.get_mut(id).mode);
        }
    }

    /// Returns all routes, to do something with each.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (RouteId, &mut Route<A>)> {
        (0u32..).zip(&mut self.routes).filter_map(|(slot, route)| Some((RouteId(slot), route.as_mut()?)))
    }

    /// Frees routes that have been empty for long, and memory that empty ones no longer need. Tells `freed` of those
    /// that the reader of the log knew.
    pub(crate) fn sweep(&mut self, now: Timestamp, mut freed: impl FnMut(RouteKey)) {
        for (slot, place) in (0u32..).zip(&mut self.routes) {
            let Some(route) = place.as_mut().filter(|route| route.queue.is_empty() && !route.waits) else {
                continue;
            };
            route.queue.shrink();
            if now.since(route.last_used) < FREE_AFTER || route.queue.is_in_flight() {
                continue;
            }
            let next = self.next_sequence.entry((route.key.shard, route.key.stream)).or_insert(1);
            *next = (*next).max(route.queue.tail());
            if route.is_read {
                freed(route.key);
            }
            self.by_key.remove(&route.key);
            self.free.push(RouteId(slot));
            *place = None;
        }
    }

    /// Returns how many records are in memory: neither done nor safe otherwise.
    pub(crate) fn records(&self) -> u64 {
        self.routes.iter().flatten().map(|route| route.queue.in_memory()).sum()
    }

    /// Returns true if a record was handed over and is not known to be in Kafka.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.routes.iter().flatten().any(|route| route.queue.is_in_flight())
    }

    /// Returns how many routes there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Returns when the next record of each route that is BEHIND was received, as far as that is sure.
    pub(crate) fn received_behind(&self) -> impl Iterator<Item = (StreamId, UnixMillis)> {
        let behind = self.routes.iter().flatten().filter(|route| route.mode.is_behind());
        behind.filter_map(|route| Some((route.key.stream, route.queue.next_received()?)))
    }

    /// Returns how many routes are BEHIND.
    pub(crate) fn behind(&self) -> usize {
        self.routes.iter().flatten().filter(|route| route.mode.is_behind()).count()
    }
}

/// Hands over at most `limit` records; returns whether that were all there are to hand over now.
fn drain<A: Copy>(
    id: RouteId,
    route: &mut Route<A>,
    limit: usize,
    (went_on, passed_over): (&mut Vec<RouteId>, &mut BTreeSet<RouteId>),
    hand_over: &mut impl FnMut(&Turn<'_>) -> Result<Given, Wait>,
) -> Result<bool, Wait> {
    let mut count = 0;
    let ended = loop {
        let Some(next) = route.queue.next() else { break Ok(true) };
        if count >= limit {
            break Ok(false);
        }
        let (number, is_direct) = (route.queue.next_number(), !route.mode.is_behind());
        let before = route.queue.before(&next);
        let turn = Turn { route: id, key: route.key, number, next, before, is_direct };
        match hand_over(&turn) {
            Ok(Given::Handed) => route.queue.handed_over(),
            Ok(Given::PassedOver) => {
                route.queue.passed_over();
                passed_over.insert(id);
            }
            Err(wait) => break Err(wait),
        }
        count += 1;
    };
    if count > 0 && route.is_read && !std::mem::replace(&mut route.went_on, true) {
        went_on.push(id);
    }
    ended
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
