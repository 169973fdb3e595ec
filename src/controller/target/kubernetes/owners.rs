//! Who else scales a target: a HorizontalPodAutoscaler or KEDA's ScaledObject that points at it.
//!
//! Two that scale one target undo each other for ever, so nothing is scaled while there is another. A second
//! IngestScaler is the operator's business.

use std::collections::BTreeMap;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use super::watch::{Fact, Seen};
use crate::crd::ScaleTargetRef;

/// A kind of object that scales another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// KEDA's. It makes a HorizontalPodAutoscaler, so whoever looks has to look for it first.
    ScaledObject,
    /// The autoscaler of Kubernetes.
    HorizontalPodAutoscaler,
}

impl Owner {
    /// Returns how to ask for its objects.
    pub(super) fn resource(self) -> ApiResource {
        let (kind, plural) = match self {
            Self::ScaledObject => {
                (GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"), "scaledobjects")
            }
            Self::HorizontalPodAutoscaler => (
                GroupVersionKind::gvk("autoscaling", "v2", "HorizontalPodAutoscaler"),
                "horizontalpodautoscalers",
            ),
        };
        ApiResource::from_gvk_with_plural(&kind, plural)
    }

    /// Returns that `name`, one of its objects, scales the target, and what to do.
    pub(super) fn owns(self, name: &str, target: &ScaleTargetRef, namespace: &str) -> String {
        let ApiResource { kind, plural, .. } = self.resource();
        let ScaleTargetRef { kind: target_kind, name: target_name, .. } = target;
        format!(
            "{kind} {name} scales {target_kind} {target_name} already: delete it (kubectl delete {plural} {name} \
             --namespace {namespace}) or this IngestScaler"
        )
    }
}

/// What an object says that it scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// `None` if it leaves it open.
    group: Option<String>,
    kind: String,
    name: String,
}

impl Claim {
    fn names(&self, target: &ScaleTargetRef) -> bool {
        self.kind == target.kind
            && self.name == target.name
            && self.group.as_deref().is_none_or(|group| group == group_of(&target.api_version))
    }
}

impl Fact for Claim {
    type Object = DynamicObject;

    fn read(object: &DynamicObject, _: Option<&Self>, _: Seen) -> Self {
        let target = object.data.pointer("/spec/scaleTargetRef");
        let said = |key| target.and_then(|target| target.get(key)).and_then(Value::as_str);
        Self {
            group: said("apiVersion").map(|version| group_of(version).to_owned()),
            // KEDA's default; a HorizontalPodAutoscaler has to say it.
            kind: said("kind").unwrap_or("Deployment").to_owned(),
            name: said("name").unwrap_or_default().to_owned(),
        }
    }
}

/// Returns the name of the first object that scales `target`.
pub(super) fn who_scales(claims: &BTreeMap<String, Claim>, target: &ScaleTargetRef) -> Option<String> {
    claims.iter().find(|(_, claim)| claim.names(target)).map(|(name, _)| name.clone())
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_core::time::{Timestamp, UnixMillis};

    use super::*;

    #[test]
    fn an_owner_is_whoever_points_at_the_target_in_whatever_version() {
        let target = ScaleTargetRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: "consumer".to_owned(),
        };
        let table = [
            (json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "consumer"}), true),
            (json!({"apiVersion": "apps/v1beta2", "kind": "Deployment", "name": "consumer"}), true),
            (json!({"kind": "Deployment", "name": "consumer"}), true),
            (json!({"name": "consumer"}), true),
            (json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}), false),
            (json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "consumer"}), false),
            (json!({"apiVersion": "example.com/v1", "kind": "Deployment", "name": "consumer"}), false),
            (json!(null), false),
        ];
        for (points_at, owns) in table {
            let object: DynamicObject = serde_json::from_value(json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
                "spec": {"scaleTargetRef": points_at},
            }))
            .unwrap();
            let seen = Seen { at: Timestamp::ZERO, wall: UnixMillis(0), listed: true };
            let claims = BTreeMap::from([("web".to_owned(), Claim::read(&object, None, seen))]);
            assert_eq!(who_scales(&claims, &target).is_some(), owns, "{points_at}");
        }
    }
}
