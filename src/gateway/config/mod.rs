//! Settings of the gateway: as an operator writes them ([`RawSettings`]) and as the gateway uses them
//! ([`Settings`]). Owns defaults and ranges; reading files is `tidegate_runtime`'s.

mod check;
mod left_over;
mod raw;
mod spool;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_core::admission::{ClassId, ClassTable};
use tidegate_mqtt::Limits;
use tidegate_mqtt::topic::Filter;

pub(crate) use left_over::of_left_over;
pub use raw::{RawClass, RawClock, RawKafka, RawLimits, RawMqtt, RawReport, RawRoute, RawSettings, RawSpool};
pub use spool::{
    AckAt, DEFAULT_DEAD_LETTER_BYTES, DEFAULT_FREE_FLOOR_BYTES, DEFAULT_SEGMENT_BYTES, DEFAULT_SPOOL_BYTES,
    SpoolSettings,
};

use crate::route::{HeaderSet, KeyRule};
use crate::shard::client_hash;

/// MQTT without TLS (IANA), on loopback: nothing is open that was not asked for.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:1883";
/// Half of the files that the reference machine allows a process; the descriptor limit also bounds it.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 10_000;
/// Device messages are small; what is larger is rarely meant for Kafka.
pub const DEFAULT_MAX_PACKET_BYTES: u32 = 256 * 1024;
/// With key, topic and headers still below Kafka's default `message.max.bytes`.
pub const MAX_PACKET_BYTES: u32 = 768 * 1024;
/// Messages that an MQTT 5 client may have unacknowledged.
pub const DEFAULT_RECEIVE_MAXIMUM: u16 = 16;
/// The same of a 3.1.1 client, which cannot be told: one more waits.
pub const DEFAULT_V311_WINDOW: u16 = 32;
/// Time from accept to a whole CONNECT.
pub const DEFAULT_CONNECT_TIME: Duration = Duration::from_secs(10);
/// Records that wait for Kafka, in bytes.
pub const DEFAULT_QUEUE_BYTES: u32 = 32 << 20;
/// Held and half-read packets of all connections, in bytes.
pub const DEFAULT_HOLD_BYTES: u32 = 32 << 20;
/// Kafka's reports take 5 ms of linger and a round trip; 3 s are for a broker that is busy.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(3);
/// Each class to a Kafka topic of its own: admission cannot reorder what is in a partition already.
pub const DEFAULT_TOPIC: &str = "telemetry-{class}";
/// Topics that tell the class of a message, where the settings name none: class and filter.
pub const DEFAULT_TOPIC_FILTERS: [(&str, &str); 2] = [("alarm", "alarms/#"), ("gateway", "gateways/#")];
/// Class of connections that no class claims.
pub const DEFAULT_CLASS: &str = "sensor";

/// Checked settings.
#[derive(Debug)]
pub struct Settings {
    /// Name of the gateway, unique in its site.
    pub name: String,
    /// Where devices connect; the caller binds it.
    pub listen: SocketAddr,
    /// Worker threads; none: one per core.
    pub workers: Option<usize>,
    /// Connections at once, after CONNECT.
    pub max_connections: u32,
    /// Protocol limits and policies.
    pub mqtt: Limits,
    /// Time from accept to a whole CONNECT.
    pub connect_time: Duration,
    /// Classes of devices.
    pub classes: ClassTable,
    /// Topic filters that decide a message's class, the most urgent first.
    pub class_filters: Vec<(Filter, ClassId)>,
    /// Where messages go, in order of match.
    pub routes: Vec<RouteSettings>,
    /// How to reach Kafka.
    pub kafka: KafkaSettings,
    /// Ceiling of records that wait for Kafka, in bytes.
    pub queue_bytes: usize,
    /// Ceiling of held and half-read packets, in bytes.
    pub hold_bytes: usize,
    /// Where the admin HTTP listens; the caller binds it. None: no admin HTTP.
    pub admin_listen: Option<SocketAddr>,
    /// When the wall clock counts as right.
    pub clock_trust: ClockTrust,
    /// Where reports go; none: nowhere.
    pub report: Option<ReportSettings>,
    /// How long a stopping gateway waits for Kafka's reports.
    pub drain: Duration,
    /// Where messages wait on the disk; none: in memory only.
    pub spool: Option<SpoolSettings>,
}

/// One route.
#[derive(Debug)]
pub struct RouteSettings {
    /// Topics that it is for.
    pub filter: Filter,
    /// Kafka topic by class.
    pub topics: Vec<String>,
    pub(crate) key: KeyRule,
    pub(crate) headers: HeaderSet,
}

/// How to reach Kafka.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// librdkafka settings of the operator.
    pub overrides: BTreeMap<String, String>,
    /// True if it is the embedded Kafka, which keeps nothing: no file can say so, only who started it.
    pub embedded: bool,
}

/// When the wall clock counts as right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockTrust {
    /// While the kernel says that somebody keeps it so: chronyd, ntpd and systemd-timesyncd tell it.
    #[default]
    Kernel,
    /// Always: it is kept right by somebody who does not tell the kernel, such as the host of a virtual machine.
    Always,
}

/// Where reports go.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// Base URL of the controller.
    pub url: String,
    /// File with the shared key.
    pub key_file: PathBuf,
}

impl Settings {
    /// Returns the defaults for a Kafka at `bootstrap_servers`.
    ///
    /// # Panics
    /// Never: the defaults are valid, which a test holds.
    #[must_use]
    pub fn minimal(bootstrap_servers: &str) -> Self {
        let kafka = RawKafka { bootstrap_servers: Some(bootstrap_servers.to_owned()), ..RawKafka::default() };
        RawSettings { kafka, ..RawSettings::default() }.try_into().expect("the defaults are valid")
    }

    /// Returns the names of all Kafka topics that messages may go to, each once, sorted.
    #[must_use]
    pub fn kafka_topics(&self) -> Vec<String> {
        let mut topics: Vec<String> =
            self.routes.iter().flat_map(|route| route.topics.iter().cloned()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Returns what tells settings apart that put a device's messages into another class or Kafka topic.
    pub(crate) fn routing(&self) -> String {
        let classes: Vec<_> = self
            .classes
            .iter()
            .map(|(_, class)| (&class.name, &class.users, &class.client_id_prefixes))
            .collect();
        let unclaimed = self.classes.at_connect(None, "");
        let routes: Vec<_> = self.routes.iter().map(|route| (&route.filter, &route.topics)).collect();
        let all = format!("{classes:?} {unclaimed:?} {:?} {routes:?}", self.class_filters);
        format!("{:016x}", client_hash(&all))
    }
}
