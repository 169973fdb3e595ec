//! What the built-in fleet of `tidegate up` does, and the policy that makes it visible within a minute.

use std::time::Duration;

use clap::ValueEnum;
use tidegate_fleet::{Load, Plan};

/// Partitions of each of the three class topics, and the most consumers: one for every partition number.
pub(super) const PARTITIONS: u32 = 12;
/// Promised delay.
pub(super) const SLO: Duration = Duration::from_secs(10);
/// Quiet time before consumers are stopped. Short, so that a newcomer sees it happen; in earnest it is minutes.
pub(super) const DOWN_AFTER: Duration = Duration::from_secs(5);
/// Time between two looks at Kafka.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// How often consumers commit: an embedded Kafka has no disk to spare.
pub(super) const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Default time that a consumer takes for one record.
pub(super) const WORK: &str = "5ms";
/// Devices of the fleet.
const DEVICES: u32 = 120;
/// The same seed draws the same devices.
const SEED: u64 = 20;

/// A load shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Every device sends four messages a second, for half a minute.
    Steady,
    /// One message a second and device, ten times that for some seconds, and back.
    Burst,
    /// After a power cut: all devices connect at once and flush what they buffered.
    Storm,
}

impl Scenario {
    /// Returns what the fleet is to do. `run` tells this run's messages from those of others in the same Kafka.
    pub(super) fn plan(self, run: u64) -> Plan {
        let secs = Duration::from_secs;
        let load = match self {
            Self::Steady => Load::steady(DEVICES, 4.0, secs(30)),
            Self::Burst => Load::burst(DEVICES, 1.0, secs(5), secs(8), secs(5)),
            Self::Storm => Load::storm(DEVICES, 45, 1.0, secs(15)),
        };
        Plan { run, prefix: "demo".into(), ..Plan::new(load, SEED) }
    }

    /// Returns what happens, in words.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Steady => format!("{DEVICES} devices, 4 messages a second each, for 30 s"),
            Self::Burst => {
                format!("{DEVICES} devices, 1 message a second each, ten times that from 5 s to 13 s")
            }
            Self::Storm => {
                format!("{DEVICES} devices connect at once and flush 45 messages each, then 1 a second")
            }
        }
    }
}
