//! The records of one scaler, as its loop hands them over: never waiting for the disk, but once before the first look.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::mpsc::TrySendError;
use std::time::Duration;

use tidegate_core::scaling::{
    Clocks, Decided, Decision, History, Line, Observation, Policy, RECORDING_VERSION,
};
use tidegate_core::time::Timestamp;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Desk;
use super::events::{Events, What};
use super::learned::Kept;
use super::writer::{Job, Looks};
use crate::scaler::GroupSettings;

/// How often what was learned is written, and at the end: a restart may forget so much. It is some 100 KiB, synced.
const KEEP_EVERY: Duration = Duration::from_mins(10);
/// How long the first look waits for what was learned before.
const RESUME_MAX: Duration = Duration::from_secs(2);
/// Looks that must be written in a row before a disk that lost some is said to be well: one that is only just too slow is
/// told of once, and not at every second look.
const WELL_AFTER: u32 = 60;
/// Longest name of a scaler's folder, with room for a suffix within the 255 bytes of a file name.
const FOLDER_CHARS: usize = 200;

/// What the thread and a recorder know of one another. Two recorders of one name, of which the first is ending, have
/// one each.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) scaler: String,
    /// Name of the scaler's folder.
    pub(super) folder: String,
    wants: AtomicU8,
    /// Looks to be written in a row before all is well again; 0 while it is.
    to_be_well: AtomicU32,
}

/// What the thread can use next.
const A_BEGINNING: u8 = 0;
const LOOKS: u8 = 1;
const NOTHING: u8 = 2;

impl Place {
    pub(super) fn new(scaler: &str) -> Self {
        Self {
            scaler: scaler.to_owned(),
            folder: folder(scaler),
            wants: AtomicU8::new(A_BEGINNING),
            to_be_well: AtomicU32::new(0),
        }
    }

    /// Says that the next look should come with a beginning, or need not.
    pub(super) fn want_beginning(&self, wanted: bool) {
        let next = if wanted { A_BEGINNING } else { LOOKS };
        // Where nothing is wanted any more it stays so, and both outcomes are fine.
        let _ = self
            .wants
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now != NOTHING).then_some(next));
    }

    /// Takes in that something was lost, and returns whether that is news.
    pub(super) fn loses(&self) -> bool {
        self.to_be_well.swap(WELL_AFTER, Ordering::Relaxed) == 0
    }

    /// Takes in that a look was written, and returns whether all is well again.
    pub(super) fn goes_well(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.to_be_well.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) == Ok(1)
    }

    /// Says that nothing more is of use.
    pub(super) fn want_nothing(&self) {
        self.wants.store(NOTHING, Ordering::Relaxed);
    }
}

/// Records what one scaler sees, decides and learns; or nothing, if nothing is to be recorded.
#[derive(Debug)]
pub(crate) struct Recorder(Option<Book>);

#[derive(Debug)]
struct Book {
    desk: Arc<Desk>,
    place: Arc<Place>,
    /// Policy of the last beginning.
    policy: Option<Policy>,
    /// Goes with the next look.
    begin: Option<Line>,
    kept_at: Option<Timestamp>,
    /// Whether the disk did not tell what was learned before: a few looks must not take its place.
    unread: bool,
}

impl Recorder {
    pub(super) fn new(desk: Option<Arc<Desk>>, scaler: &str) -> Self {
        Self(desk.map(|desk| Book {
            desk,
            place: Arc::new(Place::new(scaler)),
            policy: None,
            begin: None,
            kept_at: None,
            unread: false,
        }))
    }

