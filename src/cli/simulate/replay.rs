//! `tidegate simulate --replay`: the decisions of a recording, taken again.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use tidegate_core::scaling::{Decided, Decision, Replayed};
use tidegate_simulator::replay;
use tidegate_simulator::report::span;

use crate::exit::Usage;

/// Longest recording: a controller keeps far less.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// One line of the JSON output.
#[derive(Serialize)]
struct Look<'a> {
    now_nanos: u64,
    decision: &'a Decision,
    recorded: Decided,
    same: bool,
}

/// Shows every change and every difference.
///
/// # Errors
/// A recording that cannot be replayed, or one whose decisions are not taken again.
pub(super) fn run(recording: &Path, json: bool) -> anyhow::Result<()> {
    let name = recording.display().to_string();
    let wrong = |allowed: String| Usage::new("--replay", &name, allowed);
    let size = std::fs::metadata(recording).map_or(0, |file| file.len());
    if size > MAX_FILE_BYTES {
        return Err(wrong("a file of at most 1 GiB".to_owned()).into());
    }
    let text = std::fs::read_to_string(recording)
        .map_err(|error| wrong(format!("a recording that can be read ({error})")))?;
    let replayed = replay(&text).map_err(|error| wrong(format!("the lines of a recording ({error})")))?;
    let mut out = std::io::stdout();
    let begin = replayed.first().map(|look| look.now).unwrap_or_default();
    for look in &replayed {
        let Replayed { now, decision, recorded } = look;
        if json {
            let same = look.is_same();
            serde_json::to_writer(
                &mut out,
                &Look { now_nanos: now.as_nanos(), decision, recorded: *recorded, same },
            )?;
            writeln!(out)?;
        } else if decision.changes() || !look.is_same() {
            writeln!(out, "{:>10}  {decision}", span(now.since(begin).as_secs_f64()))?;
        }
        if !look.is_same() && !json {
            let Decided { replicas, bound, reason } = recorded;
            writeln!(
                out,
                "{:>10}  recorded: {replicas} replicas, {}, bound by {}",
                "",
                reason.as_str(),
                bound.as_str()
            )?;
        }
    }
    let differ = replayed.iter().filter(|look| !look.is_same()).count();
    if differ > 0 {
        anyhow::bail!("{differ} of {} decisions are not the recorded ones", replayed.len());
    }
    if !json {
        writeln!(out, "{} looks, every decision as recorded", replayed.len())?;
    }
    Ok(())
}
