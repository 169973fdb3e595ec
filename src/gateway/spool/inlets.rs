//! What the log gives back, on its way from its reader to the workers.
//!
//! Owns, per route that may need the log, how far its records have come and what of them the worker has not handed over
//! yet. The reader asks and gives; the worker takes, and says how far the route has come by other ways: a record may
//! be handed over from memory while the reader is at it. One lock per shard, held for no longer than a look.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_spool::{Ask, LaneId, Position, Room, RouteId as LogRoute, Sink, Stored};

use crate::ceiling::{Ceiling, Share};
use crate::route::{Logged, RouteId};
use crate::shard::{SHARDS, worker_of};
use crate::worker::Bell;

/// Records read ahead of Kafka, of all routes; each may have one record even so.
const READ_AHEAD_BYTES: usize = 8 << 20;
/// Records read ahead of Kafka, of one route: twice the window that a partition begins with.
const ROUTE_BYTES: usize = 64 << 10;
/// A route that nobody here knows needs nothing.
const NOTHING: Ask = Ask { after: Position { epoch: u32::MAX, seq: u64::MAX }, room: Room::Open };

#[derive(Debug)]
struct Inlet {
    /// The worker's name of the route; `None` until it has made it.
    id: Option<RouteId>,
    after: Position,
    /// The reader was told that there is room, and nothing has changed since.
    asked: bool,
    /// The reader was told that there is none.
    shut: bool,
    records: VecDeque<Logged>,
    /// Behind these records the log has nothing: from there, to there.
    lost: Option<(Position, Position)>,
    /// Bytes of these and of those that the worker has and has not handed over.
    share: Share,
    /// When the worker last handed something over.
    moved: Duration,
}

type Shard = HashMap<(LaneId, LogRoute), Inlet>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inlets {
    shards: Vec<Mutex<Shard>>,
    /// Per worker: routes that were empty and have got something.
    filled: Vec<Mutex<Vec<RouteId>>>,
    bells: Vec<Bell>,
    ceiling: Arc<Ceiling>,
}

impl Inlets {
    pub(crate) fn new(bells: &[Bell]) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            filled: bells.iter().map(|_| Mutex::default()).collect(),
            bells: bells.to_vec(),
            ceiling: Ceiling::new(READ_AHEAD_BYTES),
        }
    }

    /// Wants what the log has of a route behind `after`.
    pub(crate) fn open(&self, lane: LaneId, route: LogRoute, id: Option<RouteId>, after: Position) {
        let inlet = Inlet {
            id,
            after,
            asked: false,
            shut: false,
            records: VecDeque::new(),
            lost: None,
            share: Share::none(&self.ceiling),
            moved: Duration::ZERO,
        };
        self.shard(route).insert((lane, route), inlet);
    }

    /// Notes that a worker has made the route.
    pub(crate) fn adopt(&self, lane: LaneId, route: LogRoute, id: RouteId) {
        if let Some(inlet) = self.shard(route).get_mut(&(lane, route)) {
            inlet.id = Some(id);
            if !inlet.records.is_empty() {
                self.tell(route, id);
            }
        }
    }

    /// Wants nothing any more.
    pub(crate) fn close(&self, lane: LaneId, route: LogRoute) {
        self.shard(route).remove(&(lane, route));
    }

    /// Wants what is behind `after` again: the caller has dropped all that it was given, and tells the reader.
    pub(crate) fn rewind(&self, lane: LaneId, route: LogRoute, after: Position) {
        if let Some(inlet) = self.shard(route).get_mut(&(lane, route)) {
            inlet.after = after;
            inlet.asked = false;
            inlet.records.clear();
            inlet.lost = None;
            inlet.share.force_resize(0);
        }
    }

    /// Returns what the log gave back of a route since the last call, and behind which position, up to which, it has
    /// nothing of what it should have.
    pub(crate) fn take(
        &self,
        lane: LaneId,
        route: LogRoute,
    ) -> (VecDeque<Logged>, Option<(Position, Position)>) {
        let mut shard = self.shard(route);
        let inlet = shard.get_mut(&(lane, route));
        inlet.map(|inlet| (std::mem::take(&mut inlet.records), inlet.lost.take())).unwrap_or_default()
    }

    /// Notes that a route was handed over up to `handed`, and that `used` bytes of what the log gave back are gone.
    /// Returns true if the reader waits for room and must be told.
    pub(crate) fn went_on(
        &self,
        lane: LaneId,
        route: LogRoute,
        handed: Position,
        used: usize,
        now: Duration,
    ) -> bool {
        let mut shard = self.shard(route);
        let Some(inlet) = shard.get_mut(&(lane, route)) else { return false };
        inlet.after = inlet.after.max(handed);
        inlet.share.force_resize(inlet.share.bytes().saturating_sub(used));
        inlet.moved = now;
        std::mem::replace(&mut inlet.shut, false)
    }

    /// Moves the names of routes that have got something to `routes`.
    pub(crate) fn take_filled(&self, worker: usize, routes: &mut Vec<RouteId>) {
        routes.append(&mut lock(&self.filled[worker]));
    }

    fn tell(&self, route: LogRoute, id: RouteId) {
        let worker = worker_of(route.shard, self.bells.len());
        lock(&self.filled[worker]).push(id);
        self.bells[worker].ring();
    }

    fn shard(&self, route: LogRoute) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(route.shard)])
    }
}

