//! The controller over a real API server: its rights, what it leaves alone, what it refuses, and what it says.
//!
//! It runs as a process beside the cluster, with a service account that may do what `charts/manifests/rbac.yaml` says. What
//! it scales makes no pods, so nothing has to start; Kafka is the embedded one. The whole of it, with pods and a
//! Kafka of its own, is the main job's.

mod away;
mod bad_input;
mod change;
mod first_write;
mod owned;
mod rights;
mod site;
