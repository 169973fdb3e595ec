//! A decision of a recording.

use std::io::Write as _;
use std::path::Path;

use tidegate_core::scaling::{Decided, explain};

use super::at::At;
use crate::exit::Usage;
use crate::recording::{self, when};

/// The option that names the recording.
const OPTION: &str = "--recording";

/// Shows the decision at `at`, or the last.
///
/// # Errors
/// A recording that cannot be replayed, or a place that it does not have, as an option that cannot be used.
pub(super) fn run(path: &Path, at: Option<&str>) -> anyhow::Result<()> {
    let at = at.map(At::parse).transpose()?.unwrap_or(At::Last);
    let mut looks = Vec::new();
    for file in recording::files(OPTION, path)? {
        looks.extend(recording::read(OPTION, &file)?.looks);
    }
    let Some(first) = looks.first() else {
        return Err(Usage::new(OPTION, path.display(), "a recording with a look").into());
    };
    let index = at.find(&looks)?;
    let look = &looks[index];
    let mut out = std::io::stdout();
    writeln!(out, "look {} of {}, {}", index + 1, looks.len(), when(look, first))?;
    write!(out, "{}", explain(&look.decision))?;
    if !look.is_same() {
        let Decided { replicas, bound, reason } = look.recorded;
        let (reason, bound) = (reason.as_str(), bound.as_str());
        writeln!(
            out,
            "recorded    {replicas} replicas, {reason}, bound by {bound}: the rule of then was another"
        )?;
    }
    Ok(())
}
