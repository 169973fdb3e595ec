//! HTTP for operators and probes: `/livez`, `/readyz`, `/metrics`, and what a component adds.
//!
//! Owns the server's bounds: connections, silence, body size, time to answer. It authenticates nobody;
//! routes that need a key check it themselves.

mod connections;
mod readiness;

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use readiness::Readiness;

use crate::metrics::Registry;
use connections::Bounded;

/// Longest request body: a report with a thousand topics fits.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Longest time from a request's head to its answer's head.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long requests in progress may take once the process stops.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Serves until `shutdown`, then lets the requests in progress end.
///
/// # Errors
/// If the server ends by itself.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: Readiness,
    extra: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let stop = shutdown.clone().cancelled_owned();
    let router = router(registry, readiness, extra);
    // axum runs each connection as a task of its own; none may outlive this function.
    let cut = CancellationToken::new();
    let _cut_at_the_end = cut.clone().drop_guard();
    let serving = axum::serve(Bounded::new(listener, cut), router).with_graceful_shutdown(stop).into_future();
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN_TIME).await;
    };
    tokio::select! {
        ended = serving => ended,
        () = overdue => Ok(()),
    }
}

fn router(registry: Registry, readiness: Readiness, extra: Router) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { readyz(&readiness) }))
        .route("/metrics", get(move || async move { exposition(&registry) }))
        .merge(extra)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(within_time))
}

fn readyz(readiness: &Readiness) -> (StatusCode, String) {
    let (ready, text) = readiness.describe();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

fn exposition(registry: &Registry) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], registry.encode())
}

async fn within_time(request: Request, next: Next) -> Response {
    timeout(MAX_ANSWER_TIME, next.run(request))
        .await
        .unwrap_or_else(|_| (StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n").into_response())
}

#[cfg(test)]
mod tests;
