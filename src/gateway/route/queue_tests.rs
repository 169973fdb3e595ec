//! The route queue, and the queue beside a log, against a model that keeps every record in a plain list.

use proptest::prelude::*;
use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_spool::{GatewayId, LaneId, RouteId, Stored, TopicId};

use super::super::router::HeaderSet;
use super::*;

pub(super) const EPOCH: u32 = 3;

fn at(seq: u64) -> Position {
    Position { epoch: EPOCH, seq }
}

pub(super) fn queue(first: u64, ceiling: &Arc<Ceiling>) -> RouteQueue<u32> {
    RouteQueue::new(at(first), ceiling)
}

pub(super) fn record(number: u32, payload: &[u8]) -> NewRecord<'_, u32> {
    NewRecord {
        client_id: "device",
        topic: "a/b",
        payload,
        key: (0, 6),
        received: UnixMillis(i64::from(number)),
        arrived: Timestamp::ZERO,
        lifetime_s: 0,
        since: Timestamp::ZERO,
        headers: HeaderSet::TOPIC,
        awaited: true,
        ack: number,
    }
}

pub(super) fn push(queue: &mut RouteQueue<u32>, number: u32, payload: &[u8]) -> bool {
    let room = queue.reserve(9 + payload.len());
    if room {
        queue.push(&record(number, payload));
    }
    room
}

pub(super) fn position(next: &Next<'_>) -> Position {
    match next {
        Next::Fresh(queued) => at(queued.seq),
        Next::Logged(logged) => logged.position(),
    }
}

/// Hands over what there is; returns the position and the number of each.
fn hand_over_all(queue: &mut RouteQueue<u32>) -> Vec<(u64, u64)> {
    let mut handed = Vec::new();
    while let Some(next) = queue.next() {
        handed.push((position(&next).seq, queue.next_number()));
        queue.handed_over();
    }
    handed
}

fn seqs(handed: &[(u64, u64)]) -> Vec<u64> {
    handed.iter().map(|(seq, _)| *seq).collect()
}

fn again(queue: &mut RouteQueue<u32>, number: u64, completed: Completed, released: &mut Vec<u32>) -> u64 {
    queue.complete(number, completed, AckAt::First, |ack| released.push(ack)).again
}

#[test]
fn nothing_is_released_before_all_elders_are_proven() {
    let mut queue = queue(100, &Ceiling::new(1 << 20));
    for number in 0..3 {
        assert!(push(&mut queue, number, b"x"));
    }
    assert_eq!(hand_over_all(&mut queue), [(100, 0), (101, 1), (102, 2)]);
    let mut released = Vec::new();
    again(&mut queue, 1, Completed::Proven, &mut released);
    assert!(released.is_empty());
    again(&mut queue, 0, Completed::Proven, &mut released);
    assert_eq!((released, queue.done(), queue.tail()), (vec![0, 1], at(101), 103));
}

#[test]
fn an_unproven_record_is_handed_over_again_when_nothing_is_outstanding() {
    let mut queue = queue(1, &Ceiling::new(1 << 20));
    for number in 0..3 {
        assert!(push(&mut queue, number, b"x"));
    }
    hand_over_all(&mut queue);
    let mut released = Vec::new();
    assert_eq!(again(&mut queue, 0, Completed::Proven, &mut released), 0);
    assert_eq!(again(&mut queue, 1, Completed::Unproven, &mut released), 0);
    assert!(queue.next().is_none(), "record 3 is still outstanding");
    assert_eq!(again(&mut queue, 2, Completed::Proven, &mut released), 2);
    let second = hand_over_all(&mut queue);
    assert_eq!(seqs(&second), [2, 3]);
    assert_eq!(released, [0], "what was not proven in order is not acknowledged");
    again(&mut queue, 1, Completed::Proven, &mut released);
    assert_eq!(released, [0], "a report of the first round says nothing about the second");
    for (_, number) in second {
        again(&mut queue, number, Completed::Proven, &mut released);
    }
    assert_eq!((released, queue.is_empty()), (vec![0, 1, 2], true));
}

