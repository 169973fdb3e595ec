//! Logs of the process: one line per event on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Environment variable with the log filter, e.g. `info,tidegate_kafka=debug`.
pub const FILTER_VARIABLE: &str = "TIDEGATE_LOG";
/// Filter if [`FILTER_VARIABLE`] is not set.
const DEFAULT_FILTER: &str = "info";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// [`LogFormat::Human`] if stderr is a terminal, else [`LogFormat::Json`].
    #[default]
    Auto,
    /// One JSON object per line, with the fields at its top level, for log shippers.
    Json,
    /// For a reader at a terminal.
    Human,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter in the environment cannot be parsed.
    #[error(
        "environment {FILTER_VARIABLE} = {value:?}: allowed is a level or TARGET=LEVEL, separated by commas ({reason})"
    )]
    Filter {
        /// What the variable holds.
        value: String,
        /// What the parser said.
        reason: String,
    },
    /// The process has a log subscriber already.
    #[error("logs are set up already")]
    Twice,
}

/// Sends the process's log events to stderr from now on.
///
/// # Errors
/// If the filter in [`FILTER_VARIABLE`] is malformed, or logs were set up before.
pub fn init_logs(format: LogFormat) -> Result<(), TelemetryError> {
    let wanted = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| DEFAULT_FILTER.into());
    let logs = tracing_subscriber::registry().with(filter(&wanted)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let done = if is_human(format, std::io::stderr().is_terminal()) {
        logs.with(lines.compact()).try_init()
    } else {
        logs.with(lines.json().flatten_event(true).with_current_span(false)).try_init()
    };
    done.map_err(|_| TelemetryError::Twice)
}

fn is_human(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Human => true,
    }
}

fn filter(wanted: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(wanted)
        .map_err(|problem| TelemetryError::Filter { value: wanted.into(), reason: problem.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_for_people_on_a_terminal_and_json_elsewhere() {
        assert!(is_human(LogFormat::Auto, true));
        assert!(!is_human(LogFormat::Auto, false));
        assert!(!is_human(LogFormat::Json, true));
        assert!(is_human(LogFormat::Human, false));
    }

    #[test]
    fn a_malformed_filter_is_named_with_its_variable() {
        assert!(filter("info,tidegate_kafka=debug").is_ok());
        let message = filter("tidegate_kafka=loud").unwrap_err().to_string();
        assert!(
            message.starts_with("environment TIDEGATE_LOG = \"tidegate_kafka=loud\": allowed is"),
            "{message}"
        );
    }
}
