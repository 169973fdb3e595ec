//! Sends reports to the controller, and tells who may send one.
//!
//! Owns the HTTP client with its bounds, and the shared key. The shapes are `tidegate_core::wire`'s;
//! when to report, and what to do if nobody answers, is the caller's.

mod key;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde::Serialize;
use tidegate_core::wire::ReportReply;

pub use key::{Key, KeyError};

use crate::client::{self, BodyError};

/// Longest time for one report, from connecting to the end of the reply. Reports leave every second, so a
/// controller that needs longer is as good as away.
const MAX_TIME: Duration = Duration::from_secs(2);
/// Longest reply that is read.
const MAX_REPLY_BYTES: usize = 256 * 1024;

/// Client of the controller's report channel. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Reporter {
    client: Client,
    base: Url,
}

/// Why a report had no answer. All but [`ReportError::Url`] are worth another try with the next report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The settings name no address that reports can go to.
    #[error("controller address {url:?}: allowed is http://HOST:PORT")]
    Url {
        /// What the settings say.
        url: String,
    },
    /// Nobody answered in time.
    #[error("the controller does not answer: {0}")]
    Unreachable(#[source] reqwest::Error),
    /// The answer was no.
    #[error("the controller refused the report: {0}")]
    Refused(StatusCode),
    /// The reply cannot be understood.
    #[error("the controller's reply is not understood: {0}")]
    Malformed(String),
}

impl Reporter {
    /// Returns a client for the controller at `url` (`http://HOST:PORT`), which identifies itself by `key`.
    ///
    /// # Errors
    /// [`ReportError::Url`] if `url` is malformed or of another scheme.
    ///
    /// # Panics
    /// If the HTTP client cannot be built, which needs neither files nor the network.
    pub fn new(url: String, key: &Key) -> Result<Self, ReportError> {
        let Some(base) = client::address(&url) else { return Err(ReportError::Url { url }) };
        let mut authorization = HeaderValue::from_str(&key.authorization())
            .expect("keys are printable ASCII, which headers can carry");
        authorization.set_sensitive(true);
        let client = client::builder(MAX_TIME)
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, authorization)]))
            .build()
            .expect("a client without TLS and proxies needs nothing from the system");
        Ok(Self { client, base })
    }

    /// Sends a report and returns the controller's answer.
    ///
    /// # Errors
    /// See [`ReportError`]. Takes at most 2 s.
    pub async fn post<B: Serialize>(&self, path: &str, body: &B) -> Result<ReportReply, ReportError> {
        let url = self.base.join(path).map_err(|problem| ReportError::Malformed(problem.to_string()))?;
        let reply = self.client.post(url).json(body).send().await.map_err(ReportError::Unreachable)?;
        if reply.status() != StatusCode::OK {
            return Err(ReportError::Refused(reply.status()));
        }
        let text = client::body(reply, MAX_REPLY_BYTES).await.map_err(|error| match error {
            BodyError::Broken(error) => ReportError::Unreachable(error),
            BodyError::Long(_) => ReportError::Malformed(error.to_string()),
        })?;
        serde_json::from_slice(&text).map_err(|problem| ReportError::Malformed(problem.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::Json;
    use axum::routing::post;
    use tidegate_core::wire::{GATEWAY_REPORT_PATH, GatewayReport};
    use tokio::net::TcpListener;

    use super::*;

    async fn controller(key: Key) -> String {
        let reports = move |headers: HeaderMap, Json(report): Json<GatewayReport>| async move {
            if key.authorizes(&headers) {
                Ok(Json(ReportReply { seq: report.seq, ..ReportReply::default() }))
            } else {
                Err(StatusCode::UNAUTHORIZED)
            }
        };
        let router = Router::new()
            .route(GATEWAY_REPORT_PATH, post(reports))
            .route("/long", post(|| async { " ".repeat(MAX_REPLY_BYTES + 1) }))
            .route("/moved", post(|| async { axum::response::Redirect::temporary("/long") }))
            .route("/odd", post(|| async { "[1" }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        url
    }

    #[tokio::test]
    async fn a_report_with_the_key_is_answered() {
        let key = Key::generate();
        let url = controller(key.clone()).await;
        let report = GatewayReport { seq: 7, ..GatewayReport::default() };
        let reply =
            Reporter::new(url.clone(), &key).unwrap().post(GATEWAY_REPORT_PATH, &report).await.unwrap();
        assert_eq!(reply, ReportReply { seq: 7, ..ReportReply::default() });

        let stranger = Reporter::new(url, &Key::generate()).unwrap();
        let refused = stranger.post(GATEWAY_REPORT_PATH, &report).await.unwrap_err();
        assert!(matches!(refused, ReportError::Refused(StatusCode::UNAUTHORIZED)), "{refused}");
    }

    #[tokio::test]
    async fn replies_that_are_too_long_odd_or_elsewhere_are_errors() {
        let key = Key::generate();
        let reporter = Reporter::new(controller(key.clone()).await, &key).unwrap();
        assert!(matches!(reporter.post("/long", &()).await, Err(ReportError::Malformed(_))));
        assert!(matches!(reporter.post("/odd", &()).await, Err(ReportError::Malformed(_))));
        assert!(matches!(reporter.post("/moved", &()).await, Err(ReportError::Refused(_))));
    }

    #[tokio::test]
    async fn a_controller_that_never_answers_costs_a_bounded_time() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let reporter = Reporter::new(url, &Key::generate()).unwrap();
        let outcome =
            tokio::time::timeout(MAX_TIME * 4, reporter.post("/", &())).await.expect("gives up by itself");
        assert!(matches!(outcome, Err(ReportError::Unreachable(_))));
    }

    #[test]
    fn an_address_that_is_not_http_is_named() {
        for url in ["", "localhost:8080", "https://controller:1", "http://"] {
            let said = Reporter::new(url.into(), &Key::generate()).unwrap_err().to_string();
            assert_eq!(said, format!("controller address {url:?}: allowed is http://HOST:PORT"));
        }
    }
}