#[test]
fn a_full_ceiling_refuses_and_yet_every_route_has_its_guarantee() {
    let ceiling = Ceiling::new(16 * 1024);
    let mut greedy = queue(1, &ceiling);
    let queued = (0..1_000).take_while(|number| push(&mut greedy, *number, &[0; 500])).count();
    assert!((9..100).contains(&queued), "{queued}");
    let mut late = queue(1, &ceiling);
    assert!(push(&mut late, 0, &[0; 4_000]), "4 KiB");
    let mut large = queue(1, &ceiling);
    assert!(push(&mut large, 0, &vec![0; 100_000]), "or one record");
    assert!(!push(&mut large, 1, &vec![0; 100_000]));
    drop((greedy, late, large));
    assert_eq!(ceiling.used_bytes(), 0);
}

#[test]
fn an_emptied_queue_gives_its_memory_back() {
    let ceiling = Ceiling::new(1 << 20);
    let mut queue = queue(1, &ceiling);
    for number in 0..99 {
        assert!(push(&mut queue, number, &[0; 1_000]));
    }
    for (_, number) in hand_over_all(&mut queue) {
        queue.complete(number, Completed::Proven, AckAt::First, |_| ());
    }
    queue.shrink();
    assert_eq!(ceiling.used_bytes(), 0);
    assert!(push(&mut queue, 7, b"again"));
    assert_eq!(queue.next().map(|next| position(&next)), Some(at(100)));
}

/// A queue with a log beside it, and everything that was ever promised or done.
struct World {
    queue: RouteQueue<u32>,
    ack_at: AckAt,
    /// By sequence number - 1.
    pushed: Vec<Vec<u8>>,
    /// What the writer was given, in order, and how much of it is settled.
    log: Vec<Owned>,
    settled: usize,
    /// What the reader of the log says that the route has.
    after: Position,
    flying: Vec<(u64, u64)>,
    proven: Vec<bool>,
    /// Whether the lifetime of each is over, and what became of each at its first turn.
    over: Vec<bool>,
    given: Vec<Option<Given>>,
    expired: u64,
    released: Vec<u32>,
    /// The highest record that had its turn so far.
    first_seen: u64,
    last_of_round: u64,
}

impl World {
    fn new(ack_at: AckAt) -> Self {
        Self {
            queue: queue(1, &Ceiling::new(64 * 1024)),
            ack_at,
            pushed: Vec::new(),
            log: Vec::new(),
            settled: 0,
            after: at(0),
            flying: Vec::new(),
            proven: Vec::new(),
            over: Vec::new(),
            given: Vec::new(),
            expired: 0,
            released: Vec::new(),
            first_seen: 0,
            last_of_round: 0,
        }
    }

