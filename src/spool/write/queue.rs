//! Records on their way from the workers to the writer, and what it tells them back.
//!
//! The queue holds references into the gateway's memory pool, no copies; its bound is the pool. Each submission gets a
//! ticket of its lane and shard; one watermark per lane and shard says which tickets are settled.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::base::lock;
use crate::format::frame::Frame;
use crate::ids::{LaneId, Position, RouteId, SHARDS};

/// What the headers of a dead letter add to the largest record: it must fit, or its route would wait for ever.
const DEAD_LETTER_EXTRA_BYTES: u64 = 1024;

/// A record that lives somewhere in the gateway's pool as long as this handle does.
pub trait Record: Send + 'static {
    /// Returns the record as the log keeps it: the same bytes each time.
    fn frame(&self) -> Frame<'_>;
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedBecause {
    /// As many bytes wait as the pool has; nothing was promised, try again when some are settled.
    #[error("the writer's queue is full")]
    QueueFull,
    /// The lane is DISK-DOWN.
    #[error("the disk is down")]
    Down,
    /// It is larger than settings allow, or a key or shard is not allowed.
    #[error("the record does not fit a segment")]
    TooLarge,
    /// Its position is not above the last one submitted for its route: the caller's mistake, which would be
    /// taken for a duplicate when it is read.
    #[error("the record's position is not above its route's last")]
    OutOfOrder,
    /// The spool is being closed.
    #[error("the spool is closed")]
    Closed,
}

/// A record that was not taken, given back.
#[derive(Debug)]
pub struct Refused<R> {
    /// The record.
    pub record: R,
    /// Why.
    pub because: RefusedBecause,
}

