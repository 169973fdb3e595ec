//! The queue of one route: records in order, from admission until Kafka has them.
//!
//! Owns the marks of the durable path. Up to `done` Kafka has everything; up to `handed` everything was handed over. A
//! record is in memory until it may be forgotten; what is between `handed` and memory is in the log on disk only. A
//! record's sequence number only grows, so the route's order is that of its positions. Does not know Kafka,
//! connections, windows or disks: `A` is whatever the owner wants back when a record may be acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_core::route::{Ends, Oldest, Seen};
use tidegate_core::time::UnixMillis;
use tidegate_spool::{Flags, Position, Record as _, RouteId as LogRoute};

use super::handed::{Completed, Given, Handed};
use super::logged::{Logged, Owned};
use super::memory::{Memory, NewRecord, Queued};
use super::router::HeaderSet;
use crate::ceiling::{Ceiling, Share};
use crate::config::AckAt;

/// The next record to hand over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next<'a> {
    /// From memory.
    Fresh(Queued<'a>),
    /// From the log.
    Logged(&'a Logged),
}

/// What a report led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    /// Records that must be handed over again: not 0 only with the last report of a round in which one proved nothing.
    pub(crate) again: u64,
    /// Bytes of records that are done and may be in the log: whoever keeps it wants to know.
    pub(crate) logged_bytes: u64,
    /// Records that are done though they were never handed over: their lifetime was over.
    pub(crate) expired: u64,
}

/// The records of one route, in order.
#[derive(Debug)]
pub(crate) struct RouteQueue<A> {
    epoch: u32,
    memory: Memory<A>,
    handed_over: Handed,
    done: Position,
    handed: Position,
    /// Up to here records have left memory, or were never in it.
    gone: Position,
    /// Up to here the log may have records.
    logged: Position,
    /// Sequence number up to which records were given to the writer of the log.
    submitted: u64,
    /// Sequence number up to which they are settled: durable, or in Kafka meanwhile.
    stored: u64,
    /// Records that the log gave back, all above `handed`.
    read: VecDeque<Logged>,
    /// Bytes that have left `read` since that was last asked.
    read_bytes_used: usize,
    /// Kafka refuses a record for good: keep what is handed over first, since the log does not keep what it gave.
    keep: Option<LogRoute>,
    kept: Option<Owned>,
    /// Number of a hand-over whose record is on its way to the dead letters. Nothing is handed over until it is there: `done`
    /// waits for it, and what goes on meanwhile would have to be remembered without a bound.
    letter: Option<u64>,
    /// Who waits for Kafka though the record has left memory: with [`AckAt::Kafka`].
    late: VecDeque<(u64, A)>,
    late_share: Share,
}

impl<A: Copy> RouteQueue<A> {
    /// Returns an empty queue whose first record gets position `first`.
    pub(crate) fn new(first: Position, ceiling: &Arc<Ceiling>) -> Self {
        let before = Position { seq: first.seq - 1, ..first };
        Self {
            epoch: first.epoch,
            memory: Memory::new(first.seq, ceiling),
            handed_over: Handed::default(),
            done: before,
            handed: before,
            gone: before,
            logged: Position::START,
            submitted: before.seq,
            stored: before.seq,
            read: VecDeque::new(),
            read_bytes_used: 0,
            keep: None,
            kept: None,
            letter: None,
            late: VecDeque::new(),
            late_share: Share::none(ceiling),
        }
    }

    /// Puts what an earlier run has left in the log before everything else: behind `done`, up to `last`.
    pub(crate) fn resume(&mut self, done: Position, last: Position) {
        (self.done, self.handed) = (done, done);
        (self.gone, self.logged) = (last, last);
    }

    pub(crate) const fn done(&self) -> Position {
        self.done
    }

    pub(crate) const fn handed(&self) -> Position {
        self.handed
    }

    /// Returns the sequence number of the next record.
    pub(crate) fn tail(&self) -> u64 {
        self.memory.tail()
    }

    /// Returns how many records are in memory.
    pub(crate) fn in_memory(&self) -> u64 {
        self.memory.tail() - self.memory.head()
    }

