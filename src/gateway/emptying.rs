//! The drain before a gateway is taken away for good: it takes nothing in, and stays until Kafka has all that it has.
//!
//! Owns that it was asked for and how far the workers have come with it. A stop does not wait for Kafka, since the next start
//! goes on; this is for when there is none. Nothing comes in, so what is left only falls; a signal ends it at any time,
//! and then the spool has the rest. A restart has forgotten it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use tidegate_runtime::admin::Readiness;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::spool::Store;
use crate::stats::Counters;

/// How often to look whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Emptying {
    asked: CancellationToken,
    /// Workers that have no connection and nothing in memory, and so never will again.
    empty_workers: AtomicUsize,
}

/// What a gateway still has to bring to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    /// Records in memory that neither Kafka nor the disk has, a second ago.
    queued_records: u64,
    /// Routes with records on the disk that Kafka does not have.
    backlog_routes: usize,
    backlog_bytes: u64,
}

impl Emptying {
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
        let backlog = || Store::lanes(classes).flat_map(|lane| store.spool.backlog(lane));
        Self {
            queued_records: workers.iter().map(|counters| counters.queued_records.get()).sum(),
            backlog_routes: backlog().count(),
            backlog_bytes: backlog().map(|backlog| backlog.bytes).sum(),
        }
    }
}

/// Stops the gateway once a drain was asked for and is done. Ends with the gateway only.
pub(crate) async fn watch(shared: Arc<Shared>, readiness: Readiness) {
    shared.emptying.asked().await;
    tracing::info!(
        "asked to drain: nobody is let in any more, and the gateway ends once kafka has everything"
    );
    readiness.set("listener", Err("draining".to_owned()));
    while !is_done(&shared) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tracing::info!("drained: kafka has everything");
    shared.stop.cancel();
    std::future::pending::<()>().await;
}

/// Memory first: what leaves it for the disk is in the backlog by then.
fn is_done(shared: &Shared) -> bool {
    let Some(store) = &shared.store else { return false };
    shared.emptying.empty_workers.load(Ordering::Acquire) == shared.inboxes.len()
        && Store::lanes(shared.classes.iter().count()).all(|lane| store.spool.backlog(lane).is_empty())
}
