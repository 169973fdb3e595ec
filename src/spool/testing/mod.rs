//! A spool on a disk in memory, stepped by hand: what the tests of all parts stand on.

mod crashes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Base, Next};
use crate::disk::memory::MemoryDisk;
use crate::format::frame::{Flags, Frame};
use crate::ids::{LaneId, Position, RouteId, TopicId};
use crate::keep::Keeper;
use crate::read::{Ask, Reader, Room, Sink, Stored};
use crate::recover::{Boot, Report, recover};
use crate::settings::{RawLane, RawPolicy, RawSettings, Settings};
use crate::write::{Content, Queue, Record, RefusedBecause, Writer};

pub(crate) const MIB: u64 = 1024 * 1024;
/// The lane that most tests use.
pub(crate) const LANE: LaneId = LaneId(0);
/// Wall-clock time of all records.
pub(crate) const WALL_MS: i64 = 1_700_000_000_000;

/// A route of topic 0.
pub(crate) const fn route(shard: u8, partition: u32) -> RouteId {
    RouteId { shard, topic: TopicId(0), partition }
}

/// A record that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) route: RouteId,
    pub(crate) position: Position,
    pub(crate) flags: Flags,
    pub(crate) payload: Vec<u8>,
}

impl Record for Owned {
    fn frame(&self) -> Frame<'_> {
        Frame {
            shard: self.route.shard,
            topic: self.route.topic,
            partition: self.route.partition,
            position: self.position,
            time_unix_ms: WALL_MS,
            uptime_ms: 0,
            lifetime_s: 0,
            flags: self.flags,
            key: Some(b"key"),
            headers: b"",
            payload: &self.payload,
        }
    }
}

/// Settings of one small lane: segments of 1 MiB, 16 of them, half of them reserve.
pub(crate) fn settings(full: RawPolicy, allow_acked_loss: bool) -> Settings {
    let lane = RawLane { name: "sensor".to_owned(), capacity_bytes: 16 * MIB, full, allow_acked_loss };
    let raw = RawSettings {
        name: String::new(),
        lanes: vec![lane],
        segment_bytes: MIB,
        pool_bytes: 4 * MIB,
        max_record_bytes: MIB / 4,
        commit_interval_min: Duration::ZERO,
        free_floor_bytes: 0,
        dead_letter_bytes: 16 * MIB,
    };
    raw.try_into().expect("these settings are allowed")
}

/// Routes as a gateway has them, with windows that tests open and shut.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    pub(crate) after: BTreeMap<RouteId, Position>,
    /// Routes without room, and when their window last moved.
    pub(crate) shut: BTreeMap<RouteId, Duration>,
    pub(crate) taken: Vec<Owned>,
    /// What the log has lost: route, behind which record, up to which.
    pub(crate) lost: Vec<(RouteId, Position, Position)>,
}

impl Sink for Windows {
    fn ask(&mut self, _: LaneId, route: RouteId) -> Ask {
        let after = self.after.get(&route).copied().unwrap_or_default();
        let room = self.shut.get(&route).map_or(Room::Open, |moved| Room::Shut { moved: *moved });
        Ask { after, room }
    }

    fn take(&mut self, stored: Stored<'_>) {
        let frame = stored.frame;
        let before = self.after.insert(frame.route(), frame.position).unwrap_or_default();
        assert!(before < frame.position, "{} after {before}", frame.position);
        assert!(!self.shut.contains_key(&frame.route()), "there was no room");
        self.taken.push(Owned {
            route: frame.route(),
            position: frame.position,
            flags: frame.flags,
            payload: frame.payload.to_vec(),
        });
    }

    fn lost(&mut self, _: LaneId, route: RouteId, after: Position, until: Position) {
        self.lost.push((route, after, until));
        self.after.insert(route, until);
    }
}

