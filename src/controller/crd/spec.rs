//! What an operator writes. Each doc comment of a field is its text in `kubectl explain`.

#![expect(
    unreachable_pub,
    reason = "KubeSchema copies each struct, with its visibility, to where nobody can name it"
)]
#![expect(clippy::duplicated_attributes, reason = "columns of one type are no duplicates")]

use std::time::Duration;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use tidegate_core::scaling::Policy;

use super::duration;
use super::status::IngestScalerStatus;

/// What is promised to a consumer group, and what may be done to keep the promise.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "IngestScaler",
    namespaced,
    status = "IngestScalerStatus",
    derive = "PartialEq",
    shortname = "isc",
    category = "tidegate",
    doc = "Scales the consumers of Kafka topics so that records are processed within a promised delay.",
    printcolumn(
        name = "WANT",
        type_ = "integer",
        json_path = ".status.want",
        description = "Replicas that are ordered."
    ),
    printcolumn(
        name = "HAVE",
        type_ = "integer",
        json_path = ".status.have",
        description = "Replicas that the target had when that was decided."
    ),
    printcolumn(
        name = "SLO",
        type_ = "string",
        json_path = ".status.slo",
        description = "Whether the promised delay is kept."
    ),
    printcolumn(
        name = "WHY",
        type_ = "string",
        json_path = ".status.reason",
        description = "Why there are as many as there are, or what keeps the controller from scaling."
    ),
    printcolumn(
        name = "TARGET",
        type_ = "string",
        json_path = ".spec.scaleTargetRef.name",
        description = "What is scaled.",
        priority = 1
    ),
    printcolumn(
        name = "MESSAGE",
        type_ = "string",
        json_path = ".status.message",
        description = "The reason as a sentence.",
        priority = 1
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngestScalerSpec {
    /// What is scaled: a Deployment, a StatefulSet or anything else with /scale, in the namespace of this object.
    /// Nothing else may scale it: no HorizontalPodAutoscaler, no ScaledObject, no other IngestScaler.
    pub scale_target_ref: ScaleTargetRef,
    /// The consumer group that the replicas form.
    pub kafka: Kafka,
    /// What is promised.
    pub slo: Promise,
    /// Fewest and most replicas.
    pub replicas: Replicas,
    /// What one replica can do. Default: it is learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// How fast the number of replicas may change.
    #[serde(default)]
    pub behavior: Behavior,
}

/// `scaleTargetRef`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleTargetRef {
    /// Group and version of its API, such as apps/v1.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9][-.a-z0-9]*/)?v[0-9][a-z0-9]*$')")
        .message("allowed is GROUP/VERSION, such as apps/v1"))]
    pub api_version: String,
    /// Its kind, such as Deployment.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z][A-Za-z0-9]*$')")
        .message("allowed is the name of a kind, such as Deployment"))]
    pub kind: String,
    /// Its name.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')")
        .message("allowed is the name of an object: lower-case letters, digits, - and ."))]
    pub name: String,
}

/// `kafka`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kafka {
    /// Brokers to begin with: HOST:PORT,... They must be reachable from the controller.
    #[schemars(length(max = 4096))]
    #[x_kube(validation = Rule::new("self.matches('[^, ]')").message("allowed is HOST:PORT,..."))]
    pub bootstrap_servers: String,
    /// Kafka's group.id of the consumers.
    #[schemars(length(max = 4096))]
    #[x_kube(validation = Rule::new("self != ''").message("allowed is the group.id of the consumers"))]
    pub consumer_group: String,
    /// Topics whose lag counts: 1 to 1000 names, each once.
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub topics: Vec<String>,
    /// How often the consumers commit (auto.commit.interval.ms): what is read and not committed yet is no lag. 0s to
    /// 5m. Default: 5s.
    #[serde(default = "default_commit_interval", with = "duration")]
    #[schemars(with = "String", length(max = duration::CHARS_MAX))]
    #[x_kube(validation = duration::between("0s", "5m"))]
    pub commit_interval: Duration,
}

/// `slo`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Promise {
    /// Longest time from a record's arrival in Kafka to its processing, such as 10s. 1s to 1h.
    #[serde(with = "duration")]
    #[schemars(with = "String", length(max = duration::CHARS_MAX))]
    #[x_kube(validation = duration::between("1s", "1h"))]
    pub delay: Duration,
}

/// `replicas`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.min <= self.max")
    .message("replicas.min is greater than replicas.max: allowed is 1 to replicas.max")
    .field_path(".min"))]
pub struct Replicas {
    /// Fewest replicas, kept even if nothing arrives. 1 to max. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub min: u32,
    /// Most replicas; more than the topics have partitions are never ordered. min to 10000.
    #[schemars(range(min = 1, max = 10_000))]
    pub max: u32,
}

/// `capacity`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capacity {
    /// Messages per second that one replica does, used until it was measured. 0.001 to 1000000000. Default: not
    /// known, so the number of replicas is doubled until the lag falls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // No `minimum` of the schema: the API server cuts 0.001 to 0 before it compares it with a whole number.
    #[x_kube(validation = Rule::new("self >= 0.001 && self <= 1000000000.0")
        .message("allowed is 0.001 to 1000000000 (messages per second)"))]
    pub per_replica: Option<f64>,
}

/// `behavior`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Behavior {
    /// Upwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<Up>,
    /// Downwards.
    #[serde(default)]
    pub down: Down,
}

/// `behavior.up`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Up {
    /// Most replicas added at once, 1 or more. Default: as many as are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub max_step: Option<u32>,
}

/// `behavior.down`.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Down {
    /// Time for which fewer replicas must have been enough before some are given back. 1s to 24h. Default: 5m.
    #[serde(default = "default_down_after", with = "duration")]
    #[schemars(with = "String", length(max = duration::CHARS_MAX))]
    #[x_kube(validation = duration::between("1s", "24h"))]
    pub after: Duration,
    /// Most replicas given back at once, 1 or more. Default: 4.
    #[serde(default = "default_down_max_step")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub max_step: u32,
}

impl Default for Down {
    fn default() -> Self {
        Self { after: default_down_after(), max_step: default_down_max_step() }
    }
}

/// The policy whose optional settings are the object's defaults.
const DEFAULTS: Policy = Policy::new(Duration::from_secs(1), 1, 1);

const fn default_commit_interval() -> Duration {
    DEFAULTS.commit_interval
}

const fn default_down_after() -> Duration {
    DEFAULTS.down_after
}

const fn default_down_max_step() -> u32 {
    DEFAULTS.down_max_step
}

const fn one() -> u32 {
    1
}
