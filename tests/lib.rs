//! Tests over the real parts.
//!
//! This library is what the tests stand on: it starts and stops real servers and the project's own
//! binary, puts faults between them, and checks Kafka against a ledger of what was acknowledged.
//! The tests themselves are one binary, `main.rs`, which sees the product only from outside:
//! processes, sockets, Kafka.

pub mod support;
