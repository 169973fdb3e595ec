//! Settings as they are written: every key optional, types and names checked by serde, values by `check`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings file of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSettings {
    /// Name of the gateway, unique in its site.
    pub name: Option<String>,
    /// `address:port` for devices.
    pub listen: Option<String>,
    /// Lets anyone connect from beyond loopback, without authentication.
    pub allow_anonymous: bool,
    /// Worker threads.
    pub workers: Option<i64>,
    /// Connections at once.
    pub max_connections: Option<i64>,
    /// Class of connections that no class claims.
    pub default_class: Option<String>,
    /// `address:port` of the admin HTTP.
    pub admin_listen: Option<String>,
    /// How long a stopping gateway waits for Kafka, such as `3s`.
    #[serde(with = "humantime_serde::option")]
    pub drain: Option<Duration>,
    /// Protocol limits and policies.
    pub mqtt: RawMqtt,
    /// Memory ceilings.
    pub limits: RawLimits,
    /// How to reach Kafka.
    pub kafka: RawKafka,
    /// Whether the wall clock is right.
    pub clock: RawClock,
    /// Where reports go.
    pub report: RawReport,
    /// Where messages wait on the disk.
    pub spool: RawSpool,
    /// Classes by name; `alarm`, `gateway` and `sensor` are there without being written.
    pub classes: BTreeMap<String, RawClass>,
    /// Routes in order of match; none: everything to `telemetry-{class}`.
    pub routes: Vec<RawRoute>,
}

/// Table `mqtt`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMqtt {
    /// Largest packet accepted.
    pub max_packet_bytes: Option<i64>,
    /// MQTT 5 Receive Maximum.
    pub receive_maximum: Option<i64>,
    /// Unacknowledged messages of a 3.1.1 client.
    pub v311_window: Option<i64>,
    /// Time from accept to a whole CONNECT.
    #[serde(with = "humantime_serde::option")]
    pub connect_time: Option<Duration>,
    /// `refuse` or `accept-silently`.
    pub subscribe: Option<String>,
    /// `ignore` or `refuse`.
    pub retain: Option<String>,
}

/// Table `limits`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    /// Records that wait for Kafka.
    pub queue_bytes: Option<i64>,
    /// Held and half-read packets.
    pub hold_bytes: Option<i64>,
}

/// Table `kafka`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawKafka {
    /// `host:port`, comma separated; the one setting without a default.
    pub bootstrap_servers: Option<String>,
    /// librdkafka settings, such as `"compression.codec" = "lz4"`.
    pub overrides: BTreeMap<String, String>,
}

/// Table `clock`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawClock {
    /// `kernel` or `always`.
    pub trust: Option<String>,
}

/// Table `report`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawReport {
    /// Base URL of the controller.
    pub url: Option<String>,
    /// File with the key that controller and gateways share.
    pub key_file: Option<PathBuf>,
}

/// Table `spool`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSpool {
    /// The folder; none: no spool.
    pub dir: Option<PathBuf>,
    /// `first`, `kafka` or `disk`; none: as the copies of the topics want it.
    pub ack: Option<String>,
    /// Size of a segment.
    pub segment_bytes: Option<i64>,
    /// Left to others on the file system.
    pub free_floor_bytes: Option<i64>,
    /// Least time from one commit to the next, such as `20ms`.
    #[serde(with = "humantime_serde::option")]
    pub commit_interval_min: Option<Duration>,
    /// Disk for records that Kafka refuses for good.
    pub dead_letter_bytes: Option<i64>,
}

/// One class.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawClass {
    /// Messages per second and device.
    pub rate: Option<f64>,
    /// Messages at once and device.
    pub burst: Option<i64>,
    /// 0 is served first.
    pub priority: Option<i64>,
    /// User names whose connections are of this class; none: the class's own name.
    pub users: Option<Vec<String>>,
    /// Beginnings of client ids whose connections are of this class.
    pub client_id_prefixes: Vec<String>,
    /// Topics whose messages are of this class, whoever sends them.
    pub topic_filters: Option<Vec<String>>,
    /// Disk that its messages may take.
    pub spool_bytes: Option<i64>,
    /// What happens to messages that find it full: `block`, `shed-qos0-first`, `reject` or `drop-oldest`.
    pub full: Option<String>,
    /// With `drop-oldest`: drop even what devices were told is safe.
    pub allow_acked_loss: bool,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRoute {
    /// MQTT topics that it is for.
    pub filter: Option<String>,
    /// Kafka topic; `{class}` stands for the class name.
    pub topic: Option<String>,
    /// Kafka topic of single classes instead.
    pub class_topics: BTreeMap<String, String>,
    /// `client_id`, `topic` or `topic_level:N`, the first level being 0.
    pub key: Option<String>,
    /// Headers: `mqtt-topic`, `mqtt-client-id`.
    pub headers: Option<Vec<String>>,
}
