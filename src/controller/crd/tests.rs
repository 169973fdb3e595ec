use std::time::Duration;

use serde_json::{Value, json};
use tidegate_core::scaling::Policy;
use tidegate_runtime::config::Problem;

use super::*;
use crate::scaler::GroupSettings;

fn good() -> Value {
    json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "consumer"},
        "kafka": {"bootstrapServers": "kafka:9092", "consumerGroup": "telemetry", "topics": ["telemetry"]},
        "slo": {"delay": "10s"},
        "replicas": {"max": 8},
    })
}

fn spec(value: Value) -> Result<IngestScalerSpec, String> {
    serde_json::from_value(value).map_err(|problem| problem.to_string())
}

fn settings(value: Value) -> Result<GroupSettings, Problem> {
    GroupSettings::try_from(&spec(value).expect("it can be read"))
}

fn schema_of(path: &str) -> Value {
    let crd = serde_json::to_value(IngestScaler::crd()).expect("plain data");
    let mut at = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    for key in path.split('.').filter(|key| !key.is_empty()) {
        at = at["properties"][key].clone();
    }
    assert!(at.is_object(), "no schema of {path}");
    at
}

#[test]
fn the_manifest_is_what_the_code_says() {
    let manifest = include_str!("../../../charts/manifests/crd.yaml");
    assert!(
        manifest == crd_yaml(),
        "charts/manifests/crd.yaml is not what `tidegate crd` prints: run `make generate`"
    );
}

#[test]
fn the_example_is_allowed() {
    let manifest = include_str!("../../../charts/manifests/ingestscaler.yaml");
    let example: IngestScaler = serde_saphyr::from_str(manifest).expect("an IngestScaler");
    assert_eq!(GroupSettings::try_from(&example.spec).expect("it is allowed").topics.len(), 3);
}

#[test]
fn what_is_not_written_has_the_policys_defaults() {
    let settings = settings(good()).expect("it is allowed");
    assert_eq!(settings.policy, Policy::new(Duration::from_secs(10), 1, 8));
    assert_eq!(schema_of("kafka.commitInterval")["default"], "5s");
    assert_eq!(schema_of("replicas.min")["default"], 1);
    assert_eq!(schema_of("behavior")["default"], json!({"down": {"after": "5m", "maxStep": 4}}));
    assert_eq!(schema_of("behavior.down")["default"], json!({"after": "5m", "maxStep": 4}));
}

#[test]
fn everything_that_can_be_written_reaches_the_policy() {
    let mut all = good();
    all["kafka"]["commitInterval"] = json!("1s");
    all["replicas"]["min"] = json!(2);
    all["capacity"] = json!({"perReplica": 250.5});
    all["behavior"] = json!({"up": {"maxStep": 3}, "down": {"after": "1m30s", "maxStep": 2}});
    let expected = Policy {
        commit_interval: Duration::from_secs(1),
        capacity_per_replica: Some(250.5),
        up_max_step: 3,
        down_after: Duration::from_secs(90),
        down_max_step: 2,
        ..Policy::new(Duration::from_secs(10), 2, 8)
    };
    assert_eq!(settings(all.clone()).expect("it is allowed").policy, expected);
    let spec = spec(all.clone()).expect("it can be read");
    assert_eq!(serde_json::to_value(spec).expect("plain data"), all, "and is written as it was");
}

#[test]
fn a_stored_spec_that_breaks_a_rule_is_named_as_the_object_writes_it() {
    let table: [(&str, &str, Value); 12] = [
        ("replicas.min", "/replicas/min", json!(9)),
        ("replicas.max", "/replicas/max", json!(20_000)),
        ("slo.delay", "/slo/delay", json!("0s")),
        ("kafka.bootstrapServers", "/kafka/bootstrapServers", json!(" ")),
        ("kafka.consumerGroup", "/kafka/consumerGroup", json!("")),
        ("kafka.topics", "/kafka/topics", json!([])),
        ("kafka.commitInterval", "/kafka/commitInterval", json!("6m")),
        ("capacity.perReplica", "/capacity", json!({"perReplica": 0.0})),
        ("behavior.up.maxStep", "/behavior", json!({"up": {"maxStep": 0}})),
        ("behavior.down.maxStep", "/behavior", json!({"down": {"maxStep": 0}})),
        ("behavior.down.after", "/behavior", json!({"down": {"after": "25h"}})),
        ("scaleTargetRef.name", "/scaleTargetRef/name", json!("../../secrets/key")),
    ];
    for (key, place, value) in table {
        let mut wrong = good();
        let (parent, field) = place.rsplit_once('/').expect("a pointer");
        wrong.pointer_mut(parent).expect("it is there")[field] = value;
        let problem = settings(wrong).expect_err(key);
        assert_eq!(problem.key, key);
        assert!(!problem.allowed.is_empty());
    }
}