    /// Returns the memory that the route takes of the pool.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// Returns true if Kafka has all records, and nobody is to be told of one any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.memory.is_empty()
            && self.done >= self.gone
            && self.late.is_empty()
            && self.stored >= self.submitted
    }

    /// Returns true if records were handed over and not all of them are known to be in Kafka.
    pub(crate) fn is_in_flight(&self) -> bool {
        !self.handed_over.is_empty()
    }

    /// Returns true if the next record to hand over is not in memory.
    pub(crate) fn needs_log(&self) -> bool {
        self.handed < self.gone
    }

    /// Returns what its mode is judged by.
    pub(crate) fn seen(&self, ends: Ends) -> Seen {
        let next = self.next_in_memory();
        let caught_up = !self.needs_log() && next >= self.memory.tail();
        let handed_over = next > self.memory.head();
        let oldest = self.memory.oldest().map(|queued| Oldest { queued, handed_over });
        Seen { oldest, caught_up, ends }
    }

    /// Makes room for a record with that much client id, topic and payload; false if the ceiling has none.
    #[must_use]
    pub(crate) fn reserve(&mut self, bytes: usize) -> bool {
        // Who waits for Kafka may come again and again: what is remembered of that has no other bound.
        let remembers_too_much = !self.late.is_empty() && self.late_share.is_all_taken();
        !remembers_too_much && self.memory.reserve(bytes)
    }

    /// Queues a record, for which [`Self::reserve`] must have made room.
    pub(crate) fn push(&mut self, new: &NewRecord<'_, A>) {
        self.memory.push(new);
    }

    /// Returns the next record to hand over; `None` if there is none, if it is in the log and was not read yet, if records
    /// must be handed over again and others are still outstanding, or if one becomes a dead letter.
    pub(crate) fn next(&self) -> Option<Next<'_>> {
        if self.handed_over.waits_for_reports() || self.letter.is_some() {
            return None;
        }
        if self.needs_log() {
            return self.read.front().map(Next::Logged);
        }
        self.memory.get(self.next_in_memory()).map(Next::Fresh)
    }

    /// Returns when the next record to hand over was received, if the clock was synchronised then.
    pub(crate) fn next_received(&self) -> Option<UnixMillis> {
        let (received, sure) = match self.next()? {
            Next::Fresh(queued) => (queued.received, !queued.headers.has(HeaderSet::CLOCK_UNSURE)),
            Next::Logged(logged) => {
                let frame = logged.frame();
                (UnixMillis(frame.time_unix_ms), frame.flags.has(Flags::CLOCK_SURE))
            }
        };
        sure.then_some(received)
    }

    /// Returns the number that a report will name the next hand-over by.
    pub(crate) fn next_number(&self) -> u64 {
        self.handed_over.next_number()
    }

    /// Returns what became of a record that [`Self::next`] returned at an earlier turn; `None` if this is its first.
    pub(crate) fn before(&self, next: &Next<'_>) -> Option<Given> {
        self.handed_over.before(self.place(next).0)
    }

    /// Notes that the record that [`Self::next`] returned was passed over, since its lifetime was over. It is done with
    /// its elders: see [`Self::move_done`].
    pub(crate) fn passed_over(&mut self) {
        let Some((position, bytes)) = self.next().map(|next| self.place(&next)) else { return };
        self.handed_over.pass_over(position, bytes, self.handed);
        self.handed = position;
        self.forget_read();
    }

    /// Notes that the record that [`Self::next`] returned was handed over.
    pub(crate) fn handed_over(&mut self) {
        let Some((position, bytes)) = self.next().map(|next| self.place(&next)) else { return };
        if let Some(route) = self.keep.filter(|_| self.handed_over.is_quiet()) {
            // It may leave memory before its report comes.
            self.kept = self.next().map(|next| match next {
                Next::Fresh(queued) => Owned::of(&queued, route, self.epoch),
                Next::Logged(logged) => logged.record().clone(),
            });
        }
        self.handed_over.push(position, bytes);
        self.handed = position;
        self.forget_read();
    }

    /// Takes a report about a hand-over; `done` moves over what is proven without a gap, and what may be acknowledged
    /// goes to `release`, in order.
    pub(crate) fn complete(
        &mut self,
        number: u64,
        completed: Completed,
        at: AckAt,
        release: impl FnMut(A),
    ) -> Reported {
        self.letter = self.letter.filter(|letter| *letter != number);
        self.handed_over.report(number, completed);
        let mut reported = self.move_done(at, release);
        reported.again = self.handed_over.take_back();
        if reported.again > 0 {
            // What the log gave back comes again too: its reader is told where to go on.
            self.handed = self.done;
            self.read.clear();
            self.read_bytes_used = 0;
        }
        reported
    }

    /// Moves `done` over what is proven or was passed over, without a gap; what may be acknowledged goes to `release`, in
    /// order.
    pub(crate) fn move_done(&mut self, at: AckAt, release: impl FnMut(A)) -> Reported {
        let mut reported = Reported::default();
        while let Some(done) = self.handed_over.next_done(self.handed) {
            self.done = done.last;
            reported.expired += done.expired;
            if done.first <= self.logged {
                reported.logged_bytes += done.bytes.max(1);
            }
        }
        self.settle(at, release);
        reported
    }

    /// Kafka refuses a record of the route, or one that was with it, for good: what is handed over first from now on will
    /// be at hand when that is refused alone.
    pub(crate) const fn expect_refusal(&mut self, route: LogRoute) {
        self.keep = Some(route);
    }

    /// Returns the record of a hand-over that Kafka has refused for good, and hands nothing over until that is
    /// [`complete`](Self::complete); `None` if it is not at hand: it will be the next time.
    pub(crate) fn refused(&mut self, number: u64, route: LogRoute) -> Option<Owned> {
        let position = self.handed_over.position(number)?;
        let fresh = self.memory.get(position.seq).filter(|_| position.epoch == self.epoch);
        let fresh = fresh.map(|queued| Owned::of(&queued, route, self.epoch));
        let found = fresh.or_else(|| self.kept.take().filter(|kept| kept.frame().position == position));
        self.keep = found.is_none().then_some(route);
        self.letter = found.is_some().then_some(number);
        found
    }

    /// Returns the oldest record in memory that was not given to the writer of the log.
    pub(crate) fn next_to_submit(&self) -> Option<Queued<'_>> {
        self.memory.get((self.submitted + 1).max(self.memory.head()))
    }

    /// Notes that the record that [`Self::next_to_submit`] returned was given to the writer. Returns the bytes by which more is
    /// done of what may be in the log: with [`AckAt::Disk`] a record may be in Kafka before the writer takes it.
    pub(crate) fn submitted(&mut self) -> u64 {
        self.submitted = (self.submitted + 1).max(self.memory.head());
        self.logged = Position { epoch: self.epoch, seq: self.submitted };
        u64::from(self.logged <= self.done)
    }

    /// Notes that all records given to the writer up to `seq` are settled.
    pub(crate) fn stored(&mut self, seq: u64, at: AckAt, release: impl FnMut(A)) {
        self.stored = self.stored.max(seq);
        self.settle(at, release);
    }

    /// Forgets what need not be in memory and gives what may be acknowledged to `release`, in order.
    pub(crate) fn settle(&mut self, at: AckAt, mut release: impl FnMut(A)) {
        let done = if self.done.epoch == self.epoch { self.done.seq } else { 0 };
        while let Some((_, ack)) = self.late.pop_front_if(|(seq, _)| *seq <= done || at != AckAt::Kafka) {
            release(ack);
        }
        let last = match at {
            // What Kafka has is in its memory only, for all that is known.
            AckAt::Disk => self.stored,
            AckAt::First | AckAt::Kafka => self.stored.max(done),
        };
        let (head, late) = (self.memory.head(), &mut self.late);
        self.memory.pop_through(last, |seq, ack| match ack {
            Some(ack) if at == AckAt::Kafka && seq > done => late.push_back((seq, ack)),
            Some(ack) => release(ack),
            None => {}
        });
        // Promised already, so it is kept even beyond the ceiling; what comes next finds that full.
        self.late_share.force_resize(self.late.len() * size_of::<(u64, A)>());
        if self.memory.head() > head {
            self.gone = Position { epoch: self.epoch, seq: self.memory.head() - 1 };
        }
    }

    /// Takes a record that the log gave back.
    pub(crate) fn give_back(&mut self, logged: Logged) {
        let behind = self.read.back().map_or(self.handed, Logged::position);
        if logged.position() > behind {
            self.read.push_back(logged);
            self.forget_read();
        } else {
            self.read_bytes_used += logged.bytes();
        }
    }

    /// The log has nothing behind `after` up to `until`, though it should. Passes over that if all that it gave back before is
    /// handed over, and returns true; otherwise it will be said again.
    pub(crate) fn lost(&mut self, after: Position, until: Position) -> bool {
        let is_next = self.handed == after && self.needs_log() && self.read.is_empty();
        let waits = self.handed_over.waits_for_reports() || self.letter.is_some();
        // Who waits for Kafka is not told that it has what is lost.
        if !is_next || waits || !self.late.is_empty() {
            return false;
        }
        let last = until.min(self.gone);
        self.handed_over.pass_over_lost(last, self.handed);
        self.handed = last;
        true
    }

    /// Returns how many bytes of records that the log gave back are used since this was last asked.
    pub(crate) fn take_read_bytes_used(&mut self) -> usize {
        std::mem::take(&mut self.read_bytes_used)
    }

    /// Gives back the memory of an empty queue above its guarantee.
    pub(crate) fn shrink(&mut self) {
        self.memory.shrink();
    }

    /// Position and bytes of a record.
    fn place(&self, next: &Next<'_>) -> (Position, u32) {
        let (position, bytes) = match next {
            Next::Fresh(queued) => {
                (Position { epoch: self.epoch, seq: queued.seq }, queued.key.len() + queued.payload.len())
            }
            Next::Logged(logged) => (logged.position(), logged.frame().bytes()),
        };
        (position, u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// The first record in memory that was not handed over, if everything before memory was.
    const fn next_in_memory(&self) -> u64 {
        let head = self.memory.head();
        if self.handed.epoch == self.epoch && self.handed.seq >= head { self.handed.seq + 1 } else { head }
    }

    /// Drops what the log gave back and is handed over already, from memory.
    fn forget_read(&mut self) {
        while let Some(logged) = self.read.pop_front_if(|logged| logged.position() <= self.handed) {
            self.read_bytes_used += logged.bytes();
        }
    }
}

#[cfg(test)]
#[path = "expiry_tests.rs"]
mod expiry_tests;
#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
