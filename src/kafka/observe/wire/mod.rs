//! A small client of the Kafka wire protocol: one connection, one request at a time, versions negotiated.
//!
//! Owns frames, versions, connections and their reconnection. Knows no consumer groups and no lag: what to ask is an
//! [`Inquiry`] of the layer above. TLS and SASL will wrap the stream between [`connection::dial`] and
//! [`Connection::open`]; nothing else here needs to know.

mod api;
mod backoff;
mod connection;
mod error;
mod frame;
mod links;
mod versions;

pub(crate) use connection::{Connection, Stream, bootstrap_addresses};
pub(crate) use error::WireError;
pub(crate) use links::{Dialing, Inquiry, Links};
