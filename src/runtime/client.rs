//! What every HTTP client of ours is: bounded, and straight to the process that was named.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, Url, redirect};

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection ended.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
    /// It is longer than allowed.
    #[error("longer than {0} bytes")]
    Long(usize),
}

/// Returns `url` if it is an address of one of our processes: `http://HOST:PORT`.
pub(crate) fn address(url: &str) -> Option<Url> {
    Url::parse(url).ok().filter(|base| base.scheme() == "http" && base.has_host())
}

/// Returns a client that gives up after `max_time`, from connecting to the end of the reply.
pub(crate) fn builder(max_time: Duration) -> ClientBuilder {
    Client::builder()
        .timeout(max_time)
        // What is asked is on the site: a proxy of the environment is not the way to it, and a key must not follow a
        // redirect elsewhere.
        .no_proxy()
        .redirect(redirect::Policy::none())
}

/// Reads the reply's body, at most `max_bytes` of it.
///
/// # Errors
/// If the connection ends before the body, or it is longer.
pub(crate) async fn body(mut reply: Response, max_bytes: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(part) = reply.chunk().await? {
        if body.len() + part.len() > max_bytes {
            return Err(BodyError::Long(max_bytes));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
