//! What is said about a wrong setting: one line that names the place, the key, the value and what is allowed.

use std::fmt;
use std::path::PathBuf;

use toml::Value;

use super::secret;

/// Longest value that a message repeats, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// One wrong setting, as a component's own check finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key: `classes.sensor.rate`, `routes[2].filter`.
    pub key: String,
    /// The value, as the operator would write it.
    pub value: String,
    /// What is allowed instead, with the unit: `0.001 to 1000000 (messages per second)`.
    pub allowed: String,
}

impl Problem {
    /// Describes the wrong `value` of `key`.
    pub fn new(key: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.to_string(), allowed: allowed.into() }
    }
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The settings file.
    File {
        /// Its path, as it was given.
        path: PathBuf,
        /// Line of the key, counted from 1; none if the key is not in the file.
        line: Option<usize>,
    },
    /// The environment variable of this name.
    Environment(String),
    /// Neither: a default, without a file.
    Default,
}

/// Why settings cannot be used. Its text is the one line that the operator reads.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read ({reason}): allowed is a readable UTF-8 file of at most 1 MiB", path.display())]
    Unreadable {
        /// Its path, as it was given.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{}: not TOML: {reason} (line {line})", path.display())]
    Syntax {
        /// Its path, as it was given.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{}", say(origin, key, value, "unknown key, ", allowed))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// Its path.
        key: String,
        /// Its value; hidden if it is text, for it may be a misspelt secret.
        value: String,
        /// The keys that exist there.
        allowed: String,
    },
    /// A value that its key cannot have.
    #[error("{}", say(origin, &problem.key, &problem.value, "", &problem.allowed))]
    Wrong {
        /// Where it stands.
        origin: Origin,
        /// What is wrong.
        problem: Problem,
    },
}

fn say(origin: &Origin, key: &str, value: &str, what: &str, allowed: &str) -> String {
    let value = shorten(value);
    match origin {
        Origin::File { path, line: Some(line) } => {
            format!("{}: {key} = {value}: {what}allowed is {allowed} (line {line})", path.display())
        }
        Origin::File { path, line: None } => {
            format!("{}: {key} = {value}: {what}allowed is {allowed}", path.display())
        }
        Origin::Environment(name) => {
            format!("environment {name}: {key} = {value}: {what}allowed is {allowed}")
        }
        Origin::Default => format!("settings: {key} = {value}: {what}allowed is {allowed}"),
    }
}

fn shorten(value: &str) -> String {
    let line = value.replace(['\n', '\r'], " ");
    match line.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// What serde's message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// `key` is not among the `allowed` ones.
    UnknownKey { key: String, allowed: String },
    /// The required `key` is missing.
    Missing { key: String },
    /// `name`, a key or a value, is none of the `allowed` ones.
    UnknownVariant { name: String, allowed: String },
    /// The value is not what is `allowed`; do not show it if `secret`.
    Wrong { allowed: String, secret: bool },
}

/// Reads a message of serde's derived code; foreign ones are passed on as they are.
pub(super) fn read_message(message: &str) -> Said {
    if let Some((name, expected)) =
        message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, "))
    {
        return Said::UnknownKey { key: name.into(), allowed: alternatives(expected) };
    }
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return Said::Missing { key: name.into() };
    }
    let unknown = message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, "));
    if let Some((name, expected)) = unknown {
        return Said::UnknownVariant { name: name.into(), allowed: alternatives(expected) };
    }
    let invalid = ["invalid type: ", "invalid value: ", "invalid length "];
    // The last one: the offending text, which comes first, may hold the same words.
    let expected =
        message.rsplit_once(", expected ").filter(|_| invalid.iter().any(|start| message.starts_with(start)));
    match expected {
        Some((_, expected)) => {
            Said::Wrong { allowed: describe(expected), secret: expected == secret::EXPECTED }
        }
        None => Said::Wrong { allowed: message.into(), secret: false },
    }
}

/// Returns `a, b, c` for serde's ``expected one of `a`, `b`, `c` ``.
fn alternatives(expected: &str) -> String {
    let list = expected.strip_prefix("expected ").unwrap_or(expected);
    let list = list.strip_prefix("one of ").unwrap_or(list).replace('`', "");
    if list.starts_with("there are no") { "none".into() } else { list }
}

/// Says Rust's types as an operator would.
fn describe(expected: &str) -> String {
    let (least, name) = match expected.strip_prefix("a nonzero ") {
        Some(name) => (1, name),
        None => (0, expected),
    };
    let most = match name {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        // TOML's integers are 64 bits with a sign.
        "u64" | "usize" => i64::MAX.unsigned_abs(),
        "i64" | "i32" => return "an integer".into(),
        "f32" | "f64" => return "a number".into(),
        "a boolean" => return "true or false".into(),
        "a sequence" => return "a list".into(),
        "a map" => return "a table".into(),
        other if other.starts_with("struct ") => return "a table".into(),
        other => return other.into(),
    };
    format!("an integer from {least} to {most}")
}

/// Returns the value as a message shows it; tables and lists may hold secrets and are long.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Table(_) => "{...}".into(),
        Value::Array(_) => "[...]".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_shortened_and_stay_on_one_line() {
        let problem = Problem::new("a", format!("x\n{}", "\u{e9}".repeat(100)), "less");
        let said = ConfigError::Wrong { origin: Origin::Default, problem }.to_string();
        assert_eq!(said, format!("settings: a = x {}...: allowed is less", "\u{e9}".repeat(78)));
    }

    #[test]
    fn messages_of_serde_are_said_in_the_operators_words() {
        let variant = |allowed: &str| Said::UnknownVariant { name: "x".into(), allowed: allowed.into() };
        let wrong = |allowed: &str| Said::Wrong { allowed: allowed.into(), secret: false };
        let cases = [
            ("invalid type: string \"x\", expected f64", wrong("a number")),
            ("invalid value: integer `-5`, expected u16", wrong("an integer from 0 to 65535")),
            ("invalid value: integer `0`, expected a nonzero u32", wrong("an integer from 1 to 4294967295")),
            ("invalid type: string \", expected f64\", expected a boolean", wrong("true or false")),
            ("invalid type: integer `1`, expected struct RawClass", wrong("a table")),
            ("unknown variant `x`, expected `a` or `b`", variant("a or b")),
            ("unknown variant `x`, there are no variants", variant("none")),
            ("a duration needs a unit", wrong("a duration needs a unit")),
            ("missing field `rate`", Said::Missing { key: "rate".into() }),
            (
                "unknown field `x`, expected one of `a`, `b`, `c`",
                Said::UnknownKey { key: "x".into(), allowed: "a, b, c".into() },
            ),
            (
                "invalid type: integer `1`, expected a secret string",
                Said::Wrong { allowed: "a secret string".into(), secret: true },
            ),
        ];
        for (message, said) in cases {
            assert_eq!(read_message(message), said, "{message}");
        }
    }
}
