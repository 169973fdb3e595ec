//! Settings of a spool: as they are written, then checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::full::Policy;

/// Sizes a segment may have: below, headers and footers weigh; above, one dead partition pins too much.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = MIB..=64 * MIB;
const MIB: u64 = 1024 * 1024;
/// A record must fit four times: then at most a quarter of a segment is lost where the next record did not fit.
const RECORDS_PER_SEGMENT_MIN: u64 = 4;
/// Lanes a spool may have; a class is a lane, and one more holds dead letters.
const MAX_LANES: usize = 32;
/// Longest name of a lane, which is a folder and a metric label, and of a gateway, which is in each of its records.
const MAX_NAME_BYTES: usize = 64;
/// Name of the lane for records that Kafka refuses for good.
pub const DEAD_LETTER: &str = "dead-letter";

/// Settings as an operator writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSettings {
    /// Name of the gateway, the half of header `tg-gw` that the spool does not decide: kept with the spool for whoever finds
    /// it. Empty: what is kept already stays.
    pub name: String,
    /// Lanes, the most important first: it is committed first.
    pub lanes: Vec<RawLane>,
    /// Size of a segment, set aside at once. 1 MiB to 64 MiB.
    pub segment_bytes: u64,
    /// Records that may wait for the writer: the gateway's memory pool. Kept free in each lane, so that the flip of
    /// all routes to BEHIND always fits.
    pub pool_bytes: u64,
    /// Largest record, with key and headers.
    pub max_record_bytes: u64,
    /// Least time from one commit to the next: 0 on `NVMe`, 20 ms on SD cards.
    #[serde(with = "humantime_serde")]
    pub commit_interval_min: Duration,
    /// What is left to others on the file system.
    pub free_floor_bytes: u64,
    /// Size of the lane for dead letters.
    pub dead_letter_bytes: u64,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLane {
    /// Name of the class, and of the folder.
    pub name: String,
    /// Most bytes the lane takes on the disk.
    pub capacity_bytes: u64,
    /// What happens to records that find it full.
    #[serde(default)]
    pub full: RawPolicy,
    /// With `drop-oldest`: drop even what devices were told is safe.
    #[serde(default)]
    pub allow_acked_loss: bool,
}

/// See [`Policy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawPolicy {
    /// Hold back what comes.
    #[default]
    Block,
    /// Drop QoS 0 before it is full, then hold back.
    #[serde(rename = "shed-qos0-first")]
    ShedQos0First,
    /// Refuse what comes.
    Reject,
    /// Make room by dropping the oldest.
    DropOldest,
}

impl Default for RawSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            lanes: Vec::new(),
            segment_bytes: 64 * MIB,
            pool_bytes: 32 * MIB,
            max_record_bytes: MIB,
            commit_interval_min: Duration::ZERO,
            free_floor_bytes: 64 * MIB,
            dead_letter_bytes: 256 * MIB,
        }
    }
}

/// A setting that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: allowed is {allowed}")]
pub struct WrongSetting {
    /// Which one.
    pub key: String,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub allowed: String,
}

/// Checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) lanes: Vec<LaneSettings>,
    pub(crate) segment_bytes: u64,
    pub(crate) pool_bytes: u64,
    pub(crate) max_record_bytes: u64,
    pub(crate) commit_interval_min: Duration,
    pub(crate) free_floor_bytes: u64,
}

/// Checked settings of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneSettings {
    pub(crate) name: String,
    pub(crate) capacity_bytes: u64,
    pub(crate) policy: Policy,
}

impl Settings {
    /// Returns the lane of that name.
    #[must_use]
    pub fn lane(&self, name: &str) -> Option<crate::LaneId> {
        let index = self.lanes.iter().position(|lane| lane.name == name)?;
        u8::try_from(index).ok().map(crate::LaneId)
    }

    /// Returns the lane for dead letters: the last.
    #[must_use]
    pub fn dead_letter(&self) -> crate::LaneId {
        let last = self.lanes.len().saturating_sub(1);
        crate::LaneId(u8::try_from(last).unwrap_or(u8::MAX))
    }

    /// Bytes that each lane keeps free for what is in memory: the pool, with what is lost at the ends of segments, and
    /// the segment being written.
    pub(crate) const fn reserve_bytes(&self) -> u64 {
        let usable = self.segment_bytes - self.segment_bytes / RECORDS_PER_SEGMENT_MIN;
        (self.pool_bytes.div_ceil(usable) + 1) * self.segment_bytes
    }
}

impl TryFrom<RawSettings> for Settings {
    type Error = WrongSetting;

