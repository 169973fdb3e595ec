//! What an operator may set of the producers, and what librdkafka is told.
//!
//! Owns the settings that carry a promise: they are refused as overrides rather than silently kept. Does not
//! know where settings come from.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::Error;
use super::opaque::{SLOTS_MAX, WORKERS_MAX};
use super::window;
use crate::setting::SettingError;

/// Topics that one process opens at most: three classes with a few dozen routes each, and room to spare.
pub const TOPICS_MAX: usize = 256;
/// Partitions of one lane, over all its topics. Bounds what the guaranteed windows of a lane add up to.
pub const LANE_PARTITIONS_MAX: u32 = 1024;
/// Default of [`Settings::shared_window_bytes`]: half of the route pool of 32 MiB.
pub const SHARED_WINDOW_BYTES: u64 = 16 << 20;
/// Default of [`Settings::credits_per_worker`]: half of them serve windows of 4 MiB beyond the guaranteed ones.
const CREDITS_PER_WORKER: u32 = 16_384;
/// Default of [`Settings::max_record_bytes`]: fits Kafka's default `message.max.bytes` of 1 048 588.
pub const MAX_RECORD_BYTES: u32 = 1_000_000;
/// What librdkafka and Kafka add to a record at most: its own fields, the batch header and our headers' lengths.
pub const RECORD_OVERHEAD_BYTES: u32 = 300;

/// How records get to Kafka.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// Kafka `client.id`; each lane appends its name.
    pub client_id: String,
    /// One librdkafka producer each: the names of the classes, in the order of their [`super::LaneId`]s.
    pub lanes: Vec<String>,
    /// Threads that hand records over, one [`super::Port`] each; 1 to 64.
    pub workers: usize,
    /// Records that one worker has handed over without a report at most; the size of its completion ring.
    pub credits_per_worker: u32,
    /// Key, payload, headers and [`RECORD_OVERHEAD_BYTES`] of one record; must not exceed the smallest
    /// `max.message.bytes` of the topics.
    pub max_record_bytes: u32,
    /// What the windows of all partitions may grow into, beyond the start window that each is guaranteed. Lent is no more
    /// than half of a worker's credits serve.
    pub shared_window_bytes: u64,
    /// A failed report or a fatal error replaces the lane's producer by a new one, instead of ending the lane. For callers
    /// that hand everything over again from their oldest unproven record.
    pub retire_failed: bool,
    /// librdkafka settings of the operator (security, compression, ...); see [`Settings::check`].
    pub overrides: BTreeMap<String, String>,
}

/// A librdkafka setting that is not the operator's to change.
struct Fixed {
    key: &'static str,
    /// What is accepted; the first is what librdkafka is given, none: librdkafka's default stays.
    allowed: &'static [&'static str],
    why: &'static str,
}

/// Each carries a promise; `durable-path` section 2 says which.
const FIXED: &[Fixed] = &[
    Fixed {
        key: "acks",
        allowed: &["all", "-1"],
        why: "all (a record is acknowledged when all in-sync replicas have it)",
    },
    Fixed {
        key: "enable.idempotence",
        allowed: &["true"],
        why: "true (retries must not reorder or duplicate)",
    },
    Fixed {
        key: "enable.gapless.guarantee",
        allowed: &["true"],
        why: "true (what an instance wrote has no gap)",
    },
    Fixed { key: "message.timeout.ms", allowed: &["0"], why: "0 (a record is never given up by librdkafka)" },
    Fixed {
        key: "delivery.report.only.error",
        allowed: &["false"],
        why: "false (every record needs its report)",
    },
    Fixed {
        key: "message.send.max.retries",
        allowed: &[],
        why: "not to be set (a record is never given up)",
    },
    Fixed { key: "transactional.id", allowed: &[], why: "not to be set (no transactions)" },
    Fixed { key: "queuing.strategy", allowed: &["fifo"], why: "fifo (order per partition)" },
    Fixed { key: "queue.buffering.max.messages", allowed: &[], why: "not to be set (twice the windows)" },
    Fixed { key: "queue.buffering.max.kbytes", allowed: &[], why: "not to be set (twice the windows)" },
    Fixed { key: "message.max.bytes", allowed: &[], why: "not to be set (follows max_record_bytes)" },
    Fixed { key: "bootstrap.servers", allowed: &[], why: "not to be set here (bootstrap_servers)" },
    Fixed { key: "client.id", allowed: &[], why: "not to be set here (client_id)" },
    Fixed { key: "log.queue", allowed: &["true"], why: "true (its log lines become ours)" },
    Fixed { key: "test.mock.num.brokers", allowed: &[], why: "not to be set (it replaces the brokers)" },
];

