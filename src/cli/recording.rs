//! A recording on the disk: one file, or the folder of a scaler with the parts of its ring.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tidegate_core::scaling::Replayed;
use tidegate_core::time::UnixMillis;
use tidegate_simulator::report::span;
use tidegate_simulator::{Recording, replay};

use crate::exit::Usage;

/// Longest file of a recording: a controller's are far shorter.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// How the files of a recording end.
const SUFFIX: &str = "jsonl";

/// Returns the files of the recording at `path`, in order. `option` is what named it.
///
/// # Errors
/// A folder without any, as an option that cannot be used.
pub(crate) fn files(option: &str, path: &Path) -> Result<Vec<PathBuf>, Usage> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let wrong =
        |why: &str| Usage::new(option, path.display(), format!("a recording, or a folder with one{why}"));
    let entries = std::fs::read_dir(path).map_err(|error| wrong(&format!(" ({error})")))?;
    let is_part = |path: &PathBuf| path.extension().is_some_and(|suffix| suffix == SUFFIX);
    let mut files: Vec<_> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_part).collect();
    if files.is_empty() {
        return Err(wrong(&format!(": there is no .{SUFFIX} in it")));
    }
    files.sort();
    Ok(files)
}

/// Takes the decisions of a file again. A torn last line is told of.
///
/// # Errors
/// A file that is no recording, as an option that cannot be used.
pub(crate) fn read(option: &str, file: &Path) -> Result<Recording, Usage> {
    let wrong = |allowed: String| Usage::new(option, file.display(), allowed);
    if std::fs::metadata(file).is_ok_and(|file| file.len() > MAX_FILE_BYTES) {
        return Err(wrong("a file of at most 1 GiB".to_owned()));
    }
    let bytes =
        std::fs::read(file).map_err(|error| wrong(format!("a recording that can be read ({error})")))?;
    let recording = replay(&bytes).map_err(|error| wrong(format!("the lines of a recording ({error})")))?;
    if recording.torn {
        // If nobody reads it, the rest is worth as much.
        let _ = writeln!(io::stderr(), "{}: the last line is torn, and left out", file.display());
    }
    Ok(recording)
}

/// Returns when a look was: by the wall clock, or else since `first`.
pub(crate) fn when(look: &Replayed, first: &Replayed) -> String {
    match look.wall {
        Some(wall) => time_of_day(wall),
        None => span(since(look, first).as_secs_f64()),
    }
}

/// Returns the time from the look `first` to `look`. Looks of two processes have only the wall clock in common.
pub(crate) fn since(look: &Replayed, first: &Replayed) -> Duration {
    match look.wall.zip(first.wall) {
        Some((then, begin)) => Duration::from_millis(u64::try_from(then.0 - begin.0).unwrap_or(0)),
        None => look.now.since(first.now),
    }
}

/// Returns a time of the wall clock as people write it.
pub(crate) fn time_of_day(wall: UnixMillis) -> String {
    let since_1970 = Duration::from_millis(u64::try_from(wall.0).unwrap_or(0));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_1970).to_string()
}
