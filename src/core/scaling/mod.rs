//! How many consumers a group should have, and why.
//!
//! Owns the scaling rule: what an observation says about demand, backlog and the capacity of one replica
//! ([`History`]), and what follows from it ([`decide()`]). It deliberately does not know Kafka's protocol, where
//! replicas run, or what time it is: the controller observes, asks and applies. README.md beside this file
//! states the properties wished for, the formulas with their units, and where each comes from.

mod bounds;
mod capacity;
mod decide;
mod demand;
mod ewma;
pub mod forecast;
mod history;
mod lag;
mod num;
mod observation;
mod policy;
mod reason;
mod sizing;
mod starts;
#[cfg(test)]
mod tests;
mod window;

pub use bounds::Bound;
pub use capacity::MuSource;
pub use decide::{Decision, Terms, decide};
pub use history::History;
pub use observation::{
    Busy, Group, Member, Membership, Observation, Offered, PartitionId, PartitionOffsets, Replicas,
};
pub use policy::{Policy, PolicyError};
pub use reason::Reason;
