//! What of a route is with Kafka: handed over, and not yet known to be there with all of its elders.
//!
//! Owns the reports of these records and when they must be handed over again. Each hand-over has a number of its own,
//! counted up for ever, so that a report is known to be of this round or of none.
//!
//! What was passed over is between them. Whatever became of a record at its first turn becomes of it at every further one,
//! though its lifetime may end in between. What was handed over may be in Kafka, or come there late, behind what
//! follows; what was passed over may have been overtaken.

use std::collections::VecDeque;

use tidegate_spool::Position;

/// What Kafka's report says about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    /// Kafka has it.
    Proven,
    /// Nothing is known: it must be handed over again.
    Unproven,
}

/// What became of a record at its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// It was handed over.
    Handed,
    /// Its lifetime was over, or the log has lost it.
    PassedOver,
}

/// Records, one or more behind one another, that are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) first: Position,
    pub(super) last: Position,
    pub(super) bytes: u64,
    /// How many of them had expired.
    pub(super) expired: u64,
}

#[derive(Debug)]
struct Flight {
    position: Position,
    bytes: u32,
    proven: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Handed {
    flights: VecDeque<Flight>,
    /// Number of the first of them.
    first: u64,
    /// Those without a report.
    outstanding: u32,
    /// A report proved nothing: hand over again as soon as nothing is outstanding.
    rewind: bool,
    /// The last record that was ever handed over.
    reached: Position,
    /// Runs of records that were passed over and are not done, in order. There is a hand-over between any two, and so no
    /// more of them than of those.
    passed: VecDeque<Done>,
}

impl Handed {
    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Returns whether nothing may be handed over, since it would have to be handed over again.
    pub(super) const fn waits_for_reports(&self) -> bool {
        self.rewind
    }

    /// Returns the number of the next hand-over.
    pub(super) fn next_number(&self) -> u64 {
        self.first + self.flights.len() as u64
    }

    /// Returns the position of a hand-over; `None` if it is not of this round.
    pub(super) fn position(&self, number: u64) -> Option<Position> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.flights.get(index).map(|flight| flight.position)
    }

    /// Returns whether Kafka owes no report.
    pub(super) const fn is_quiet(&self) -> bool {
        self.outstanding == 0
    }

    /// Returns what became of a record at an earlier turn; `None` if this is its first.
    pub(super) fn before(&self, position: Position) -> Option<Given> {
        let run = self.passed.get(self.run_from(position));
        if run.is_some_and(|run| run.first <= position) {
            return Some(Given::PassedOver);
        }
        (position <= self.reached).then_some(Given::Handed)
    }

    pub(super) fn push(&mut self, position: Position, bytes: u32) {
        self.flights.push_back(Flight { position, bytes, proven: false });
        self.outstanding += 1;
        self.reached = self.reached.max(position);
    }

    /// Passes over the record that comes after `behind`, since it has expired.
    pub(super) fn pass_over(&mut self, position: Position, bytes: u32, behind: Position) {
        self.pass(Done { first: position, last: position, bytes: bytes.into(), expired: 1 }, behind);
    }

    /// Passes over what would come after `behind` up to `last`, since the log has lost it.
    pub(super) fn pass_over_lost(&mut self, last: Position, behind: Position) {
        self.pass(Done { first: last, last, bytes: 0, expired: 0 }, behind);
    }

    fn pass(&mut self, done: Done, behind: Position) {
        let at = self.run_from(done.last);
        if self.passed.get(at).is_some_and(|run| run.first <= done.last) {
            return;
        }
        match at.checked_sub(1).map(|before| &mut self.passed[before]) {
            Some(run) if run.last == behind => {
                (run.last, run.bytes, run.expired) =
                    (done.last, run.bytes + done.bytes, run.expired + done.expired);
            }
            _ => self.passed.insert(at, done),
        }
    }

    /// Takes a report.
    pub(super) fn report(&mut self, number: u64, completed: Completed) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(flight) = index.and_then(|index| self.flights.get_mut(index)) else { return };
        self.outstanding = self.outstanding.saturating_sub(1);
        match completed {
            Completed::Proven => flight.proven = true,
            Completed::Unproven => self.rewind = true,
        }
    }

    /// Returns the next records, of those up to `handed`, that are done with all of their elders: Kafka has them, or they
    /// were passed over.
    pub(super) fn next_done(&mut self, handed: Position) -> Option<Done> {
        let Self { flights, passed, .. } = self;
        let elder = |run: &mut Done| flights.front().is_none_or(|flight| run.last < flight.position);
        if let Some(run) = passed.pop_front_if(|run| run.last <= handed && elder(run)) {
            return Some(run);
        }
        let Flight { position, bytes, .. } = flights.pop_front_if(|flight| flight.proven)?;
        self.first += 1;
        Some(Done { first: position, last: position, bytes: bytes.into(), expired: 0 })
    }

    /// Forgets what must be handed over again, if it is time; returns how many records that are.
    pub(super) fn take_back(&mut self) -> u64 {
        if !self.rewind || self.outstanding > 0 {
            return 0;
        }
        self.rewind = false;
        let again = self.flights.len() as u64;
        // The numbers of this round mean nothing any more.
        self.first += again;
        self.flights.clear();
        again
    }

    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.passed.len()
    }

    /// Index of the first run that does not end before `position`.
    fn run_from(&self, position: Position) -> usize {
        self.passed.partition_point(|run| run.last < position)
    }
}
