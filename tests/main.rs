//! The tests over the real parts, one binary.
//!
//! Every test is a scenario of [`on_real_parts`](tidegate_tests::support::scenario::on_real_parts): they take turns,
//! because a real Kafka and the product fill a small machine; those of the controller on a cluster, which start neither,
//! share one. They run on tokio's multi-thread runtime, because the proxies go on while a test's body waits for a process
//! or for librdkafka.

mod controller;
mod e2e;
mod gateway;
mod loss;
mod parts;
