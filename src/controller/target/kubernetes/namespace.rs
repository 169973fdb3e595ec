//! What all targets of a namespace share: one watch of each kind, and what is known of the kinds.
//!
//! A watch starts when a target first needs it, and again if its task has died.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::core::{ApiResource, GroupVersion};
use kube::discovery::{Scope, pinned_kind};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tidegate_core::time::{Clock, UnixMillis};

use super::owners::{Claim, Owner};
use super::pods::PodFact;
use super::refusal::{Ask, refused};
use super::watch::{Fact, Seen, Watched, Watching};
use crate::crd::ScaleTargetRef;
use crate::target::{TargetError, TargetErrorKind};

/// The namespace, seen from its targets.
pub(super) struct Namespace {
    client: Client,
    pub(super) name: String,
    clock: Clock,
    wall: fn() -> UnixMillis,
    pods: Slot<PodFact>,
    scaled_objects: Slot<Claim>,
    autoscalers: Slot<Claim>,
    /// By apiVersion and kind: as many as the API server has kinds with `/scale`.
    kinds: Mutex<BTreeMap<(String, String), Arc<Kind>>>,
}

/// A watch that starts when it is first needed.
type Slot<F> = Mutex<Option<Arc<Watched<F>>>>;

/// A kind of object that can be scaled.
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    versions: Slot<Version>,
}

/// The resourceVersion of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version(pub(super) Option<String>);

impl Fact for Version {
    type Object = PartialObjectMeta<DynamicObject>;

    fn read(object: &Self::Object, _: Option<&Self>, _: Seen) -> Self {
        Self(object.metadata.resource_version.clone())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Namespace {
    /// Asks and watches nothing yet.
    pub(super) fn new(client: Client, name: &str, clock: Clock, wall: fn() -> UnixMillis) -> Self {
        Self {
            client,
            name: name.to_owned(),
            clock,
            wall,
            pods: Mutex::default(),
            scaled_objects: Mutex::default(),
            autoscalers: Mutex::default(),
            kinds: Mutex::default(),
        }
    }

    pub(super) fn pods(&self) -> Arc<Watched<PodFact>> {
        running(&self.pods, || {
            self.watching(Api::<Pod>::namespaced(self.client.clone(), &self.name), "pods", false)
        })
    }

    pub(super) fn claims(&self, owner: Owner) -> Arc<Watched<Claim>> {
        let (slot, optional) = match owner {
            Owner::ScaledObject => (&self.scaled_objects, true),
            Owner::HorizontalPodAutoscaler => (&self.autoscalers, false),
        };
        running(slot, || {
            let resource = owner.resource();
            let api = Api::namespaced_with(self.client.clone(), &self.name, &resource);
            self.watching(api, &resource_name(&resource), optional)
        })
    }

    pub(super) fn versions(&self, kind: &Kind) -> Arc<Watched<Version>> {
        running(&kind.versions, || {
            let api = Api::namespaced_with(self.client.clone(), &self.name, &kind.resource);
            self.watching(api, &resource_name(&kind.resource), false)
        })
    }

    pub(super) fn objects(&self, kind: &Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.name, &kind.resource)
    }

    fn watching<K>(&self, api: Api<K>, resource: &str, optional: bool) -> Watching<K>
    where
        K: Resource + DeserializeOwned,
    {
        Watching {
            api,
            resource: resource.to_owned(),
            namespace: self.name.clone(),
            optional,
            clock: self.clock,
            wall: self.wall,
        }
    }

    /// Returns how to ask for objects of the target's kind; asks the API server once for each kind.
    pub(super) async fn kind(&self, target: &ScaleTargetRef) -> Result<Arc<Kind>, TargetError> {
        let key = (target.api_version.clone(), target.kind.clone());
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let resource = self.discover(target).await?;
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        // Another target of the kind may have found it meanwhile.
        let kind = kinds.entry(key).or_insert_with(|| Arc::new(Kind { resource, versions: Slot::default() }));
        Ok(Arc::clone(kind))
    }

    async fn discover(&self, target: &ScaleTargetRef) -> Result<ApiResource, TargetError> {
        let ScaleTargetRef { api_version, kind, .. } = target;
        let unsupported = |why: &str| {
            TargetError::new(TargetErrorKind::Unsupported, format!("{kind} of {api_version} {why}"))
        };
        let version: GroupVersion =
            api_version.parse().map_err(|_| unsupported("is of no version: allowed is GROUP/VERSION"))?;
        let unknown = || unsupported("is not known to the api server");
        let found = pinned_kind(&self.client, &version.with_kind(kind)).await;
        let (resource, capabilities) = found.map_err(|error| match error {
            kube::Error::Discovery(_) => unknown(),
            kube::Error::Api(status) if status.code == 404 => unknown(),
            error => {
                let resource = format!("the kinds of {api_version}");
                refused(&Ask { verb: "get", resource, namespace: self.name.clone() }, error)
            }
        })?;
        if capabilities.scope != Scope::Namespaced {
            return Err(unsupported("belongs to no namespace"));
        }
        if !capabilities.subresources.iter().any(|(sub, _)| sub.plural == "scale") {
            return Err(unsupported("has no /scale"));
        }
        Ok(resource)
    }
}

/// Returns the watch in `slot`, started by `start` if there is none or its task has died.
fn running<F: Fact>(slot: &Slot<F>, start: impl FnOnce() -> Watching<F::Object>) -> Arc<Watched<F>> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    match &*slot {
        Some(watched) if !watched.is_dead() => Arc::clone(watched),
        _ => Arc::clone(slot.insert(Arc::new(Watched::start(start())))),
    }
}

/// `deployments.apps`, as rights name it.
pub(super) fn resource_name(resource: &ApiResource) -> String {
    let ApiResource { plural, group, .. } = resource;
    if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
}
