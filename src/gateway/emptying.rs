//! The drain before a gateway is taken away for good, and of a spool that one has left behind: it takes nothing in, and
//! stays until Kafka has all that it has.
//!
//! Owns that it was asked for and how far the workers have come with it. A stop does not wait for Kafka, since the next start
//! goes on; this is for when there is none. Nothing comes in, so what is left only falls; a signal ends it at any time,
//! and then the spool has the rest. A restart has forgotten it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use tidegate_core::time::Timestamp;
use tidegate_runtime::admin::Readiness;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::spool::Store;
use crate::stats::Counters;

/// How often to look whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often to say what is left.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Emptying {
    asked: CancellationToken,
    /// Workers that have no connection and nothing in memory, and so never will again.
    empty_workers: AtomicUsize,
    /// The gateway is there for nothing else.
    of_left_over: Option<Wait>,
}

/// How long a gateway that empties a left-over spool waits for a Kafka that takes nothing; none: for ever.
pub(crate) type Wait = Option<Duration>;

/// What a gateway still has to bring to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    /// Records in memory that neither Kafka nor the disk has, a second ago.
    queued_records: u64,
    /// Routes with records on the disk that Kafka does not have.
    backlog_routes: usize,
    /// About how many these are.
    backlog_records: u64,
    backlog_bytes: u64,
}

impl Emptying {
    /// Returns one that has begun, of a gateway that is there for nothing else.
    pub(crate) fn of_left_over(wait: Wait) -> Self {
        let emptying = Self { of_left_over: Some(wait), ..Self::default() };
        emptying.begin();
        emptying
    }

    /// Begins it; asked again it goes on.
    pub(crate) fn begin(&self) {
        self.asked.cancel();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    pub(crate) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// A worker has no connection and nothing in memory, and takes in nothing any more.
    pub(crate) fn worker_is_empty(&self) {
        self.empty_workers.fetch_add(1, Ordering::Release);
    }
}

impl Left {
    pub(crate) fn of(store: &Store, classes: usize, workers: &[Arc<Counters>]) -> Self {
        let backlog = || Store::lanes(classes).flat_map(|lane| store.backlog(lane));
        Self {
            queued_records: workers.iter().map(|counters| counters.queued_records.get()).sum(),
            backlog_routes: backlog().count(),
            backlog_records: backlog().map(|backlog| backlog.records).sum(),
            backlog_bytes: backlog().map(|backlog| backlog.bytes).sum(),
        }
    }
}

/// How far it has come with Kafka, and when that last moved.
struct Progress {
    delivered: u64,
    since: Timestamp,
}

/// Stops the gateway once a drain was asked for and is done. Ends with the gateway only.
pub(crate) async fn watch(shared: Arc<Shared>, readiness: Readiness, workers: Vec<Arc<Counters>>) {
    shared.emptying.asked().await;
    if shared.emptying.of_left_over.is_none() {
        tracing::info!(
            "asked to drain: nobody is let in any more, and the gateway ends once kafka has everything"
        );
        readiness.set("listener", Err("draining".to_owned()));
    }
    wait_until_done(&shared, &workers).await;
    shared.stop.cancel();
    std::future::pending::<()>().await;
}

/// Waits until nothing is left, or Kafka has taken nothing for too long.
async fn wait_until_done(shared: &Shared, workers: &[Arc<Counters>]) {
    let begun = (shared.clock)();
    let mut progress = Progress { delivered: 0, since: begun };
    let mut said = begun;
    loop {
        if is_done(shared) {
            tracing::info!("drained: nothing is left to bring to kafka");
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let now = (shared.clock)();
        let delivered = shared.delivery.stats(now).delivered;
        if delivered != progress.delivered {
            progress = Progress { delivered, since: now };
        }
        if now.since(said) >= SAY_EVERY {
            said = now;
            say(shared, delivered, workers);
        }
        if patience(shared).is_some_and(|patience| now.since(progress.since) >= patience) {
            let secs = now.since(progress.since).as_secs();
            tracing::warn!(secs, "kafka takes nothing any more: what is left stays in the spool");
            return;
        }
    }
}

fn say(shared: &Shared, delivered: u64, workers: &[Arc<Counters>]) {
    let Some(store) = &shared.store else { return };
    let left = Left::of(store, shared.classes.iter().count(), workers);
    let Left { queued_records, backlog_routes, backlog_records, backlog_bytes } = left;
    tracing::info!(delivered, queued_records, backlog_routes, backlog_records, backlog_bytes, "draining");
}

/// Returns how long Kafka may take nothing. A gateway that is to go has no such bound: see decision 0013.
fn patience(shared: &Shared) -> Option<Duration> {
    shared.emptying.of_left_over.flatten()
}

/// Memory first: what leaves it for the disk is in the backlog by then.
fn is_done(shared: &Shared) -> bool {
    let Some(store) = &shared.store else { return false };
    shared.emptying.empty_workers.load(Ordering::Acquire) == shared.inboxes.len()
        && Store::lanes(shared.classes.iter().count()).all(|lane| store.backlog(lane).next().is_none())
}
