//! What an answer of the API server means for a target, in words that say what to do.

use std::time::Duration;

use kube::runtime::watcher;
use tokio::time::timeout;

use crate::target::{TargetError, TargetErrorKind};

/// Longest time for one look or order. An API server that hangs must not hold up the loop.
const CALL_MAX: Duration = Duration::from_secs(10);

/// What was asked for: enough to name the right that is missing.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) verb: &'static str,
    /// `deployments.apps/scale`.
    pub(super) resource: String,
    pub(super) namespace: String,
}

/// Returns what `work` on the API server came to.
///
/// # Errors
/// Its own, or that it was not done in time.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, TargetError>>) -> Result<T, TargetError> {
    timeout(CALL_MAX, work).await.unwrap_or_else(|_| {
        let message = format!("the api server does not answer within {} s", CALL_MAX.as_secs());
        Err(TargetError::new(TargetErrorKind::Unavailable, message))
    })
}

/// Returns what a refusal means.
pub(super) fn refused(ask: &Ask, error: kube::Error) -> TargetError {
    let Ask { verb, resource, namespace } = ask;
    let status = match error {
        kube::Error::Api(status) => status,
        error => {
            let message = format!("no usable answer from the api server: {}", causes(&error));
            return TargetError::new(TargetErrorKind::Unavailable, message);
        }
    };
    let said = &status.message;
    let (kind, message) = match status.code {
        401 => (TargetErrorKind::Forbidden, format!("the api server does not know who asks: {said}")),
        403 => (
            TargetErrorKind::Forbidden,
            format!(
                "not allowed to {verb} {resource} in namespace {namespace}: grant it, as charts/manifests/rbac.yaml \
                 does for deployments and statefulsets ({said})"
            ),
        ),
        404 => (TargetErrorKind::NotFound, said.clone()),
        409 => (TargetErrorKind::Conflict, said.clone()),
        408 | 429 | 500.. => {
            (TargetErrorKind::Unavailable, format!("the api server does not answer: {said}"))
        }
        _ => (TargetErrorKind::Unsupported, format!("cannot {verb} {resource}: {said}")),
    };
    TargetError::new(kind, message)
}

/// Returns what the failure of a watch means; `None` if the watch gets over it by itself.
pub(super) fn unwatched(resource: &str, namespace: &str, error: watcher::Error) -> Option<TargetError> {
    let ask = |verb| Ask { verb, resource: resource.to_owned(), namespace: namespace.to_owned() };
    match error {
        watcher::Error::InitialListFailed(error) => Some(refused(&ask("list"), error)),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            Some(refused(&ask("watch"), error))
        }
        // It was too old: the list that follows says whether all is well.
        watcher::Error::WatchError(_) => None,
        watcher::Error::NoResourceVersion => {
            Some(TargetError::new(TargetErrorKind::Unsupported, format!("{resource} cannot be watched")))
        }
    }
}

/// Returns an error with everything that caused it: kube's own text often says only "service error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let deeper_text = deeper.to_string();
        if !text.contains(&deeper_text) {
            text = format!("{text}: {deeper_text}");
        }
        cause = deeper.source();
    }
    text
}
