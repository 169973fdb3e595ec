//! The site that is simulated: what a run is given, with defaults that say why.

use std::time::Duration;

use serde::Serialize;

/// How the group's members share partitions out, and what stops while they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignor {
    /// `range` or `roundrobin`: everything stops, everything may move.
    Eager,
    /// `cooperative-sticky`: only what moves stops (KIP-429).
    Cooperative,
}

/// Consumers, partitions, gateways and devices of one site.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Site {
    /// Partitions of the group's topic.
    pub partitions: u32,
    /// Gateways that devices are spread over.
    pub gateways: u32,
    /// Devices; their ids decide class, partition and gateway.
    pub devices: u32,
    /// Exponent of the devices' rates: the n-th busiest sends `n^-zipf` as much as the first. 0 is even.
    pub zipf: f64,
    /// Messages per second one replica does.
    pub mu: f64,
    /// Order of a replica to its joining the group, on the mean.
    pub start: Duration,
    /// How the group rebalances.
    pub assignor: Assignor,
    /// Time of one rebalance.
    pub rebalance: Duration,
    /// The consumers' `auto.commit.interval.ms`.
    pub commit_interval: Duration,
    /// Age of everything that an autoscaler is told, but for the replicas.
    pub metric_delay: Duration,
    /// Replicas that the nodes hold; more are pending. `None`: no limit.
    pub room: Option<u32>,
    /// True if consumers report how long they were busy, as the reference consumer does.
    pub busy_reports: bool,
    /// Everything random is drawn from it.
    pub seed: u64,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            partitions: 64,
            gateways: 3,
            devices: 20_000,
            // With 20 000 devices the busiest partition gets half as much again as the mean one.
            zipf: 0.5,
            mu: 100.0,
            start: Duration::from_secs(45),
            assignor: Assignor::Cooperative,
            // Members hear of a rebalance with their next heartbeat: `heartbeat.interval.ms` is 3 s.
            rebalance: Duration::from_secs(3),
            commit_interval: Duration::from_secs(5),
            metric_delay: Duration::ZERO,
            room: None,
            busy_reports: false,
            seed: 1,
        }
    }
}

/// Resolution of virtual time. Nothing that is decided on is faster than a second, and delays are judged against 10 s.
pub const STEP: Duration = Duration::from_secs(1);
/// Part by which one start may be shorter or longer than the mean: images are cached, nodes are busy.
pub const START_JITTER: f64 = 0.15;

/// A site that cannot be; the text names the field and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: allowed is {allowed}")]
pub struct SiteError {
    /// Name of the field.
    pub field: &'static str,
    /// What it may be.
    pub allowed: &'static str,
}

impl Site {
    /// Checks what the model relies on.
    ///
    /// # Errors
    /// Names the first field that is out of its range.
    pub fn check(&self) -> Result<(), SiteError> {
        let hour = Duration::from_hours(1);
        let rules = [
            ((1..=10_000).contains(&self.partitions), "partitions", "1 to 10000"),
            ((1..=256).contains(&self.gateways), "gateways", "1 to 256"),
            ((1..=1_000_000).contains(&self.devices), "devices", "1 to 1000000"),
            ((0.0..=3.0).contains(&self.zipf), "zipf", "0 to 3"),
            ((0.001..=1e6).contains(&self.mu), "mu", "0.001 to 1000000 (messages per second)"),
            (self.start <= hour, "start", "0s to 1h"),
            (self.rebalance <= hour, "rebalance", "0s to 1h"),
            (self.commit_interval <= hour, "commit-interval", "0s to 1h"),
            (self.metric_delay <= hour, "metric-delay", "0s to 1h"),
            (self.room.is_none_or(|room| room >= 1), "room", "1 or more"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, allowed)) => Err(SiteError { field, allowed }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_that_cannot_be_names_its_field() {
        assert_eq!(Site::default().check(), Ok(()));
        let field = |site: Site| site.check().unwrap_err().field;
        assert_eq!(field(Site { partitions: 0, ..Site::default() }), "partitions");
        assert_eq!(field(Site { mu: f64::NAN, ..Site::default() }), "mu");
        assert_eq!(field(Site { room: Some(0), ..Site::default() }), "room");
    }
}
