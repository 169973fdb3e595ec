//! The file of what was learned: how fast a replica is, how it starts, and when load comes.
//!
//! Pure. Two lines: what the second is, and the second. A line that is torn or was changed by a bit is not parsed: what is
//! read back is relied on to be as it was written.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_core::scaling::{History, Learned};
use tidegate_core::time::{Timestamp, UnixMillis};

use crate::scaler::GroupSettings;

/// Version of the second line; another one is not read.
const VERSION: u32 = 1;
/// Age above which nothing is used: the image, the nodes and the habits of devices are others by then. What is younger is
/// weighed by its age where it is used.
const AGE_MAX: Duration = Duration::from_hours(7 * 24);

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    crc32c: u32,
}

/// What is kept, and of which group it was learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    consumer_group: String,
    topics: Vec<String>,
    learned: Learned,
}

impl Kept {
    pub(super) fn new(settings: &GroupSettings, history: &History, now: Timestamp, wall: UnixMillis) -> Self {
        Self {
            consumer_group: settings.consumer_group.clone(),
            topics: settings.topics.clone(),
            learned: history.learned(now, wall),
        }
    }

    /// Returns the file.
    pub(super) fn written(&self) -> String {
        let second = serde_json::to_string(self).expect("it holds nothing that JSON has not");
        let head = Head { version: VERSION, crc32c: crc32c::crc32c(second.as_bytes()) };
        let head = serde_json::to_string(&head).expect("two numbers are JSON");
        format!("{head}\n{second}\n")
    }

    /// Returns what `file` holds.
    ///
    /// # Errors
    /// Why it cannot be used, for people.
    pub(super) fn read(file: &[u8]) -> Result<Self, String> {
        let mut lines = file.split(|byte| *byte == b'\n');
        let (head, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let head: Head = serde_json::from_slice(head).map_err(|_| "it does not begin as such a file does")?;
        if head.version != VERSION {
            return Err(format!("it is of version {}: allowed is {VERSION}", head.version));
        }
        if crc32c::crc32c(second) != head.crc32c {
            return Err("it is torn or damaged".to_owned());
        }
        serde_json::from_slice(second).map_err(|problem| problem.to_string())
    }

    /// Returns the memory that a scaler of `settings` begins with, and how old it is.
    ///
    /// # Errors
    /// Why it is not this scaler's, for people.
    pub(super) fn resume(
        self,
        settings: &GroupSettings,
        now: Timestamp,
        wall: UnixMillis,
    ) -> Result<(History, Duration), String> {
        if (&self.consumer_group, &self.topics) != (&settings.consumer_group, &settings.topics) {
            return Err(format!(
                "it was learned of group {:?} and topics {:?}",
                self.consumer_group, self.topics
            ));
        }
        // A clock that was set back, as on a board without a battery, makes nothing older than it was.
        let age = u64::try_from(wall.0.saturating_sub(self.learned.saved_at.0)).unwrap_or(0);
        let age = Duration::from_millis(age);
        if age > AGE_MAX {
            let days = |age: Duration| age.as_secs() / 86_400;
            return Err(format!("it is {} days old: allowed are {}", days(age), days(AGE_MAX)));
        }
        Ok((History::resume(self.learned, now, wall), age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    const WALL: UnixMillis = UnixMillis(1_800_000_000_000);

    fn kept() -> Kept {
        let mut history = History::default();
        let settings = settings();
        for minute in 1..=60_u32 {
            let at = Timestamp::from_millis(60_000 * u64::from(minute));
            history.prime(&settings.policy, 100.0 + f64::from(minute % 7), Duration::from_mins(1), at);
        }
        Kept::new(&settings, &history, Timestamp::from_millis(3_600_000), WALL)
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        assert_eq!(Kept::read(kept().written().as_bytes()).unwrap(), kept());
    }

    #[test]
    fn every_file_that_was_cut_off_or_changed_is_refused() {
        let text = kept().written();
        // The last byte is the line's end.
        for length in 0..text.len() - 1 {
            Kept::read(&text.as_bytes()[..length]).expect_err("it was cut off");
        }
        let mut bytes = text.clone().into_bytes();
        for place in 0..bytes.len() - 1 {
            bytes[place] ^= 1;
            assert!(Kept::read(&bytes).is_err(), "byte {place} was changed");
            bytes[place] ^= 1;
        }
        let other = text.replacen("\"version\":1", "\"version\":2", 1);
        assert_eq!(Kept::read(other.as_bytes()).unwrap_err(), "it is of version 2: allowed is 1");
        assert!(Kept::read(&[0xFF; 100]).is_err() && Kept::read(b"{}\n{}\n").is_err());
    }

    #[test]
    fn it_is_used_by_the_same_group_for_a_week() {
        let now = Timestamp::from_millis(5_000);
        let resume = |settings: &GroupSettings, hours: i64| {
            kept().resume(settings, now, UnixMillis(WALL.0 + 3_600_000 * hours))
        };
        let (history, age) = resume(&settings(), 1).unwrap();
        assert_eq!((age, history.outlook().is_some()), (Duration::from_hours(1), true));
        assert_eq!(resume(&settings(), -5).unwrap().1, Duration::ZERO, "the clock was set back");
        assert_eq!(resume(&settings(), 7 * 24).unwrap().1, AGE_MAX);
        assert_eq!(resume(&settings(), 8 * 24).unwrap_err(), "it is 8 days old: allowed are 7");
        let other = GroupSettings { topics: vec!["alarms".to_owned()], ..settings() };
        assert!(resume(&other, 1).unwrap_err().contains("topics [\"telemetry\"]"));
    }
}
