//! The controller on Kubernetes: one scaler for each IngestScaler of a namespace.
//!
//! Owns which objects are worked on and what they are told: status and events. Scaling itself is `scaler`'s, and how a
//! workload is scaled `target::kubernetes`'s. Level-triggered: every change leads to the same comparison of what should
//! run with what runs; why it was called is not known anywhere.
//!
//! Reading order: `cluster` (where the objects are), `watching` (the loop), `plan` (who runs), `keepers` (their tasks),
//! `clerk` (what is written, and when), `status`.

mod api;
mod budget;
mod clerk;
mod cluster;
mod events;
mod index;
mod keepers;
mod notes;
mod office;
mod plan;
mod status;
mod trouble;
mod watching;

pub use cluster::Cluster;
pub(crate) use watching::KUBERNETES;

#[cfg(test)]
mod tests;