#[test]
fn a_field_that_this_version_does_not_know_is_no_wish_it_can_fulfil() {
    let mut newer = good();
    newer["mode"] = json!("Paused");
    assert!(spec(newer).expect_err("a pause must not be ignored").contains("mode"));
    let status: IngestScalerStatus =
        serde_json::from_value(json!({"want": 3, "room": 5})).expect("a newer status");
    assert_eq!(status.want, Some(3));
}

#[test]
fn the_bounds_of_the_schema_are_those_of_the_policy() {
    let allowed = |path: &str, value: Value| {
        let mut tried = good();
        let (parent, field) = path.rsplit_once('.').expect("a path");
        tried["replicas"]["max"] = json!(10_000);
        tried["capacity"] = json!({});
        tried["behavior"] = json!({"up": {}, "down": {}});
        let mut at = &mut tried;
        for key in parent.split('.') {
            at = &mut at[key];
        }
        at[field] = value;
        spec(tried).is_ok_and(|spec| GroupSettings::try_from(&spec).is_ok())
    };
    for (path, least, most) in [
        ("replicas.min", 1_u32, 10_000_u32),
        ("replicas.max", 1, 10_000),
        ("behavior.up.maxStep", 1, u32::MAX),
        ("behavior.down.maxStep", 1, u32::MAX),
    ] {
        let schema = schema_of(path);
        let bounds = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        assert_eq!(bounds, (Some(least.into()), Some(most.into())), "{path}");
        assert!(allowed(path, json!(least)) && allowed(path, json!(most)), "{path}");
        assert!(!allowed(path, json!(least - 1)) && !allowed(path, json!(u64::from(most) + 1)), "{path}");
    }
    let rule = |path: &str| {
        let schema = schema_of(path);
        schema["x-kubernetes-validations"][0]["rule"].as_str().expect("a rule").to_owned()
    };
    assert_eq!(rule("capacity.perReplica"), "self >= 0.001 && self <= 1000000000.0");
    let per_replica = |mu: f64| allowed("capacity.perReplica", json!(mu));
    assert!(per_replica(0.001) && per_replica(1e9) && !per_replica(0.000_9) && !per_replica(1.1e9));
    for (path, least, most) in [
        ("slo.delay", 1000_u64, 3_600_000_u64),
        ("kafka.commitInterval", 0, 300_000),
        ("behavior.down.after", 1000, 86_400_000),
    ] {
        let millis = |millis: u64| json!(duration::write(Duration::from_millis(millis)));
        assert!(allowed(path, millis(least)) && allowed(path, millis(most)), "{path}");
        assert!(
            !allowed(path, millis(most + 1)) && (least == 0 || !allowed(path, millis(least - 1))),
            "{path}"
        );
        for bound in [least, most] {
            let bound = duration::write(Duration::from_millis(bound));
            assert!(rule(path).contains(&format!("duration('{bound}')")), "{path}: {bound}");
        }
    }
}

#[test]
fn every_field_is_explained() {
    fn check(path: &str, schema: &Value) {
        let text = schema["description"].as_str().unwrap_or_default();
        assert!(text.len() > 5 && !text.contains('`'), "{path}: {text:?}");
        for (key, field) in schema["properties"].as_object().into_iter().flatten() {
            check(&format!("{path}.{key}"), field);
        }
    }
    check("spec", &schema_of(""));
}
