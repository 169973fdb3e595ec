//! How many consumers a group should have, and why.
//!
//! Owns the scaling rule: what an observation says about demand, backlog and the capacity of one replica
//! ([`History`]), and what follows from it ([`decide()`]). It deliberately does not know Kafka's protocol, where
//! replicas run, or what time it is: the controller observes, asks and applies. README.md beside this file
//! states the properties wished for, the formulas with their units, and where each comes from.

mod assignor;
mod bounds;
mod capacity;
mod decide;
mod demand;
mod effect;
mod ewma;
mod explain;
pub mod forecast;
mod history;
mod lag;
mod num;
mod observation;
mod packing;
mod pairs;
mod policy;
mod reason;
mod recording;
mod room;
pub mod signal;
mod sizing;
mod starts;
mod terms;
#[cfg(test)]
mod tests;
mod window;

pub use assignor::Assignor;
pub use bounds::Bound;
pub use capacity::MuSource;
pub use decide::decide;
pub use explain::explain;
pub use history::{History, Learned};
pub use observation::{
    Busy, Group, Member, Membership, Observation, Offered, PartitionId, PartitionOffsets, Replicas,
    ScheduledMin,
};
pub use policy::{Fallback, ForecastMode, Knobs, Policy, PolicyError};
pub use reason::Reason;
pub use recording::{Clocks, Decided, Line, RECORDING_VERSION, Replay, ReplayError, Replayed};
pub use room::{Room, RoomMode};
pub use terms::{Decision, Terms};
