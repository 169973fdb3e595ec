//! Simulated devices: client sessions and load shapes.
//!
//! A [`Plan`] says how many devices send what and when; [`run()`] plays it against a gateway and returns a [`Report`].
//! Every message carries a [`Payload`] that names it, so that whoever reads Kafka can tell which of the acknowledged
//! ones are missing, doubled or out of order.
//!
//! Knows MQTT and nothing of Kafka or of the gateway's rules. Reads no clock: it is given one.

mod connection;
mod device;
mod identity;
mod load;
mod observer;
mod payload;
mod plan;
mod report;
mod run;
mod session;

pub use identity::{DeviceClass, Identity, Versions};
pub use load::{Load, Phase};
pub use observer::{Acknowledged, Ledger, Observer, Progress};
pub use payload::{Payload, PayloadError};
pub use plan::{Plan, PlanError};
pub use report::Report;
pub use run::{Clocks, run};
