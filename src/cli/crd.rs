//! `tidegate crd`: prints the definition of the API object, for `kubectl apply -f -`.

use std::io::Write as _;

/// Prints it.
///
/// # Errors
/// If standard output is closed.
pub(crate) fn run() -> anyhow::Result<()> {
    std::io::stdout().write_all(tidegate_controller::crd::crd_yaml().as_bytes())?;
    Ok(())
}
