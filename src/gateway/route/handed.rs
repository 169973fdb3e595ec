//! What of a route is with Kafka: handed over, and not yet known to be there with all of its elders.
//!
//! Owns the reports of these records and when they must be handed over again. Each hand-over has a number of its own,
//! counted up for ever, so that a report is known to be of this round or of none.

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

    pub(super) fn push(&mut self, position: Position, bytes: u32) {
        self.flights.push_back(Flight { position, bytes, proven: false });
        self.outstanding += 1;
    }

    /// Counts what lies up to `position` as handed over and proven, though it is neither: Kafka is not to get it. Calls `done`
    /// as [`Self::report`] does.
    pub(super) fn pass_over(&mut self, position: Position, done: impl FnMut(Position, u32)) {
        self.flights.push_back(Flight { position, bytes: 0, proven: true });
        self.take_done(done);
    }

    /// Takes a report. Calls `done` with position and bytes of each record that Kafka now has with all of its elders.
    pub(super) fn report(&mut self, number: u64, completed: Completed, done: impl FnMut(Position, u32)) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(flight) = index.and_then(|index| self.flights.get_mut(index)) else { return };
        self.outstanding = self.outstanding.saturating_sub(1);
        match completed {
            Completed::Proven => flight.proven = true,
            Completed::Unproven => self.rewind = true,
        }
        self.take_done(done);
    }

    fn take_done(&mut self, mut done: impl FnMut(Position, u32)) {
        while let Some(flight) = self.flights.pop_front_if(|flight| flight.proven) {
            self.first += 1;
            done(flight.position, flight.bytes);
        }
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
}
