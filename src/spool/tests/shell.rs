//! The spool with its threads, on a real folder, used as the gateway will use it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tidegate_spool::disk::RealDisk;
use tidegate_spool::{
    Ask, Boot, ExportOptions, Flags, Frame, Health, LaneId, Open, Position, RawLane, RawPolicy, RawSettings,
    Record, RefusedBecause, Room, RouteId, Settings, Sink, Spool, Stored, TopicId, Verdict, export, open,
};

const LANE: LaneId = LaneId(0);
const ROUTE: RouteId = RouteId { shard: 9, topic: TopicId(0), partition: 4 };
/// Far more than anything here needs: what hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_methods, reason = "a test of real threads is a shell")]
fn clock() -> Duration {
    static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let origin = *ORIGIN;
    Instant::now().saturating_duration_since(origin)
}

#[derive(Debug)]
struct Reading(Position);

impl Record for Reading {
    fn frame(&self) -> Frame<'_> {
        Frame {
            shard: ROUTE.shard,
            topic: ROUTE.topic,
            partition: ROUTE.partition,
            position: self.0,
            time_unix_ms: 0,
            uptime_ms: 0,
            lifetime_s: 0,
            flags: Flags::ACKNOWLEDGED,
            key: None,
            headers: b"",
            payload: b"reading",
        }
    }
}

/// Takes everything, and says so over a channel.
struct Kafka {
    after: Arc<Mutex<BTreeMap<RouteId, Position>>>,
    taken: mpsc::SyncSender<Position>,
}

impl Sink for Kafka {
    fn ask(&mut self, _: LaneId, route: RouteId) -> Ask {
        let after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        Ask { after: after.get(&route).copied().unwrap_or_default(), room: Room::Open }
    }

    fn take(&mut self, stored: Stored<'_>) {
        let mut after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        after.insert(stored.frame.route(), stored.frame.position);
        drop(after);
        self.taken.send(stored.frame.position).expect("the test listens");
    }

    fn lost(&mut self, _: LaneId, route: RouteId, after: Position, until: Position) {
        panic!("{route:?} has lost {after} to {until}");
    }
}

fn open_in(folder: &Path) -> Open<RealDisk> {
    let lane = RawLane {
        name: "sensor".to_owned(),
        capacity_bytes: 1 << 28,
        full: RawPolicy::Block,
        allow_acked_loss: false,
    };
    let raw = RawSettings {
        lanes: vec![lane],
        segment_bytes: 4 << 20,
        pool_bytes: 4 << 20,
        free_floor_bytes: 0,
        ..RawSettings::default()
    };
    let boot = Boot { random: [5; 32], machine_boot: [0; 16], now_unix_ms: i64::MAX };
    let settings: Settings = raw.try_into().expect("these settings are allowed");
    let opened =
        open(RealDisk::open(folder).expect("nobody else has it"), settings, &boot).expect("it starts");
    assert_eq!(opened.topic("readings"), Some(ROUTE.topic));
    opened
}

struct World {
    spool: Spool<RealDisk, Reading>,
    after: Arc<Mutex<BTreeMap<RouteId, Position>>>,
    taken: mpsc::Receiver<Position>,
    settled: mpsc::Receiver<(LaneId, u8)>,
    epoch: u32,
}

fn start(folder: &Path) -> World {
    let opened = open_in(folder);
    let epoch = opened.report().who.epoch;
    let after = Arc::new(Mutex::new(BTreeMap::new()));
    for backlog in opened.backlog(LANE) {
        after.lock().expect("nobody has it yet").insert(backlog.route, backlog.done);
    }
    let (offered, taken) = mpsc::sync_channel(1000);
    let (settles, settled) = mpsc::sync_channel(1000);
    let kafka = Kafka { after: Arc::clone(&after), taken: offered };
    // A test that no longer listens has seen enough.
    let spool = opened.start(clock, kafka, move |lane, shard| {
        let _ = settles.try_send((lane, shard));
    });
    World { spool: spool.expect("there are threads"), after, taken, settled, epoch }
}

impl World {
    fn position(&self, seq: u64) -> Position {
        Position { epoch: self.epoch, seq }
    }

    /// Submits that many records; returns the last one's ticket.
    fn submit_up_to(&self, last: u64) -> u64 {
        (1..=last).map(|seq| self.submit(seq)).last().expect("at least one")
    }

