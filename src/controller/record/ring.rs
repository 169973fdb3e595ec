//! The files of one recording: parts in a row, of which the oldest go.
//!
//! Owns names, sizes and which part is written to. What stands in them is the caller's, who says which text begins by
//! itself: a part starts with such a one, so that every part can be read without those before it. A part of an earlier
//! process is never written to again: its last line may be torn.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Parts of a full ring: with the oldest goes a quarter of what is kept.
const PARTS: u64 = 4;
/// Beginnings that must fit a part: with fewer, a ring would hold little else, and write it all day.
const BEGINNINGS: u64 = 2;
/// How names of parts begin and end; between them stands a number that grows, in digits enough to sort by name.
const PREFIX: &str = "part-";
const SUFFIX: &str = ".jsonl";

/// Why a text was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum RingError {
    /// It is a beginning that would leave no room for anything else.
    #[error("a beginning of {bytes} bytes: allowed are {most}")]
    TooLarge { bytes: u64, most: u64 },
    /// The disk.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// A ring of files in one folder.
#[derive(Debug)]
pub(super) struct Ring {
    folder: PathBuf,
    max_bytes: u64,
    /// Oldest first; `None` before the folder was looked into.
    parts: Option<VecDeque<Part>>,
    /// Whether the newest part is ours and whole.
    open: bool,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    number: u64,
    bytes: u64,
}

impl Ring {
    /// Touches nothing yet.
    pub(super) fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Self { folder, max_bytes, parts: None, open: false }
    }

    /// Appends `text`, whole lines; `begins` says that it can be read without what came before. Returns whether another like
    /// it would not fit the part: then the next should be one that begins, and starts a new part.
    ///
    /// # Errors
    /// If it was not written. What of it is on the disk is taken back, or ends its part.
    pub(super) fn append(&mut self, begins: bool, text: &str) -> Result<bool, RingError> {
        let part_max = self.max_bytes / PARTS;
        let bytes = text.len() as u64;
        let most = part_max / BEGINNINGS;
        if begins && bytes > most {
            return Err(RingError::TooLarge { bytes, most });
        }
        let mut parts = match self.parts.take() {
            Some(parts) => parts,
            None => look_into(&self.folder)?,
        };
        let written = self.append_to(&mut parts, begins, text, part_max);
        // If a part could not be started, somebody may have changed the folder: it is looked into anew.
        self.parts = Some(parts).filter(|_| self.open);
        Ok(written?)
    }

    fn append_to(
        &mut self,
        parts: &mut VecDeque<Part>,
        begins: bool,
        text: &str,
        part_max: u64,
    ) -> io::Result<bool> {
        let bytes = text.len() as u64;
        let fits = parts.back().is_some_and(|part| part.bytes + bytes <= part_max);
        if begins && !(fits && self.open) {
            self.open = false;
            self.make_room(parts, part_max)?;
            parts.push_back(self.start_part(parts.back().map_or(1, |part| part.number + 1))?);
            self.open = true;
        }
        let Some(part) = parts.back_mut().filter(|_| self.open) else {
            return Err(io::Error::other("a part has to begin first"));
        };
        // Not kept open: a scaler writes every few seconds, and there may be thousands.
        let mut file = match OpenOptions::new().append(true).open(self.path(part.number)) {
            Ok(file) => file,
            Err(gone) => {
                self.open = false;
                return Err(gone);
            }
        };
        if let Err(problem) = file.write_all(text.as_bytes()) {
            self.open = file.set_len(part.bytes).is_ok();
            return Err(problem);
        }
        part.bytes += bytes;
        Ok(part.bytes + bytes > part_max)
    }

    /// Removes the oldest parts until one more fits.
    fn make_room(&self, parts: &mut VecDeque<Part>, part_max: u64) -> io::Result<()> {
        while let Some(oldest) = parts.front()
            && parts.iter().map(|part| part.bytes).sum::<u64>() + part_max > self.max_bytes
        {
            match fs::remove_file(self.path(oldest.number)) {
                Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(problem),
                _ => parts.pop_front(),
            };
        }
        Ok(())
    }

    fn start_part(&self, number: u64) -> io::Result<Part> {
        fs::create_dir_all(&self.folder)?;
        File::create_new(self.path(number))?;
        Ok(Part { number, bytes: 0 })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{PREFIX}{number:010}{SUFFIX}"))
    }
}

