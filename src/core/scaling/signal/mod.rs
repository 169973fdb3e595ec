//! What raw numbers of Kafka and of gateways mean, before anything is decided.
//!
//! Owns the age of what waits ([`DelayTable`]), the state of a partition ([`PartitionStatus`]) and what devices would
//! send if nothing held them back ([`LoadEstimator`]). Deliberately knows neither capacity nor replicas.

mod delay;
mod offered;
mod status;

pub use delay::{Age, DelayTable};
pub use offered::{Estimate, LoadEstimator};
pub use status::PartitionStatus;
pub(super) use status::{Look, Progress};
