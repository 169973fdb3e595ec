//! What the process tells its caller when it ends.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use tidegate_runtime::config::{ConfigError, EXIT_USAGE};

/// Exit code of a translation that lost something (`EX_DATAERR`).
const EXIT_DATA: u8 = 65;
/// Exit code of a process that could not go on (`EX_SOFTWARE`).
const EXIT_SOFTWARE: u8 = 70;

/// An option of the command line that cannot be used: what a `ConfigError` is to a file.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    /// Says which option is wrong, and what it may be.
    pub(crate) fn new(option: &str, value: impl fmt::Display, allowed: impl fmt::Display) -> Self {
        Self(format!("{option} {value}: allowed is {allowed}"))
    }

    /// Says of which option somebody else found what is wrong.
    pub(crate) fn said(option: &str, what: impl fmt::Display) -> Self {
        Self(format!("{option}: {what}"))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A translation that could not keep everything; what was lost has been said.
#[derive(Debug, thiserror::Error)]
#[error("{0} of it cannot be kept")]
pub(crate) struct Lost(pub(crate) usize);

/// Prints why a command failed and returns its exit code: 64 if options or settings are wrong, 65 if a translation lost
/// something, 70 if the work failed.
/// A reader of our output that went away (`tidegate up | head`) has seen enough: that is no failure.
pub(crate) fn code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    // Not `eprintln`, which panics when nobody reads standard error either.
    let _ = writeln!(io::stderr(), "tidegate: {error:#}");
    ExitCode::from(if error.is::<ConfigError>() || error.is::<Usage>() {
        EXIT_USAGE
    } else if error.is::<Lost>() {
        EXIT_DATA
    } else {
        EXIT_SOFTWARE
    })
}
