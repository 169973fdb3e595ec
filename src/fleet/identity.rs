//! Who a simulated device is: everything about it that follows from its number and the plan's seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_mqtt::Version;

/// Of 100 devices, this many raise alarms.
const ALARM_PERCENT: u32 = 5;
/// Of 100 devices, this many are gateways that collect for others.
const GATEWAY_PERCENT: u32 = 25;

/// What kind of device it is. The names are those of the gateway's default classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DeviceClass {
    /// Sends what must not wait.
    Alarm = 0,
    /// Collects for others and sends much.
    Gateway = 1,
    /// All others.
    Sensor = 2,
}

impl DeviceClass {
    /// All classes.
    pub const ALL: [Self; 3] = [Self::Alarm, Self::Gateway, Self::Sensor];

    /// Returns the class's name, which is also the device's MQTT user name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Gateway => "gateway",
            Self::Sensor => "sensor",
        }
    }

    /// Returns the first level of the topics that devices of the class publish to.
    #[must_use]
    pub const fn topic_root(self) -> &'static str {
        match self {
            Self::Alarm => "alarms",
            Self::Gateway => "gateways",
            Self::Sensor => "sensors",
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// Which protocol versions the devices speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// All speak this one.
    Only(Version),
    /// Half of them each, by lot.
    Mixed,
}

/// One device of a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Its number, from 0.
    pub device: u32,
    /// Its class, by lot: 5 % alarm, 25 % gateway, 70 % sensor.
    pub class: DeviceClass,
    /// Protocol version that it speaks.
    pub version: Version,
    /// Where in its sending interval it sends, 0 to 1: devices do not send in step.
    pub phase: f64,
}

impl Identity {
    /// Draws the device with this number.
    #[must_use]
    pub fn draw(seed: u64, device: u32, versions: Versions) -> Self {
        let mut lot = StdRng::seed_from_u64(seed ^ (u64::from(device) << 32));
        let class = match lot.random_range(0..100) {
            percent if percent < ALARM_PERCENT => DeviceClass::Alarm,
            percent if percent < ALARM_PERCENT + GATEWAY_PERCENT => DeviceClass::Gateway,
            _ => DeviceClass::Sensor,
        };
        let half: bool = lot.random();
        let version = match versions {
            Versions::Only(version) => version,
            Versions::Mixed => {
                if half {
                    Version::V311
                } else {
                    Version::V5
                }
            }
        };
        Self { device, class, version, phase: lot.random() }
    }

    /// Returns the topic that it publishes to: `sensors/PREFIX-17/telemetry`, likewise `gateways/` and `alarms/`.
    #[must_use]
    pub fn topic(&self, prefix: &str) -> String {
        format!("{}/{}/telemetry", self.class.topic_root(), self.client_id(prefix))
    }

    /// Returns its client identifier: `PREFIX-17`.
    #[must_use]
    pub fn client_id(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_devices() {
        let fleet = |seed| (0..100).map(|n| Identity::draw(seed, n, Versions::Mixed)).collect::<Vec<_>>();
        assert_eq!(fleet(1), fleet(1));
        assert_ne!(fleet(1), fleet(2));
    }

    #[test]
    fn classes_and_versions_have_their_shares() {
        let fleet: Vec<_> = (0..10_000).map(|n| Identity::draw(7, n, Versions::Mixed)).collect();
        let count = |class| fleet.iter().filter(|device| device.class == class).count();
        // Six standard deviations of a binomial draw on either side.
        assert!((370..630).contains(&count(DeviceClass::Alarm)), "{}", count(DeviceClass::Alarm));
        assert!((2240..2760).contains(&count(DeviceClass::Gateway)), "{}", count(DeviceClass::Gateway));
        let fives = fleet.iter().filter(|device| device.version == Version::V5).count();
        assert!((4700..5300).contains(&fives), "{fives}");
        assert!(fleet.iter().all(|device| (0.0..1.0).contains(&device.phase)));
    }

    #[test]
    fn the_topic_tells_the_class() {
        let device = Identity { device: 17, class: DeviceClass::Alarm, version: Version::V5, phase: 0.0 };
        assert_eq!(device.topic("fleet"), "alarms/fleet-17/telemetry");
        assert_eq!(device.client_id("fleet"), "fleet-17");
    }
}
