//! Asks a running process of ours for something on its admin port, as JSON.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::{self, BodyError};

/// Longest time for an answer: a person waits for it.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const MAX_BYTES: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The address is none.
    #[error("address {url:?}: allowed is http://HOST:PORT")]
    Url {
        /// What was given.
        url: String,
    },
    /// Nobody answered in time.
    #[error("nobody answers: {0}")]
    Unreachable(#[source] reqwest::Error),
    /// The answer was no.
    #[error("it answers {status}: {why}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said; nothing, if it did not say it as our processes do.
        why: String,
    },
    /// The answer cannot be understood.
    #[error("its answer is not understood: {0}")]
    Malformed(String),
}

impl From<BodyError> for AskError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Broken(error) => Self::Unreachable(error),
            BodyError::Long(_) => Self::Malformed(error.to_string()),
        }
    }
}

/// How our processes say no.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Returns what the process at `url` (`http://HOST:PORT`) answers to GET `path`. Takes at most 5 s.
///
/// # Errors
/// See [`AskError`].
///
/// # Panics
/// If the HTTP client cannot be built, which needs neither files nor the network.
pub async fn get<T: DeserializeOwned>(url: &str, path: &str, query: &[(&str, &str)]) -> Result<T, AskError> {
    let mut asked = client::address(url).ok_or_else(|| AskError::Url { url: url.to_owned() })?;
    asked.set_path(path);
    if !query.is_empty() {
        asked.query_pairs_mut().extend_pairs(query);
    }
    let client = client::builder(MAX_TIME)
        .build()
        .expect("a client without TLS and proxies needs nothing from the system");
    let reply = client.get(asked).send().await.map_err(AskError::Unreachable)?;
    let status = reply.status();
    let body = client::body(reply, MAX_BYTES).await?;
    if !status.is_success() {
        let why = serde_json::from_slice(&body).map_or_else(|_| String::new(), |Refusal { error }| error);
        return Err(AskError::Refused { status: status.as_u16(), why });
    }
    serde_json::from_slice(&body).map_err(|problem| AskError::Malformed(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::extract::{Json, Query};
    use axum::http::StatusCode;
    use axum::routing::get as on_get;
    use axum::{Router, response::IntoResponse as _};
    use tokio::net::TcpListener;

    use super::*;

    type Pairs = BTreeMap<String, String>;

    async fn process() -> String {
        let refuse = || async {
            (StatusCode::NOT_FOUND, Json(serde_json::json!({"error": "no such thing"}))).into_response()
        };
        let router = Router::new()
            .route("/echo", on_get(|Query(query): Query<Pairs>| async { Json(query) }))
            .route("/refuse", on_get(refuse))
            .route("/long", on_get(|| async { " ".repeat(MAX_BYTES + 1) }))
            .route("/odd", on_get(|| async { "[1" }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        url
    }

    #[tokio::test]
    async fn an_answer_is_read_and_names_need_no_care() {
        let url = process().await;
        let echoed: Pairs = get(&url, "/echo", &[("scaler", "a&b=c d")]).await.unwrap();
        assert_eq!(echoed, Pairs::from([("scaler".to_owned(), "a&b=c d".to_owned())]));
        assert!(get::<Pairs>(&(url + "/"), "/echo", &[]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_no_answer_says_why() {
        let url = process().await;
        let ask = async |path: &str| get::<Pairs>(&url, path, &[]).await.unwrap_err();
        assert!(
            matches!(ask("/refuse").await, AskError::Refused { status: 404, why } if why == "no such thing")
        );
        assert!(matches!(ask("/nowhere").await, AskError::Refused { status: 404, why } if why.is_empty()));
        assert!(matches!(ask("/long").await, AskError::Malformed(why) if why.contains("longer than")));
        assert!(matches!(ask("/odd").await, AskError::Malformed(_)));
        for wrong in ["127.0.0.1:1", "https://localhost", "http://"] {
            let refused = get::<Pairs>(wrong, "/echo", &[]).await.unwrap_err();
            assert!(matches!(refused, AskError::Url { .. }), "{wrong}: {refused}");
        }
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let silent = get::<Pairs>(&format!("http://{nobody}"), "/echo", &[]).await.unwrap_err();
        assert!(matches!(silent, AskError::Unreachable(_)), "{silent}");
    }
}
