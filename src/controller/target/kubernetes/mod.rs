//! Consumers as pods of a Deployment, a StatefulSet or anything else with `/scale`.
//!
//! A target never writes on what it has not just read: `/scale` is PUT with the resourceVersion of the last look, so
//! whoever changed it meanwhile, even a controller that was frozen in the middle of an order, makes it fail and be
//! looked at anew. Nothing is polled: pods, owners and the versions of targets come from one watch of each kind for the
//! whole namespace, and `/scale` is read only when its object has changed, and every half minute, so that an API server
//! that is frozen is noticed. A pod's name is its member's name: consumers run with it as their `--client-id`.
//!
//! The controller leaves the replicas as they are when it stops, and finds them so when it starts.

mod namespace;
mod owners;
mod pods;
mod refusal;
mod selector;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::Client;
use kube::api::PostParams;
use kube::core::{Selector, SelectorExt as _};
use tidegate_core::time::{Clock, Timestamp, UnixMillis};

use self::namespace::{Kind, Namespace, Version, resource_name};
use self::owners::{Owner, who_scales};
use self::pods::Book;
use self::refusal::{Ask, in_time, refused};
use super::{State, Target, TargetError, TargetErrorKind};
use crate::crd::ScaleTargetRef;

/// How old a look at `/scale` may be although its object has not changed: a watch that says nothing may be dead.
const READ_MAX: Duration = Duration::from_secs(30);
/// In whose name the API server records the changes.
const FIELD_MANAGER: &str = "tidegate-controller";

/// The targets of one namespace. Clones share its watches, which end with the last of them and of their targets.
#[derive(Clone, Debug)]
pub struct KubernetesTargets(Arc<Namespace>);

impl KubernetesTargets {
    /// Targets in `namespace`. Nothing is asked or watched before the first of them is looked at.
    #[must_use]
    pub fn new(client: Client, namespace: &str, clock: Clock, wall: fn() -> UnixMillis) -> Self {
        Self(Arc::new(Namespace::new(client, namespace, clock, wall)))
    }

    /// Returns the target that `target` names, whether or not it exists.
    #[must_use]
    pub fn target(&self, target: &ScaleTargetRef) -> Kubernetes {
        Kubernetes {
            namespace: Arc::clone(&self.0),
            target: target.clone(),
            read: None,
            book: Book::default(),
        }
    }
}

/// One scaled object.
#[derive(Debug)]
pub struct Kubernetes {
    namespace: Arc<Namespace>,
    target: ScaleTargetRef,
    /// What was read last; `None` if it must be read before anything is ordered.
    read: Option<Read>,
    book: Book,
}

#[derive(Debug)]
struct Read {
    scale: Scale,
    selector: Selector,
    at: Timestamp,
}

impl Target for Kubernetes {
    async fn observe(&mut self, now: Timestamp) -> Result<State, TargetError> {
        let looked = in_time(self.look(now)).await;
        if looked.is_err() {
            self.read = None;
        }
        looked
    }

    async fn scale(&mut self, replicas: u32, now: Timestamp) -> Result<(), TargetError> {
        let Some(Read { mut scale, selector, .. }) = self.read.take() else {
            let message = format!("{self} has to be looked at before it is scaled");
            return Err(TargetError::new(TargetErrorKind::Conflict, message));
        };
        let ordered = async {
            self.unowned().await?;
            let kind = self.namespace.kind(&self.target).await?;
            scale.spec.get_or_insert_default().replicas = Some(i32::try_from(replicas).unwrap_or(i32::MAX));
            let params =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            let call = self.namespace.objects(&kind).replace_scale(&self.target.name, &params, &scale).await;
            call.map_err(|error| self.refused("update", &kind, error))
        };
        let scale = in_time(ordered).await?;
        self.read = Some(Read { scale, selector, at: now });
        Ok(())
    }

    /// Leaves the replicas as they are: they consume without the controller.
    async fn shut_down(&mut self) -> Vec<String> {
        Vec::new()
    }
}

impl Kubernetes {
    async fn look(&mut self, now: Timestamp) -> Result<State, TargetError> {
        self.unowned().await?;
        let kind = self.namespace.kind(&self.target).await?;
        let name = &self.target.name;
        let version = self.namespace.versions(&kind).look(|versions| versions.get(name).cloned()).await?;
        let read = match self.read.take().filter(|read| read.is_current(version.as_ref(), now)) {
            Some(read) => read,
            None => self.read_scale(&kind, now).await?,
        };
        let ordered = read.scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let ordered = u32::try_from(ordered).unwrap_or(0);
        let pods = self.namespace.pods();
        let state = pods.look(|pods| {
            self.book.state(ordered, pods.iter().filter(|(_, pod)| read.selector.matches(&pod.labels)))
        });
        let state = state.await?;
        self.read = Some(read);
        Ok(state)
    }

    async fn read_scale(&self, kind: &Kind, now: Timestamp) -> Result<Read, TargetError> {
        let read = self.namespace.objects(kind).get_scale(&self.target.name).await;
        let scale = read.map_err(|error| self.refused("get", kind, error))?;
        let selector =
            scale.status.as_ref().and_then(|status| status.selector.as_deref()).unwrap_or_default();
        let Some(selector) = selector::parse(selector) else {
            let message =
                format!("{self} does not say which pods are its own: status.selector is {selector:?}");
            return Err(TargetError::new(TargetErrorKind::Unsupported, message));
        };
        Ok(Read { scale, selector, at: now })
    }

    /// Returns an error if somebody else scales the target.
    async fn unowned(&self) -> Result<(), TargetError> {
        for owner in [Owner::ScaledObject, Owner::HorizontalPodAutoscaler] {
            let claims = self.namespace.claims(owner);
            if let Some(name) = claims.look(|claims| who_scales(claims, &self.target)).await? {
                let message = owner.owns(&name, &self.target, &self.namespace.name);
                return Err(TargetError::new(TargetErrorKind::Owned, message));
            }
        }
        Ok(())
    }

    fn refused(&self, verb: &'static str, kind: &Kind, error: kube::Error) -> TargetError {
        let resource = format!("{}/scale", resource_name(&kind.resource));
        let ask = Ask { verb, resource, namespace: self.namespace.name.clone() };
        let refused = refused(&ask, error);
        match refused.kind {
            TargetErrorKind::NotFound => TargetError::new(refused.kind, format!("{self} does not exist")),
            _ => refused,
        }
    }
}

/// `Deployment consumer in namespace ingest`.
impl fmt::Display for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in namespace {}", self.target.kind, self.target.name, self.namespace.name)
    }
}

impl Read {
    fn is_current(&self, version: Option<&Version>, now: Timestamp) -> bool {
        version == Some(&Version(self.scale.metadata.resource_version.clone()))
            && now.since(self.at) < READ_MAX
    }
}

#[cfg(test)]
mod tests;
