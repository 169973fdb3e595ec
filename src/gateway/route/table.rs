//! The routes of one worker: made on first use, freed when they have been empty for a while.
//!
//! Owns which queues there are and which of them wait for room in a partition's window. Kafka itself is a
//! closure here, so that all of this is tested without one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::time::Timestamp;

use super::queue::{Queued, RouteQueue};
use super::router::StreamId;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteId(u32);

/// Why a record could not be handed over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its partition has no room: the other routes of that partition need not be asked.
    Partition,
    /// Nothing can be handed over at all.
    Everything,
}

#[derive(Debug)]
pub(crate) struct Route<A> {
    pub(crate) key: RouteKey,
    pub(crate) queue: RouteQueue<A>,
    /// It is in a waiting list.
    waits: bool,
    last_used: Timestamp,
}

/// Routes by key and by id.
#[derive(Debug)]
pub(crate) struct RouteTable<A> {
    by_key: HashMap<RouteKey, RouteId>,
    routes: Vec<Option<Route<A>>>,
    free: Vec<RouteId>,
    /// Routes with records to hand over, per partition that refused one, in turn.
    waiting: BTreeMap<(StreamId, u32), VecDeque<RouteId>>,
    /// Where sequence numbers go on when a freed route is made again, per shard and stream: at the highest
    /// number of all freed ones, so that none is used twice.
    next_sequence: HashMap<(u8, StreamId), u64>,
    ceiling: Arc<Ceiling>,
}

impl<A: Copy> RouteTable<A> {
    pub(crate) fn new(ceiling: &Arc<Ceiling>) -> Self {
        Self {
            by_key: HashMap::new(),
            routes: Vec::new(),
            free: Vec::new(),
            waiting: BTreeMap::new(),
            next_sequence: HashMap::new(),
            ceiling: Arc::clone(ceiling),
        }
    }

