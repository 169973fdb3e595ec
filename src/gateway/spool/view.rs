//! `/v1/spool`: what an operator sees of the log; `/v1/drain`: empties it before the gateway is taken away.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tidegate_spool::{FullReason, Health, LaneId};

use super::Store;
use crate::emptying::Left;
use crate::shared::Shared;
use crate::stats::Counters;

/// What the page is made from.
struct Source {
    shared: Arc<Shared>,
    workers: Vec<Arc<Counters>>,
}

/// The page; empty until the gateway is at work.
#[derive(Clone, Default)]
pub(crate) struct View(Arc<OnceLock<Source>>);

impl View {
    pub(crate) fn router(&self) -> Router {
        let router = Router::new().route("/v1/spool", get(show)).route("/v1/drain", post(drain));
        router.with_state(self.clone())
    }

    /// Returns what it is made from, once the gateway is at work.
    fn at_work(&self) -> Option<(&Source, &Store)> {
        let source = self.0.get()?;
        Some((source, source.shared.store.as_ref()?))
    }

    pub(crate) fn begin(&self, shared: &Arc<Shared>, workers: &[Arc<Counters>]) {
        let _ = self.0.set(Source { shared: Arc::clone(shared), workers: workers.to_vec() });
    }
}

/// Begins the drain, or goes on with it, and answers with what is left.
async fn drain(State(view): State<View>) -> Response {
    let Some((source, store)) = view.at_work() else { return not_yet() };
    source.shared.emptying.begin();
    (StatusCode::ACCEPTED, Json(Drain { draining: true, left: source.left(store) })).into_response()
}

async fn show(State(view): State<View>) -> Response {
    let Some((source, store)) = view.at_work() else { return not_yet() };
    Json(Page::new(source, store)).into_response()
}

fn not_yet() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the spool is being opened\n").into_response()
}

impl Source {
    fn left(&self, store: &Store) -> Left {
        Left::of(store, self.shared.classes.iter().count(), &self.workers)
    }
}

#[derive(Serialize)]
struct Drain {
    /// The door is closed, and the gateway ends once nothing is left.
    draining: bool,
    left: Left,
}

#[derive(Serialize)]
struct Page {
    /// Header `tg-gw` of what is received now.
    gateway: String,
    epoch: u32,
    /// The epoch is on the disk; if not, this run has an identity of its own.
    epoch_durable: bool,
    /// When messages are acknowledged: as set, or as the copies of the topics want it.
    ack: &'static str,
    /// What is known of the wall clock.
    clock: &'static str,
    topics: Vec<Topic>,
    lanes: Vec<Lane>,
    drain: Drain,
    routes_behind: u64,
    routes_parked: usize,
    /// What the boot found that is not as a clean stop leaves it.
    found: Vec<String>,
    more_found: u64,
}

#[derive(Serialize)]
struct Topic {
    name: String,
    /// Kafka acknowledges only what two brokers have, for all that is known.
    replicated: bool,
    found: String,
    /// How old a record may become there; none if for ever, or not known.
    retention_s: Option<u64>,
    /// Records wait that are older.
    past_retention: bool,
}

#[derive(Serialize)]
struct Lane {
    name: String,
    health: &'static str,
    used_bytes: u64,
    /// From here on it counts as full.
    full_bytes: u64,
    capacity_bytes: u64,
    /// The file system has less left than is to be left to others.
    disk_full: bool,
    backlog_routes: usize,
    backlog_bytes: u64,
    waited: u64,
    shed_qos0: u64,
    rejected: u64,
    dropped_qos0: u64,
    dropped_acknowledged: u64,
}

impl Page {
    fn new(source: &Source, store: &Store) -> Self {
        let Source { shared, workers } = source;
        let report = &store.report;
        let lanes = (0u8..).map(LaneId).zip(&report.lanes);
        let past = super::retention::past(shared, workers);
        let topics = store.known.iter().zip(past).map(|((name, topic), (_, past_retention))| Topic {
            name: name.clone(),
            replicated: topic.replicated,
            found: topic.found.clone(),
            retention_s: topic.retention.map(|time| time.as_secs()),
            past_retention,
        });
        Self {
            gateway: shared.identity.gateway.to_string(),
            epoch: report.who.epoch,
            epoch_durable: report.who.durable,
            ack: store.ack.as_str(),
            clock: shared.wall.look(),
            topics: topics.collect(),
            lanes: lanes.map(|(id, lane)| Lane::new(store, id, &lane.name)).collect(),
            drain: Drain { draining: shared.emptying.is_asked(), left: source.left(store) },
            routes_behind: workers.iter().map(|counters| counters.routes_behind.get()).sum(),
            routes_parked: store.spool.parked(),
            found: report.findings.iter().map(ToString::to_string).collect(),
            more_found: report.more_findings,
        }
    }
}

impl Lane {
    fn new(store: &Store, id: LaneId, name: &str) -> Self {
        let (level, counters, backlog) =
            (store.spool.level(id), store.spool.counters(id), store.spool.backlog(id));
        Self {
            name: name.to_owned(),
            health: health_name(store.spool.health(id)),
            used_bytes: level.used_bytes,
            full_bytes: level.full_bytes(),
            capacity_bytes: level.capacity_bytes,
            disk_full: level.disk_full,
            backlog_routes: backlog.len(),
            backlog_bytes: backlog.iter().map(|backlog| backlog.bytes).sum(),
            waited: counters.waited,
            shed_qos0: counters.shed_qos0,
            rejected: counters.rejected,
            dropped_qos0: counters.dropped_qos0,
            dropped_acknowledged: counters.dropped_acknowledged,
        }
    }
}

/// Returns the state of a lane as a word, and as a metric label.
pub(crate) const fn health_name(health: Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Full(FullReason::Capacity) => "full_capacity",
        Health::Full(FullReason::Floor) => "full_floor",
        Health::Full(FullReason::NoSpace) => "full_no_space",
        Health::Down => "down",
    }
}