/// The reader's side.
pub(crate) struct Tap(pub(crate) Arc<Inlets>);

impl Sink for Tap {
    fn ask(&mut self, lane: LaneId, route: LogRoute) -> Ask {
        let mut shard = self.0.shard(route);
        let Some(inlet) = shard.get_mut(&(lane, route)) else { return NOTHING };
        let ahead = inlet.share.bytes();
        let open = ahead == 0 || (ahead < ROUTE_BYTES && self.0.ceiling.used_bytes() < READ_AHEAD_BYTES);
        inlet.asked = open;
        inlet.shut |= !open;
        let room = if open { Room::Open } else { Room::Shut { moved: inlet.moved } };
        Ask { after: inlet.after, room }
    }

    fn take(&mut self, stored: Stored<'_>) {
        let route = stored.frame.route();
        let mut shard = self.0.shard(route);
        let Some(inlet) = shard.get_mut(&(stored.lane, route)) else { return };
        // Wound back since it was asked: what comes first is still to come.
        if !std::mem::replace(&mut inlet.asked, false) || stored.frame.position <= inlet.after {
            return;
        }
        let logged = Logged::new(&stored);
        inlet.after = logged.position();
        inlet.share.force_resize(inlet.share.bytes() + logged.bytes());
        let was_empty = inlet.records.is_empty();
        inlet.records.push_back(logged);
        if let Some(id) = inlet.id.filter(|_| was_empty) {
            self.0.tell(route, id);
        }
    }