    /// Returns the route of that key, made if there is none.
    pub(crate) fn open(&mut self, key: RouteKey, now: Timestamp) -> RouteId {
        if let Some(&id) = self.by_key.get(&key) {
            self.get_mut(id).last_used = now;
            return id;
        }
        let first = self.next_sequence.get(&(key.shard, key.stream)).copied().unwrap_or(1);
        let queue = RouteQueue::new(first, &self.ceiling);
        let route = Some(Route { key, queue, waits: false, last_used: now });
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

    pub(crate) fn queue(&mut self, id: RouteId) -> &mut RouteQueue<A> {
        &mut self.get_mut(id).queue
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
        mut hand_over: impl FnMut(RouteId, RouteKey, &Queued<'_>) -> Result<(), Wait>,
    ) -> Result<(), Wait> {
        if self.get_mut(id).waits {
            return Ok(());
        }
        let ended = drain(id, self.get_mut(id), &mut hand_over);
        if ended.is_err() {
            let key = self.get_mut(id).key;
            self.get_mut(id).waits = true;
            self.waiting.entry((key.stream, key.partition)).or_default().push_back(id);
        }
        ended
    }

    /// Lets the routes that wait try again, each partition's in turn.
    pub(crate) fn hand_over_waiting(
        &mut self,
        mut hand_over: impl FnMut(RouteId, RouteKey, &Queued<'_>) -> Result<(), Wait>,
    ) {
        let routes = &mut self.routes;
        let mut stopped = false;
        self.waiting.retain(|_, turns| {
            while !stopped && let Some(id) = turns.pop_front() {
                let route = routes[id.0 as usize].as_mut().expect("a route that waits has records");
                match drain(id, route, &mut hand_over) {
                    Ok(()) => route.waits = false,
                    Err(wait) => {
                        turns.push_back(id);
                        stopped = wait == Wait::Everything;
                        break;
                    }
                }
            }
            !turns.is_empty()
        });
    }

    /// Returns true if a route waits for room.
    pub(crate) fn anyone_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Frees routes that have been empty for long, and memory that empty ones no longer need.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        for (slot, place) in (0u32..).zip(&mut self.routes) {
            let Some(route) = place.as_mut().filter(|route| route.queue.is_empty() && !route.waits) else {
                continue;
            };
            route.queue.shrink();
            if now.since(route.last_used) < FREE_AFTER {
                continue;
            }
            let next = self.next_sequence.entry((route.key.shard, route.key.stream)).or_insert(1);
            *next = (*next).max(route.queue.tail());
            self.by_key.remove(&route.key);
            self.free.push(RouteId(slot));
            *place = None;
        }
    }

    /// Returns how many records are not yet done.
    pub(crate) fn records(&self) -> u64 {
        self.routes.iter().flatten().map(|route| route.queue.tail() - route.queue.done()).sum()
    }

    /// Returns how many routes there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    fn get_mut(&mut self, id: RouteId) -> &mut Route<A> {
        self.routes[id.0 as usize].as_mut().expect("ids are of routes that were opened and not freed since")
    }
}

fn drain<A: Copy>(
    id: RouteId,
    route: &mut Route<A>,
    hand_over: &mut impl FnMut(RouteId, RouteKey, &Queued<'_>) -> Result<(), Wait>,
) -> Result<(), Wait> {
    while let Some(next) = route.queue.next() {
        hand_over(id, route.key, &next)?;
        route.queue.handed_over();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidegate_core::time::UnixMillis;

    use super::super::queue::{Completed, NewRecord};
    use super::super::router::HeaderSet;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn key(shard: u8, partition: u32) -> RouteKey {
        RouteKey { shard, stream: StreamId(0), partition }
    }

    fn push(table: &mut RouteTable<u32>, key: RouteKey, now: Timestamp) -> RouteId {
        let id = table.open(key, now);
        assert!(table.queue(id).reserve(3));
        let (headers, received) = (HeaderSet::default(), UnixMillis(0));
        let record =
            NewRecord { client_id: "d", topic: "t", payload: b"x", key: (0, 1), received, headers, ack: 0 };
        table.queue(id).push(&record);
        id
    }

    #[test]
    fn routes_that_wait_take_turns_and_a_full_partition_does_not_stop_others() {
        let mut table = RouteTable::new(&Ceiling::new(1 << 20));
        for (shard, partition) in [(1, 0), (2, 0), (3, 1)] {
            let id = push(&mut table, key(shard, partition), NOW);
            assert_eq!(table.hand_over(id, |_, _, _| Err(Wait::Partition)), Err(Wait::Partition));
            push(&mut table, key(shard, partition), NOW);
            assert_eq!(table.hand_over(id, |_, _, _| panic!("it waits")), Ok(()));
        }
        // One record per partition and turn.
        let mut order = Vec::new();
        while table.anyone_waits() {
            let mut room = [1, 1];
            table.hand_over_waiting(|_, key, _| {
                let room = &mut room[key.partition as usize];
                if *room == 0 {
                    return Err(Wait::Partition);
                }
                *room -= 1;
                order.push((key.partition, key.shard));
                Ok(())
            });
        }
        let of = |partition| {
            order.iter().filter(|(of, _)| *of == partition).map(|(_, shard)| *shard).collect::<Vec<_>>()
        };
        assert_eq!(of(0), [1, 2, 1, 2]);
        assert_eq!(of(1), [3, 3]);
    }

    #[test]
    fn a_route_made_again_never_repeats_a_sequence_number() {
        let mut table = RouteTable::new(&Ceiling::new(1 << 20));
        let mut now = NOW;
        let mut last = 0;
        for round in 0..3 {
            let id = push(&mut table, key(1, round % 2), now);
            let mut position = 0;
            table
                .hand_over(id, |_, _, record| {
                    position = record.position;
                    Ok(())
                })
                .unwrap();
            assert!(position > last, "{position} after {last}");
            last = position;
            table.sweep(now + FREE_AFTER);
            assert_eq!(table.len(), 1, "it has an outstanding record");
            table.queue(id).complete(position, Completed::Proven, |_| ());
            now = now + FREE_AFTER;
            table.sweep(now);
            assert_eq!((table.len(), table.records()), (0, 0));
        }
    }
}
