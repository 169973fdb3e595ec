//! The operator's own calls to the API server: status and events; and what its refusals mean.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::Value;
use tidegate_core::time::UnixMillis;
use tokio::time::timeout;

use super::notes::Note;
use crate::causes::causes;
use crate::crd::IngestScaler;

/// Longest time for one call. An API server that hangs must not hold the writes of an object back for ever.
const CALL_MAX: Duration = Duration::from_secs(10);
/// Who reports the events.
const REPORTER: &str = "tidegate-controller";

/// Why a call failed: a closed set, so that each kind can be logged once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The object, or the whole kind, is gone.
    NotFound,
    /// A right is missing.
    Forbidden,
    /// The API server takes no such write.
    Refused,
    /// It does not answer.
    Unavailable,
}

impl FailureKind {
    /// Every kind.
    pub(super) const ALL: [Self; 4] = [Self::NotFound, Self::Forbidden, Self::Refused, Self::Unavailable];
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) message: String,
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let (kind, message) = match error {
            kube::Error::Api(status) => {
                let kind = match status.code {
                    404 => FailureKind::NotFound,
                    401 | 403 => FailureKind::Forbidden,
                    429 | 500.. => FailureKind::Unavailable,
                    _ => FailureKind::Refused,
                };
                (kind, status.message)
            }
            error => {
                (FailureKind::Unavailable, format!("the api server does not answer: {}", causes(&error)))
            }
        };
        Self { kind, message }
    }
}

/// Calls within one namespace. Clones share the connection.
#[derive(Clone)]
pub(super) struct ScalerApi {
    objects: Api<DynamicObject>,
    events: Api<Event>,
    namespace: String,
    /// Distinguishes this controller from one before it.
    instance: String,
}

impl ScalerApi {
    pub(super) fn new(client: Client, namespace: &str, instance: &str) -> Self {
        Self {
            objects: Api::namespaced_with(client.clone(), namespace, &resource()),
            events: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            instance: instance.to_owned(),
        }
    }

    /// Returns the namespace of all calls.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns what the watch needs. Objects come as they are stored: one that cannot be read must not hide the others.
    pub(super) fn objects(&self) -> Api<DynamicObject> {
        self.objects.clone()
    }

    /// Asks whether the objects can be listed and watched.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        within(self.objects.list_metadata(&ListParams::default().limit(1))).await?;
        // Any version, and over in a second: only whether it starts is of interest.
        within(self.objects.watch_metadata(&WatchParams::default().timeout(1), "0")).await.map(drop)
    }

    /// Changes the status of `name` as the merge patch `status` says.
    pub(super) async fn patch_status(&self, name: &str, status: Value) -> Result<(), Failure> {
        let patch = Patch::Merge(serde_json::json!({ "status": status }));
        let params = PatchParams::default();
        within(self.objects.patch_status(name, &params, &patch)).await.map(drop)
    }

    /// Writes `note` about the object as an Event of its own.
    pub(super) async fn tell(&self, object: &Regarding, note: &Note, now: UnixMillis) -> Result<(), Failure> {
        let event = self.event(object, note, now);
        within(self.events.create(&PostParams::default(), &event)).await.map(drop)
    }

    fn event(&self, object: &Regarding, note: &Note, now: UnixMillis) -> Event {
        let resource = resource();
        let kind = if note.subject.is_warning() { "Warning" } else { "Normal" };
        Event {
            action: Some(note.subject.action().to_owned()),
            event_time: Some(MicroTime(wall(now))),
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", object.name)),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            note: Some(note.text.clone()),
            reason: Some(note.subject.as_str().to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some(resource.api_version),
                kind: Some(resource.kind),
                name: Some(object.name.clone()),
                namespace: Some(self.namespace.clone()),
                uid: Some(object.uid.clone()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(REPORTER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(kind.to_owned()),
            ..Event::default()
        }
    }
}

/// The object that an event is about.
#[derive(Clone, Debug)]
pub(super) struct Regarding {
    pub(super) name: String,
    pub(super) uid: String,
}

/// Returns wall-clock time as the API writes it; the epoch if it is out of range.
pub(super) fn wall(now: UnixMillis) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(now.0).unwrap_or_default()
}

fn resource() -> ApiResource {
    ApiResource::erase::<IngestScaler>(&())
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(CALL_MAX, call).await {
        Ok(answer) => answer.map_err(Failure::from),
        Err(_) => Err(Failure {
            kind: FailureKind::Unavailable,
            message: format!("the api server does not answer within {} s", CALL_MAX.as_secs()),
        }),
    }
}

/// Returns what keeps the objects from being watched, and what to do; `None` for what the watch gets over at once.
pub(super) fn watch_problem(error: watcher::Error, namespace: &str) -> Option<String> {
    let failure = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Failure::from(error),
        // The watch was too old: the list that follows says whether all is well.
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => return None,
    };
    Some(listing_problem(&failure, namespace))
}

/// Returns what keeps the objects from being listed, and what to do.
pub(super) fn listing_problem(failure: &Failure, namespace: &str) -> String {
    match failure.kind {
        FailureKind::NotFound => {
            "the api server knows no ingestscalers: apply charts/manifests/crd.yaml".to_owned()
        }
        FailureKind::Forbidden => format!(
            "not allowed to list and watch ingestscalers.tidegate.dev in namespace {namespace}: grant it, as \
             charts/manifests/rbac.yaml does ({})",
            failure.message
        ),
        FailureKind::Refused | FailureKind::Unavailable => failure.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: message.to_owned(), ..Status::default() }))
    }

    #[test]
    fn a_watch_that_fails_says_what_to_do() {
        let says = |code, message: &str| {
            let error = watcher::Error::InitialListFailed(refused(code, message));
            watch_problem(error, "ingest").expect("it is a problem")
        };
        assert!(says(404, "page not found").contains("apply charts/manifests/crd.yaml"));
        let forbidden = says(403, "forbidden: nobody");
        assert!(forbidden.contains("list and watch ingestscalers.tidegate.dev in namespace ingest"));
        assert!(forbidden.contains("charts/manifests/rbac.yaml") && forbidden.contains("forbidden: nobody"));
        assert_eq!(says(503, "the server is starting"), "the server is starting");
        let expired = watcher::Error::WatchError(Box::new(Status { code: 410, ..Status::default() }));
        assert_eq!(watch_problem(expired, "ingest"), None);
    }

    #[test]
    fn refusals_fall_into_kinds() {
        let table = [
            (404, FailureKind::NotFound),
            (401, FailureKind::Forbidden),
            (403, FailureKind::Forbidden),
            (409, FailureKind::Refused),
            (422, FailureKind::Refused),
            (429, FailureKind::Unavailable),
            (500, FailureKind::Unavailable),
        ];
        for (code, kind) in table {
            assert_eq!(Failure::from(refused(code, "no")).kind, kind, "{code}");
        }
    }
}
