//! What gateways, consumers and the controller tell each other over HTTP, as JSON.
//!
//! Owns the message shapes; transport and authentication are the processes' own. Fields are only added:
//! a reader takes a missing field as its default, so that a site can be upgraded one process at a time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Path that a gateway posts its [`GatewayReport`] to.
pub const GATEWAY_REPORT_PATH: &str = "/v1/reports/gateway";
/// Path that a consumer posts its [`ConsumerReport`] to.
pub const CONSUMER_REPORT_PATH: &str = "/v1/reports/consumer";
/// HTTP header scheme of the shared key: `authorization: Bearer KEY`.
pub const KEY_SCHEME: &str = "Bearer";

/// What devices offered one gateway since its last report; sent every second, and at once on a burst.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewayReport {
    /// Name of the gateway, unique in its site.
    pub gateway: String,
    /// Random id of this process's run: a restart begins a new series.
    pub run: u64,
    /// Number of the report within the run; a late, older one is ignored.
    pub seq: u64,
    /// Time that the counts below cover, in milliseconds.
    pub interval_ms: u32,
    /// True if the offered rate rose so far that the report was sent before its second was over.
    pub burst: bool,
    /// Offered load per Kafka topic and class name.
    pub topics: BTreeMap<String, BTreeMap<String, OfferedLoad>>,
}

/// Load of one class on one topic, over one report interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfferedLoad {
    /// Messages admitted towards Kafka.
    pub admitted: u64,
    /// Messages dropped or refused.
    pub shed: u64,
    /// Bytes of PUBLISH packets that wait in hold queues now.
    pub held_bytes: u64,
    /// Bytes read from sockets but not decoded now (a full hold queue stops decoding).
    pub unread_bytes: u64,
    /// Devices whose bucket holds them back now.
    pub constrained_devices: u32,
    /// Estimate of what devices would send if nothing held them back, in messages per second.
    pub offered_est: f64,
    /// Share of the estimate that could not be measured because devices are held back, 0 to 1.
    pub censored: f64,
}

/// What one consumer did since its last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsumerReport {
    /// Kafka consumer group.
    pub group: String,
    /// Kafka `client.id` of the member, unique in its group.
    pub member: String,
    /// Random id of this process's run.
    pub run: u64,
    /// Number of the report within the run.
    pub seq: u64,
    /// Time that the counts below cover, in milliseconds.
    pub interval_ms: u32,
    /// Records processed.
    pub records: u64,
    /// Time spent processing them (not waiting for Kafka), in seconds.
    pub busy_seconds: f64,
    /// Partitions assigned now.
    pub partitions: u32,
    /// Milliseconds from process start to its first fetched record; 0 until then.
    pub first_fetch_ms: u64,
    /// True in the last report of a member that leaves its group.
    pub leaving: bool,
}

/// The controller's answer to a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportReply {
    /// Number of the report that this answers.
    pub seq: u64,
}
