//! What the controller answers: how the group stands and why. Written on change only; live figures are in its metrics.

#![expect(
    unreachable_pub,
    reason = "KubeSchema copies each struct, with its visibility, to where nobody can name it"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a consumer group stands. Written by the controller when something changes, and every ten minutes.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestScalerStatus {
    /// Generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Replicas that the controller wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub want: Option<u32>,
    /// Replicas that the target had when this was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub have: Option<u32>,
    /// Replicas that consume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<u32>,
    /// Whether the promised delay is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
    /// Why there are as many replicas as there are, or what keeps the controller from scaling, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason as a sentence, with what to do if something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Time that a record which arrives now waits before it is processed, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// Messages per second that one replica does, as measured or as the spec says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mu: Option<f64>,
    /// Messages per second that devices offer to the gateways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<f64>,
    /// The one limit that kept the number of replicas from what the load asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
    /// KafkaObserved, TargetScalable and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// Whether the promised delay is kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Slo {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// Kafka does not tell.
    Unknown,
}
