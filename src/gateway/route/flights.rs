//! Hand-overs that Kafka has not reported yet: what a completion's tag stands for.
//!
//! Bounded by the worker's credits: a hand-over without a credit does not happen.

use tidegate_core::time::Timestamp;
use tidegate_kafka::delivery::Generation;

use super::table::RouteId;

#[derive(Debug)]
struct Flight {
    route: RouteId,
    /// Of the hand-over, in its route.
    number: u64,
    /// Since when Kafka is asked for its report.
    asked_at: Timestamp,
    /// None while the slot is free.
    generation: Option<Generation>,
}

/// A slab of outstanding hand-overs.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    slots: Vec<Flight>,
    free: Vec<u32>,
}

impl Flights {
    /// Returns the tag that the next [`Self::start`] uses.
    pub(crate) fn next_tag(&self) -> u32 {
        let grown = || u32::try_from(self.slots.len()).expect("credits are far below 2^32");
        self.free.last().copied().unwrap_or_else(grown)
    }

    /// Remembers a hand-over that took place with [`Self::next_tag`].
    pub(crate) fn start(&mut self, route: RouteId, number: u64, generation: Generation, asked_at: Timestamp) {
        let flight = Flight { route, number, asked_at, generation: Some(generation) };
        match self.free.pop() {
            Some(tag) => self.slots[tag as usize] = flight,
            None => self.slots.push(flight),
        }
    }

    /// Returns the route and number of a completed hand-over, and since when Kafka is asked for its report, and frees its tag; `None` for a
    /// generation that is not, or no longer, the one that was handed over.
    pub(crate) fn end(&mut self, tag: u32, generation: Generation) -> Option<(RouteId, u64, Timestamp)> {
        let flight =
            self.slots.get_mut(tag as usize).filter(|flight| flight.generation == Some(generation))?;
        flight.generation = None;
        let found = (flight.route, flight.number, flight.asked_at);
        self.free.push(tag);
        Some(found)
    }
}
