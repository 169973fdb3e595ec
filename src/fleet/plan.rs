//! What a run is to do, and the bounds within which it may.

use std::time::Duration;

use tidegate_mqtt::QoS;

use crate::identity::Versions;
use crate::load::Load;
use crate::payload::Payload;

/// Most devices of one process: each is an open file, and 20 000 are a common hard limit.
const MAX_DEVICES: u32 = 19_000;
/// Most messages of a run: a day at 10 000 per second, and a bound on what a mistyped rate can do.
const MAX_MESSAGES: f64 = 1e9;
/// Most unacknowledged messages of a device; packet identifiers would allow 65 535.
const MAX_WINDOW: u16 = 1024;
/// Longest payload, in bytes; a message stays well below Kafka's default of 1 MiB.
const MAX_PAYLOAD_BYTES: usize = 256 * 1024;
/// Time after the last message is due in which all should be acknowledged.
const DEFAULT_SLACK: Duration = Duration::from_mins(1);
/// Kafka answers within this time unless it is away, and an operator who pressed Ctrl-C waits no longer.
const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);

/// What a fleet does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Devices and their messages.
    pub load: Load,
    /// Draws classes, versions, phases and the jitter of reconnects.
    pub seed: u64,
    /// Number of the run, in every [`Payload`].
    pub run: u64,
    /// Quality of service: at most once, or at least once.
    pub qos: QoS,
    /// Protocol versions.
    pub versions: Versions,
    /// Most unacknowledged messages of a device; a smaller Receive Maximum of the server wins.
    pub window: u16,
    /// Length of each payload, in bytes.
    pub payload_bytes: usize,
    /// Keep alive of every connection, in seconds.
    pub keep_alive_secs: u16,
    /// What client identifiers begin with. Together with a device's number at most 23 characters, the length that
    /// every server of 3.1.1 must take [MQTT-3.1.3-5].
    pub prefix: String,
    /// Gives each device its class as user name.
    pub user_names: bool,
    /// Time after which the run ends, whatever is still unacknowledged.
    pub deadline: Duration,
    /// How long devices go on after the run was told to stop, to see their messages acknowledged.
    pub stop_grace: Duration,
}

/// Why a plan cannot be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A number is out of range.
    #[error("{what} = {value}: allowed is {allowed}")]
    OutOfRange {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: String,
    },
}

impl Plan {
    /// Returns a plan with the usual device: QoS 1, 3.1.1 and 5 mixed, window 16, 200 bytes, keep alive 60 s.
    #[must_use]
    pub fn new(load: Load, seed: u64) -> Self {
        let deadline = load.lasts() + DEFAULT_SLACK;
        Self {
            load,
            seed,
            run: seed,
            qos: QoS::AtLeastOnce,
            versions: Versions::Mixed,
            window: 16,
            payload_bytes: 200,
            keep_alive_secs: 60,
            prefix: "fleet".into(),
            user_names: true,
            deadline,
            stop_grace: DEFAULT_STOP_GRACE,
        }
    }

    /// Checks the plan's bounds.
    ///
    /// # Errors
    /// The first number that is out of range.
    pub fn check(&self) -> Result<(), PlanError> {
        let rates = || self.load.phases.iter().map(|phase| phase.rate);
        let paced: f64 = self.load.phases.iter().map(|phase| phase.rate * phase.lasts.as_secs_f64()).sum();
        let messages = f64::from(self.load.devices) * (f64::from(self.load.backlog) + paced);
        let worst_rate = rates().find(|rate| !(0.0..=MAX_MESSAGES).contains(rate));
        within("devices", self.load.devices, 1, MAX_DEVICES)?;
        within("rate", worst_rate.unwrap_or_default(), 0.0, MAX_MESSAGES)?;
        within("messages", messages, 0.0, MAX_MESSAGES)?;
        within("window", self.window, 1, MAX_WINDOW)?;
        within("payload bytes", self.payload_bytes, Payload::MIN_BYTES, MAX_PAYLOAD_BYTES)?;
        within("prefix length", self.prefix.len(), 1, 17)?;
        within("qos", self.qos as u8, 0, 1)
    }
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    what: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), PlanError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(PlanError::OutOfRange { what, value: value.to_string(), allowed: format!("{least} to {most}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (fn(&mut Plan), &'static str);

    #[test]
    fn a_plan_out_of_bounds_says_which_number() {
        let cases: [Case; 7] = [
            (|plan| plan.load.devices = 0, "devices = 0: allowed is 1 to 19000"),
            (
                |plan| plan.load = Load::steady(1, -1.0, Duration::from_secs(1)),
                "rate = -1: allowed is 0 to 1000000000",
            ),
            (
                |plan| plan.load = Load::steady(1, f64::NAN, Duration::from_secs(1)),
                "rate = NaN: allowed is 0 to 1000000000",
            ),
            (
                |plan| plan.load = Load::count(10_000, 200_000),
                "messages = 2000000000: allowed is 0 to 1000000000",
            ),
            (|plan| plan.window = 0, "window = 0: allowed is 1 to 1024"),
            (|plan| plan.payload_bytes = 39, "payload bytes = 39: allowed is 40 to 262144"),
            (|plan| plan.qos = QoS::ExactlyOnce, "qos = 2: allowed is 0 to 1"),
        ];
        for (spoil, said) in cases {
            let mut plan = Plan::new(Load::count(10, 10), 1);
            assert_eq!(plan.check(), Ok(()));
            spoil(&mut plan);
            assert_eq!(plan.check().unwrap_err().to_string(), said);
        }
    }
}
