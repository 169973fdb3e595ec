//! What the controller keeps on its disk: a recording of every look and decision, and what was learned from them.
//!
//! Owns a folder with one folder for each scaler in it: a ring of files, each of which replays by itself, and what
//! outlives the process. One thread does all of it. A disk that is slow, full or gone costs records, which are counted and
//! told of once, and never a decision or the time of one. What a line says is `core::scaling`'s business.
//!
//! Nothing here is synced but what was learned: after a power cut the last seconds of a recording may be missing or torn.

mod events;
mod learned;
mod recorder;
mod ring;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tidegate_core::time::UnixMillis;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use self::events::Events;
pub(crate) use self::recorder::Recorder;
use self::writer::{Job, Writer};
use crate::config::Record;
use crate::metrics::Metrics;

/// Lines that may wait for the disk, of all scalers together. A line holds the offsets of a group (some 125 bytes a
/// partition), a beginning its whole memory (some 100 KiB and more): what waits are megabytes.
const QUEUE: usize = 64;
/// How long the end of the process waits for what is still to be written.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// The controller's records, if it keeps any. Clones share the thread, which ends with the last of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(Option<Arc<Desk>>);

#[derive(Debug)]
struct Desk {
    jobs: SyncSender<Job>,
    events: Events,
    wall: fn() -> UnixMillis,
}

impl Records {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives none.
    pub(crate) fn start(settings: &Record, metrics: &Metrics, wall: fn() -> UnixMillis) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(QUEUE);
        let events = Events::new(metrics.clone());
        let mut writer = Writer::new(settings, events.clone());
        let work = move || waiting.into_iter().for_each(|job| writer.work(job));
        std::thread::Builder::new().name("records".to_owned()).spawn(work)?;
        Ok(Self(Some(Arc::new(Desk { jobs, events, wall }))))
    }

    /// Returns what keeps the records of one scaler.
    pub(crate) fn of_scaler(&self, name: &str) -> Recorder {
        Recorder::new(self.0.clone(), name)
    }

    /// Waits until everything is written that was handed over, for two seconds at most.
    pub(crate) async fn finish(&self) {
        let Some(desk) = &self.0 else { return };
        let (done, all_done) = oneshot::channel();
        let all = async {
            let mut job = Job::Tell(done);
            while let Err(TrySendError::Full(back)) = desk.jobs.try_send(job) {
                job = back;
                sleep(Duration::from_millis(10)).await;
            }
            // An error is a thread that has ended.
            let _ = all_done.await;
        };
        if timeout(FINISH_MAX, all).await.is_err() {
            Events::unfinished();
        }
    }
}
