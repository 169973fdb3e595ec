//! What the thread does: turns records into text and puts it on the disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::scaling::Line;
use tokio::sync::oneshot;

use super::events::{Events, What};
use super::learned::Kept;
use super::recorder::Place;
use super::ring::{Ring, RingError};
use crate::config::Record;

/// Name of the file of what was learned, beside the parts of the recording.
const LEARNED: &str = "learned.json";
/// Longest such file that is read: it is some 100 KiB.
const LEARNED_MAX: u64 = 4 << 20;

/// Something to do for a scaler.
pub(super) enum Job {
    /// Write a look.
    Looks(Box<Looks>),
    /// Write what was learned.
    Learned { place: Arc<Place>, kept: Box<Kept> },
    /// Read what an earlier scaler of that name learned: nothing, or why it cannot be used.
    Read { place: Arc<Place>, reply: oneshot::Sender<Option<Result<Kept, String>>> },
    /// Say that everything before was done.
    Tell(oneshot::Sender<()>),
}

/// A look, and what it begins with if it can be read without what came before.
pub(super) struct Looks {
    pub(super) place: Arc<Place>,
    pub(super) begin: Option<Line>,
    pub(super) look: Line,
}

/// Writes the records of all scalers.
pub(super) struct Writer {
    folder: PathBuf,
    max_bytes: u64,
    events: Events,
    /// By folder: as many as there are scalers.
    rings: BTreeMap<String, Used>,
}

struct Used {
    ring: Ring,
    /// Whose looks go on from what was written last.
    by: Option<Arc<Place>>,
}

impl Writer {
    pub(super) fn new(settings: &Record, events: Events) -> Self {
        let Record { dir, max_bytes } = settings.clone();
        Self { folder: dir, max_bytes, events, rings: BTreeMap::new() }
    }

    pub(super) fn work(&mut self, job: Job) {
        match job {
            Job::Looks(looks) => self.looks(*looks),
            Job::Learned { place, kept } => self.learned(&place, &kept),
            Job::Read { place, reply } => {
                // Nobody may be waiting any more.
                let _ = reply.send(self.read(&place));
            }
            Job::Tell(done) => {
                let _ = done.send(());
            }
        }
    }

    fn looks(&mut self, looks: Looks) {
        let Looks { place, begin, look } = looks;
        let begins = begin.is_some();
        if begins && !self.rings.contains_key(&place.folder) {
            // A scaler that is gone holds its place no more.
            self.rings.retain(|_, used| used.by.as_ref().is_some_and(|place| Arc::strong_count(place) > 1));
        }
        let used = self.rings.entry(place.folder.clone()).or_insert_with(|| Used {
            ring: Ring::new(self.folder.join(&place.folder), self.max_bytes),
            by: None,
        });
        if !begins && !used.by.as_ref().is_some_and(|by| Arc::ptr_eq(by, &place)) {
            self.events.left_out();
            place.want_beginning(true);
            return;
        }
        let text: String = begin.iter().chain([&look]).map(written).collect();
        used.by = None;
        match used.ring.append(begins, &text) {
            Ok(full) => {
                if full {
                    place.want_beginning(true);
                }
                self.events.written(&place, What::Look);
                used.by = Some(place);
            }
            Err(RingError::TooLarge { bytes, most }) => {
                place.want_nothing();
                self.events.too_large(&place.scaler, bytes, most);
            }
            Err(RingError::Disk(problem)) => {
                place.want_beginning(true);
                self.events.failed(&place, What::Look, &problem.to_string());
            }
        }
    }

    fn learned(&self, place: &Place, kept: &Kept) {
        match replace(&self.folder.join(&place.folder), &kept.written()) {
            Ok(()) => self.events.written(place, What::Learned),
            Err(problem) => self.events.failed(place, What::Learned, &problem.to_string()),
        }
    }

    fn read(&self, place: &Place) -> Option<Result<Kept, String>> {
        let path = self.folder.join(&place.folder).join(LEARNED);
        let said = |why: String| format!("{}: {why}", path.display());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return None,
            Err(problem) => return Some(Err(said(problem.to_string()))),
        };
        let mut bytes = Vec::new();
        let read = file.take(LEARNED_MAX).read_to_end(&mut bytes).map_err(|problem| problem.to_string());
        Some(read.and_then(|_| Kept::read(&bytes)).map_err(said))
    }
}

/// Replaces what was learned in `folder`: there is the old file or the new one, also after a power cut.
fn replace(folder: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!("{LEARNED}.new"));
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(&new, folder.join(LEARNED))
}

/// Returns a line with its end.
fn written(line: &Line) -> String {
    serde_json::to_string(line).expect("a line holds nothing that JSON has not") + "\n"
}
