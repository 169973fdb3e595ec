//! Reads a time as traces write it: a date, or a number since 1970 (or since the trace's own beginning).

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::num::real;

/// How a trace writes its times; the first row decides for all, so that one trace never mixes units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Format {
    /// ISO 8601, with a zone or without one (then it is taken as UTC: only differences matter).
    Date,
    /// A number, and how many of it make a second.
    Number {
        /// 1, 1e3, 1e6 or 1e9.
        per_sec: f64,
    },
}

/// What may be written, for messages.
pub(super) const ALLOWED: &str =
    "a time as in the first row: 2015-02-26 21:42:53, 2015-02-26T21:42:53+01:00, or a number of seconds";

impl Format {
    /// Returns the format that `cell` is in; `None` if it is no time.
    ///
    /// A number is of seconds, unless it would lie beyond the year 5138: then of milli-, micro- or nanoseconds.
    pub(super) fn of(cell: &str) -> Option<Self> {
        if date(cell).is_some() {
            return Some(Self::Date);
        }
        let number: f64 = cell.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
        let per_sec = [(1e17, 1e9), (1e14, 1e6), (1e11, 1e3)]
            .into_iter()
            .find(|(from, _)| number >= *from)
            .map_or(1.0, |(_, per_sec)| per_sec);
        Some(Self::Number { per_sec })
    }

    /// Returns the seconds since 1970 (or since a beginning of the trace's own).
    pub(super) fn read(self, cell: &str) -> Option<f64> {
        match self {
            Self::Date => date(cell),
            Self::Number { per_sec } => {
                let number: f64 = cell.parse().ok()?;
                (number.is_finite() && number >= 0.0).then_some(number / per_sec)
            }
        }
    }
}

fn date(cell: &str) -> Option<f64> {
    // Both refuse a bare number; a date alone is midnight.
    let instant: Timestamp = match cell.parse() {
        Ok(instant) => instant,
        Err(_) => jiff::tz::Offset::UTC.to_timestamp(cell.parse::<DateTime>().ok()?).ok()?,
    };
    let nanos = instant.as_nanosecond();
    let secs = u64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    let rest = u64::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
    Some(real(secs) + real(rest) / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_and_without_zone_and_fraction_are_read() {
        let read = |cell| Format::Date.read(cell).unwrap();
        assert!((read("1970-01-02 00:00:00") - 86_400.0).abs() < 1e-6);
        assert!((read("1970-01-01T01:00:00+01:00")).abs() < 1e-6);
        assert!((read("1970-01-01T00:00:01.250Z") - 1.25).abs() < 1e-6);
        assert!(
            (read("2023-11-16 18:17:04.0319600") - read("2023-11-16 18:17:03.9799600") - 0.052).abs() < 1e-6
        );
        assert_eq!(Format::of("2015-02-26 21:42:53"), Some(Format::Date));
    }

    #[test]
    fn a_number_says_its_unit_by_its_size() {
        let unit = |cell| Format::of(cell);
        assert_eq!(unit("12.5"), Some(Format::Number { per_sec: 1.0 }));
        assert_eq!(unit("1700000000"), Some(Format::Number { per_sec: 1.0 }));
        assert_eq!(unit("1700000000000"), Some(Format::Number { per_sec: 1e3 }));
        assert_eq!(unit("1700000000000000"), Some(Format::Number { per_sec: 1e6 }));
        assert_eq!(unit("1700000000000000000"), Some(Format::Number { per_sec: 1e9 }));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for cell in ["", "timestamp", "-5", "NaN", "inf", "2015-13-01 00:00:00"] {
            assert_eq!(Format::of(cell), None, "{cell}");
        }
    }
}