    fn push(&mut self, len: usize) {
        let number = u32::try_from(self.pushed.len()).unwrap();
        let payload: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0] ^ number.to_le_bytes()[0]).collect();
        if push(&mut self.queue, number, &payload) {
            self.pushed.push(payload);
            self.proven.push(false);
            self.over.push(false);
            self.given.push(None);
        }
    }

    /// Time passes: the lifetime of one of the last records is over.
    fn expire(&mut self, which: usize) {
        let len = self.over.len();
        if let Some(over) = len.checked_sub(1 + which).and_then(|at| self.over.get_mut(at)) {
            *over = true;
        }
    }

    fn hand_over(&mut self, count: usize) {
        for _ in 0..count {
            let Some(next) = self.queue.next() else { break };
            let seq = position(&next).seq;
            let payload = match &next {
                Next::Fresh(queued) => queued.payload.to_vec(),
                Next::Logged(logged) => {
                    assert_eq!(logged.frame().key, Some(&b"device"[..]));
                    logged.frame().payload.to_vec()
                }
            };
            let index = usize::try_from(seq - 1).unwrap();
            assert_eq!(payload, self.pushed[index], "{seq}");
            assert_eq!(seq, self.last_of_round + 1, "a round has no gap and no step back");
            assert!(seq <= self.first_seen + 1, "first occurrences are in order");
            self.first_seen = self.first_seen.max(seq);
            self.last_of_round = seq;
            let before = self.queue.before(&next);
            assert_eq!(before, self.given[index], "{seq}");
            let first = if self.over[index] { Given::PassedOver } else { Given::Handed };
            let given = *self.given[index].insert(before.unwrap_or(first));
            if given == Given::Handed {
                self.flying.push((seq, self.queue.next_number()));
                self.queue.handed_over();
            } else {
                self.queue.passed_over();
                self.move_done();
            }
        }
        self.after = self.after.max(self.queue.handed());
    }

    fn report(&mut self, which: usize, completed: Completed) {
        let (seq, number) = self.flying.swap_remove(which);
        self.proven[usize::try_from(seq - 1).unwrap()] |= completed == Completed::Proven;
        let Self { queue, released, .. } = self;
        let reported = queue.complete(number, completed, self.ack_at, |ack| released.push(ack));
        self.expired += reported.expired;
        if reported.again > 0 {
            assert!(self.flying.is_empty(), "handed over again while others are outstanding");
            self.after = self.queue.done();
            self.last_of_round = self.queue.done().seq;
        }
    }

    fn move_done(&mut self) {
        let Self { queue, released, .. } = self;
        let reported = queue.move_done(self.ack_at, |ack| released.push(ack));
        self.expired += reported.expired;
    }

    fn submit(&mut self, count: usize) {
        for _ in 0..count {
            let Some(queued) = self.queue.next_to_submit() else { break };
            let route = RouteId { shard: 1, topic: TopicId(0), partition: 0 };
            let owned = Owned::of(&queued, route, EPOCH);
            let position = owned.frame().position;
            assert!(self.log.last().is_none_or(|last| last.frame().position < position), "out of order");
            self.log.push(owned);
            self.queue.submitted();
        }
    }

    fn settle(&mut self, count: usize) {
        self.settled = (self.settled + count).min(self.log.len());
        if let Some(last) = self.settled.checked_sub(1) {
            let seq = self.log[last].frame().position.seq;
            let Self { queue, released, .. } = self;
            queue.stored(seq, self.ack_at, |ack| released.push(ack));
        }
    }

    /// The reader gives the next records that are wanted, from what is durable.
    fn read(&mut self, count: usize) {
        for _ in 0..count {
            let wanted = |owned: &&Owned| owned.frame().position > self.after;
            let Some(owned) = self.log[..self.settled].iter().find(wanted) else { break };
            let stored = Stored { lane: LaneId(0), gateway: GatewayId([0; 16]), frame: owned.frame() };
            self.after = owned.frame().position;
            self.queue.give_back(Logged::new(&stored));
        }
    }

    fn check(&self) {
        let released = u32::try_from(self.released.len()).unwrap();
        assert!(self.released.iter().copied().eq(0..released), "released out of order");
        let durable = self.log[..self.settled].last().map_or(0, |owned| owned.frame().position.seq);
        for number in &self.released {
            let (proven, stored) = (self.is_done(*number as usize), u64::from(*number) < durable);
            let may = match self.ack_at {
                AckAt::First => proven || stored,
                AckAt::Kafka => proven,
                AckAt::Disk => stored,
            };
            assert!(may, "{number} was acknowledged too early");
        }
        let done = usize::try_from(self.queue.done().seq).unwrap();
        assert!((0..done).all(|at| self.is_done(at)), "done is beyond what Kafka has");
        assert!(self.queue.memory.is_counted());
    }

    fn is_done(&self, at: usize) -> bool {
        self.proven[at] || self.given[at] == Some(Given::PassedOver)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Expire(usize),
    HandOver(usize),
    Report { which: prop::sample::Index, proven: bool },
    Submit(usize),
    Settle(usize),
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![0usize..64, 0usize..6_000].prop_map(Step::Push),
        2 => (0usize..8).prop_map(Step::Expire),
        3 => (1usize..8).prop_map(Step::HandOver),
        4 => (any::<prop::sample::Index>(), prop::bool::weighted(0.9))
            .prop_map(|(which, proven)| Step::Report { which, proven }),
        1 => (1usize..6).prop_map(Step::Submit),
        1 => (1usize..6).prop_map(Step::Settle),
        2 => (1usize..4).prop_map(Step::Read),
    ]
}

