//! The shell: an open spool with its threads, as the gateway uses it.
//!
//! One thread writes and keeps house, one reads. All they do is call step functions and wait.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use crate::base::{Base, Next, Who, lock};
use crate::disk::Disk;
use crate::format::frame::{Frame, put_header};
use crate::full::{self, Counters, Level, Verdict};
use crate::health::Health;
use crate::ids::{LaneId, Position, RouteId, TopicId};
use crate::keep::Keeper;
use crate::read::{Reader, Sink};
use crate::recover::{Boot, OpenError, Opened, Report, recover};
use crate::settings::Settings;
use crate::stats::Stats;
use crate::write::{Content, DeadLetter, Queue, Record, Refused, RefusedBecause, Writer};

/// Reads a monotonic clock: time since an origin of the process's own.
pub type Clock = fn() -> Duration;

/// Kept of the text that says why a record is a dead letter.
const MAX_ERROR_BYTES: usize = 256;

/// A thread that waits looks up at least this often, so that nothing depends on a bell alone.
const LOOK_UP: Duration = Duration::from_secs(1);

/// Opens a spool, whatever has happened to it, and says what it found.
///
/// # Errors
/// If the folder cannot be used at all.
pub fn open<D: Disk>(disk: D, settings: Settings, boot: &Boot) -> Result<Open<D>, OpenError> {
    let opened = recover(disk, settings, boot)?;
    for finding in &opened.report.findings {
        if finding.is_loss() {
            tracing::error!(%finding, "the spool");
        } else {
            tracing::info!(%finding, "the spool");
        }
    }
    Ok(Open { opened })
}

/// A spool that is open and not yet at work: the time to make routes for what is in it.
pub struct Open<D> {
    opened: Opened<D>,
}

/// The records of a route that wait in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The route.
    pub route: RouteId,
    /// Kafka has everything up to here: where handing over goes on.
    pub done: Position,
    /// The last record in the log.
    pub last: Position,
    /// About how many records lie between; never said to be fewer than they are.
    pub records: u64,
    /// About how many bytes.
    pub bytes: u64,
}

impl<D: Disk> Open<D> {
    /// Returns what the boot found.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.opened.report
    }

    /// Returns the number of a topic; `None` if it is no name for a topic, or there are more than a thousand.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicId> {
        lock(&self.opened.base.topics).intern(name)
    }

    /// Returns a topic's name.
    #[must_use]
    pub fn topic_name(&self, topic: TopicId) -> Option<Arc<str>> {
        lock(&self.opened.base.topics).name(topic).cloned()
    }

    /// Returns the routes of a lane that have records waiting.
    #[must_use]
    pub fn backlog(&self, lane: LaneId) -> Vec<Backlog> {
        self.opened.base.lanes[lane.index()].catalog().backlog()
    }

    /// Returns the routes of a lane of which Kafka has records that are not known to be safe: see
    /// [`Spool::replay_from_safe`].
    #[must_use]
    pub fn unsafe_routes(&self, lane: LaneId) -> Vec<RouteId> {
        self.opened.base.lanes[lane.index()].catalog().unsafe_routes()
    }

    /// Sets the threads to work. `settled` is called by the writer whenever [`Spool::settled`] of a lane and shard has
    /// moved; it must not block.
    ///
    /// # Errors
    /// If the operating system gives no threads.
    pub fn start<R: Record>(
        self,
        clock: Clock,
        sink: impl Sink + 'static,
        settled: impl FnMut(LaneId, u8) + Send + 'static,
    ) -> io::Result<Spool<D, R>> {
        let base = self.opened.base;
        let (pool, record) = (base.settings.pool_bytes, base.settings.max_record_bytes);
        let queue = Arc::new(Queue::new(base.lanes.len(), pool, record));
        let bell = Arc::new(ReaderBell::default());
        let writer = Writer::new(Arc::clone(&base), Arc::clone(&queue), &self.opened.next_segments);
        let keeper = Keeper::new(Arc::clone(&base));
        let readers: Vec<_> = base.lanes.iter().map(|lane| Reader::new(Arc::clone(&base), lane.id)).collect();
        let ended = Arc::new(AtomicUsize::new(0));
        let write = {
            let (queue, bell, ended) = (Arc::clone(&queue), Arc::clone(&bell), Arc::clone(&ended));
            thread::Builder::new().name("spool-write".to_owned()).spawn(move || {
                write(writer, keeper, &queue, &bell, clock, settled);
                ended.fetch_add(1, Ordering::Release);
            })?
        };
        let read = {
            let (base, bell, ended) = (Arc::clone(&base), Arc::clone(&bell), Arc::clone(&ended));
            thread::Builder::new().name("spool-read".to_owned()).spawn(move || {
                read(&base, readers, &bell, clock, sink);
                ended.fetch_add(1, Ordering::Release);
            })?
        };
        let threads = vec![write, read];
        Ok(Spool { base, queue, bell, clock, dead_letters: AtomicU64::new(0), ended, threads })
    }
}

