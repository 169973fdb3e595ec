//! The controller's own routes: reports come in, the last decision goes out.
//!
//! Reports need the site's key; an unauthenticated sender could order replicas. Connections, bodies and time are
//! bounded by `tidegate_runtime::admin`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use tidegate_core::time::Clock;
use tidegate_core::wire::{CONSUMER_REPORT_PATH, GATEWAY_REPORT_PATH, ReportReply};
use tidegate_runtime::report::Key;
use tokio::sync::watch;

use crate::events::Events;
use crate::reports::{Reports, Taken};
use crate::view::View;

/// Path of the last observation and decision, as JSON.
const DECISION_PATH: &str = "/v1/decision";

struct Desk {
    key: Key,
    reports: Reports,
    view: watch::Receiver<View>,
    events: Events,
    clock: Clock,
}

pub(crate) fn router(
    key: Key,
    reports: Reports,
    view: watch::Receiver<View>,
    events: Events,
    clock: Clock,
) -> Router {
    Router::new()
        .route(GATEWAY_REPORT_PATH, post(gateway))
        .route(CONSUMER_REPORT_PATH, post(consumer))
        .route(DECISION_PATH, get(decision))
        .with_state(Arc::new(Desk { key, reports, view, events, clock }))
}

async fn gateway(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    desk.take("gateway", &headers, &body, |report: tidegate_core::wire::GatewayReport| {
        let seq = report.seq;
        (seq, desk.reports.gateway(report, (desk.clock)()))
    })
}

async fn consumer(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    desk.take("consumer", &headers, &body, |report: tidegate_core::wire::ConsumerReport| {
        (report.seq, desk.reports.consumer(&report, (desk.clock)()))
    })
}

async fn decision(State(desk): State<Arc<Desk>>) -> Response {
    let view = desk.view.borrow().clone();
    if view.decision.is_none() {
        return (StatusCode::SERVICE_UNAVAILABLE, "nothing was decided yet\n").into_response();
    }
    Json(view).into_response()
}

impl Desk {
    fn take<R: DeserializeOwned>(
        &self,
        kind: &'static str,
        headers: &HeaderMap,
        body: &[u8],
        take: impl FnOnce(R) -> (u64, Taken),
    ) -> Response {
        // The key first: nothing of a stranger's body is looked at.
        if !self.key.authorizes(headers) {
            self.events.report(kind, "unauthorized");
            return (StatusCode::UNAUTHORIZED, "the key of the site is needed\n").into_response();
        }
        let report = match serde_json::from_slice(body) {
            Ok(report) => report,
            Err(problem) => return (StatusCode::BAD_REQUEST, format!("{problem}\n")).into_response(),
        };
        let (seq, taken) = take(report);
        match taken {
            Taken::Newest => self.events.report(kind, "taken"),
            // Answered like any other: there is nothing that its sender should do.
            Taken::Late => self.events.report(kind, "late"),
            Taken::Full => {
                self.events.report(kind, "full");
                return (StatusCode::SERVICE_UNAVAILABLE, "too many senders\n").into_response();
            }
        }
        Json(ReportReply { seq }).into_response()
    }
}