proptest! {
    #[test]
    fn from_memory_or_from_the_log_nothing_is_lost_reordered_or_promised_too_early(
        steps in prop::collection::vec(step(), 1..400),
        ack_at in prop::sample::select(vec![AckAt::First, AckAt::Kafka, AckAt::Disk]),
        with_log: bool
    ) {
        let with_log = with_log || ack_at == AckAt::Disk;
        let mut world = World::new(ack_at);
        for step in steps {
            match step {
                Step::Push(len) => world.push(len),
                Step::Expire(which) => world.expire(which),
                Step::HandOver(count) => world.hand_over(count),
                Step::Report { which, proven } if !world.flying.is_empty() => {
                    let completed = if proven { Completed::Proven } else { Completed::Unproven };
                    world.report(which.index(world.flying.len()), completed);
                }
                Step::Submit(count) if with_log => world.submit(count),
                Step::Settle(count) => world.settle(count),
                Step::Read(count) => world.read(count),
                Step::Report { .. } | Step::Submit(_) => {}
            }
            world.check();
        }
        // Whatever happened: with a disk that writes and a Kafka that proves, everything ends.
        for _ in 0..4 {
            if with_log {
                world.submit(usize::MAX);
            }
            world.settle(usize::MAX / 2);
            world.read(usize::MAX);
            world.hand_over(usize::MAX);
            while !world.flying.is_empty() {
                world.report(0, Completed::Proven);
            }
        }
        world.check();
        prop_assert!(world.queue.is_empty());
        prop_assert_eq!(world.released.len(), world.pushed.len());
        prop_assert_eq!(world.queue.done().seq, world.pushed.len() as u64);
        let passed = world.given.iter().filter(|given| **given == Some(Given::PassedOver)).count();
        prop_assert_eq!(world.expired, passed as u64, "each is counted once");
    }
}

/// A record as the log gives it back.
fn from_log(position: Position) -> Logged {
    let frame = tidegate_spool::Frame {
        shard: 1,
        topic: TopicId(0),
        partition: 0,
        position,
        time_unix_ms: 0,
        uptime_ms: 0,
        lifetime_s: 0,
        flags: tidegate_spool::Flags::NONE,
        key: None,
        headers: b"",
        payload: b"old",
    };
    Logged::new(&Stored { lane: LaneId(0), gateway: GatewayId([0; 16]), frame })
}

#[test]
fn what_the_log_has_lost_at_its_end_is_passed_over_once_its_elders_are_proven() {
    let mut queue = queue(1, &Ceiling::new(1 << 20));
    let old = |seq| Position { epoch: EPOCH - 1, seq };
    queue.resume(old(5), old(9));
    assert!(push(&mut queue, 0, b"new"));
    queue.give_back(from_log(old(6)));
    assert!(!queue.lost(old(5), old(9)), "6 comes first");
    hand_over_all(&mut queue);
    assert!(!queue.lost(old(5), old(9)), "said of another place");
    assert!(queue.lost(old(6), old(9)));
    assert_eq!((queue.move_done(AckAt::First, |_| ()), queue.done()), (Reported::default(), old(5)));
    assert_eq!((queue.handed(), queue.needs_log(), hand_over_all(&mut queue)), (old(9), false, vec![(1, 1)]));
    // 6 was not proven: all is read again, and comes to the same place.
    for (number, again) in [(0, 0), (1, 2)] {
        assert_eq!(queue.complete(number, Completed::Unproven, AckAt::First, |_| ()).again, again);
        assert!(!queue.lost(old(6), old(9)), "nothing is passed over while a report is to come");
    }
    assert_eq!((queue.done(), queue.handed()), (old(5), old(5)));
    queue.give_back(from_log(old(6)));
    assert_eq!(hand_over_all(&mut queue), [(6, 2)]);
    queue.complete(2, Completed::Proven, AckAt::First, |_| ());
    assert!(queue.lost(old(6), old(12)));
    let reported = queue.move_done(AckAt::First, |_| ());
    assert!(reported.logged_bytes > 0 && reported.expired == 0, "{reported:?}");
    assert_eq!((queue.done(), hand_over_all(&mut queue)), (old(9), vec![(1, 3)]));
}

