//! The admin server over a loopback socket.

use std::sync::Arc;

use axum::routing::{any, post};
use prometheus::IntCounter;
use reqwest::Client;
use tokio::sync::Notify;

use super::*;

struct Server {
    url: String,
    readiness: Readiness,
    /// Rings when a request for `/v1/stuck` arrived.
    entered: Arc<Notify>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let registry = Registry::new();
    let counter = IntCounter::new("tidegate_test_events_total", "events").unwrap();
    counter.inc();
    registry.register(Box::new(counter)).unwrap();
    let readiness = Readiness::new(&["kafka"]);
    let entered = Arc::new(Notify::new());
    let handler_entered = Arc::clone(&entered);
    let extra = Router::new().route("/v1/echo", post(|body: String| async { body })).route(
        "/v1/stuck",
        any(async move || {
            handler_entered.notify_one();
            std::future::pending::<()>().await;
        }),
    );
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, registry, readiness.clone(), extra, shutdown.clone()));
    Server { url, readiness, entered, shutdown, task }
}

impl Server {
    async fn get(&self, path: &str) -> (u16, String) {
        let reply =
            Client::builder().no_proxy().build().unwrap().get(self.url.clone() + path).send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }

    async fn echo(&self, bytes: usize) -> u16 {
        let client = Client::builder().no_proxy().build().unwrap();
        client
            .post(self.url.clone() + "/v1/echo")
            .body("x".repeat(bytes))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }
}

#[tokio::test]
async fn readyz_is_503_and_names_what_fails() {
    let server = start().await;
    assert_eq!(server.get("/livez").await, (200, "ok\n".into()));
    assert_eq!(server.get("/readyz").await, (503, "kafka: starting\n".into()));
    server.readiness.set("kafka", Ok(()));
    assert_eq!(server.get("/readyz").await, (200, "kafka: ok\n".into()));
}

#[tokio::test]
async fn metrics_are_exposed_as_prometheus_text() {
    let (status, text) = start().await.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("\ntidegate_test_events_total 1\n"), "{text}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let server = start().await;
    assert_eq!(server.echo(MAX_BODY_BYTES).await, 200);
    assert_eq!(server.echo(MAX_BODY_BYTES + 1).await, 413);
}

#[tokio::test]
async fn a_stuck_request_does_not_hold_the_shutdown() {
    let server = start().await;
    let request = Client::builder().no_proxy().build().unwrap().get(server.url.clone() + "/v1/stuck");
    let stuck = tokio::spawn(request.send());
    server.entered.notified().await;
    server.shutdown.cancel();
    timeout(DRAIN_TIME * 5, server.task).await.expect("ends in time").unwrap().unwrap();
    assert!(stuck.await.unwrap().is_err(), "the connection is dropped");
}
