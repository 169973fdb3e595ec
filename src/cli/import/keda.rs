//! A KEDA `ScaledObject` with a kafka trigger as an `IngestScaler`.
//!
//! Names and defaults of its fields: keda.sh, "`ScaledObject` specification" and "Apache Kafka" scaler (2.21). Nothing is
//! dropped in silence: each field is kept, needless for a reason, or lost for a reason.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{Fate, Field, Part, shown};
use super::time;

/// KEDA's default of `maxReplicaCount`.
const MAX_DEFAULT: u64 = 100;

/// The result of an import.
#[derive(Debug)]
pub(super) struct Imported {
    /// The `IngestScaler`.
    pub(super) yaml: String,
    /// What became of each field of the manifest, and of defaults that matter.
    pub(super) fields: Vec<Field>,
}

/// The object, with the fields that `tidegate crd` has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IngestScaler {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Serialize)]
struct Metadata {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    labels: Map<String, Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    scale_target_ref: TargetRef,
    kafka: Kafka,
    slo: Slo,
    replicas: Replicas,
    #[serde(skip_serializing_if = "Behavior::is_default")]
    behavior: Behavior,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetRef {
    api_version: String,
    kind: String,
    name: String,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kafka {
    bootstrap_servers: String,
    consumer_group: String,
    topics: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Slo {
    delay: String,
}

#[derive(Debug, Serialize)]
struct Replicas {
    min: u64,
    max: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Behavior {
    #[serde(skip_serializing_if = "Down::is_default")]
    down: Down,
}

impl Behavior {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Down {
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_step: Option<u64>,
}

impl Down {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Turns the manifest `text` into an `IngestScaler` that promises `slo`.
///
/// # Errors
/// What is allowed instead, if there is nothing that could become one.
pub(super) fn import(text: &str, slo: Duration) -> Result<Imported, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| format!("YAML ({})", error.to_string().lines().next().unwrap_or_default()))?;
    let is_ours = |document: &Value| document["kind"] == "ScaledObject";
    let mut objects = documents.into_iter().filter(is_ours);
    let (Some(object), None) = (objects.next(), objects.next()) else {
        return Err("a manifest with exactly one object of kind ScaledObject (keda.sh/v1alpha1)".to_owned());
    };
    let mut fields = Vec::new();
    let mut object = Part::new("", object);
    object.note(&mut fields, "apiVersion", |version| match version {
        "keda.sh/v1alpha1" => Fate::Kept("apiVersion"),
        _ => Fate::Lost("only keda.sh/v1alpha1 is known".to_owned()),
    });
    object.note(&mut fields, "kind", |_| Fate::Kept("kind"));
    object.note(&mut fields, "status", |_| needless("it is written by KEDA"));
    let metadata = metadata(object.part("metadata"), &mut fields)?;
    let spec = spec(object.part("spec"), slo, &mut fields)?;
    object.rest(&mut fields);
    let scaler = IngestScaler { api_version: "tidegate.dev/v1alpha1", kind: "IngestScaler", metadata, spec };
    let yaml = serde_saphyr::to_string(&scaler).map_err(|error| error.to_string())?;
    Ok(Imported { yaml, fields })
}

fn needless(why: &str) -> Fate {
    Fate::Needless(why.to_owned())
}

fn lost(why: &str) -> Fate {
    Fate::Lost(why.to_owned())
}

/// Notes a field that was taken and kept.
fn kept(fields: &mut Vec<Field>, path: String, value: &str, to: &'static str) {
    fields.push(Field { path, value: value.to_owned(), fate: Fate::Kept(to) });
}

fn metadata(mut part: Part, fields: &mut Vec<Field>) -> Result<Metadata, String> {
    let name = part.text("name").ok_or("a ScaledObject with metadata.name")?;
    kept(fields, part.path("name"), &name, "metadata.name");
    let namespace = part.text("namespace");
    if let Some(namespace) = &namespace {
        kept(fields, part.path("namespace"), namespace, "metadata.namespace");
    }
    let labels = match part.take("labels") {
        Some(Value::Object(labels)) => labels,
        _ => Map::new(),
    };
    if !labels.is_empty() {
        kept(fields, part.path("labels"), &shown(&Value::Object(labels.clone())), "metadata.labels");
    }
    if let Some(Value::Object(annotations)) = part.take("annotations") {
        for (name, value) in annotations {
            let fate = match name.as_str() {
                "kubectl.kubernetes.io/last-applied-configuration" => needless("kubectl writes it anew"),
                "scaledobject.keda.sh/transfer-hpa-ownership" | "validations.keda.sh/hpa-ownership" => {
                    needless("there is no HorizontalPodAutoscaler")
                }
                "autoscaling.keda.sh/paused" if shown(&value) == "false" => needless("it is not paused"),
                "autoscaling.keda.sh/paused" | "autoscaling.keda.sh/paused-replicas" => {
                    lost("an IngestScaler cannot be paused yet: do not apply it before it may scale")
                }
                _ => lost("annotations are not carried over: what reads them reads them on a ScaledObject"),
            };
            fields.push(Field {
                path: part.path(&format!("annotations.{name}")),
                value: shown(&value),
                fate,
            });
        }
    }
    for written_by_the_server in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "finalizers",
        "selfLink",
    ] {
        part.note(fields, written_by_the_server, |_| needless("it is written by the API server or by KEDA"));
    }
    part.rest(fields);
    Ok(Metadata { name, namespace, labels })
}

fn spec(mut part: Part, slo: Duration, fields: &mut Vec<Field>) -> Result<Spec, String> {
    let scale_target_ref = target(part.part("scaleTargetRef"), fields)?;
    let replicas = replicas(&mut part, fields);
    part.note(fields, "pollingInterval", |_| {
        needless("Kafka is looked at every 5 s, and at once when a gateway reports a burst")
    });
    part.note(fields, "cooldownPeriod", |_| {
        needless("it is the time before scaling to zero, which is not done (see minReplicaCount)")
    });
    part.note(fields, "initialCooldownPeriod", |_| needless("it delays scaling to zero, which is not done"));
    part.note(fields, "idleReplicaCount", |_| {
        lost("there is no other count for an idle group than replicas.min")
    });
    fallback(part.part("fallback"), fields);
    let behavior = advanced(part.part("advanced"), fields);
    let kafka = triggers(part.take("triggers"), slo, fields)?;
    part.rest(fields);
    Ok(Spec { scale_target_ref, kafka, slo: Slo { delay: time(slo) }, replicas, behavior })
}

fn target(mut part: Part, fields: &mut Vec<Field>) -> Result<TargetRef, String> {
    let mut take = |key: &str, default: &str, to| {
        let value = part.text(key);
        if let Some(value) = &value {
            kept(fields, part.path(key), value, to);
        }
        value.unwrap_or_else(|| default.to_owned())
    };
    let api_version = take("apiVersion", "apps/v1", "spec.scaleTargetRef.apiVersion");
    let kind = take("kind", "Deployment", "spec.scaleTargetRef.kind");
    let name = take("name", "", "spec.scaleTargetRef.name");
    part.note(fields, "envSourceContainerName", |_| {
        needless("nothing is read from a container's environment")
    });
    part.rest(fields);
    if name.is_empty() {
        return Err("a ScaledObject with spec.scaleTargetRef.name".to_owned());
    }
    Ok(TargetRef { api_version, kind, name })
}

fn replicas(part: &mut Part, fields: &mut Vec<Field>) -> Replicas {
    let (min, max) = (part.number("minReplicaCount"), part.number("maxReplicaCount"));
    let path = part.path("minReplicaCount");
    match min {
        Some(min) if min > 0 => kept(fields, path, &min.to_string(), "spec.replicas.min"),
        _ => {
            let value = if min.is_some() { "0" } else { "0 (KEDA's default)" };
            let fate = lost("a group is not scaled to zero yet: replicas.min is 1");
            fields.push(Field { path, value: value.to_owned(), fate });
        }
    }
    match max {
        Some(max) => kept(fields, part.path("maxReplicaCount"), &max.to_string(), "spec.replicas.max"),
        None => kept(fields, part.path("maxReplicaCount"), "100 (KEDA's default)", "spec.replicas.max"),
    }
    let min = min.unwrap_or(0).max(1);
    Replicas { min, max: max.unwrap_or(MAX_DEFAULT).max(min) }
}

fn fallback(mut part: Part, fields: &mut Vec<Field>) {
    let behavior = part.text("behavior").unwrap_or_else(|| "static".to_owned());
    let path = part.path("behavior");
    let held = "without a known lag the count is held as it is";
    if let Some(replicas) = part.number("replicas") {
        let fate = if behavior == "currentReplicas" {
            needless(held)
        } else {
            Fate::Lost(format!("{held}; another count for that time cannot be set yet"))
        };
        fields.push(Field { path: part.path("replicas"), value: replicas.to_string(), fate });
        fields.push(Field { path, value: behavior, fate: needless("see fallback.replicas") });
    }
    part.note(fields, "failureThreshold", |_| needless("see fallback.replicas"));
    part.rest(fields);
}

fn advanced(mut part: Part, fields: &mut Vec<Field>) -> Behavior {
    part.note(fields, "restoreToOriginalReplicaCount", |value| match value {
        "false" => needless("that is how it is: a deleted IngestScaler leaves the count as it is"),
        _ => lost("a deleted IngestScaler leaves the count as it is"),
    });
    part.note(fields, "scalingModifiers", |_| lost("there are no formulas over several triggers"));
    let mut hpa = part.part("horizontalPodAutoscalerConfig");
    hpa.note(fields, "name", |_| needless("there is no HorizontalPodAutoscaler"));
    let mut behavior = hpa.part("behavior");
    up(behavior.part("scaleUp"), fields);
    let down = down(behavior.part("scaleDown"), fields);
    behavior.rest(fields);
    hpa.rest(fields);
    part.rest(fields);
    Behavior { down }
}

fn up(mut part: Part, fields: &mut Vec<Field>) {
    part.note(fields, "stabilizationWindowSeconds", |secs| match secs {
        "0" => needless("more replicas are ordered at once"),
        _ => lost("more replicas are ordered at once: noise is told from load by its size, not by waiting"),
    });
    part.note(fields, "policies", |_| {
        lost("the load that is measured is ordered in one step, since each step is a rebalance; behavior.up.maxStep limits a step, not a rate")
    });
    part.note(fields, "selectPolicy", |policy| match policy {
        "Disabled" => lost("growing cannot be switched off"),
        _ => needless("see scaleUp.policies"),
    });
    part.note(fields, "tolerance", |_| needless("hysteresis follows from the noise of the load"));
    part.rest(fields);
}

fn down(mut part: Part, fields: &mut Vec<Field>) -> Down {
    let mut down = Down::default();
    if let Some(secs) = part.number("stabilizationWindowSeconds") {
        let after = Duration::from_secs(secs.max(1));
        down.after = Some(time(after));
        kept(fields, part.path("stabilizationWindowSeconds"), &secs.to_string(), "spec.behavior.down.after");
    }
    let one_a_minute = |policies: &Value| {
        let [policy] = policies.as_array()?.as_slice() else { return None };
        (policy["type"] == "Pods" && policy["periodSeconds"] == 60)
            .then(|| policy["value"].as_u64())
            .flatten()
    };
    if let Some(policies) = part.take("policies") {
        let path = part.path("policies");
        let value = shown(&policies);
        let fate = match one_a_minute(&policies).filter(|pods| *pods > 0) {
            Some(pods) => {
                down.max_step = Some(pods);
                Fate::Kept("spec.behavior.down.maxStep")
            }
            None => lost(
                "steps down are a minute apart, of at most behavior.down.maxStep replicas: only one policy of type Pods with \
                 periodSeconds 60 is the same",
            ),
        };
        fields.push(Field { path, value, fate });
    }
    part.note(fields, "selectPolicy", |policy| match policy {
        "Disabled" => lost("shrinking cannot be switched off"),
        _ => needless("see scaleDown.policies"),
    });
    part.note(fields, "tolerance", |_| needless("hysteresis follows from the noise of the load"));
    part.rest(fields);
    down
}

fn triggers(triggers: Option<Value>, slo: Duration, fields: &mut Vec<Field>) -> Result<Kafka, String> {
    let triggers = match triggers {
        Some(Value::Array(triggers)) => triggers,
        _ => Vec::new(),
    };
    let mut kafka: Option<Kafka> = None;
    for (place, trigger) in triggers.into_iter().enumerate() {
        let path = format!("spec.triggers[{place}]");
        let mut part = Part::new(&path, trigger);
        let kind = part.text("type").unwrap_or_default();
        if kind != "kafka" && kind != "apache-kafka" {
            let fate = lost(match kind.as_str() {
                "cron" => "there is no schedule yet",
                _ => "only Kafka lag, offered load and room on nodes decide",
            });
            fields.push(Field { path, value: format!("type {kind}"), fate });
            continue;
        }
        kept(fields, part.path("type"), &kind, "spec.kafka");
        let one = trigger_kafka(part, slo, fields);
        match &mut kafka {
            None => kafka = Some(one),
            Some(first)
                if (&first.bootstrap_servers, &first.consumer_group)
                    == (&one.bootstrap_servers, &one.consumer_group) =>
            {
                first.topics.extend(one.topics);
            }
            Some(_) => {
                let fate = lost("an IngestScaler has one consumer group: write another one for it");
                fields.push(Field { path, value: one.consumer_group, fate });
            }
        }
    }
    let kafka = kafka.ok_or("a ScaledObject with a trigger of type kafka")?;
    let required = [
        (kafka.bootstrap_servers.is_empty(), "bootstrapServers"),
        (kafka.consumer_group.is_empty(), "consumerGroup"),
    ];
    match required.into_iter().find(|(missing, _)| *missing) {
        Some((_, key)) => Err(format!("a kafka trigger whose metadata has {key} (values from the environment are not known here)")),
        None if kafka.topics.is_empty() => {
            Err("a kafka trigger that names its topic: KEDA takes all that the group ever committed, an IngestScaler lists them".to_owned())
        }
        None => Ok(kafka),
    }
}

fn trigger_kafka(mut part: Part, slo: Duration, fields: &mut Vec<Field>) -> Kafka {
    part.note(fields, "name", |_| needless("nothing refers to it"));
    part.note(fields, "useCachedMetrics", |_| needless("each look at Kafka is used once"));
    part.note(fields, "metricType", |kind| match kind {
        "AverageValue" => needless("it is the default"),
        _ => lost("a count follows from the load, not from a ratio of metrics"),
    });
    part.note(fields, "authenticationRef", |_| lost("TLS and SASL towards Kafka cannot be configured yet"));
    let mut metadata = part.part("metadata");
    part.rest(fields);
    let mut kafka = Kafka::default();
    let mut take = |key: &str, to| {
        let value = metadata.text(key);
        if let Some(value) = &value {
            kept(fields, metadata.path(key), value, to);
        }
        value
    };
    kafka.bootstrap_servers = take("bootstrapServers", "spec.kafka.bootstrapServers").unwrap_or_default();
    kafka.consumer_group = take("consumerGroup", "spec.kafka.consumerGroup").unwrap_or_default();
    kafka.topics.extend(take("topic", "spec.kafka.topics"));
    metadata_rest(metadata, slo, fields);
    kafka
}

/// The knobs of the trigger: what each was for, and what does it now.
fn metadata_rest(mut part: Part, slo: Duration, fields: &mut Vec<Field>) {
    let off = |value: &str| matches!(value, "false" | "disable" | "none" | "");
    part.note(fields, "lagThreshold", |_| {
        Fate::Needless(format!(
            "spec.slo.delay = {} instead: consumers are sized by what one was measured to do and by the promised delay (choose it \
             with --slo)",
            time(slo)
        ))
    });
    part.note(fields, "activationLagThreshold", |_| {
        needless("it wakes a group from zero, which is not done")
    });
    part.note(fields, "offsetResetPolicy", |policy| match policy {
        "earliest" => needless("a group without a commit is counted from the oldest record"),
        _ => lost("a group without a commit is counted from the oldest record, not from the newest"),
    });
    part.note(fields, "allowIdleConsumers", |value| {
        if off(value) {
            needless("more consumers than partitions are never ordered")
        } else {
            lost("more consumers than partitions are never ordered")
        }
    });
    part.note(fields, "scaleToZeroOnInvalidOffset", |value| {
        if off(value) {
            needless("an unknown lag never gives replicas back")
        } else {
            lost("an unknown lag never gives replicas back")
        }
    });
    part.note(fields, "excludePersistentLag", |_| {
        needless("lag is judged by the time to work it off, not by its size: see the conditions of the IngestScaler")
    });
    part.note(fields, "limitToPartitionsWithLag", |value| {
        if off(value) {
            needless("it is off")
        } else {
            lost("partitions without lag count: their load may come back")
        }
    });
    part.note(fields, "ensureEvenDistributionOfPartitions", |_| {
        needless("a count is judged by what its fullest member has")
    });
    part.note(fields, "partitionLimitation", |_| lost("all partitions of a topic count"));
    part.note(fields, "version", |_| needless("versions are negotiated with the broker"));
    for (key, what) in [("tls", "TLS"), ("sasl", "SASL"), ("unsafeSsl", "TLS")] {
        part.note(fields, key, |value| {
            if off(value) {
                needless("it is off")
            } else {
                Fate::Lost(format!("{what} towards Kafka cannot be configured yet"))
            }
        });
    }
    for key in ["bootstrapServersFromEnv", "consumerGroupFromEnv", "topicFromEnv"] {
        part.note(fields, key, |_| lost("the environment of the consumer's container is not known here"));
    }
    part.rest(fields);
}