    fn submit(&self, seq: u64) -> u64 {
        assert_eq!(self.spool.admit(LANE, true), Verdict::Store);
        self.spool.submit(LANE, Reading(self.position(seq))).expect("there is room")
    }

    fn wait_until_settled(&self, lane: LaneId, ticket: u64) {
        while self.spool.settled(lane, ROUTE.shard) <= ticket {
            self.settled.recv_timeout(PATIENCE).expect("the writer tells of each commit");
        }
    }

    fn take(&self, count: usize) -> Vec<Position> {
        (0..count).map(|_| self.taken.recv_timeout(PATIENCE).expect("the reader delivers")).collect()
    }
}

#[test]
fn what_is_settled_is_handed_over_and_survives_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let world = start(folder.path());
    let last = world.submit_up_to(5);
    world.wait_until_settled(LANE, last);
    let taken = world.take(5);
    assert_eq!(taken, (1..=5).map(|seq| world.position(seq)).collect::<Vec<_>>());
    world.spool.done(LANE, ROUTE, taken[2], 21);
    assert_eq!(world.spool.health(LANE), Health::Ok);
    assert_eq!(world.spool.stats().records, 5);
    assert!(world.spool.stop(PATIENCE));
    let again = start(folder.path());
    assert_eq!(again.take(2), taken[3..]);
    assert!(again.spool.stop(PATIENCE));
}

#[test]
fn what_is_submitted_before_a_stop_is_stored_by_it_and_what_comes_later_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = start(folder.path());
    world.submit_up_to(100);
    assert!(world.spool.stop(PATIENCE));
    let again = open_in(folder.path());
    assert_eq!(again.backlog(LANE)[0].last.seq, 100);
    assert_eq!(again.report().findings, []);
    assert_eq!(again.report().lanes[0].scanned_bytes, 0);
}

#[test]
fn a_retired_producer_gets_everything_again_from_done() {
    let folder = tempfile::tempdir().unwrap();
    let world = start(folder.path());
    world.submit_up_to(6);
    let taken = world.take(6);
    world.spool.done(LANE, ROUTE, taken[1], 14);
    world.after.lock().unwrap().insert(ROUTE, taken[1]);
    world.spool.rewind(LANE, ROUTE);
    assert_eq!(world.take(4), taken[2..]);
    assert!(world.spool.stop(PATIENCE));
}

#[test]
fn a_broker_that_forgot_gets_again_what_was_not_safe() {
    let folder = tempfile::tempdir().unwrap();
    let world = start(folder.path());
    world.submit_up_to(3);
    let taken = world.take(3);
    world.spool.done(LANE, ROUTE, taken[2], 21);
    let replayed = world.spool.replay_from_safe(ROUTE.topic, Some(ROUTE.partition));
    assert_eq!(replayed, [(LANE, ROUTE, Position::START)]);
    world.after.lock().unwrap().insert(ROUTE, Position::START);
    world.spool.rewind(LANE, ROUTE);
    assert_eq!(world.take(3), taken);
    assert!(world.spool.stop(PATIENCE));
}

#[test]
fn dead_letters_are_durable_named_and_never_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let world = start(folder.path());
    let refused = Reading(world.position(7));
    let ticket = world.spool.dead_letter(LANE, &refused.frame(), "INVALID_RECORD").expect("there is room");
    world.wait_until_settled(LaneId(1), ticket);
    let mut huge = vec![0; 2 << 20];
    huge.fill(b'x');
    let frame = Frame { payload: &huge, ..refused.frame() };
    assert_eq!(world.spool.dead_letter(LANE, &frame, "MESSAGE_TOO_LARGE"), Err(RefusedBecause::TooLarge));
    assert!(world.spool.stop(PATIENCE));
    assert!(world.taken.try_recv().is_err());
    let mut lines = Vec::new();
    let only = ExportOptions { lane: Some("dead-letter".to_owned()), done: false };
    export(&RealDisk::look(folder.path()), &only, &mut lines).unwrap();
    let line = String::from_utf8(lines).unwrap();
    assert_eq!(line.lines().count(), 1);
    for expected in ["tg-error", "tg-src", "tg-seq", "\"seq\":1", "\"topic\":\"readings\""] {
        assert!(line.contains(expected), "{expected} in {line}");
    }
}