    fn try_from(raw: RawSettings) -> Result<Self, WrongSetting> {
        let wrong = |key: &str, value: &dyn ToString, allowed: String| {
            Err(WrongSetting { key: key.to_owned(), value: value.to_string(), allowed })
        };
        if !SEGMENT_BYTES.contains(&raw.segment_bytes) {
            return wrong("segment_bytes", &raw.segment_bytes, "1 MiB to 64 MiB, in bytes".to_owned());
        }
        if !(1..=raw.segment_bytes / RECORDS_PER_SEGMENT_MIN).contains(&raw.max_record_bytes) {
            let allowed = format!("1 to segment_bytes / {RECORDS_PER_SEGMENT_MIN}");
            return wrong("max_record_bytes", &raw.max_record_bytes, allowed);
        }
        if raw.pool_bytes < raw.max_record_bytes {
            return wrong("pool_bytes", &raw.pool_bytes, "at least max_record_bytes".to_owned());
        }
        if raw.lanes.is_empty() || raw.lanes.len() >= MAX_LANES {
            return wrong("lanes", &raw.lanes.len(), format!("1 to {} lanes", MAX_LANES - 1));
        }
        let dead_letter = RawLane {
            name: DEAD_LETTER.to_owned(),
            capacity_bytes: raw.dead_letter_bytes,
            full: RawPolicy::Block,
            allow_acked_loss: false,
        };
        if raw.name.len() > MAX_NAME_BYTES {
            return wrong("name", &raw.name, format!("at most {MAX_NAME_BYTES} bytes"));
        }
        let mut settings = Self {
            name: Some(raw.name).filter(|name| !name.is_empty()),
            lanes: Vec::new(),
            segment_bytes: raw.segment_bytes,
            pool_bytes: raw.pool_bytes,
            max_record_bytes: raw.max_record_bytes,
            commit_interval_min: raw.commit_interval_min,
            free_floor_bytes: raw.free_floor_bytes,
        };
        // Twice the reserve, so that a lane has at least as much to fill as to keep free.
        let least = 2 * settings.reserve_bytes();
        for lane in raw.lanes.into_iter().chain([dead_letter]) {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if !(1..=MAX_NAME_BYTES).contains(&lane.name.len()) || !lane.name.bytes().all(plain) {
                return wrong("lanes.name", &lane.name, "a-z, 0-9 and -, at most 64".to_owned());
            }
            if settings.lane(&lane.name).is_some() {
                return wrong("lanes.name", &lane.name, "a name that no other lane has".to_owned());
            }
            if lane.capacity_bytes < least {
                let key = if lane.name == DEAD_LETTER { "dead_letter_bytes" } else { "lanes.capacity_bytes" };
                return wrong(
                    key,
                    &lane.capacity_bytes,
                    format!("at least {least} with this pool and these segments"),
                );
            }
            let policy = match lane.full {
                RawPolicy::Block => Policy::Block,
                RawPolicy::ShedQos0First => Policy::ShedQos0First,
                RawPolicy::Reject => Policy::Reject,
                RawPolicy::DropOldest => Policy::DropOldest { allow_acked_loss: lane.allow_acked_loss },
            };
            let capacity_bytes = lane.capacity_bytes;
            settings.lanes.push(LaneSettings { name: lane.name, capacity_bytes, policy });
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> RawSettings {
        let lane = |name: &str| RawLane {
            name: name.to_owned(),
            capacity_bytes: 1 << 30,
            full: RawPolicy::Block,
            allow_acked_loss: false,
        };
        RawSettings { lanes: vec![lane("alarm"), lane("sensor")], ..RawSettings::default() }
    }

    #[test]
    fn dead_letters_get_a_lane_of_their_own_at_the_end() {
        let settings = Settings::try_from(raw()).unwrap();
        assert_eq!(settings.lane("sensor"), Some(crate::LaneId(1)));
        assert_eq!(settings.dead_letter(), crate::LaneId(2));
    }

    #[test]
    fn the_first_wrong_setting_is_named() {
        type Change = fn(&mut RawSettings);
        let table: [(&str, Change); 9] = [
            ("name", |raw| raw.name = "n".repeat(65)),
            ("segment_bytes", |raw| raw.segment_bytes = MIB - 1),
            ("max_record_bytes", |raw| raw.max_record_bytes = 17 * MIB),
            ("pool_bytes", |raw| raw.pool_bytes = 10),
            ("lanes", |raw| raw.lanes.clear()),
            ("lanes.name", |raw| raw.lanes[1].name = "../etc".to_owned()),
            ("lanes.name", |raw| raw.lanes[1].name = "alarm".to_owned()),
            ("lanes.capacity_bytes", |raw| raw.lanes[0].capacity_bytes = 200 * MIB),
            ("dead_letter_bytes", |raw| raw.dead_letter_bytes = 0),
        ];
        for (key, change) in table {
            let mut raw = raw();
            change(&mut raw);
            assert_eq!(Settings::try_from(raw).unwrap_err().key, key);
        }
    }
}