/// The parts of an open spool.
pub(crate) struct Rig {
    pub(crate) disk: MemoryDisk,
    pub(crate) base: Arc<Base<MemoryDisk>>,
    pub(crate) queue: Arc<Queue<Owned>>,
    pub(crate) writer: Writer<MemoryDisk, Owned>,
    pub(crate) keeper: Keeper<MemoryDisk>,
    pub(crate) reader: Reader<MemoryDisk>,
    pub(crate) windows: Windows,
    pub(crate) report: Report,
    pub(crate) now: Duration,
    seqs: BTreeMap<RouteId, u64>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::open(MemoryDisk::new(64 * MIB), settings(RawPolicy::Block, false))
    }

    pub(crate) fn open(disk: MemoryDisk, settings: Settings) -> Self {
        Self::boot(disk, settings, 1)
    }

    pub(crate) fn boot(disk: MemoryDisk, settings: Settings, random: u8) -> Self {
        let boot = Boot { random: [random; 32], machine_boot: [1; 16], now_unix_ms: WALL_MS };
        let pool = settings.pool_bytes;
        let opened = recover(disk.clone(), settings, &boot).expect("a spool always starts");
        let base = opened.base;
        let topic = crate::base::lock(&base.topics).intern("topic").expect("one topic is allowed");
        assert_eq!(topic, TopicId(0));
        base.lanes[0].catalog().set_replicated(topic, true);
        let queue = Arc::new(Queue::new(base.lanes.len(), pool, base.settings.max_record_bytes));
        let mut windows = Windows::default();
        for (route, mark) in base.lanes[0].catalog().marks() {
            windows.after.insert(route, mark.done);
        }
        Self {
            writer: Writer::new(Arc::clone(&base), Arc::clone(&queue), &opened.next_segments),
            keeper: Keeper::new(Arc::clone(&base)),
            reader: Reader::new(Arc::clone(&base), LANE),
            report: opened.report,
            now: Duration::ZERO,
            seqs: BTreeMap::new(),
            disk,
            base,
            queue,
            windows,
        }
    }

    /// Opens what a power cut leaves, with the same settings.
    pub(crate) fn cut(&self, random: &mut dyn FnMut() -> u32) -> Self {
        Self::open(self.disk.cut(random), self.base.settings.clone())
    }

    /// A power cut that loses everything that was not synced.
    pub(crate) fn cut_hard(&self) -> Self {
        self.cut(&mut || 0)
    }

    /// Opens the same disk again, as after kill -9.
    pub(crate) fn killed(self) -> Self {
        Self::open(self.disk.clone(), self.base.settings.clone())
    }

    /// The next record of a route.
    pub(crate) fn record(&mut self, route: RouteId, bytes: usize, flags: Flags) -> Owned {
        let seq = self.seqs.entry(route).or_default();
        *seq += 1;
        let position = Position { epoch: self.report.who.epoch, seq: *seq };
        let mut payload = format!("{route:?} {position} ").into_bytes();
        payload.resize(payload.len().max(bytes), b'.');
        Owned { route, position, flags, payload }
    }

    pub(crate) fn submit(&mut self, record: Owned) -> Result<u64, RefusedBecause> {
        self.queue.submit(LANE, Content::Pooled(record)).map_err(|(_, because)| because)
    }

    /// Submits `count` acknowledged records of `bytes` and returns the last.
    pub(crate) fn append(&mut self, route: RouteId, count: usize, bytes: usize) -> Owned {
        let mut last = None;
        for _ in 0..count {
            let record = self.record(route, bytes, Flags::ACKNOWLEDGED);
            self.submit(record.clone()).expect("there is room in the queue");
            last = Some(record);
        }
        last.expect("at least one")
    }

    /// Lets the writer do what it can do now.
    pub(crate) fn commit(&mut self) -> Next {
        let now = self.now;
        for _ in 0..1000 {
            let next = self.writer.step(&|| now, &mut |_, _| {});
            if next != Next::Now {
                return next;
            }
        }
        panic!("the writer never comes to rest");
    }

    /// Appends and commits enough to leave more than one segment behind.
    pub(crate) fn fill_segments(&mut self, route: RouteId, segments: usize) {
        for _ in 0..segments * 8 {
            self.append(route, 1, 140_000);
            self.commit();
        }
    }

    /// Lets a second pass, and housekeeping do what it can do then.
    pub(crate) fn keep(&mut self) {
        self.now += Duration::from_secs(1);
        for _ in 0..10_000 {
            if self.keeper.step(self.now) != Next::Now {
                return;
            }
        }
        panic!("housekeeping never comes to rest");
    }

    /// Reads what can be read now; returns what was taken by this.
    pub(crate) fn read(&mut self) -> Vec<Owned> {
        let before = self.windows.taken.len();
        for _ in 0..10_000 {
            if self.reader.step(self.now, &mut self.windows) != Next::Now {
                return self.windows.taken[before..].to_vec();
            }
        }
        panic!("the reader never comes to rest");
    }

    /// Reads until even parked routes that have room are served.
    pub(crate) fn read_all(&mut self) -> Vec<Owned> {
        let before = self.windows.taken.len();
        for _ in 0..200 {
            self.read();
            self.now += Duration::from_millis(20);
        }
        self.windows.taken[before..].to_vec()
    }

    pub(crate) fn done(&mut self, record: &Owned) {
        let bytes = record.payload.len() as u64;
        self.base.lanes[0].catalog().done(record.route, record.position, bytes);
    }

    /// Sequence numbers of what was taken for a route.
    pub(crate) fn taken_seqs(&self, route: RouteId) -> Vec<u64> {
        self.windows
            .taken
            .iter()
            .filter(|taken| taken.route == route)
            .map(|taken| taken.position.seq)
            .collect()
    }

    pub(crate) fn settled(&self, route: RouteId) -> u64 {
        self.queue.settled(LANE, route.shard)
    }

    pub(crate) fn segments(&self) -> usize {
        self.base.lanes[0].catalog().segments.len()
    }
}