/// A spool at work.
pub struct Spool<D: Disk, R> {
    base: Arc<Base<D>>,
    queue: Arc<Queue<R>>,
    bell: Arc<ReaderBell>,
    clock: Clock,
    dead_letters: AtomicU64,
    /// Threads that came to their end, and not to a panic.
    ended: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl<D: Disk, R: Record> Spool<D, R> {
    /// Says what to do with a record that comes for a route that is BEHIND, and counts it.
    pub fn admit(&self, lane: LaneId, acknowledged: bool) -> Verdict {
        let shared = &self.base.lanes[lane.index()];
        let mut catalog = shared.catalog();
        let level = catalog.level(shared.capacity_bytes, self.base.settings.reserve_bytes());
        let verdict = full::decide(shared.policy, level, acknowledged, catalog.oldest_can_go);
        catalog.counters.count(verdict);
        verdict
    }

    /// Hands a record to the writer. Returns its ticket: it is settled, durable or in Kafka, once [`Self::settled`] of its
    /// lane and shard is above the ticket.
    ///
    /// # Errors
    /// The record, if it was not taken.
    pub fn submit(&self, lane: LaneId, record: R) -> Result<u64, Refused<R>> {
        match self.queue.submit(lane, Content::Pooled(record)) {
            Ok(ticket) => Ok(ticket),
            Err((Content::Pooled(record), because)) => Err(Refused { record, because }),
            Err((Content::Dead(_), _)) => unreachable!("what is refused is what was submitted"),
        }
    }

    /// Puts aside a record that Kafka refuses for good. Returns a ticket of the dead-letter lane: once it is settled, the
    /// record may count as done.
    ///
    /// # Errors
    /// Why it was not taken; the record must stay where it is.
    pub fn dead_letter(&self, lane: LaneId, frame: &Frame<'_>, error: &str) -> Result<u64, RefusedBecause> {
        let mut headers = frame.headers.to_vec();
        let source = format!("{}.{}", frame.shard, self.base.lanes[lane.index()].name);
        put_header(&mut headers, "tg-src", source.as_bytes());
        put_header(&mut headers, "tg-epoch", frame.position.epoch.to_string().as_bytes());
        put_header(&mut headers, "tg-seq", frame.position.seq.to_string().as_bytes());
        let error = &error.as_bytes()[..error.len().min(MAX_ERROR_BYTES)];
        put_header(&mut headers, "tg-error", error);
        let seq = self.dead_letters.fetch_add(1, Ordering::Relaxed) + 1;
        let letter = DeadLetter {
            route: frame.route(),
            position: Position { epoch: self.who().epoch, seq },
            time_unix_ms: frame.time_unix_ms,
            uptime_ms: frame.uptime_ms,
            flags: frame.flags,
            key: frame.key.map(<[u8]>::to_vec),
            headers,
            payload: frame.payload.to_vec(),
        };
        let lane = self.base.settings.dead_letter();
        self.queue.submit(lane, Content::Dead(Box::new(letter))).map_err(|(_, because)| because)
    }

    /// Returns up to which ticket, exclusive, submissions of a lane and shard are settled.
    #[must_use]
    pub fn settled(&self, lane: LaneId, shard: u8) -> u64 {
        self.queue.settled(lane, shard)
    }

    /// Notes that Kafka has a route's records up to `position`, proven; `bytes` of them since this was last said.
    pub fn done(&self, lane: LaneId, route: RouteId, position: Position, bytes: u64) {
        self.base.lanes[lane.index()].catalog().done(route, position, bytes);
    }

    /// Says whether several brokers have each record of a topic (replication and min.insync.replicas of 2 or more). Until
    /// that is said, what Kafka has is kept for another minute.
    pub fn set_replicated(&self, topic: TopicId, replicated: bool) {
        for lane in &self.base.lanes {
            lane.catalog().set_replicated(topic, replicated);
        }
    }

    /// Takes back what is not known to be safe of a topic, or of one partition: its broker has lost what it had only in
    /// memory. Returns the routes, and where each goes on; the sink must say the same from now on.
    pub fn replay_from_safe(
        &self,
        topic: TopicId,
        partition: Option<u32>,
    ) -> Vec<(LaneId, RouteId, Position)> {
        let lanes = self.base.lanes.iter();
        let replayed = lanes.flat_map(|lane| {
            let replayed = lane.catalog().replay_from_safe(topic, partition);
            replayed.into_iter().map(|(route, position)| (lane.id, route, position))
        });
        replayed.collect()
    }

    /// Tells the reader that a route's [`crate::Ask::after`] went down.
    pub fn rewind(&self, lane: LaneId, route: RouteId) {
        lock(&self.bell.state).rewinds.insert((lane, route));
        self.bell.ring();
    }

    /// Tells the reader that windows have opened.
    pub fn nudge(&self) {
        self.bell.ring();
    }

    /// Returns the number of a topic; `None` if it is no name for a topic, or there are more than a thousand.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicId> {
        lock(&self.base.topics).intern(name)
    }

    /// Returns who writes.
    #[must_use]
    pub fn who(&self) -> Who {
        *lock(&self.base.who)
    }

