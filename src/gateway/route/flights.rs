//! Hand-overs that Kafka has not reported yet: what a completion's tag stands for.
//!
//! Bounded by the worker's credits: a hand-over without a credit does not happen.

use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_kafka::delivery::Generation;

use super::table::RouteId;

/// One hand-over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) route: RouteId,
    /// Of the hand-over, in its route.
    pub(crate) number: u64,
    /// Since when Kafka is asked for its report.
    pub(crate) asked_at: Timestamp,
    /// When the record was received, if that is the time it was sent with.
    pub(crate) own_time: Option<UnixMillis>,
}

#[derive(Debug)]
struct Slot {
    flight: Flight,
    /// None while the slot is free.
    generation: Option<Generation>,
}

/// A slab of outstanding hand-overs.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Flights {
    /// Returns the tag that the next [`Self::start`] uses.
    pub(crate) fn next_tag(&self) -> u32 {
        let grown = || u32::try_from(self.slots.len()).expect("credits are far below 2^32");
        self.free.last().copied().unwrap_or_else(grown)
    }

    /// Remembers a hand-over that took place with [`Self::next_tag`].
    pub(crate) fn start(&mut self, flight: Flight, generation: Generation) {
        let slot = Slot { flight, generation: Some(generation) };
        match self.free.pop() {
            Some(tag) => self.slots[tag as usize] = slot,
            None => self.slots.push(slot),
        }
    }

    /// Returns a completed hand-over and frees its tag; `None` for a generation that is not, or no longer, the one that was
    /// handed over.
    pub(crate) fn end(&mut self, tag: u32, generation: Generation) -> Option<Flight> {
        let slot = self.slots.get_mut(tag as usize).filter(|slot| slot.generation == Some(generation))?;
        slot.generation = None;
        let flight = slot.flight;
        self.free.push(tag);
        Some(flight)
    }
}
