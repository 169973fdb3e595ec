//! Who decides how many replicas there are: the rule under test, and what it is compared with.

mod admission;
mod hpa;
mod keda;
#[cfg(test)]
mod measured;
mod tidegate;

use std::time::Duration;

use tidegate_core::time::Timestamp;

pub use self::tidegate::Tidegate;
pub use hpa::{CpuHpa, Hpa};
pub use keda::{Keda, KedaSettings};

use crate::cluster::Cluster;

/// One change of the count, and why.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Change {
    /// Seconds from the beginning of the window; negative before it.
    pub at_secs: f64,
    /// Replicas before.
    pub from: u32,
    /// Replicas ordered.
    pub to: u32,
    /// The scaler's own words.
    pub why: String,
}

/// Watches a site and scales it.
pub trait Scaler {
    /// Called after every step: looks if it is time to, and orders what it wants. Returns why, if the count changed.
    fn act(&mut self, site: &mut Cluster, now: Timestamp) -> Option<String>;

    /// Told once before a run, minute by minute, what arrived in the past: the mean rate over the `interval` that ends `at`.
    fn prime(&mut self, per_sec: f64, interval: Duration, at: Timestamp) {
        let _ = (per_sec, interval, at);
    }
}

/// A number that does not change: what a site without an autoscaler does.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub u32);

impl Scaler for Fixed {
    fn act(&mut self, site: &mut Cluster, _: Timestamp) -> Option<String> {
        (site.counts().0 != self.0).then(|| {
            site.scale(self.0);
            "fixed".to_owned()
        })
    }
}