    /// Returns how a lane fares. A thread that has died is a disk that is down.
    #[must_use]
    pub fn health(&self, lane: LaneId) -> Health {
        if self.is_running() { self.base.status.get(lane, (self.clock)()) } else { Health::Down }
    }

    /// Returns how full a lane is.
    #[must_use]
    pub fn level(&self, lane: LaneId) -> Level {
        let shared = &self.base.lanes[lane.index()];
        shared.catalog().level(shared.capacity_bytes, self.base.settings.reserve_bytes())
    }

    /// Returns what a lane refused and dropped.
    #[must_use]
    pub fn counters(&self, lane: LaneId) -> Counters {
        self.base.lanes[lane.index()].catalog().counters
    }

    /// Returns the routes of a lane that have records waiting.
    #[must_use]
    pub fn backlog(&self, lane: LaneId) -> Vec<Backlog> {
        self.base.lanes[lane.index()].catalog().backlog()
    }

    /// Returns how many routes of all lanes are parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        lock(&self.bell.state).parked
    }

    /// Returns what the spool has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.base.stats).clone()
    }

    /// Returns whether both threads live. If one has died, the process must end: nothing is stored or handed over.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// As [`Self::finish`], and lets go of the folder.
    #[must_use]
    pub fn stop(self, longest: Duration) -> bool {
        self.finish(longest)
    }

    /// Commits what was submitted, writes the cursor and ends the threads; what comes meanwhile is refused. Returns
    /// whether that was done within `longest`: a disk that hangs is left to itself.
    #[must_use]
    pub fn finish(&self, longest: Duration) -> bool {
        let deadline = (self.clock)() + longest;
        self.end();
        while !self.threads.iter().all(JoinHandle::is_finished) {
            if (self.clock)() >= deadline {
                return false;
            }
            // The threads were rung; this only spreads the looks.
            thread::sleep(Duration::from_millis(1));
        }
        self.ended.load(Ordering::Acquire) == self.threads.len()
    }
}

impl<D: Disk, R> Spool<D, R> {
    /// Tells the threads to finish.
    fn end(&self) {
        self.queue.close();
        lock(&self.bell.state).stop = true;
        self.bell.ring();
    }
}

/// Without [`Spool::stop`] nobody waits for the threads, but they end.
impl<D: Disk, R> Drop for Spool<D, R> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<D: Disk, R> fmt::Debug for Spool<D, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("threads", &self.threads).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct ReaderState {
    rung: bool,
    stop: bool,
    /// Bounded by the routes there are.
    rewinds: BTreeSet<(LaneId, RouteId)>,
    parked: usize,
}

#[derive(Debug, Default)]
struct ReaderBell {
    state: Mutex<ReaderState>,
    bell: Condvar,
}

impl ReaderBell {
    fn ring(&self) {
        // Whoever rang before has woken the reader; waking costs a system call.
        let was_rung = std::mem::replace(&mut lock(&self.state).rung, true);
        if !was_rung {
            self.bell.notify_one();
        }
    }
}

fn write<D: Disk, R: Record>(
    mut writer: Writer<D, R>,
    mut keeper: Keeper<D>,
    queue: &Queue<R>,
    bell: &ReaderBell,
    clock: Clock,
    mut settled: impl FnMut(LaneId, u8),
) {
    while !queue.is_closed() {
        // The first cursor comes before the first commit.
        let keep = keeper.step(clock());
        let mut moved = false;
        let write = writer.step(&clock, &mut |lane, shard| {
            moved = true;
            settled(lane, shard);
        });
        if moved {
            bell.ring();
        }
        queue.wait(until(keep.min(write), clock));
    }
    writer.finish(&clock, &mut settled);
    keeper.finish(clock());
}

fn read<D: Disk>(
    base: &Base<D>,
    mut readers: Vec<Reader<D>>,
    bell: &ReaderBell,
    clock: Clock,
    mut sink: impl Sink,
) {
    let mut next = Next::Now;
    loop {
        let rewinds = {
            let state = lock(&bell.state);
            let wait =
                bell.bell.wait_timeout_while(state, until(next, clock), |state| !state.rung && !state.stop);
            let (mut state, _) = wait.unwrap_or_else(PoisonError::into_inner);
            if state.stop {
                return;
            }
            state.rung = false;
            std::mem::take(&mut state.rewinds)
        };
        for (lane, route) in rewinds {
            readers[lane.index()].rewind(route, &mut sink);
        }
        next = Next::Idle;
        let dead_letters = base.settings.dead_letter();
        for reader in readers.iter_mut().filter(|reader| reader.lane() != dead_letters) {
            next = next.min(reader.step(clock(), &mut sink));
        }
        lock(&bell.state).parked = readers.iter().map(Reader::parked).sum();
    }
}

fn until(next: Next, clock: Clock) -> Duration {
    match next {
        Next::Now => Duration::ZERO,
        Next::At(at) => at.saturating_sub(clock()).min(LOOK_UP),
        Next::Idle => LOOK_UP,
    }
}
