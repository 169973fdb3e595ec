//! The shell around a [`Clerk`]: looks at the scaler's view, and writes status and events when the clerk says so.
//!
//! One task per object, apart from its scaler: an API server that hangs or refuses keeps nobody from scaling.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::time::{Clock, Timestamp, UnixMillis};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::api::{FailureKind, Regarding, ScalerApi};
use super::budget::Budget;
use super::clerk::{Act, Clerk};
use super::events::{Events, Write};
use super::notes::Note;
use super::status::{Case, patch, status};
use super::trouble::Trouble;
use crate::crd::IngestScalerStatus;
use crate::view::View;

/// A scaler that has just begun knows neither rates nor delays. What the object says stands until this look, so that a
/// restart does not make "met" to "unknown" and back.
const LOOKS_TO_SETTLE: u64 = 3;

/// What the clerk of an object is told about it.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub(super) generation: Option<i64>,
    /// The promised delay; `None` if the spec cannot be read.
    pub(super) slo: Option<Duration>,
    /// The view of its scaler, or why there is none.
    pub(super) standing: Standing,
}

/// Whether an object is worked on.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// A scaler runs.
    Running(watch::Receiver<View>),
    /// None does, because of this.
    Refused(Trouble),
    /// None does yet: the one before it on the same target has not ended.
    Waiting,
}

/// What all clerks share.
#[derive(Clone)]
pub(super) struct Office {
    pub(super) api: ScalerApi,
    pub(super) budget: Arc<Mutex<Budget>>,
    pub(super) events: Events,
    pub(super) clock: Clock,
    pub(super) wall: fn() -> UnixMillis,
}

impl Office {
    /// Keeps the books of `object` until `stop`.
    pub(super) async fn keep(
        self,
        object: Regarding,
        stored: Option<IngestScalerStatus>,
        sheets: watch::Receiver<Sheet>,
        stop: CancellationToken,
    ) {
        stop.run_until_cancelled(self.books(&object, stored, sheets)).await;
    }

    async fn books(
        &self,
        object: &Regarding,
        stored: Option<IngestScalerStatus>,
        mut sheets: watch::Receiver<Sheet>,
    ) {
        let mut clerk = Clerk::new(stored, (self.clock)());
        let mut sheet = sheets.borrow_and_update().clone();
        loop {
            let wanted = self.look(&mut clerk, &mut sheet);
            let now = (self.clock)();
            let act = {
                let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
                clerk.next(wanted.as_ref(), &mut budget, now)
            };
            match (act, wanted) {
                (Act::Status, Some(wanted)) => self.write(&mut clerk, object, wanted).await,
                (Act::Note(note), _) => self.tell(&mut clerk, object, note).await,
                (Act::Status, None) => {}
                (Act::Wait(until), _) => {
                    tokio::select! {
                        changed = sheets.changed() => {
                            if changed.is_err() {
                                return;
                            }
                            let next = sheets.borrow_and_update().clone();
                            if !next.same_scaler(&sheet) {
                                clerk.new_scaler();
                            }
                            sheet = next;
                        }
                        () = viewed(&mut sheet.standing) => {}
                        () = sleep(until.since(now)) => {}
                    }
                }
            }
        }
    }

    /// Lets the clerk see how things stand. Returns what the status should say; `None` while nothing is known.
    fn look(&self, clerk: &mut Clerk, sheet: &mut Sheet) -> Option<IngestScalerStatus> {
        let now: Timestamp = (self.clock)();
        let mut undecided = false;
        let (view, troubles) = match &mut sheet.standing {
            Standing::Waiting => return None,
            Standing::Refused(trouble) => (None, vec![trouble.clone()]),
            Standing::Running(view) => {
                let view = view.borrow_and_update().clone();
                let all = Trouble::of_view(&view);
                let troubles = clerk.lasting(all.clone(), now);
                if view.decision.is_none() && troubles.is_empty() {
                    return None;
                }
                // Neither "all is well" nor a trouble that may be gone in a moment.
                undecided = troubles.len() < all.len();
                let settling = view.changes == 0 && view.ticks < LOOKS_TO_SETTLE && troubles.is_empty();
                if settling && clerk.written().is_some() {
                    return None;
                }
                clerk.see(&view, now);
                (Some(view), troubles)
            }
        };
        clerk.troubled(&troubles, now);
        if undecided {
            return None;
        }
        Some(status(&Case {
            generation: sheet.generation,
            slo: sheet.slo,
            view: view.as_ref(),
            troubles: &troubles,
            previous: clerk.written(),
            now: (self.wall)(),
        }))
    }

    async fn write(&self, clerk: &mut Clerk, object: &Regarding, wanted: IngestScalerStatus) {
        let patch = patch(clerk.written(), &wanted);
        match self.api.patch_status(&object.name, patch).await {
            Ok(()) => {
                self.events.wrote(Write::Status);
                clerk.wrote_status(wanted, (self.clock)());
            }
            Err(failure) => {
                // Deleted a moment ago: the watch will tell.
                if failure.kind != FailureKind::NotFound {
                    self.events.write_failed(&object.name, Write::Status, &failure);
                }
                clerk.failed((self.clock)());
            }
        }
    }

    async fn tell(&self, clerk: &mut Clerk, object: &Regarding, note: Note) {
        match self.api.tell(object, &note, (self.wall)()).await {
            Ok(()) => {
                self.events.wrote(Write::Event);
                clerk.wrote_note(note.subject, (self.clock)());
            }
            Err(failure) => {
                self.events.write_failed(&object.name, Write::Event, &failure);
                clerk.failed((self.clock)());
            }
        }
    }
}

impl Sheet {
    fn same_scaler(&self, other: &Self) -> bool {
        match (&self.standing, &other.standing) {
            (Standing::Running(ours), Standing::Running(theirs)) => ours.same_channel(theirs),
            _ => false,
        }
    }
}

/// Waits for the scaler's next tick; for ever if there is no scaler.
async fn viewed(standing: &mut Standing) {
    if let Standing::Running(view) = standing
        && view.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