/// Returns the parts that there are.
fn look_into(folder: &Path) -> io::Result<VecDeque<Part>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        Err(problem) => return Err(problem),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok());
        if let Some(number) = number {
            parts.push(Part { number, bytes: entry.metadata()?.len() });
        }
    }
    parts.sort_unstable_by_key(|part| part.number);
    Ok(parts.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    /// 64 bytes with the line's end.
    fn line(name: char) -> String {
        name.to_string().repeat(63) + "\n"
    }

    fn parts(folder: &TempDir) -> Vec<(String, String)> {
        let mut parts: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let first = |text: String| text.chars().step_by(64).collect();
                (entry.file_name().into_string().unwrap(), first(fs::read_to_string(entry.path()).unwrap()))
            })
            .collect();
        parts.sort();
        parts
    }

    fn contents(folder: &TempDir) -> Vec<String> {
        parts(folder).into_iter().map(|(_, text)| text).collect()
    }

    /// A ring of four parts of 128 bytes: two lines.
    fn ring(folder: &TempDir) -> Ring {
        Ring::new(folder.path().to_owned(), 512)
    }

    #[test]
    fn parts_begin_with_what_begins_and_the_oldest_go() {
        let folder = TempDir::new().unwrap();
        let mut ring = ring(&folder);
        let mut begins = true;
        for name in 'a'..='k' {
            begins = ring.append(begins, &line(name)).unwrap();
        }
        assert_eq!(contents(&folder), ["ef", "gh", "ij", "k"]);
        let bytes: u64 =
            fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 512, "{bytes}");
        // A beginning that comes early, for another policy, goes on in its part.
        assert!(ring.append(true, &line('L')).unwrap());
        assert_eq!(contents(&folder).last().unwrap(), "kL");
    }

    #[test]
    fn another_process_starts_a_part_of_its_own_and_keeps_the_bound() {
        let folder = TempDir::new().unwrap();
        let mut before = ring(&folder);
        let mut begins = true;
        for name in 'a'..='g' {
            begins = before.append(begins, &line(name)).unwrap();
        }
        fs::write(folder.path().join("learned.json"), "").unwrap();
        assert!(!ring(&folder).append(true, &line('X')).unwrap());
        assert_eq!(contents(&folder), ["", "cd", "ef", "g", "X"]);
        assert!(ring(&folder).append(false, &line('Y')).is_err(), "it would not be read without a beginning");
    }

    #[test]
    fn a_beginning_that_leaves_no_room_is_refused() {
        let folder = TempDir::new().unwrap();
        let refused = ring(&folder).append(true, &(line('a') + &line('b'))).unwrap_err();
        assert!(matches!(refused, RingError::TooLarge { bytes: 128, most: 64 }), "{refused}");
        assert!(contents(&folder).is_empty());
    }

    #[test]
    fn a_folder_that_goes_or_cannot_be_written_ends_the_part_and_the_next_beginning_starts_one() {
        let folder = TempDir::new().unwrap();
        let inner = folder.path().join("inner");
        let mut ring = Ring::new(inner.clone(), 512);
        ring.append(true, &line('a')).unwrap();
        fs::remove_dir_all(&inner).unwrap();
        assert!(ring.append(false, &line('b')).is_err());
        ring.append(true, &line('c')).unwrap();
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o500)).unwrap();
        ring.append(false, &line('d')).unwrap();
        let refused = ring.append(true, &line('e'));
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
        // The superuser writes everywhere.
        if refused.is_err() {
            ring.append(true, &line('f')).unwrap();
        }
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 2);
    }

    #[test]
    fn a_full_disk_takes_back_what_it_did_not_take_whole() {
        // Nothing can be written to a device that is always full, and nothing of it cut off.
        let folder = TempDir::new().unwrap();
        let mut ring = ring(&folder);
        ring.append(true, &line('a')).unwrap();
        let part = folder.path().join("part-0000000001.jsonl");
        fs::remove_file(&part).unwrap();
        std::os::unix::fs::symlink("/dev/full", &part).unwrap();
        let full = ring.append(false, &line('b')).unwrap_err();
        assert!(
            matches!(&full, RingError::Disk(problem) if problem.kind() == io::ErrorKind::StorageFull),
            "{full}"
        );
        fs::remove_file(&part).unwrap();
        ring.append(true, &line('c')).unwrap();
        assert_eq!(contents(&folder), ["c"]);
    }
}
