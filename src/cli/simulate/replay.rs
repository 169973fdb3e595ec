//! `tidegate simulate --replay`: the decisions of a recording, taken again.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use tidegate_core::scaling::{Decided, Decision, Replayed};
use tidegate_core::time::UnixMillis;

use crate::recording::{self, when};

/// The option that names the recording.
const OPTION: &str = "--replay";

/// One line of the JSON output.
#[derive(Serialize)]
struct Look<'a> {
    now_nanos: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_unix_millis: Option<UnixMillis>,
    decision: &'a Decision,
    recorded: Decided,
    same: bool,
}

/// Shows every change and every difference.
///
/// # Errors
/// A recording that cannot be replayed, or one whose decisions are not taken again.
pub(super) fn run(recording: &Path, json: bool) -> anyhow::Result<()> {
    let (mut looks, mut differ) = (0, 0);
    let mut first = None;
    for file in recording::files(OPTION, recording)? {
        for look in recording::read(OPTION, &file)?.looks {
            let first = first.get_or_insert_with(|| look.clone());
            show(&look, first, json)?;
            looks += 1;
            differ += usize::from(!look.is_same());
        }
    }
    if differ > 0 {
        anyhow::bail!("{differ} of {looks} decisions are not the recorded ones");
    }
    if !json {
        writeln!(std::io::stdout(), "{looks} looks, every decision as recorded")?;
    }
    Ok(())
}

fn show(look: &Replayed, first: &Replayed, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let Replayed { now, wall, decision, recorded } = look;
    let same = look.is_same();
    if json {
        let line =
            Look { now_nanos: now.as_nanos(), wall_unix_millis: *wall, decision, recorded: *recorded, same };
        serde_json::to_writer(&mut out, &line)?;
        writeln!(out)?;
        return Ok(());
    }
    if decision.changes() || !same {
        writeln!(out, "{:>10}  {decision}", when(look, first))?;
    }
    if !same {
        let Decided { replicas, bound, reason } = recorded;
        let (reason, bound) = (reason.as_str(), bound.as_str());
        writeln!(out, "{:>10}  recorded: {replicas} replicas, {reason}, bound by {bound}", "")?;
    }
    Ok(())
}
