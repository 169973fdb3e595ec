//! What the process tells its caller when it ends.

use std::process::ExitCode;

use tidegate_runtime::config::{ConfigError, EXIT_USAGE};

/// Exit code of a process that could not go on (`EX_SOFTWARE`).
const EXIT_SOFTWARE: u8 = 70;

/// Prints why a command failed and returns its exit code: 64 if the settings are wrong, 70 if the work failed.
pub(crate) fn code(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::from(if error.is::<ConfigError>() { EXIT_USAGE } else { EXIT_SOFTWARE })
        }
    }
}