    fn lost(&mut self, lane: LaneId, route: LogRoute, after: Position, until: Position) {
        let mut shard = self.0.shard(route);
        let Some(inlet) = shard.get_mut(&(lane, route)) else { return };
        // The reader says it again as long as the route says the same.
        if inlet.after == after
            && inlet.lost.replace((after, until)).is_none()
            && let Some(id) = inlet.id
        {
            self.0.tell(route, id);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tidegate_spool::{Flags, Frame, GatewayId, TopicId};

    use super::*;

    const LANE: LaneId = LaneId(0);
    const ROUTE: LogRoute = LogRoute { shard: 3, topic: TopicId(0), partition: 1 };

    const fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    fn stored(seq: u64, payload: &[u8]) -> Stored<'_> {
        let frame = Frame {
            shard: ROUTE.shard,
            topic: ROUTE.topic,
            partition: ROUTE.partition,
            position: at(seq),
            time_unix_ms: 0,
            uptime_ms: 0,
            lifetime_s: 0,
            flags: Flags::NONE,
            key: None,
            headers: b"",
            payload,
        };
        Stored { lane: LANE, gateway: GatewayId([0; 16]), frame }
    }

    fn tap() -> Tap {
        Tap(Arc::new(Inlets::new(&[Bell::default()])))
    }

    fn positions(tap: &Tap) -> Vec<u64> {
        tap.0.take(LANE, ROUTE).0.iter().map(|logged| logged.position().seq).collect()
    }

    #[test]
    fn a_route_that_nobody_knows_needs_nothing() {
        assert!(tap().ask(LANE, ROUTE).after > at(u64::MAX));
    }

    #[test]
    fn records_pass_in_order_and_what_memory_has_handed_over_is_not_asked_for() {
        let mut tap = tap();
        tap.0.open(LANE, ROUTE, None, at(4));
        assert_eq!(tap.ask(LANE, ROUTE), Ask { after: at(4), room: Room::Open });
        tap.take(stored(5, b"x"));
        assert_eq!(tap.ask(LANE, ROUTE).after, at(5));
        tap.0.went_on(LANE, ROUTE, at(9), 0, Duration::ZERO);
        assert_eq!(tap.ask(LANE, ROUTE).after, at(9));
        assert_eq!(positions(&tap), [5]);
    }

    #[test]
    fn a_record_that_was_asked_for_before_a_rewind_does_not_overtake_what_comes_again() {
        let mut tap = tap();
        tap.0.open(LANE, ROUTE, None, at(0));
        for seq in 1..=2 {
            tap.ask(LANE, ROUTE);
            tap.take(stored(seq, b"x"));
        }
        tap.ask(LANE, ROUTE);
        tap.0.rewind(LANE, ROUTE, at(0));
        tap.take(stored(3, b"x"));
        assert_eq!(tap.ask(LANE, ROUTE).after, at(0));
        assert!(positions(&tap).is_empty());
    }

    #[test]
    fn a_loss_is_passed_on_unless_the_route_has_gone_on_or_back() {
        let mut tap = tap();
        tap.0.open(LANE, ROUTE, None, at(4));
        tap.lost(LANE, ROUTE, at(3), at(9));
        assert_eq!(tap.0.take(LANE, ROUTE).1, None, "it was not asked after that");
        tap.lost(LANE, ROUTE, at(4), at(9));
        tap.0.rewind(LANE, ROUTE, at(4));
        assert_eq!(tap.0.take(LANE, ROUTE).1, None, "it is read again");
        tap.lost(LANE, ROUTE, at(4), at(9));
        assert_eq!(tap.0.take(LANE, ROUTE).1, Some((at(4), at(9))));
        assert_eq!(tap.0.take(LANE, ROUTE).1, None, "once");
    }

    #[test]
    fn what_is_read_ahead_is_bounded_until_it_is_handed_over() {
        let mut tap = tap();
        tap.0.open(LANE, ROUTE, None, at(0));
        let payload = vec![0; ROUTE_BYTES];
        tap.ask(LANE, ROUTE);
        tap.take(stored(1, &payload));
        assert_eq!(positions(&tap), [1]);
        assert_eq!(
            tap.ask(LANE, ROUTE).room,
            Room::Shut { moved: Duration::ZERO },
            "the worker has it still"
        );
        let used = ROUTE_BYTES * 2;
        assert!(tap.0.went_on(LANE, ROUTE, at(1), used, Duration::from_secs(7)), "the reader waits");
        assert_eq!(tap.ask(LANE, ROUTE).room, Room::Open);
    }

    #[test]
    fn a_worker_is_told_of_a_route_when_it_has_made_it_and_when_it_fills() {
        let mut tap = tap();
        tap.0.open(LANE, ROUTE, None, at(0));
        tap.ask(LANE, ROUTE);
        tap.take(stored(1, b"x"));
        let told = |tap: &Tap| {
            let mut filled = Vec::new();
            tap.0.take_filled(0, &mut filled);
            filled.len()
        };
        assert_eq!(told(&tap), 0);
        let mut table = crate::route::RouteTable::<u32>::new(&Ceiling::new(1), 1, false);
        let key = crate::route::RouteKey { shard: 3, stream: crate::route::StreamId(0), partition: 1 };
        tap.0.adopt(LANE, ROUTE, table.open(key, tidegate_core::time::Timestamp::ZERO));
        assert_eq!(told(&tap), 1);
        assert_eq!(positions(&tap), [1]);
        for seq in 2..=3 {
            tap.ask(LANE, ROUTE);
            tap.take(stored(seq, b"x"));
        }
        assert_eq!(told(&tap), 1, "once for both");
    }
}
