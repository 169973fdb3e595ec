//! The controller's own routes: reports come in, the last decision goes out.
//!
//! Reports need the site's key; an unauthenticated sender could order replicas. Connections, bodies and time are
//! bounded by `tidegate_runtime::admin`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use tidegate_core::time::Clock;
use tidegate_core::wire::{
    CONSUMER_REPORT_PATH, ConsumerReport, GATEWAY_REPORT_PATH, GatewayReport, ReportReply,
};
use tidegate_runtime::config::Problem;
use tidegate_runtime::report::Key;
use tokio::sync::watch;

use crate::events::Events;
use crate::reports::{Reports, Taken, check};
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

async fn gateway(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let take = |report: GatewayReport| (report.seq, desk.reports.gateway(report, (desk.clock)()));
    desk.take("gateway", request, check::gateway, take).await
}

async fn consumer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let take = |report: ConsumerReport| (report.seq, desk.reports.consumer(&report, (desk.clock)()));
    desk.take("consumer", request, check::consumer, take).await
}

async fn decision(State(desk): State<Arc<Desk>>) -> Response {
    let view = desk.view.borrow().clone();
    if view.decision.is_none() {
        return (StatusCode::SERVICE_UNAVAILABLE, "nothing was decided yet\n").into_response();
    }
    Json(view).into_response()
}

impl Desk {
    async fn take<R: DeserializeOwned>(
        &self,
        kind: &'static str,
        request: Request,
        check: fn(&R) -> Result<(), Problem>,
        take: impl FnOnce(R) -> (u64, Taken),
    ) -> Response {
        // The key first: nothing of a stranger's body is read.
        if !self.key.authorizes(request.headers()) {
            self.events.report(kind, "unauthorized");
            return refusal(StatusCode::UNAUTHORIZED, "the key of the site is needed");
        }
        let body = match Bytes::from_request(request, &()).await {
            Ok(body) => body,
            Err(problem) => {
                self.events.report(kind, "refused");
                return refusal(problem.status(), &problem.body_text());
            }
        };
        let report = match checked(&body, check) {
            Ok(report) => report,
            Err(problem) => {
                self.events.report(kind, "refused");
                return refusal(StatusCode::UNPROCESSABLE_ENTITY, &problem);
            }
        };
        let (seq, taken) = take(report);
        match taken {
            Taken::Newest => self.events.report(kind, "taken"),
            // Answered like any other: there is nothing that its sender should do.
            Taken::Late => self.events.report(kind, "late"),
            Taken::Full => {
                self.events.report(kind, "full");
                return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many senders");
            }
        }
        Json(ReportReply { seq, ..ReportReply::default() }).into_response()
    }
}

fn checked<R: DeserializeOwned>(body: &[u8], check: fn(&R) -> Result<(), Problem>) -> Result<R, String> {
    let report = serde_json::from_slice(body).map_err(|problem| problem.to_string())?;
    check(&report)
        .map_err(|wrong| format!("{} = {}: allowed is {}", wrong.key, wrong.value, wrong.allowed))?;
    Ok(report)
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, Json(serde_json::json!({ "error": why }))).into_response()
}
