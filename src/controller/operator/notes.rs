//! What the operator tells people about one object as Kubernetes Events: each reason once in ten minutes.
//!
//! Owns what is worth telling and when again; not when it may be written (that is `budget`) nor how (`api`). Bounded by
//! the closed set of subjects: what is not written yet is replaced by its newer text.

use std::time::Duration;

use tidegate_core::time::Timestamp;

use super::trouble;

/// An event of one reason is not repeated within this time.
const QUIET: Duration = Duration::from_mins(10);
/// Longest text that the API server takes, in bytes.
const TEXT_MAX: usize = 1024;
const SUBJECTS: usize = 2 + trouble::Kind::ALL.len();

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The target was given another number of replicas. Never kept back: these events are the history of the scaler.
    Scaled,
    /// A consumer ended by itself.
    ConsumerCrashed,
    /// The scaler cannot do its work.
    Trouble(trouble::Kind),
}

impl Subject {
    /// Returns the event's reason.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Scaled => "Scaled",
            Self::ConsumerCrashed => "ConsumerCrashed",
            Self::Trouble(kind) => kind.as_str(),
        }
    }

    /// Returns what the scaler was doing, as the API wants it said.
    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::Scaled => "Scale",
            Self::ConsumerCrashed | Self::Trouble(_) => "Observe",
        }
    }

    /// Returns whether somebody should look at it.
    pub(super) const fn is_warning(self) -> bool {
        !matches!(self, Self::Scaled)
    }

    fn index(self) -> usize {
        match self {
            Self::Scaled => 0,
            Self::ConsumerCrashed => 1,
            Self::Trouble(kind) => 2 + kind as usize,
        }
    }
}

/// One event that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) subject: Subject,
    pub(super) text: String,
}

/// The events of one object.
#[derive(Debug, Default)]
pub(super) struct Notes {
    told: [Option<Timestamp>; SUBJECTS],
    waiting: [Option<Note>; SUBJECTS],
}

impl Notes {
    /// Has `text` told, unless the same was told a short while ago.
    pub(super) fn tell(&mut self, subject: Subject, mut text: String, now: Timestamp) {
        let index = subject.index();
        let told_lately = self.told[index].is_some_and(|told| now.since(told) < QUIET);
        if told_lately && subject != Subject::Scaled {
            return;
        }
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        self.waiting[index] = Some(Note { subject, text });
    }

    /// Returns the next event to write, those of scaling first.
    pub(super) fn next(&self) -> Option<&Note> {
        self.waiting.iter().flatten().next()
    }

    /// Forgets what waits and is no longer so: trouble that passed before it could be told of is none.
    pub(super) fn only_trouble(&mut self, current: &[trouble::Kind]) {
        for waiting in &mut self.waiting {
            if let Some(Note { subject: Subject::Trouble(kind), .. }) = waiting
                && !current.contains(kind)
            {
                *waiting = None;
            }
        }
    }

    /// Takes in that `subject` was told.
    pub(super) fn written(&mut self, subject: Subject, now: Timestamp) {
        self.waiting[subject.index()] = None;
        self.told[subject.index()] = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: Subject = Subject::Trouble(trouble::Kind::TargetNotFound);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn tell(notes: &mut Notes, subject: Subject, text: &str, now: Timestamp) -> Vec<String> {
        notes.tell(subject, text.to_owned(), now);
        let mut told = Vec::new();
        while let Some(note) = notes.next().cloned() {
            notes.written(note.subject, now);
            told.push(note.text);
        }
        told
    }

    #[test]
    fn a_reason_is_told_once_in_ten_minutes_however_often_it_is_met() {
        let mut notes = Notes::default();
        assert_eq!(tell(&mut notes, GONE, "gone", at(0)), ["gone"]);
        assert!(tell(&mut notes, GONE, "still gone", at(599)).is_empty());
        assert_eq!(tell(&mut notes, Subject::ConsumerCrashed, "exit 1", at(599)), ["exit 1"]);
        assert_eq!(tell(&mut notes, GONE, "gone again", at(600)), ["gone again"]);
    }

    #[test]
    fn every_change_of_the_count_is_told() {
        let mut notes = Notes::default();
        for second in 0..5 {
            assert_eq!(tell(&mut notes, Subject::Scaled, "1 -> 2", at(second)), ["1 -> 2"]);
        }
    }

    #[test]
    fn what_waits_is_replaced_by_what_is_newer_and_trouble_that_passed_is_not_told() {
        let mut notes = Notes::default();
        notes.tell(GONE, "gone".to_owned(), at(0));
        notes.tell(Subject::Scaled, "1 -> 2".to_owned(), at(0));
        notes.tell(Subject::Scaled, "2 -> 4".to_owned(), at(1));
        notes.only_trouble(&[]);
        assert_eq!(notes.next().map(|note| note.text.as_str()), Some("2 -> 4"));
        notes.written(Subject::Scaled, at(2));
        assert_eq!(notes.next(), None);
    }

    #[test]
    fn a_text_is_cut_to_what_the_api_server_takes() {
        let mut notes = Notes::default();
        notes.tell(GONE, "ä".repeat(1000), at(0));
        assert_eq!(notes.next().map(|note| note.text.len()), Some(1024));
        notes.tell(GONE, format!("x{}", "ä".repeat(1000)), at(0));
        assert_eq!(notes.next().map(|note| note.text.len()), Some(1023), "never within a letter");
    }

    #[test]
    fn every_subject_has_a_place_of_its_own() {
        let mut places: Vec<_> =
            trouble::Kind::ALL.iter().map(|kind| Subject::Trouble(*kind).index()).collect();
        places.extend([Subject::Scaled.index(), Subject::ConsumerCrashed.index()]);
        places.sort_unstable();
        assert!(places.into_iter().eq(0..SUBJECTS));
    }
}
