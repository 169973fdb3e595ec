//! What writer, reader and housekeeping share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::catalog::Catalog;
use crate::disk::Disk;
use crate::format::cursor::LaneCursor;
use crate::format::header::Header;
use crate::full::Policy;
use crate::health::{Health, SLOW_COMMIT};
use crate::ids::{GatewayId, LaneId, SegmentId};
use crate::settings::Settings;
use crate::stats::Stats;
use crate::topics::Topics;

/// Name of the identity file.
pub(crate) const IDENTITY: &str = "identity";
/// Name of the cursor file.
pub(crate) const CURSOR: &str = "cursor";

/// When a step function wants to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Next {
    /// At once: there is more to do.
    Now,
    /// At that time, or when something happens.
    At(Duration),
    /// When something happens.
    Idle,
}

/// Who writes: the halves of header `tg-gw` and `tg-epoch` that the spool decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// Identity that the spool was made with.
    pub spool: GatewayId,
    /// Identity of what is received in this run. Another than the spool's if the epoch could not be written down:
    /// then the next run will use the same epoch, and consumers must not take its records for duplicates.
    pub run: GatewayId,
    /// This boot's epoch.
    pub epoch: u32,
    /// The epoch is on the disk.
    pub durable: bool,
}

/// One lane.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) name: String,
    pub(crate) capacity_bytes: u64,
    pub(crate) policy: Policy,
    catalog: Mutex<Catalog>,
}

impl Lane {
    pub(crate) fn new(
        id: LaneId,
        name: String,
        capacity_bytes: u64,
        policy: Policy,
        catalog: Catalog,
    ) -> Self {
        Self { id, name, capacity_bytes, policy, catalog: Mutex::new(catalog) }
    }

    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        lock(&self.catalog)
    }

    pub(crate) fn path(&self, segment: SegmentId) -> String {
        format!("{}/{}", self.name, segment.file_name())
    }
}

/// How the writer fares, for whoever asks while it is busy.
#[derive(Debug)]
pub(crate) struct Status {
    lanes: Mutex<Vec<Health>>,
    /// When the commit under way began, in ns; `u64::MAX` if none is.
    commit_since_ns: AtomicU64,
}

impl Status {
    pub(crate) fn new(lanes: usize) -> Self {
        Self { lanes: Mutex::new(vec![Health::Ok; lanes]), commit_since_ns: AtomicU64::new(u64::MAX) }
    }

    pub(crate) fn commit_began(&self, now: Duration) {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX - 1);
        self.commit_since_ns.store(nanos, Ordering::Relaxed);
    }

    pub(crate) fn commit_ended(&self) {
        self.commit_since_ns.store(u64::MAX, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, lane: LaneId, health: Health) {
        lock(&self.lanes)[lane.index()] = health;
    }

    /// Returns how a lane fares; a commit that hangs is a disk that is down, though its writer cannot say so.
    pub(crate) fn get(&self, lane: LaneId, now: Duration) -> Health {
        let since = self.commit_since_ns.load(Ordering::Relaxed);
        if since != u64::MAX && now > Duration::from_nanos(since) + SLOW_COMMIT {
            return Health::Down;
        }
        lock(&self.lanes)[lane.index()]
    }
}

/// An open spool.
#[derive(Debug)]
pub(crate) struct Base<D> {
    pub(crate) disk: D,
    pub(crate) settings: Settings,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) topics: Mutex<Topics>,
    pub(crate) who: Mutex<Who>,
    pub(crate) machine_boot: [u8; 16],
    /// What the last cursor said of lanes that the settings do not have: kept for the day they come back.
    pub(crate) foreign_lanes: Vec<LaneCursor>,
    pub(crate) status: Status,
    pub(crate) stats: Mutex<Stats>,
    /// State of the generator of salts.
    pub(crate) random: AtomicU64,
}

impl<D: Disk> Base<D> {
    /// Returns a salt for a new segment (splitmix64, Steele et al. 2014, of the seed that the spool was opened with).
    pub(crate) fn salt(&self) -> u32 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Header::salt_from(u32::try_from((z ^ (z >> 31)) >> 32).expect("32 bits are left"))
    }

    /// Notes whether the file system has room for what is in memory and for others. Lanes share the memory, but each may
    /// need a segment that it fills only in part.
    pub(crate) fn look_at_the_disk(&self) {
        let settings = &self.settings;
        let others = settings.segment_bytes * (self.lanes.len() as u64 - 1);
        let needed = settings.free_floor_bytes.saturating_add(settings.reserve_bytes() + others);
        // A disk that cannot tell is found to be full when it is.
        let full = self.disk.free_bytes().is_ok_and(|free| free < needed);
        for lane in &self.lanes {
            lane.catalog().disk_full = full;
        }
    }

    pub(crate) fn stats(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut lock(&self.stats));
    }

    /// Counts a place of the log that cannot be read.
    pub(crate) fn count_hole(&self, bytes: u64) {
        self.stats(|stats| {
            stats.holes += 1;
            stats.hole_bytes += bytes;
        });
    }
}

/// Locks; a thread that panicked with the lock ends the process, and until then others need not panic too.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
