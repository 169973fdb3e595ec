//! What workers and report threads share: lanes, topics with their gates, one completion ring per worker.
//!
//! Nobody waits on the way of a record: topics are only added, rings are lock-free, and the lock of a topic is written only when
//! its producer is replaced.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use rdkafka::ClientConfig;
use rdkafka::types::RDKafkaErrorCode;
use tidegate_core::time::Timestamp;

use super::doorbell::Doorbell;
use super::gate::Gate;
use super::pool::Pool;
use super::settings::{LANE_PARTITIONS_MAX, TOPICS_MAX};
use super::stats::{Counters, Stats};
use super::types::{LaneId, TopicId, Wake};
use super::{Error, FatalError, window};
use crate::native;

/// Time between two searches for windows that can be given back, process-wide.
const RECLAIM_EVERY: Duration = Duration::from_secs(1);

/// A report on its way to the worker that handed the record over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) opaque: usize,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Delivered(i64),
    Unproven,
    Failed(RDKafkaErrorCode),
}

/// The half of a worker that others reach.
pub(super) struct Worker {
    /// As many places as the worker has credits, so it is never full.
    pub(super) ring: ArrayQueue<Report>,
    pub(super) counters: Counters,
    pub(super) doorbell: Doorbell,
    wake: Wake,
}

/// One class: a producer of its own, so that a fatal error ends one class only.
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) config: ClientConfig,
    /// A failed instance is replaced; otherwise it ends the lane.
    pub(super) retires: bool,
    instance: RwLock<Instance>,
    /// The instance has proven a delivery.
    pub(super) has_proven: AtomicBool,
    /// Pause before the next instance.
    pub(super) backoff: Mutex<Duration>,
    /// Nothing is handed over: for good, or until the next instance is there.
    pub(super) closed: AtomicBool,
    pub(super) fatal: OnceLock<FatalError>,
}

/// One librdkafka producer of a lane, and its number.
#[derive(Clone)]
pub(super) struct Instance {
    pub(super) number: u32,
    pub(super) producer: Arc<native::Producer>,
}

/// One topic on one lane.
pub(super) struct Topic {
    pub(super) lane: usize,
    pub(super) name: String,
    /// With the number of the instance that it is of. Read from the look at `Lane::closed` until librdkafka has the
    /// record: whoever closes the lane and has then written here knows that no hand-over is under way. Read also while a
    /// gate takes a report.
    pub(super) native: RwLock<(u32, native::Topic)>,
    /// One per partition; the count is latched when the topic is opened.
    pub(super) gates: Box<[Gate]>,
}

pub(super) struct Shared {
    pub(super) workers: Box<[Worker]>,
    pub(super) lanes: Box<[Lane]>,
    topics: Box<[OnceLock<Topic>]>,
    /// Topics opened so far; only opening takes the lock.
    opened: Mutex<usize>,
    pub(super) pool: Pool,
    /// What the pool began with.
    pool_bytes: u64,
    reclaim_at_nanos: AtomicU64,
    /// No lane opens any more.
    pub(super) stopping: AtomicBool,
    pub(super) retired: AtomicU64,
}

impl Topic {
    /// Makes it one of another instance, to which every partition is COLD. Reports of the last one are in its gates by then,
    /// or warm them no more.
    pub(super) fn hand_to(&self, number: u32, native: native::Topic) {
        *self.native.write().unwrap_or_else(PoisonError::into_inner) = (number, native);
        self.gates.iter().for_each(Gate::chill);
    }
}

impl Worker {
    pub(super) fn new(credits: u32, wake: Wake) -> Self {
        Self {
            ring: ArrayQueue::new(credits as usize),
            counters: Counters::default(),
            doorbell: Doorbell::new(),
            wake,
        }
    }

    /// Tells the worker that something changed for it.
    pub(super) fn ring(&self) {
        if self.doorbell.ring() {
            (self.wake)();
        }
    }
}

impl Lane {
    pub(super) fn open(name: &str, config: ClientConfig, retires: bool) -> Result<Self, Error> {
        let producer = native::Producer::new(&config)
            .map_err(|reason| Error::Client { lane: name.to_owned(), reason })?;
        Ok(Self {
            name: name.to_owned(),
            config,
            retires,
            instance: RwLock::new(Instance { number: 0, producer: Arc::new(producer) }),
            has_proven: AtomicBool::new(false),
            backoff: Mutex::new(Duration::ZERO),
            closed: AtomicBool::new(false),
            fatal: OnceLock::new(),
        })
    }

