//! The IngestScalers of the namespace as the watch tells of them.
//!
//! Owns what is known of the objects; changes come in as events and go out as one list, so that nobody depends on which
//! event came. An object that cannot be read is kept with what is wrong with it: one wrong spec, let in by an older CRD,
//! must not blind the watch for all others. As large as what the API server lists.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::runtime::watcher;

use super::plan::{Object, TargetKey, Wish};
use crate::crd::{IngestScalerSpec, IngestScalerStatus, ScaleTargetRef};
use crate::scaler::GroupSettings;

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) object: Object<ScaleTargetRef>,
    pub(super) generation: Option<i64>,
    /// Its status when this generation was first seen.
    pub(super) stored: Option<IngestScalerStatus>,
}

/// The objects, by name.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: BTreeMap<String, Entry>,
    /// What a list that is not complete yet has shown so far.
    listing: Option<BTreeMap<String, Entry>>,
    listed: bool,
}

impl Index {
    /// Returns what is known; `None` before the first list was complete, when a missing object means nothing.
    pub(super) fn entries(&self) -> Option<&BTreeMap<String, Entry>> {
        self.listed.then_some(&self.entries)
    }

    /// Takes in an event. Returns whether there is something else to do now: our own writes of a status are not.
    pub(super) fn take(&mut self, event: watcher::Event<DynamicObject>) -> bool {
        match event {
            watcher::Event::Init => {
                self.listing = Some(BTreeMap::new());
                false
            }
            watcher::Event::InitApply(object) => {
                let name = object.name_any();
                if let Some(listing) = &mut self.listing
                    && object.metadata.deletion_timestamp.is_none()
                {
                    listing.insert(name, read(object));
                }
                false
            }
            watcher::Event::InitDone => {
                self.entries = self.listing.take().unwrap_or_default();
                self.listed = true;
                true
            }
            watcher::Event::Apply(object) if object.metadata.deletion_timestamp.is_some() => {
                self.entries.remove(&object.name_any()).is_some()
            }
            watcher::Event::Apply(object) => {
                let name = object.name_any();
                let known = self.entries.get(&name).is_some_and(|known| {
                    Some(&known.object.uid) == object.metadata.uid.as_ref()
                        && known.generation.is_some()
                        && known.generation == object.metadata.generation
                });
                if !known {
                    self.entries.insert(name, read(object));
                }
                !known
            }
            watcher::Event::Delete(object) => self.entries.remove(&object.name_any()).is_some(),
        }
    }
}

fn read(object: DynamicObject) -> Entry {
    let name = object.name_any();
    let DynamicObject { metadata, mut data, .. } = object;
    let mut part = |key: &str| data.get_mut(key).map(serde_json::Value::take).unwrap_or_default();
    let wish = serde_json::from_value::<IngestScalerSpec>(part("spec"))
        .map_err(|problem| format!("spec: {problem}"))
        .and_then(|spec| {
            let settings = GroupSettings::try_from(&spec)
                .map_err(|wrong| format!("{} = {}: allowed is {}", wrong.key, wrong.value, wrong.allowed))?;
            let target_ref = spec.scale_target_ref;
            let target = TargetKey::new(&target_ref.api_version, &target_ref.kind, &target_ref.name);
            Ok(Wish { settings, target, target_ref })
        });
    // A status of another version is none: it is written anew.
    let stored = serde_json::from_value(part("status")).ok();
    Entry {
        object: Object {
            name,
            uid: metadata.uid.unwrap_or_default(),
            created: metadata.creation_timestamp.map(|time| time.0),
            wish,
        },
        generation: metadata.generation,
        stored,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use watcher::Event;

    use super::*;

    fn object(name: &str, generation: i64, spec: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "IngestScaler",
            "metadata": {
                "name": name, "namespace": "ingest", "uid": format!("uid-{name}"), "generation": generation,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": spec,
        }))
        .expect("it is an object")
    }

    fn spec(group: &str) -> Value {
        json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "consumer"},
            "kafka": {"bootstrapServers": "127.0.0.1:9092", "consumerGroup": group, "topics": ["telemetry"]},
            "slo": {"delay": "10s"},
            "replicas": {"min": 1, "max": 8},
        })
    }

    fn names(index: &Index) -> Vec<&str> {
        index.entries().into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect()
    }

    #[test]
    fn nothing_is_known_before_the_first_list_is_complete_and_a_later_list_replaces_all() {
        let mut index = Index::default();
        assert!(!index.take(Event::Init));
        assert!(!index.take(Event::InitApply(object("a", 1, &spec("g")))));
        assert!(index.entries().is_none(), "a list that is not complete shows nobody as missing");
        assert!(index.take(Event::InitDone));
        assert_eq!(names(&index), ["a"]);
        index.take(Event::Init);
        index.take(Event::InitApply(object("b", 1, &spec("g"))));
        assert_eq!(names(&index), ["a"], "the old list holds until the new one is complete");
        assert!(index.take(Event::InitDone));
        assert_eq!(names(&index), ["b"]);
    }

    #[test]
    fn a_status_that_was_written_is_nothing_to_do_and_a_new_generation_is() {
        let mut index = Index::default();
        index.take(Event::InitDone);
        assert!(index.take(Event::Apply(object("a", 1, &spec("g")))));
        let mut written = object("a", 1, &spec("g"));
        written.data["status"] = json!({"want": 3});
        assert!(!index.take(Event::Apply(written)));
        assert!(index.take(Event::Apply(object("a", 2, &spec("h")))));
        let mut again = object("a", 2, &spec("h"));
        again.metadata.uid = Some("another".to_owned());
        assert!(index.take(Event::Apply(again)), "deleted and made again");
    }

    #[test]
    fn an_object_that_is_being_deleted_is_gone() {
        let mut index = Index::default();
        index.take(Event::InitDone);
        index.take(Event::Apply(object("a", 1, &spec("g"))));
        let mut going = object("a", 2, &spec("g"));
        going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
        assert!(index.take(Event::Apply(going)), "it waits for a finalizer");
        assert!(names(&index).is_empty());
        index.take(Event::Apply(object("b", 1, &spec("g"))));
        assert!(index.take(Event::Delete(object("b", 1, &spec("g")))));
        assert!(names(&index).is_empty());
    }

    #[test]
    fn a_spec_that_cannot_be_read_is_kept_with_what_is_wrong() {
        let mut index = Index::default();
        index.take(Event::InitDone);
        let mut wrong = spec("g");
        wrong["slo"]["delay"] = json!("0s");
        let mut missing = spec("g");
        missing.as_object_mut().unwrap().remove("kafka");
        index.take(Event::Apply(object("missing", 1, &missing)));
        index.take(Event::Apply(object("wrong", 1, &wrong)));
        let entries = index.entries().unwrap();
        let problem = |name: &str| entries[name].object.wish.clone().unwrap_err();
        assert!(problem("missing").contains("kafka"), "{}", problem("missing"));
        assert!(problem("wrong").contains("slo.delay"), "{}", problem("wrong"));
    }
}
