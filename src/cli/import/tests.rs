//! Manifests as people have them, and what becomes of each field.

use std::time::Duration;

use super::fields::Fate;
use super::keda::{Imported, import};

const SLO: Duration = Duration::from_secs(10);

const FITTING: &str = r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: telemetry
  namespace: ingest
  labels: {team: edge}
spec:
  scaleTargetRef:
    name: telemetry-consumer
  pollingInterval: 10
  minReplicaCount: 2
  maxReplicaCount: 32
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          stabilizationWindowSeconds: 120
          policies:
          - {type: Pods, value: 3, periodSeconds: 60}
  triggers:
  - type: kafka
    metadata:
      bootstrapServers: kafka-0:9092,kafka-1:9092
      consumerGroup: telemetry
      topic: telemetry
      lagThreshold: "50"
      offsetResetPolicy: earliest
  - type: kafka
    metadata:
      bootstrapServers: kafka-0:9092,kafka-1:9092
      consumerGroup: telemetry
      topic: alarms
"#;

fn imported(text: &str) -> Imported {
    import(text, SLO).unwrap()
}

fn lost(imported: &Imported) -> Vec<&str> {
    let lost = imported.fields.iter().filter(|field| matches!(field.fate, Fate::Lost(_)));
    lost.map(|field| field.path.as_str()).collect()
}

#[test]
fn what_fits_is_kept_and_nothing_is_lost() {
    let imported = imported(FITTING);
    assert_eq!(lost(&imported), [] as [&str; 0], "{:#?}", imported.fields);
    let object: serde_json::Value = serde_saphyr::from_str(&imported.yaml).unwrap();
    let wanted = serde_json::json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "IngestScaler",
        "metadata": {"name": "telemetry", "namespace": "ingest", "labels": {"team": "edge"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "telemetry-consumer"},
            "kafka": {
                "bootstrapServers": "kafka-0:9092,kafka-1:9092",
                "consumerGroup": "telemetry",
                "topics": ["telemetry", "alarms"]
            },
            "slo": {"delay": "10s"},
            "replicas": {"min": 2, "max": 32},
            "behavior": {"down": {"after": "2m", "maxStep": 3}}
        }
    });
    assert_eq!(object, wanted, "{}", imported.yaml);
}

#[test]
fn every_field_is_told_with_what_became_of_it() {
    let imported = imported(FITTING);
    let told: Vec<String> = imported.fields.iter().map(ToString::to_string).collect();
    let has = |words: &[&str]| told.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["kept", "spec.maxReplicaCount = 32", "spec.replicas.max"]), "{told:#?}");
    assert!(
        has(&["needless", "spec.triggers[0].metadata.lagThreshold = 50", "slo.delay = 10s"]),
        "{told:#?}"
    );
    assert!(has(&["needless", "spec.pollingInterval = 10"]), "{told:#?}");
    // Every leaf of the manifest has a line.
    for key in [
        "name",
        "namespace",
        "labels",
        "minReplicaCount",
        "consumerGroup",
        "topic",
        "offsetResetPolicy",
        "policies",
    ] {
        assert!(told.iter().any(|line| line.contains(&format!("{key} = "))), "{key}: {told:#?}");
    }
}

#[test]
fn what_cannot_be_kept_is_named() {
    for (from, to, path) in [
        ("minReplicaCount: 2", "minReplicaCount: 0", "spec.minReplicaCount"),
        ("  minReplicaCount: 2\n", "", "spec.minReplicaCount"),
        ("pollingInterval: 10", "idleReplicaCount: 0", "spec.idleReplicaCount"),
        ("pollingInterval: 10", "somethingNew: 7", "spec.somethingNew"),
        ("pollingInterval: 10", "fallback: {failureThreshold: 3, replicas: 6}", "spec.fallback.replicas"),
        (
            "periodSeconds: 60",
            "periodSeconds: 15",
            "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.policies",
        ),
        (
            "offsetResetPolicy: earliest",
            "offsetResetPolicy: latest",
            "spec.triggers[0].metadata.offsetResetPolicy",
        ),
        ("lagThreshold: \"50\"", "sasl: plaintext", "spec.triggers[0].metadata.sasl"),
        (
            "lagThreshold: \"50\"",
            "allowIdleConsumers: \"true\"",
            "spec.triggers[0].metadata.allowIdleConsumers",
        ),
        (
            "  - type: kafka\n    metadata:\n      bootstrapServers: kafka-0:9092,kafka-1:9092\n      consumerGroup: telemetry\n      topic: alarms\n",
            "  - type: cron\n    metadata: {start: 0 7 * * *}\n",
            "spec.triggers[1]",
        ),
        (
            "topic: alarms",
            "topic: alarms\n    authenticationRef: {name: kafka}",
            "spec.triggers[1].authenticationRef",
        ),
        (
            "  labels: {team: edge}",
            "  annotations: {autoscaling.keda.sh/paused: \"true\"}",
            "metadata.annotations.autoscaling.keda.sh/paused",
        ),
        (
            "        scaleDown:",
            "        scaleUp: {policies: [{type: Pods, value: 4, periodSeconds: 60}]}\n        scaleDown:",
            "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.policies",
        ),
    ] {
        assert!(FITTING.contains(from), "{from}");
        let imported = imported(&FITTING.replacen(from, to, 1));
        assert_eq!(lost(&imported), [path], "{to}");
    }
}

#[test]
fn what_cannot_become_an_ingest_scaler_says_what_could() {
    let said = |text: &str| import(text, SLO).unwrap_err();
    assert!(said("kind: Deployment").contains("exactly one object of kind ScaledObject"));
    assert!(said(&format!("{FITTING}---{FITTING}")).contains("exactly one"));
    assert!(said("a: [").starts_with("YAML ("));
    assert!(said(&FITTING.replace("type: kafka", "type: prometheus")).contains("a trigger of type kafka"));
    assert!(said(&FITTING.replace("topic:", "topicFromEnv:")).contains("names its topic"));
    assert!(
        said(&FITTING.replace("    name: telemetry-consumer", "    kind: Deployment"))
            .contains("scaleTargetRef.name")
    );
}

#[test]
fn other_objects_of_the_manifest_are_passed_over() {
    let imported = imported(&format!("kind: Deployment\nmetadata: {{name: x}}\n---{FITTING}"));
    assert!(imported.yaml.contains("name: telemetry") && lost(&imported).is_empty());
}
