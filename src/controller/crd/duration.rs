//! Durations as the object writes them: `10s`, `1m30s`, `500ms`.
//!
//! Owns one small language, the same for the API server ([`between`]) and for the controller ([`parse`]): what CEL's
//! `duration()` reads, without its fractions, signs and nanoseconds.

use std::fmt::Write as _;
use std::time::Duration;

use kube::core::Rule;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// Parts of a duration, and digits of each: room for a day in milliseconds.
const PARTS_MAX: usize = 4;
const DIGITS_MAX: usize = 8;

/// Longest text: each part is a number and a unit. CEL needs it to know what a rule may cost.
pub(super) const CHARS_MAX: usize = PARTS_MAX * (DIGITS_MAX + 2);

/// Returns the rule that a text is a duration of at least `least` and at most `most`.
pub(super) fn between(least: &str, most: &str) -> Rule {
    let pattern = format!("^([0-9]{{1,{DIGITS_MAX}}}(ms|s|m|h)){{1,{PARTS_MAX}}}$");
    let allowed =
        format!("allowed is {least} to {most}, written in h, m, s and ms, such as 10s, 1m30s or 500ms");
    Rule::new(format!(
        "self.matches('{pattern}') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    ))
    .message(allowed.as_str())
}

/// Returns the duration that `text` says; `None` if it is none.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    let mut rest = text;
    for _ in 0..PARTS_MAX {
        let (number, tail) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit())?);
        let (unit, tail) =
            tail.split_at(tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len()));
        let number: u64 = number.parse().ok().filter(|_| number.len() <= DIGITS_MAX)?;
        sum += match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(60 * number),
            "h" => Duration::from_secs(3600 * number),
            _ => return None,
        };
        rest = tail;
        if rest.is_empty() {
            return Some(sum);
        }
    }
    None
}

/// Returns `duration` in the same language, to the millisecond.
pub(super) fn write(duration: Duration) -> String {
    let millis = duration.as_millis();
    let parts = [
        (millis / 3_600_000, "h"),
        (millis / 60_000 % 60, "m"),
        (millis / 1000 % 60, "s"),
        (millis % 1000, "ms"),
    ];
    let mut text = String::new();
    for (number, unit) in parts.iter().filter(|(number, _)| *number > 0) {
        write!(text, "{number}{unit}").expect("a String takes every write");
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// For serde's `with`.
pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&write(*duration))
}

/// For serde's `with`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text)
        .ok_or_else(|| D::Error::custom(format!("{text:?} is no duration, such as 10s, 1m30s or 500ms")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_a_duration_or_nothing() {
        let table = [
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("24h", Some(86_400_000)),
            ("1h2m3s4ms", Some(3_723_004)),
            ("0s", Some(0)),
            ("86400000ms", Some(86_400_000)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-10s", None),
            ("1.5s", None),
            ("1m 30s", None),
            ("5 min", None),
            ("1d", None),
            ("10µs", None),
            ("1s1s1s1s1s", None),
            ("123456789s", None),
            ("99999999999999999999h", None),
        ];
        for (text, millis) in table {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(millis in 0_u64..86_400_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&write(duration)), Some(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            parse(&text);
        }

        #[test]
        fn no_text_of_digits_and_units_makes_it_panic(text in "([0-9]{1,12}(ms|s|m|h)?){0,6}") {
            parse(&text);
        }
    }
}
