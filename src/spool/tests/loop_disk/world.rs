//! Records that can be recognised, routes, and a Kafka that takes everything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_spool::disk::RealDisk;
use tidegate_spool::{
    Ask, Boot, Flags, Frame, LaneId, Open, Position, RawLane, RawPolicy, RawSettings, Record, Room, RouteId,
    Settings, Sink, Stored, TopicId, open,
};

pub(crate) const MIB: u64 = 1024 * 1024;

/// Reads the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "a test of real threads is a shell")]
pub(crate) fn clock() -> Duration {
    static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let origin = *ORIGIN;
    Instant::now().saturating_duration_since(origin)
}

/// splitmix64 (Steele et al. 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Where a record stands, in a form that can be printed and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) lane: LaneId,
    pub(crate) route: RouteId,
    pub(crate) position: Position,
}

impl Key {
    pub(crate) fn words(&self) -> String {
        let Self { lane, route, position } = self;
        format!("{} {} {} {} {}", lane.0, route.shard, route.partition, position.epoch, position.seq)
    }

    pub(crate) fn from_words(words: &[&str]) -> Option<Self> {
        let [lane, shard, partition, epoch, seq] = words else { return None };
        Some(Self {
            lane: LaneId(lane.parse().ok()?),
            route: RouteId {
                shard: shard.parse().ok()?,
                topic: TopicId(0),
                partition: partition.parse().ok()?,
            },
            position: Position { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? },
        })
    }

    /// The payload that this record must have.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let seed =
            self.position.seq ^ (u64::from(self.position.epoch) << 40) ^ (u64::from(self.route.shard) << 56);
        let mut random = Random(seed);
        let len = 50 + random.below(3000);
        (0..len / 8).flat_map(|_| random.next().to_le_bytes()).collect()
    }
}

/// A record on its way.
pub(crate) struct Sent {
    pub(crate) key: Key,
    pub(crate) payload: Vec<u8>,
}

impl Record for Sent {
    fn frame(&self) -> Frame<'_> {
        Frame {
            shard: self.key.route.shard,
            topic: self.key.route.topic,
            partition: self.key.route.partition,
            position: self.key.position,
            time_unix_ms: 0,
            uptime_ms: 0,
            lifetime_s: 0,
            flags: Flags::ACKNOWLEDGED,
            key: None,
            headers: b"",
            payload: &self.payload,
        }
    }
}

/// What Kafka got, in order.
#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) after: BTreeMap<(LaneId, RouteId), Position>,
    pub(crate) records: Vec<Key>,
}

/// A Kafka that takes everything and checks it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kafka(Arc<Mutex<Got>>);

impl Kafka {
    pub(crate) fn got(&self) -> std::sync::MutexGuard<'_, Got> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Kafka {
    fn ask(&mut self, lane: LaneId, route: RouteId) -> Ask {
        Ask { after: self.got().after.get(&(lane, route)).copied().unwrap_or_default(), room: Room::Open }
    }

    fn take(&mut self, stored: Stored<'_>) {
        let frame = stored.frame;
        let key = Key { lane: stored.lane, route: frame.route(), position: frame.position };
        assert_eq!(frame.payload, key.payload(), "{key:?} has another payload");
        let mut got = self.got();
        let before = got.after.insert((stored.lane, frame.route()), frame.position);
        assert!(before < Some(frame.position), "{key:?} after {before:?}");
        got.records.push(key);
    }

    fn lost(&mut self, _: LaneId, route: RouteId, after: Position, until: Position) {
        panic!("{route:?} has lost {after} to {until}");
    }
}

/// Two lanes of small segments.
pub(crate) fn settings(segment_bytes: u64, capacity_bytes: u64) -> Settings {
    let lane = |name: &str| RawLane {
        name: name.to_owned(),
        capacity_bytes,
        full: RawPolicy::Block,
        allow_acked_loss: false,
    };
    let raw = RawSettings {
        name: String::new(),
        lanes: vec![lane("alarm"), lane("sensor")],
        segment_bytes,
        pool_bytes: 2 * MIB,
        max_record_bytes: 64 * 1024,
        commit_interval_min: Duration::ZERO,
        free_floor_bytes: 2 * MIB,
        dead_letter_bytes: 64 * MIB,
    };
    raw.try_into().expect("these settings are allowed")
}

/// Opens the spool in a folder.
pub(crate) fn open_spool(folder: &Path, settings: Settings, random: u64) -> std::io::Result<Open<RealDisk>> {
    let mut random = Random(random);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes());
    }
    let boot = Boot { random: bytes, machine_boot: [0; 16], now_unix_ms: i64::MAX };
    open(RealDisk::open(folder)?, settings, &boot).map_err(std::io::Error::other)
}

/// Makes Kafka go on where the cursor says it is.
pub(crate) fn resume(kafka: &Kafka, spool: &Open<RealDisk>) {
    let mut got = kafka.got();
    for lane in [LaneId(0), LaneId(1)] {
        for backlog in spool.backlog(lane) {
            got.after.insert((lane, backlog.route), backlog.done);
        }
    }
}
