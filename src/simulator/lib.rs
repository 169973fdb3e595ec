//! The scaling rule over a model of a site on virtual time, beside models of the HPA and of KEDA.
//!
//! Owns traces, the model and what is counted in it. The rule is `tidegate_core`'s own code, called as the controller
//! calls it. No clock, no I/O: text comes in and goes out, and everything random is drawn from a seed.

mod account;
mod arrivals;
mod best;
mod cluster;
mod fleet;
mod num;
mod replay;
pub mod report;
mod run;
pub mod scalers;
mod series;
mod site;
mod study;
#[cfg(test)]
mod tests;
pub mod trace;

pub use account::Tally;
pub use best::{COST_MAX, THRESHOLDS, best_keda};
pub use cluster::{Cluster, Shares};
pub use fleet::{CLASSES, Fleet, PerClass, class_names, class_shares};
pub use replay::{Recording, RecordingError, replay, written};
pub use run::{Arm, Outcome, Run, TAIL, WARM_UP, run};
pub use series::{PARTS, Series};
pub use site::{Assignor, START_JITTER, STEP, Site, SiteError};
pub use study::{HPA_TARGET, Peers, default_policy, keda_arms, study};
