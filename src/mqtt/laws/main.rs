//! What holds for every packet and every input: round trips, no panic, and no memory beyond the stated bounds.

mod allocation;
mod counting;
mod generators;
mod round_trip;
