//! Keeps the books of one object: what its status says, what was told as an event, and what is to be written next.
//!
//! Owns the order of writes as a value: [`Clerk::next`] answers what to do now, and the shell (`office`) does it. It
//! knows neither the API server nor a clock. Of everything that waits only the latest is kept.

use std::time::Duration;

use tidegate_core::time::Timestamp;

use super::budget::Budget;
use super::notes::{Note, Notes, Subject};
use super::status::{Worth, worth_writing};
use super::trouble::{Kind, Trouble};
use crate::crd::IngestScalerStatus;
use crate::view::View;

/// First pause after a write that failed; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after failures: an API server that is back is noticed within a minute.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// When a heartbeat is tried again that others had no room for.
const HEARTBEAT_AGAIN: Duration = Duration::from_secs(10);

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Write the status.
    Status,
    /// Write this event.
    Note(Note),
    /// Nothing before then, unless something changes.
    Wait(Timestamp),
}

/// The books of one object.
#[derive(Debug)]
pub(super) struct Clerk {
    /// The status as the API server has it.
    written: Option<IngestScalerStatus>,
    written_at: Timestamp,
    notes: Notes,
    /// A reserved write, not made yet.
    turn: Option<Timestamp>,
    /// The scaler wrote to its target: one status and one event more.
    status_free: bool,
    note_free: bool,
    /// After failures.
    not_before: Timestamp,
    failures: u32,
    /// Changes of the count that were seen.
    changes: u64,
    /// Consumers that ended by themselves, as far as that was seen.
    crashes: u64,
    /// Since when each kind of trouble lasts.
    since: [Option<Timestamp>; Kind::ALL.len()],
}

impl Clerk {
    /// Starts with the status `stored` in the object: after a restart nothing is written that is there already, and the
    /// trouble that it tells of was told as an event too.
    pub(super) fn new(stored: Option<IngestScalerStatus>, now: Timestamp) -> Self {
        let mut notes = Notes::default();
        for condition in stored.iter().flat_map(|stored| &stored.conditions) {
            if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == condition.reason) {
                notes.written(Subject::Trouble(kind), now);
            }
        }
        Self {
            written: stored,
            written_at: now,
            notes,
            turn: None,
            status_free: false,
            note_free: false,
            not_before: now,
            failures: 0,
            changes: 0,
            crashes: 0,
            since: [None; Kind::ALL.len()],
        }
    }

    /// Returns the status that the API server has.
    pub(super) fn written(&self) -> Option<&IngestScalerStatus> {
        self.written.as_ref()
    }

    /// A scaler was made: it counts from zero.
    pub(super) fn new_scaler(&mut self) {
        self.changes = 0;
        self.crashes = 0;
    }

    /// Takes in what the scaler did since the last look.
    pub(super) fn see(&mut self, view: &View, now: Timestamp) {
        if view.changes > self.changes {
            self.changes = view.changes;
            self.status_free = true;
            self.note_free = true;
            let sentence = view.last_change.clone().unwrap_or_else(|| view.sentence.clone());
            self.notes.tell(Subject::Scaled, sentence, now);
        }
        if view.crashes > self.crashes {
            self.crashes = view.crashes;
            let what = view.last_crash.as_deref().unwrap_or("a consumer ended by itself");
            let text =
                format!("{what}: see its log (kubectl logs --previous); it is started again by itself");
            self.notes.tell(Subject::ConsumerCrashed, text, now);
        }
    }

    /// Returns what of `troubles`, which is all that is wrong now, has lasted long enough to tell of.
    pub(super) fn lasting(&mut self, troubles: Vec<Trouble>, now: Timestamp) -> Vec<Trouble> {
        for (kind, since) in Kind::ALL.into_iter().zip(&mut self.since) {
            let here = troubles.iter().any(|trouble| trouble.kind == kind);
            *since = here.then(|| since.unwrap_or(now));
        }
        let lasts =
            |kind: Kind| self.since[kind as usize].is_some_and(|since| now.since(since) >= kind.patience());
        troubles.into_iter().filter(|trouble| lasts(trouble.kind)).collect()
    }

    /// Takes in what is wrong now.
    pub(super) fn troubled(&mut self, troubles: &[Trouble], now: Timestamp) {
        let kinds: Vec<_> = troubles.iter().map(|trouble| trouble.kind).collect();
        self.notes.only_trouble(&kinds);
        for trouble in troubles {
            self.notes.tell(Subject::Trouble(trouble.kind), trouble.sentence(), now);
        }
    }

    /// Returns what to do now, if the status should say `wanted`; `None` as long as nothing is known.
    pub(super) fn next(
        &mut self,
        wanted: Option<&IngestScalerStatus>,
        budget: &mut Budget,
        now: Timestamp,
    ) -> Act {
        if now < self.not_before {
            return Act::Wait(self.not_before);
        }
        let worth =
            wanted.map_or(Worth::No, |new| worth_writing(self.written.as_ref(), new, self.written_at, now));
        let note = self.notes.next();
        if worth == Worth::Yes && self.status_free {
            return Act::Status;
        }
        if let Some(note) = note
            && note.subject == Subject::Scaled
            && self.note_free
        {
            return Act::Note(note.clone());
        }
        if worth == Worth::Yes || note.is_some() {
            let turn = *self.turn.get_or_insert_with(|| budget.reserve(now));
            if turn > now {
                return Act::Wait(turn);
            }
            self.turn = None;
            return match note {
                Some(note) if worth != Worth::Yes => Act::Note(note.clone()),
                _ => Act::Status,
            };
        }
        match worth {
            Worth::Heartbeat if budget.try_take(now) => Act::Status,
            Worth::Heartbeat => Act::Wait(now + HEARTBEAT_AGAIN),
            _ => Act::Wait((self.written_at + super::status::HEARTBEAT).max(now + HEARTBEAT_AGAIN)),
        }
    }

    /// The API server took this status.
    pub(super) fn wrote_status(&mut self, status: IngestScalerStatus, now: Timestamp) {
        self.written = Some(status);
        self.written_at = now;
        self.status_free = false;
        self.failures = 0;
    }

    /// The API server took the event about `subject`.
    pub(super) fn wrote_note(&mut self, subject: Subject, now: Timestamp) {
        if subject == Subject::Scaled {
            self.note_free = false;
        }
        self.notes.written(subject, now);
        self.failures = 0;
    }

    /// The API server took nothing; the same is tried again after a pause, or what is newer by then.
    pub(super) fn failed(&mut self, now: Timestamp) {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(6)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause;
    }
}

#[cfg(test)]
mod tests;
