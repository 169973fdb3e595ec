//! What a consumer is told, and what librdkafka is told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::Error;
use crate::setting::SettingError;

/// Default of [`Settings::commit_interval`], Kafka's own. Lag over-reads by rate x interval / 2.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// Longest work on one record. Far below `max.poll.interval.ms` (5 min): a member that does not poll for so long is put
/// out of its group, loses the record that it is busy with, and gets it again, for ever.
pub const WORK_MAX: Duration = Duration::from_mins(1);

/// Work that stands for what a real consumer does with a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// None.
    #[default]
    None,
    /// Waits, as for a database.
    Sleep(Duration),
    /// Computes, for so long by the clock.
    Burn(Duration),
}

/// One member of a group.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// Kafka `group.id`.
    pub group: String,
    /// Topics to subscribe to.
    pub topics: Vec<String>,
    /// Kafka `client.id`, unique in its group.
    pub client_id: String,
    /// What is done with each record, for [`WORK_MAX`] at most.
    pub work: Work,
    /// Time between commits of what was processed; 1 ms to 1 h.
    pub commit_interval: Duration,
    /// librdkafka settings of the operator (security, fetch sizes, ...).
    pub overrides: BTreeMap<String, String>,
}

/// Not the operator's to change here: name, and why or where.
const FIXED: &[(&str, &str)] = &[
    ("bootstrap.servers", "not to be set here (bootstrap_servers)"),
    ("metadata.broker.list", "not to be set here (bootstrap_servers)"),
    ("group.id", "not to be set here (group)"),
    ("client.id", "not to be set here (client_id)"),
    ("auto.commit.interval.ms", "not to be set here (commit_interval)"),
    ("enable.auto.commit", "not to be set (what was processed is committed)"),
    ("enable.auto.offset.store", "not to be set (only processed records are committed)"),
    ("group.instance.id", "not to be set (a static member leaves its group only by the session timeout)"),
    ("partition.assignment.strategy", "not to be set (cooperative-sticky: scaling must not stop the group)"),
    ("test.mock.num.brokers", "not to be set (it replaces the brokers)"),
];

impl Settings {
    /// Settings for one topic, without work.
    #[must_use]
    pub fn new(
        bootstrap_servers: impl Into<String>,
        group: impl Into<String>,
        topic: impl Into<String>,
        client_id: impl Into<String>,
    ) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            group: group.into(),
            topics: vec![topic.into()],
            client_id: client_id.into(),
            work: Work::None,
            commit_interval: COMMIT_INTERVAL,
            overrides: BTreeMap::new(),
        }
    }

    /// Checks the settings without touching the network.
    ///
    /// # Errors
    /// [`Error::Setting`] names key, value and what is allowed.
    pub fn check(&self) -> Result<(), Error> {
        self.client_config().map(drop)
    }

    pub(super) fn client_config(&self) -> Result<ClientConfig, Error> {
        let commit_ms = self.commit_interval.as_millis();
        if !(1..=3_600_000).contains(&commit_ms) {
            return Err(
                SettingError::new("commit_interval", &format!("{commit_ms} ms"), "1 ms to 1 h").into()
            );
        }
        if self.topics.is_empty() {
            return Err(SettingError::new("topics", "[]", "at least one topic").into());
        }
        if let Work::Sleep(work) | Work::Burn(work) = self.work
            && work > WORK_MAX
        {
            return Err(
                SettingError::new("work", &format!("{} ms", work.as_millis()), "at most 1 min").into()
            );
        }
        for (fixed, why) in FIXED {
            if let Some(value) = self.overrides.get(*fixed) {
                return Err(SettingError::new(fixed, value, *why).into());
            }
        }
        let mut config = ClientConfig::new();
        for (key, value) in [
            ("bootstrap.servers", self.bootstrap_servers.as_str()),
            ("group.id", &self.group),
            ("client.id", &self.client_id),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("enable.auto.commit", "true"),
            ("auto.commit.interval.ms", &commit_ms.to_string()),
            ("enable.auto.offset.store", "false"),
            // A new group reads what waits for it.
            ("auto.offset.reset", "earliest"),
            // A dead member's partitions wait this long: within a delay promise of seconds, and five lost heartbeats
            // of a poor uplink. Brokers take 6 s at least.
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "2000"),
            // Prefetched records are lost with a rebalance, and memory is short: a second of a busy consumer.
            ("queued.min.messages", "2000"),
            ("queued.max.messages.kbytes", "4096"),
            ("fetch.queue.backoff.ms", "20"),
            ("socket.keepalive.enable", "true"),
            ("reconnect.backoff.max.ms", "2000"),
        ] {
            config.set(key, value);
        }
        for (key, value) in &self.overrides {
            config.set(key, value);
        }
        config.set_log_level(RDKafkaLogLevel::Info);
        config.create_native_config().map_err(|source| match source {
            rdkafka::error::KafkaError::ClientConfig(_, reason, key, value) => {
                SettingError::new(&key, &value, reason).into()
            }
            other => Error::Client(other.to_string()),
        })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new("127.0.0.1:9", "group", "topic", "member")
    }

    #[test]
    fn a_setting_that_would_commit_unprocessed_records_is_refused() {
        let mut settings = settings();
        settings.overrides.insert("enable.auto.offset.store".into(), "true".into());
        let error = settings.check().unwrap_err().to_string();
        assert_eq!(
            error,
            "enable.auto.offset.store = true: allowed is not to be set (only processed records are committed)"
        );
    }

    #[test]
    fn a_member_that_would_not_leave_its_group_is_refused() {
        let mut settings = settings();
        settings.overrides.insert("group.instance.id".into(), "m".into());
        let error = settings.check().unwrap_err().to_string();
        assert!(error.starts_with("group.instance.id = m: allowed is not to be set"), "{error}");
    }

    #[test]
    fn work_that_costs_the_membership_is_refused() {
        for work in [Work::Sleep(Duration::from_secs(61)), Work::Burn(Duration::from_secs(61))] {
            let error = Settings { work, ..settings() }.check().unwrap_err();
            assert_eq!(error.to_string(), "work = 61000 ms: allowed is at most 1 min");
        }
        Settings { work: Work::Sleep(WORK_MAX), ..settings() }.check().unwrap();
    }

    #[test]
    fn a_commit_interval_of_nothing_is_refused() {
        let mut settings = settings();
        settings.commit_interval = Duration::ZERO;
        assert_eq!(
            settings.check().unwrap_err().to_string(),
            "commit_interval = 0 ms: allowed is 1 ms to 1 h"
        );
    }

    #[test]
    fn operators_may_set_what_is_theirs() {
        let mut settings = settings();
        settings.overrides.insert("session.timeout.ms".into(), "30000".into());
        assert_eq!(settings.client_config().unwrap().get("session.timeout.ms"), Some("30000"));
    }
}
