//! Pure decisions: admission, scaling and what the processes tell each other.
//!
//! No tokio, no Kafka, no Kubernetes, no clock, no randomness, no I/O: time is an argument.

pub mod admission;
pub mod control;
pub mod route;
pub mod scaling;
pub mod time;
pub mod wire;