/// librdkafka sees that more than 5 contradict idempotence, but only when the producer is created.
const IN_FLIGHT: &str = "max.in.flight.requests.per.connection";

/// librdkafka's second names. Both of a pair in one configuration would be applied in no particular order.
const ALIASES: &[(&str, &str)] = &[
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("retries", "message.send.max.retries"),
    ("max.in.flight", IN_FLIGHT),
    ("queue.buffering.max.ms", "linger.ms"),
    ("metadata.broker.list", "bootstrap.servers"),
    ("compression.type", "compression.codec"),
];

impl Settings {
    /// Settings for the given brokers and lanes, with the default sizes and one worker.
    #[must_use]
    pub fn new(
        bootstrap_servers: impl Into<String>,
        client_id: impl Into<String>,
        lanes: Vec<String>,
    ) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            client_id: client_id.into(),
            lanes,
            workers: 1,
            credits_per_worker: CREDITS_PER_WORKER,
            max_record_bytes: MAX_RECORD_BYTES,
            shared_window_bytes: SHARED_WINDOW_BYTES,
            retire_failed: false,
            overrides: BTreeMap::new(),
        }
    }

    /// Checks sizes and overrides without touching the network.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first setting that is out of range, unknown to librdkafka, or that carries a
    /// promise and differs from it.
    pub fn check(&self) -> Result<(), Error> {
        let range = |key: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(SettingError::new(key, &value, format!("{min} to {max}")))
            }
        };
        range("lanes", self.lanes.len() as u64, 1, 16)?;
        range("workers", self.workers as u64, 1, WORKERS_MAX as u64)?;
        range("credits_per_worker", self.credits_per_worker.into(), 1, SLOTS_MAX.into())?;
        range("max_record_bytes", self.max_record_bytes.into(), 1000, 64 << 20)?;
        range("shared_window_bytes", self.shared_window_bytes, 0, 1 << 30)?;
        for lane in &self.lanes {
            self.client_config(lane)?;
        }
        Ok(())
    }

    /// Returns what windows may grow into: partitions that answer nothing keep what they hold, and must leave credits to the
    /// others.
    pub(super) fn lent_bytes(&self) -> u64 {
        let served = u64::from(self.credits_per_worker / 2) * u64::from(window::RECORD_SHARE_BYTES);
        self.shared_window_bytes.min(served)
    }

    /// Returns what librdkafka is told for one lane.
    pub(super) fn client_config(&self, lane: &str) -> Result<ClientConfig, Error> {
        let mut merged = self.base(lane);
        for (key, value) in &self.overrides {
            let name = ALIASES.iter().find(|(alias, _)| alias == key).map_or(key.as_str(), |(_, name)| name);
            match FIXED.iter().find(|fixed| fixed.key == name) {
                Some(fixed) if fixed.allowed.contains(&value.as_str()) => {}
                Some(fixed) => return Err(SettingError::new(key, value, fixed.why).into()),
                None if name == IN_FLIGHT && !value.parse().is_ok_and(|n: u32| (1..=5).contains(&n)) => {
                    return Err(
                        SettingError::new(key, value, "1 to 5 (brokers remember five requests)").into()
                    );
                }
                None => {
                    merged.insert(name.to_owned(), value.clone());
                }
            }
        }
        let mut config = ClientConfig::from_iter(merged);
        // The log filter decides; librdkafka's own level is only a coarse stop for what is never wanted.
        config.set_log_level(RDKafkaLogLevel::Info);
        config.create_native_config().map_err(|source| match source {
            rdkafka::error::KafkaError::ClientConfig(_, reason, key, value) => {
                SettingError::new(&key, &value, reason).into()
            }
            other => Error::Client { lane: lane.to_owned(), reason: other.to_string() },
        })?;
        Ok(config)
    }

    fn base(&self, lane: &str) -> BTreeMap<String, String> {
        let guaranteed_records = u64::from(LANE_PARTITIONS_MAX) * u64::from(window::START_RECORDS);
        let guaranteed_bytes =
            u64::from(LANE_PARTITIONS_MAX) * u64::from(window::START_BYTES.max(self.max_record_bytes));
        // Twice ours, so that librdkafka's own limit is only ever met through a defect of ours.
        let queue_records =
            2 * (guaranteed_records + self.lent_bytes() / u64::from(window::RECORD_SHARE_BYTES));
        let queue_kib = (2 * (guaranteed_bytes + self.lent_bytes())).div_ceil(1024).min(i32::MAX as u64);
        let mut base = BTreeMap::from(
            [
                ("bootstrap.servers", self.bootstrap_servers.clone()),
                ("client.id", format!("{}-{lane}", self.client_id)),
                ("linger.ms", "5".to_owned()),
                ("batch.size", self.max_record_bytes.to_string()),
                ("message.max.bytes", self.max_record_bytes.to_string()),
                ("queue.buffering.max.messages", queue_records.to_string()),
                ("queue.buffering.max.kbytes", queue_kib.to_string()),
                ("socket.timeout.ms", "10000".to_owned()),
                ("request.timeout.ms", "8000".to_owned()),
                ("socket.keepalive.enable", "true".to_owned()),
                ("reconnect.backoff.max.ms", "2000".to_owned()),
                // How long a topic that was there may be missing before librdkafka believes it, counted from when it was first
                // seen: with the default of 30 s a young producer stays warm beside a topic that is deleted and made anew.
                ("topic.metadata.propagation.max.ms", "1000".to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        for fixed in FIXED.iter().filter(|fixed| fixed.key != "log.queue") {
            if let Some(value) = fixed.allowed.first() {
                base.insert(fixed.key.to_owned(), (*value).to_owned());
            }
        }
        base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(overrides: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::new("127.0.0.1:9", "gw", vec!["sensor".into()]);
        settings.overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        settings
    }

    #[test]
    fn every_setting_that_carries_a_promise_is_refused_with_key_value_and_what_is_allowed() {
        for (key, value) in [
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("enable.idempotence", "false"),
            ("enable.gapless.guarantee", "false"),
            ("message.timeout.ms", "300000"),
            ("delivery.timeout.ms", "1000"),
            ("delivery.report.only.error", "true"),
            ("retries", "3"),
            ("transactional.id", "x"),
            ("max.in.flight", "6"),
            ("max.in.flight.requests.per.connection", "0"),
            ("queue.buffering.max.messages", "10"),
            ("test.mock.num.brokers", "3"),
        ] {
            let error = with(&[(key, value)]).check().expect_err(key).to_string();
            assert!(error.contains(key) && error.contains(value) && error.contains("allowed"), "{error}");
        }
    }

    #[test]
    fn saying_again_what_is_promised_is_no_error() {
        with(&[("acks", "-1"), ("enable.idempotence", "true"), ("delivery.timeout.ms", "0")])
            .check()
            .unwrap();
    }

    #[test]
    fn what_carries_no_promise_is_merged_under_its_first_name() {
        let config = with(&[("queue.buffering.max.ms", "20"), ("socket.timeout.ms", "4000")]);
        let config = config.client_config("sensor").unwrap();
        assert_eq!(config.get("linger.ms"), Some("20"));
        assert_eq!(
            config.get("queue.buffering.max.ms"),
            None,
            "an alias beside its name is applied in no order"
        );
        assert_eq!(config.get("socket.timeout.ms"), Some("4000"));
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("client.id"), Some("gw-sensor"));
    }

    #[test]
    fn a_setting_that_librdkafka_does_not_know_is_named() {
        let error = with(&[("linger.mss", "5")]).check().unwrap_err().to_string();
        assert!(error.contains("linger.mss"), "{error}");
    }

    #[test]
    fn sizes_out_of_range_are_named() {
        let mut settings = with(&[]);
        settings.workers = 65;
        assert_eq!(settings.check().unwrap_err().to_string(), "workers = 65: allowed is 1 to 64");
    }
}
