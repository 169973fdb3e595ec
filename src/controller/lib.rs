//! Observe, decide, apply: the controller and its targets.
//!
//! Owns the loop around [`tidegate_core::scaling`]: what Kafka, gateways, consumers and the target say becomes an
//! observation, and the decision becomes an order to the target. It knows neither the gateway nor how consumers
//! work; they meet in `tidegate_core::wire`, in Kafka and over HTTP.
//!
//! Reading order: `scaler` (the loop of one group), `config`, `observe`, `reports`, `replicas`, `target`; `record` (what is kept
//! on the disk); `run` (one group beside HTTP); on Kubernetes also `crd` (the API object) and `operator` (one scaler for each object).

mod causes;
pub mod config;
pub mod crd;
mod error;
mod events;
mod http;
mod metrics;
mod observe;
mod operator;
mod record;
mod replicas;
mod reports;
mod run;
mod scaler;
pub mod target;
#[cfg(test)]
mod testing;
mod view;

pub use config::Settings;
pub use error::Error;
pub use metrics::Metrics;
pub use observe::{KafkaGroup, Observe, Seen};
pub use operator::Cluster;
pub use reports::Reports;
pub use run::{Group, Site, run, run_on_kubernetes};
pub use scaler::GroupSettings;
pub use view::View;