/// A record of the dead-letter lane, which owns its bytes: rare, and its headers differ from what the pool holds.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    pub(crate) route: RouteId,
    pub(crate) position: Position,
    pub(crate) time_unix_ms: i64,
    pub(crate) uptime_ms: u64,
    pub(crate) flags: crate::Flags,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl DeadLetter {
    fn frame(&self) -> Frame<'_> {
        Frame {
            shard: self.route.shard,
            topic: self.route.topic,
            partition: self.route.partition,
            position: self.position,
            time_unix_ms: self.time_unix_ms,
            uptime_ms: self.uptime_ms,
            lifetime_s: 0,
            flags: self.flags,
            key: self.key.as_deref(),
            headers: &self.headers,
            payload: &self.payload,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Content<R> {
    Pooled(R),
    Dead(Box<DeadLetter>),
}

/// A submission.
#[derive(Debug)]
pub(crate) struct Entry<R> {
    pub(crate) ticket: u64,
    pub(crate) bytes: u64,
    content: Content<R>,
}

impl<R: Record> Entry<R> {
    pub(crate) fn frame(&self) -> Frame<'_> {
        match &self.content {
            Content::Pooled(record) => record.frame(),
            Content::Dead(letter) => letter.frame(),
        }
    }
}

#[derive(Debug)]
struct LaneIn<R> {
    entries: VecDeque<Entry<R>>,
    next_ticket: [u64; SHARDS as usize],
    /// Last position submitted per route. Bounded by the routes there are.
    last: HashMap<RouteId, Position>,
    down: bool,
}

#[derive(Debug)]
struct Inner<R> {
    lanes: Vec<LaneIn<R>>,
    bytes: u64,
    closed: bool,
    rung: bool,
}

/// The queue of all lanes of a device.
#[derive(Debug)]
pub(crate) struct Queue<R> {
    inner: Mutex<Inner<R>>,
    bell: Condvar,
    settled: Vec<AtomicU64>,
    bound_bytes: u64,
    max_record_bytes: u64,
}

impl<R: Record> Queue<R> {
    pub(crate) fn new(lanes: usize, bound_bytes: u64, max_record_bytes: u64) -> Self {
        let lane = || LaneIn {
            entries: VecDeque::new(),
            next_ticket: [0; SHARDS as usize],
            last: HashMap::new(),
            down: false,
        };
        let inner =
            Inner { lanes: (0..lanes).map(|_| lane()).collect(), bytes: 0, closed: false, rung: false };
        Self {
            inner: Mutex::new(inner),
            bell: Condvar::new(),
            settled: (0..lanes * usize::from(SHARDS)).map(|_| AtomicU64::new(0)).collect(),
            bound_bytes,
            max_record_bytes,
        }
    }

    /// Takes a record and returns its ticket: settled once [`Self::settled`] of its lane and shard is above it.
    pub(crate) fn submit(
        &self,
        id: LaneId,
        content: Content<R>,
    ) -> Result<u64, (Content<R>, RefusedBecause)> {
        let (route, position, bytes, key_bytes) = {
            let frame = match &content {
                Content::Pooled(record) => record.frame(),
                Content::Dead(letter) => letter.frame(),
            };
            (frame.route(), frame.position, frame.bytes() as u64, frame.key.map_or(0, <[u8]>::len))
        };
        let extra = if matches!(content, Content::Dead(_)) { DEAD_LETTER_EXTRA_BYTES } else { 0 };
        if bytes > self.max_record_bytes + extra || key_bytes > usize::from(u16::MAX) || route.shard >= SHARDS
        {
            return Err((content, RefusedBecause::TooLarge));
        }
        let mut inner = lock(&self.inner);
        let because = if inner.closed {
            Some(RefusedBecause::Closed)
        } else if inner.lanes[id.index()].down {
            Some(RefusedBecause::Down)
        } else if inner.bytes + bytes > self.bound_bytes {
            Some(RefusedBecause::QueueFull)
        } else if inner.lanes[id.index()].last.get(&route).is_some_and(|last| *last >= position) {
            Some(RefusedBecause::OutOfOrder)
        } else {
            None
        };
        if let Some(because) = because {
            return Err((content, because));
        }
        inner.bytes += bytes;
        let was_rung = std::mem::replace(&mut inner.rung, true);
        let lane = &mut inner.lanes[id.index()];
        lane.last.insert(route, position);
        let next = &mut lane.next_ticket[usize::from(route.shard)];
        let ticket = *next;
        *next += 1;
        lane.entries.push_back(Entry { ticket, bytes, content });
        drop(inner);
        // Whoever rang before has woken the writer; waking costs a system call.
        if !was_rung {
            self.bell.notify_one();
        }
        Ok(ticket)
    }

    /// Returns up to which ticket, exclusive, the submissions of a lane and shard are settled: durable, or in Kafka.
    pub(crate) fn settled(&self, lane: LaneId, shard: u8) -> u64 {
        self.settled[Self::index(lane, shard)].load(Ordering::Acquire)
    }

    pub(crate) fn settle(&self, lane: LaneId, shard: u8, below: u64) {
        self.settled[Self::index(lane, shard)].fetch_max(below, Ordering::Release);
    }

    /// Moves what was submitted to `lane` behind what its writer has.
    pub(crate) fn take(&self, lane: LaneId, pending: &mut VecDeque<Entry<R>>) {
        pending.append(&mut lock(&self.inner).lanes[lane.index()].entries);
    }

    /// Gives room back for `bytes` that are settled.
    pub(crate) fn release(&self, bytes: u64) {
        lock(&self.inner).bytes -= bytes;
    }

    pub(crate) fn set_down(&self, lane: LaneId, down: bool) {
        lock(&self.inner).lanes[lane.index()].down = down;
    }

    const fn index(lane: LaneId, shard: u8) -> usize {
        lane.index() * SHARDS as usize + shard as usize
    }
}

impl<R> Queue<R> {
    /// Takes nothing more.
    pub(crate) fn close(&self) {
        lock(&self.inner).closed = true;
        self.ring();
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.inner).closed
    }

    /// Wakes the writer.
    pub(crate) fn ring(&self) {
        lock(&self.inner).rung = true;
        self.bell.notify_one();
    }

    /// Waits for a submission or a ring, at most `longest`.
    pub(crate) fn wait(&self, longest: Duration) {
        let inner = lock(&self.inner);
        let (mut inner, _) = self
            .bell
            .wait_timeout_while(inner, longest, |inner| !inner.rung)
            .unwrap_or_else(PoisonError::into_inner);
        inner.rung = false;
    }
}