    /// Returns the memory that a scaler of `settings` begins with: what an earlier one learned, as far as there is such
    /// a thing and the disk tells of it within two seconds.
    pub(crate) async fn resume(&mut self, settings: &GroupSettings, now: Timestamp) -> Option<History> {
        let book = self.0.as_mut()?;
        let (reply, answer) = oneshot::channel();
        let job = Job::Read { place: Arc::clone(&book.place), reply };
        let asked = match book.desk.jobs.try_send(job) {
            Ok(()) => timeout(RESUME_MAX, answer).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        let scaler = &book.place.scaler;
        let Some(kept) = asked else {
            book.unread = true;
            Events::not_resumed(scaler, "the disk does not answer in time");
            return None;
        };
        let kept = kept?;
        match kept.and_then(|kept| kept.resume(settings, now, (book.desk.wall)())) {
            Ok((history, age)) => {
                Events::resumed(scaler, age);
                Some(history)
            }
            Err(why) => {
                Events::not_resumed(scaler, &why);
                None
            }
        }
    }

    /// Gets ready for a look at `now`: call it before `history` takes it in.
    pub(crate) fn before(&mut self, policy: &Policy, history: &History, now: Timestamp) {
        let Some(book) = &mut self.0 else { return };
        let wanted = book.place.wants.load(Ordering::Relaxed);
        let changed = book.policy.as_ref() != Some(policy);
        if wanted == NOTHING || (wanted == LOOKS && !changed) {
            return;
        }
        book.policy = Some(policy.clone());
        book.begin = Some(Line::Begin {
            version: RECORDING_VERSION,
            policy: Box::new(policy.clone()),
            history: Box::new(history.clone()),
            clocks: Some(Clocks { now, wall: (book.desk.wall)() }),
        });
    }

    /// Records a look and what came of it.
    pub(crate) fn look(&mut self, seen: Observation, decision: &Decision, stands: bool, now: Timestamp) {
        let Some(book) = &mut self.0 else { return };
        let begin = book.begin.take();
        if book.place.wants.load(Ordering::Relaxed) == NOTHING {
            return;
        }
        let look = Line::Look { now, seen: Box::new(seen), decided: Decided::from(decision), stands };
        if begin.is_some() {
            // Unless it is heard of otherwise, what follows can be read.
            book.place.want_beginning(false);
        }
        let looks = Looks { place: Arc::clone(&book.place), begin, look };
        book.hand_over(Job::Looks(Box::new(looks)), What::Look);
    }

    /// Keeps what was learned, if that was not done lately.
    pub(crate) fn learned(&mut self, settings: &GroupSettings, history: &History, now: Timestamp) {
        let Some(book) = &mut self.0 else { return };
        let since = *book.kept_at.get_or_insert(now);
        if now.since(since) >= KEEP_EVERY {
            book.unread = false;
            book.kept_at = Some(now);
            book.keep(settings, history, now);
        }
    }

    /// Keeps what was learned until the end, if there was anything to learn from.
    pub(crate) fn end(&mut self, settings: &GroupSettings, history: &History, now: Timestamp) {
        let Some(book) = &mut self.0 else { return };
        if book.kept_at.is_some() && !book.unread {
            book.keep(settings, history, now);
        }
    }
}

impl Book {
    fn keep(&self, settings: &GroupSettings, history: &History, now: Timestamp) {
        let kept = Box::new(Kept::new(settings, history, now, (self.desk.wall)()));
        self.hand_over(Job::Learned { place: Arc::clone(&self.place), kept }, What::Learned);
    }

    fn hand_over(&self, job: Job, what: What) {
        let lost = self.desk.jobs.try_send(job);
        if lost.is_err() && what == What::Look {
            // What comes after a gap can only be read with a memory of its own.
            self.place.want_beginning(true);
        }
        match lost {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.desk.events.behind(&self.place, what),
            Err(TrySendError::Disconnected(_)) => {
                self.desk.events.failed(&self.place, what, "its thread has ended");
            }
        }
    }
}

/// Returns a scaler's name as that of a folder. Letters, digits, `-`, `_` and `.` stay as they are; other bytes, and a `.`
/// at the beginning, are written as `%` and two digits. What is too long ends in a checksum of the whole.
fn folder(scaler: &str) -> String {
    let mut name = String::new();
    for byte in scaler.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && !name.is_empty());
        if plain {
            name.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.len() > FOLDER_CHARS {
        name.truncate(FOLDER_CHARS);
        let _ = write!(name, "~{:08x}", crc32c::crc32c(scaler.as_bytes()));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_news_until_sixty_looks_in_a_row_went_well() {
        let place = Place::new("g");
        assert!(!place.goes_well() && place.loses() && !place.loses());
        assert!((1..WELL_AFTER).all(|_| !place.goes_well()));
        assert!(!place.loses());
        assert!((1..WELL_AFTER).all(|_| !place.goes_well()) && place.goes_well() && !place.goes_well());
        assert!(place.loses());
    }

    #[test]
    fn a_scalers_name_is_a_folder_below_ours_and_nothing_else() {
        assert_eq!(folder("telemetry-1_a.b"), "telemetry-1_a.b");
        assert_eq!(folder("../a/b"), "%2E.%2Fa%2Fb");
        assert_eq!(folder(".."), "%2E.");
        assert_eq!(folder("ä b"), "%C3%A4%20b");
        let [one, other] = ["x".repeat(300) + "1", "x".repeat(300) + "2"].map(|name| folder(&name));
        assert!(one != other && one.len() < 255);
    }
}