#[test]
fn with_acknowledgement_at_the_disk_a_record_may_be_done_before_the_writer_has_it() {
    let mut queue = queue(1, &Ceiling::new(1 << 20));
    assert!(push(&mut queue, 0, b"x") && push(&mut queue, 1, b"y"));
    hand_over_all(&mut queue);
    let mut released = Vec::new();
    let reported = queue.complete(0, Completed::Proven, AckAt::Disk, |ack| released.push(ack));
    assert_eq!((reported.logged_bytes, released.len()), (0, 0), "nothing is in the log");
    assert!(queue.submitted() > 0, "the log must learn that it need not keep this one");
    assert_eq!(queue.submitted(), 0, "and keep that one");
}

#[test]
fn what_an_earlier_run_has_left_goes_first_and_positions_rise_across_runs() {
    let mut queue = queue(1, &Ceiling::new(1 << 20));
    let old = |seq| Position { epoch: EPOCH - 1, seq };
    queue.resume(old(5), old(7));
    assert!(push(&mut queue, 0, b"new"));
    assert!(queue.next().is_none(), "it waits for what is in the log");
    for seq in [6, 7] {
        queue.give_back(from_log(old(seq)));
    }
    let mut order = Vec::new();
    let mut numbers = Vec::new();
    while let Some(next) = queue.next() {
        order.push(position(&next));
        numbers.push(queue.next_number());
        queue.handed_over();
    }
    assert_eq!(order, [old(6), old(7), at(1)]);
    let mut released = Vec::new();
    let mut logged_bytes = Vec::new();
    for number in numbers {
        let reported = queue.complete(number, Completed::Proven, AckAt::First, |ack| released.push(ack));
        logged_bytes.push(reported.logged_bytes > 0);
    }
    assert_eq!((released, queue.is_empty()), (vec![0], true));
    assert_eq!(logged_bytes, [true, true, false], "the log wants to know of its own only");
}

#[test]
fn a_record_that_kafka_refuses_is_at_hand_at_once_or_the_next_time() {
    let mut queue = queue(1, &Ceiling::new(1 << 20));
    let route = RouteId { shard: 1, topic: TopicId(0), partition: 0 };
    assert!(push(&mut queue, 0, b"poison"));
    hand_over_all(&mut queue);
    let refused = queue.refused(0, route).unwrap();
    assert_eq!((refused.frame().position, refused.frame().payload), (at(1), &b"poison"[..]));
    // It leaves memory, and its instance fails: it comes again from the log, which does not keep what it gave.
    let stored = Stored { lane: LaneId(0), gateway: GatewayId([0; 16]), frame: refused.frame() };
    queue.submitted();
    queue.stored(1, AckAt::First, |_| ());
    for again in [true, false] {
        queue.complete(queue.next_number() - 1, Completed::Unproven, AckAt::First, |_| ());
        queue.give_back(Logged::new(&stored));
        queue.handed_over();
        assert_eq!(queue.refused(queue.next_number() - 1, route).is_none(), again);
    }
}

#[test]
fn while_a_record_becomes_a_dead_letter_nothing_behind_it_is_handed_over() {
    let route = RouteId { shard: 1, topic: TopicId(0), partition: 0 };
    for becomes in [Completed::Proven, Completed::Unproven] {
        let mut queue = queue(1, &Ceiling::new(1 << 20));
        assert!(push(&mut queue, 0, b"poison") && push(&mut queue, 1, b"good"));
        queue.handed_over();
        assert!(queue.refused(0, route).is_some());
        assert!(queue.next().is_none(), "done waits for the letter, and it may take for ever");
        queue.complete(0, becomes, AckAt::First, |_| ());
        let expected = if becomes == Completed::Proven { at(2) } else { at(1) };
        assert_eq!(queue.next().map(|next| position(&next)), Some(expected));
    }
}
