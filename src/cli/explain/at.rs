//! A place in a recording, as people name it.

use std::time::{Duration, SystemTime};

use tidegate_core::scaling::Replayed;
use tidegate_core::time::UnixMillis;

use crate::exit::Usage;
use crate::recording::{since, time_of_day, when};

/// The option that names it.
const OPTION: &str = "--at";

/// Which look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Last,
    /// Counted from 1.
    Number(usize),
    /// The last that was no later after the first.
    Since(Duration),
    /// The last that was no later.
    Wall(UnixMillis),
}

impl At {
    /// # Errors
    /// If it is none of these.
    pub(super) fn parse(text: &str) -> Result<Self, Usage> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        if let Ok(since) = humantime::parse_duration(text) {
            return Ok(Self::Since(since));
        }
        let wall = humantime::parse_rfc3339_weak(text).ok().and_then(unix_millis);
        let allowed = "a number, a time since the beginning (5m 30s) or a time of day (2026-11-25T17:05:00Z)";
        wall.map(Self::Wall).ok_or_else(|| Usage::new(OPTION, text, allowed))
    }

    /// Returns the index of the look; there is at least one.
    ///
    /// # Errors
    /// If it lies outside, or is a time of day and the recording knows none.
    pub(super) fn find(self, looks: &[Replayed]) -> Result<usize, Usage> {
        let (first, last) = (&looks[0], &looks[looks.len() - 1]);
        let outside = |value: String, least: String, most: String| {
            Usage::new(OPTION, value, format!("{least} to {most}, which is what was recorded"))
        };
        match self {
            Self::Last => Ok(looks.len() - 1),
            Self::Number(number) if (1..=looks.len()).contains(&number) => Ok(number - 1),
            Self::Number(number) => Err(outside(number.to_string(), "1".to_owned(), looks.len().to_string())),
            Self::Since(time) if time <= since(last, first) => {
                Ok(looks.iter().rposition(|look| since(look, first) <= time).unwrap_or(0))
            }
            Self::Since(time) => {
                let told = |time: Duration| humantime::format_duration(time).to_string();
                let most = Duration::from_secs(since(last, first).as_secs());
                Err(outside(told(time), "0s".to_owned(), told(most)))
            }
            Self::Wall(time) => {
                let Some((begin, end)) = first.wall.zip(last.wall) else {
                    return Err(Usage::said(OPTION, "the recording knows no time of day"));
                };
                if !(begin..=end).contains(&time) {
                    return Err(outside(time_of_day(time), when(first, first), when(last, first)));
                }
                Ok(looks.iter().rposition(|look| look.wall.is_some_and(|wall| wall <= time)).unwrap_or(0))
            }
        }
    }
}

fn unix_millis(time: SystemTime) -> Option<UnixMillis> {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since_1970.as_millis()).ok().map(UnixMillis)
}

#[cfg(test)]
mod tests {
    use tidegate_core::scaling::{Bound, Decided, Decision, Reason, Terms};
    use tidegate_core::time::Timestamp;

    use super::*;

    fn looks(wall: bool) -> Vec<Replayed> {
        let (bound, reason) = (Bound::Demand, Reason::Fits);
        let decision = Decision { replicas: 1, bound, reason, terms: Terms::default() };
        (0..10_u64)
            .map(|n| Replayed {
                now: Timestamp::from_millis(7_000 + 5_000 * n),
                // 2026-11-25T17:05:00Z
                wall: wall.then(|| UnixMillis(1_795_626_300_000 + 5_000 * i64::try_from(n).unwrap())),
                recorded: Decided::from(&decision),
                decision: decision.clone(),
            })
            .collect()
    }

    fn found(text: &str, wall: bool) -> Result<usize, String> {
        let at = At::parse(text).map_err(|wrong| wrong.to_string())?;
        at.find(&looks(wall)).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_look_is_found_by_number_time_since_the_first_and_time_of_day() {
        assert_eq!((found("1", false), found("10", false)), (Ok(0), Ok(9)));
        assert_eq!((found("0s", false), found("12s", false), found("45s", false)), (Ok(0), Ok(2), Ok(9)));
        assert_eq!(found("12s", true), Ok(2));
        let at = |secs: u32| found(&format!("2026-11-25T17:05:{secs:02}Z"), true);
        assert_eq!((at(0), at(14), at(45)), (Ok(0), Ok(2), Ok(9)));
        assert_eq!(found("2026-11-25 17:05:14", true), Ok(2));
        assert_eq!(At::Last.find(&looks(false)).map_err(|wrong| wrong.to_string()), Ok(9));
    }

    #[test]
    fn what_was_not_recorded_is_refused_with_what_was() {
        let said = |text: &str, wall| found(text, wall).unwrap_err();
        assert!(said("11", false).contains("--at 11: allowed is 1 to 10"));
        assert!(said("0", false).contains("allowed is 1 to 10"));
        assert!(said("46s", false).contains("--at 46s: allowed is 0s to 45s"));
        assert!(said("2026-11-25T17:06:00Z", true).contains("2026-11-25T17:05:00Z to 2026-11-25T17:05:45Z"));
        assert!(said("2026-11-25T17:05:00Z", false).contains("knows no time of day"));
        assert!(said("noon", true).contains("--at noon: allowed is a number"));
    }
}