    /// Returns the instance that records go to.
    pub(super) fn instance(&self) -> Instance {
        self.instance.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns its number.
    pub(super) fn number(&self) -> u32 {
        self.instance.read().unwrap_or_else(PoisonError::into_inner).number
    }

    /// Makes another instance the one that records go to, once the lane is opened.
    pub(super) fn set_instance(&self, instance: Instance) {
        *self.instance.write().unwrap_or_else(PoisonError::into_inner) = instance;
    }

    /// Records the first fatal error and ends hand-over; later ones are consequences of it.
    pub(super) fn fail(&self, code: Option<RDKafkaErrorCode>, reason: String) {
        let error = FatalError { lane: self.name.clone(), code, reason };
        if self.fatal.set(error.clone()).is_ok() {
            tracing::error!(lane = error.lane, code = ?error.code, reason = error.reason, "producer failed for good");
        }
        self.closed.store(true, Ordering::Release);
    }
}

impl Shared {
    pub(super) fn new(workers: Box<[Worker]>, lanes: Box<[Lane]>, pool_bytes: u64) -> Self {
        Self {
            workers,
            lanes,
            topics: (0..TOPICS_MAX).map(|_| OnceLock::new()).collect(),
            opened: Mutex::new(0),
            pool: Pool::new(pool_bytes),
            pool_bytes,
            reclaim_at_nanos: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            retired: AtomicU64::new(0),
        }
    }

    pub(super) fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(usize::from(id.0))?.get()
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().map_while(OnceLock::get)
    }

    /// Opens a topic on a lane, or returns the one opened before.
    pub(super) fn open_topic(&self, lane: LaneId, name: &str, partitions: u32) -> Result<TopicId, Error> {
        let refused = |reason: String| Error::Topic { topic: name.to_owned(), reason };
        let lane_index = usize::from(lane.0);
        let lane = self.lanes.get(lane_index).ok_or_else(|| refused(format!("no lane {}", lane.0)))?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((id, topic)) =
            (0_u16..).zip(self.topics()).find(|(_, t)| t.lane == lane_index && t.name == name)
        {
            let known = topic.gates.len();
            return if known == partitions as usize {
                Ok(TopicId(id))
            } else {
                Err(refused(format!("opened with {known} partitions, asked for {partitions}")))
            };
        }
        let of_lane: usize = self.topics().filter(|t| t.lane == lane_index).map(|t| t.gates.len()).sum();
        if partitions == 0 || of_lane + partitions as usize > LANE_PARTITIONS_MAX as usize {
            return Err(refused(format!(
                "{partitions} partitions beside {of_lane} of lane {}: allowed is 1 to {LANE_PARTITIONS_MAX} in all",
                lane.name
            )));
        }
        let place =
            self.topics.get(*opened).ok_or_else(|| refused(format!("already {TOPICS_MAX} topics open")))?;
        let Instance { number, producer } = lane.instance();
        let native = RwLock::new((number, native::Topic::open(&producer, name).map_err(refused)?));
        let gates = (0..partitions).map(|_| Gate::new()).collect();
        let id = u16::try_from(*opened).map_err(|_| refused(format!("already {TOPICS_MAX} topics open")))?;
        // The lock is held and `opened` counts what was set: the place is empty.
        let _ = place.set(Topic { lane: lane_index, name: name.to_owned(), native, gates });
        *opened += 1;
        Ok(TopicId(id))
    }

    /// Rings the workers of a mask.
    pub(super) fn ring(&self, mut mask: u64) {
        while mask != 0 {
            let worker = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            if let Some(worker) = self.workers.get(worker) {
                worker.ring();
            }
        }
    }

    /// Takes back windows of quiet partitions when the pool is too empty for a window to double, once a second.
    pub(super) fn reclaim(&self, now: Timestamp) {
        if self.pool.free_bytes() >= u64::from(window::MAX_BYTES / 2) {
            return;
        }
        let due = self.reclaim_at_nanos.load(Ordering::Relaxed);
        let next = (now + RECLAIM_EVERY).as_nanos();
        let mine = now.as_nanos() >= due
            && self
                .reclaim_at_nanos
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            for gate in self.topics().flat_map(|topic| &topic.gates) {
                gate.give_back(&self.pool, now);
            }
        }
    }

    pub(super) fn stats(&self, now: Timestamp) -> Stats {
        let mut sum = Stats::default();
        for worker in &self.workers {
            worker.counters.add_to(&mut sum);
        }
        for gate in self.topics().flat_map(|topic| &topic.gates) {
            sum.outstanding += u64::from(gate.outstanding().records());
            sum.partitions += 1;
            sum.partitions_cold += u64::from(gate.is_cold(now));
        }
        sum.instances_retired = self.retired.load(Ordering::Relaxed);
        sum.shared_window_bytes_used = self.pool_bytes.saturating_sub(self.pool.free_bytes());
        sum
    }
}
