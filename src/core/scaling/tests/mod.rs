//! Tests of the whole rule: tables, properties, and hours of simulated load.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "simulated messages are few and never negative"
)]

mod cluster;
mod law;
mod properties;
mod scenarios;
mod steady;
mod table;

pub(in crate::scaling) use cluster::poisson;
