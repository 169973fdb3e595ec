//! Plumbing of every process: settings, telemetry, admin HTTP, reports, shutdown.
//!
//! Owns what has nothing to do with messages. It knows no component: settings structs, metrics and
//! routes are the components' own and come in as arguments.

pub mod admin;
pub mod ask;
mod client;
pub mod clock;
pub mod config;
pub mod metrics;
pub mod report;
pub mod shutdown;
pub mod telemetry;
