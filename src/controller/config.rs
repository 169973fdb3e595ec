//! Settings of the controller: of one consumer group, which is the TOML form of an `IngestScaler`'s `spec`; or where to
//! find the `IngestScaler`s.
//!
//! [`Raw`] is what is written, [`Settings`] is what was checked. Names follow the API object, in snake case.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_core::scaling::Policy;
use tidegate_runtime::config::Problem;

use crate::scaler::GroupSettings;

/// How often the group is observed.
pub const DEFAULT_TICK: Duration = Duration::from_secs(5);
/// Time that a consumer has to leave its group after SIGTERM.
pub const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of recordings kept of one scaler: some eleven hours of a group of 64 partitions that is looked at every 5 s.
pub const DEFAULT_RECORD_BYTES: u64 = 64 << 20;
/// What a recording may be bounded by: below, a group of a hundred partitions would not fit; above, it is a mistake.
const RECORD_BYTES: RangeInclusive<u64> = 4 << 20..=1 << 40;
/// Where reports and probes arrive.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8081";

/// The settings file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Address for reports of gateways and consumers, `/livez`, `/readyz`, `/metrics` and `/v1/decision`.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// File with the key that reports must present.
    pub key_file: PathBuf,
    /// Time between two observations.
    #[serde(default = "default_tick", with = "humantime_serde")]
    pub tick: Duration,
    /// Where looks and decisions are recorded, and what was learned is kept; nothing: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RawRecord>,
    /// Where the `IngestScaler`s are; then nothing below may be written: they say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<RawKubernetes>,
    /// The consumer group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<RawKafka>,
    /// What is promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<RawSlo>,
    /// Fewest and most replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<RawReplicas>,
    /// What one replica can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<RawCapacity>,
    /// How fast the count may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<RawBehavior>,
    /// What is scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<RawTarget>,
}

/// `record`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawRecord {
    /// Folder; made if it is not there.
    pub dir: PathBuf,
    /// Bytes of recordings kept of each scaler.
    #[serde(default = "default_record_bytes")]
    pub max_bytes: u64,
}

/// `kubernetes`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawKubernetes {
    /// Namespace whose `IngestScaler`s are worked on; nothing: the one that the controller's own access names.
    pub namespace: Option<String>,
    /// File that says how to reach the API server; nothing: the pod's own service account, or else `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
}

/// `kafka`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawKafka {
    /// `HOST:PORT,...`.
    pub bootstrap_servers: String,
    /// Kafka's `group.id`.
    pub consumer_group: String,
    /// Topics whose lag counts.
    pub topics: Vec<String>,
    /// The consumers' `auto.commit.interval.ms`.
    #[serde(default = "default_commit_interval", with = "humantime_serde")]
    pub commit_interval: Duration,
}

/// `slo`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawSlo {
    /// Promised delay between a record's arrival in Kafka and its processing.
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
}

/// `replicas`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawReplicas {
    /// Fewest.
    #[serde(default = "one")]
    pub min: u32,
    /// Most.
    pub max: u32,
}

/// `capacity`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawCapacity {
    /// Messages per second that one replica does until it has been measured; nothing: learn it.
    pub per_replica: Option<f64>,
}

/// `behavior`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawBehavior {
    /// Upwards.
    #[serde(default)]
    pub up: RawUp,
    /// Downwards.
    #[serde(default)]
    pub down: RawDown,
}

/// `behavior.up`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawUp {
    /// Most replicas added at once.
    pub max_step: Option<u32>,
}

/// `behavior.down`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawDown {
    /// Time for which fewer must have been enough.
    #[serde(default, with = "humantime_serde")]
    pub after: Option<Duration>,
    /// Most replicas given back at once.
    pub max_step: Option<u32>,
}

/// `target`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawTarget {
    /// Local processes.
    pub processes: RawProcesses,
}

/// `target.processes`. In arguments and values of the environment, `{member}` stands for a replica's own name.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawProcesses {
    /// Program.
    pub command: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Added to the controller's own environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Time between SIGTERM and SIGKILL.
    #[serde(default = "default_stop_timeout", with = "humantime_serde")]
    pub stop_timeout: Duration,
    /// File that standard error is appended to; nothing: the controller's own.
    pub log_file: Option<PathBuf>,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address for HTTP.
    pub listen: SocketAddr,
    /// File with the reports' key.
    pub key_file: PathBuf,
    /// Time between two observations.
    pub tick: Duration,
    /// Where records are kept.
    pub record: Option<Record>,
    /// What to scale.
    pub work: Work,
}

/// Where the controller keeps records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Folder.
    pub dir: PathBuf,
    /// Bytes of recordings kept of each scaler.
    pub max_bytes: u64,
}

/// What a controller scales.
#[derive(Clone, Debug)]
pub enum Work {
    /// One group, as processes of this machine.
    Processes(Box<GroupSettings>, RawProcesses),
    /// What the `IngestScaler`s of a namespace say.
    Kubernetes(RawKubernetes),
}

impl TryFrom<Raw> for Settings {
    type Error = Problem;

    fn try_from(raw: Raw) -> Result<Self, Problem> {
        let listen = raw
            .listen
            .parse()
            .map_err(|_| Problem::new("listen", &raw.listen, "ADDRESS:PORT, such as 127.0.0.1:8081"))?;
        if !(Duration::from_millis(200)..=Duration::from_mins(1)).contains(&raw.tick) {
            return Err(Problem::new("tick", format!("{:?}", raw.tick), "200ms to 1m"));
        }
        let (key_file, tick) = (raw.key_file.clone(), raw.tick);
        let record = raw.record.clone().map(Record::try_from).transpose()?;
        let work = match raw.kubernetes.clone() {
            Some(kubernetes) => {
                beside_kubernetes(&raw)?;
                Work::Kubernetes(checked(kubernetes)?)
            }
            None => of_processes(raw)?,
        };
        Ok(Self { listen, key_file, tick, record, work })
    }
}

impl TryFrom<RawRecord> for Record {
    type Error = Problem;

    fn try_from(raw: RawRecord) -> Result<Self, Problem> {
        let RawRecord { dir, max_bytes } = raw;
        if dir.as_os_str().is_empty() {
            return Err(Problem::new("record.dir", "\"\"", "a folder"));
        }
        if !RECORD_BYTES.contains(&max_bytes) {
            return Err(Problem::new("record.max_bytes", max_bytes, "4194304 to 1099511627776 (bytes)"));
        }
        Ok(Self { dir, max_bytes })
    }
}

impl Record {
    /// Makes the folder. A disk that is full is no wrong setting: there may be room later.
    ///
    /// # Errors
    /// Why it cannot be a folder of ours.
    pub fn make_folder(&self) -> Result<(), Problem> {
        match std::fs::create_dir_all(&self.dir) {
            Err(problem) if problem.kind() != io::ErrorKind::StorageFull => {
                let value = format!("\"{}\"", self.dir.display());
                Err(Problem::new("record.dir", value, format!("a folder that can be made ({problem})")))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses settings of a group beside `kubernetes`: whoever writes both expects something of each.
fn beside_kubernetes(raw: &Raw) -> Result<(), Problem> {
    let written = [
        ("kafka", raw.kafka.is_some()),
        ("slo", raw.slo.is_some()),
        ("replicas", raw.replicas.is_some()),
        ("capacity", raw.capacity.is_some()),
        ("behavior", raw.behavior.is_some()),
        ("target", raw.target.is_some()),
    ];
    match written.into_iter().find(|(_, is_written)| *is_written) {
        Some((key, _)) => {
            Err(Problem::new(key, "{...}", "nothing beside [kubernetes]: the IngestScalers say it"))
        }
        None => Ok(()),
    }
}

fn checked(kubernetes: RawKubernetes) -> Result<RawKubernetes, Problem> {
    if kubernetes.namespace.as_deref().is_some_and(|name| !is_dns_label(name)) {
        let name = kubernetes.namespace.unwrap_or_default();
        return Err(Problem::new(
            "kubernetes.namespace",
            format!("\"{name}\""),
            "lower-case letters, digits and -, at most 63 (RFC 1123 label)",
        ));
    }
    Ok(kubernetes)
}

fn is_dns_label(name: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn of_processes(raw: Raw) -> Result<Work, Problem> {
    let tick = raw.tick;
    let (kafka, slo, replicas, target) = (
        needed("kafka", raw.kafka)?,
        needed("slo", raw.slo)?,
        needed("replicas", raw.replicas)?,
        needed("target", raw.target)?,
    );
    let (capacity, behavior) = (raw.capacity.unwrap_or_default(), raw.behavior.unwrap_or_default());
    let policy = policy(&slo, &replicas, &capacity, &behavior, kafka.commit_interval);
    let group = GroupSettings {
        bootstrap_servers: kafka.bootstrap_servers,
        consumer_group: kafka.consumer_group,
        topics: kafka.topics,
        policy,
    }
    .looked_at_every(tick)
    .checked()?;
    let processes = target.processes;
    if processes.stop_timeout > Duration::from_mins(10) {
        let value = format!("{:?}", processes.stop_timeout);
        return Err(Problem::new("target.processes.stop_timeout", value, "0s to 10m"));
    }
    if processes.command.as_os_str().is_empty() {
        return Err(Problem::new("target.processes.command", "", "a program"));
    }
    Ok(Work::Processes(Box::new(group), processes))
}

/// Returns the policy that is written, with its defaults; not checked.
#[must_use]
pub fn policy(
    slo: &RawSlo,
    replicas: &RawReplicas,
    capacity: &RawCapacity,
    behavior: &RawBehavior,
    commit_interval: Duration,
) -> Policy {
    let defaults = Policy::new(slo.delay, replicas.min, replicas.max);
    Policy {
        capacity_per_replica: capacity.per_replica,
        up_max_step: behavior.up.max_step.unwrap_or(defaults.up_max_step),
        down_after: behavior.down.after.unwrap_or(defaults.down_after),
        down_max_step: behavior.down.max_step.unwrap_or(defaults.down_max_step),
        commit_interval,
        ..defaults
    }
}

fn needed<T>(key: &'static str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| {
        Problem::new(
            key,
            "nothing",
            format!("a table [{key}]; or [kubernetes], where the IngestScalers say it"),
        )
    })
}

fn default_listen() -> String {
    DEFAULT_LISTEN.to_owned()
}

fn default_tick() -> Duration {
    DEFAULT_TICK
}

/// Returns how often consumers commit unless it is written.
#[must_use]
pub fn default_commit_interval() -> Duration {
    Policy::new(Duration::from_secs(1), 1, 1).commit_interval
}

fn default_record_bytes() -> u64 {
    DEFAULT_RECORD_BYTES
}

fn default_stop_timeout() -> Duration {
    DEFAULT_STOP_TIMEOUT
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        key_file = "/run/tidegate/key"
        [kafka]
        bootstrap_servers = "127.0.0.1:9092"
        consumer_group = "telemetry"
        topics = ["telemetry"]
        [slo]
        delay = "10s"
        [replicas]
        max = 8
        [behavior.down]
        after = "1m"
        [target.processes]
        command = "/usr/bin/tidegate"
        args = ["consume", "--member", "{member}"]
    "#;

    fn settings(text: &str) -> Result<Settings, Problem> {
        toml::from_str::<Raw>(text).unwrap().try_into()
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let settings = settings(GOOD).unwrap();
        let Work::Processes(group, processes) = settings.work else { panic!("{:?}", settings.work) };
        let policy = group.policy;
        assert_eq!(policy.min, 1);
        assert_eq!(policy.down_after, Duration::from_mins(1));
        assert_eq!(policy.commit_interval, Duration::from_secs(5));
        assert_eq!(policy.stale_after, Duration::from_secs(15));
        assert_eq!(processes.stop_timeout, DEFAULT_STOP_TIMEOUT);
        assert_eq!(settings.listen.to_string(), DEFAULT_LISTEN);
        assert_eq!(settings.record, None);
    }

    #[test]
    fn records_may_be_kept_without_and_beside_kubernetes() {
        for rest in [GOOD, "key_file = '/k'\n[kubernetes]"] {
            let with = format!("{rest}\n[record]\ndir = '/var/lib/tidegate'");
            let record = settings(&with).unwrap().record.unwrap();
            assert_eq!(
                (record.dir, record.max_bytes),
                (PathBuf::from("/var/lib/tidegate"), DEFAULT_RECORD_BYTES)
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_is_a_wrong_setting() {
        let folder = tempfile::tempdir().unwrap();
        let make = |dir| Record { dir, max_bytes: DEFAULT_RECORD_BYTES }.make_folder();
        assert!(make(folder.path().join("a/b")).is_ok() && make(folder.path().join("a/b")).is_ok());
        std::fs::write(folder.path().join("file"), "").unwrap();
        let problem = make(folder.path().join("file/b")).unwrap_err();
        assert_eq!(problem.key, "record.dir");
        assert!(problem.value.contains("file/b") && problem.allowed.contains("folder"), "{problem:?}");
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_allowed() {
        for (from, to, key) in [
            ("max = 8", "max = 8\nmin = 9", "replicas.min"),
            ("max = 8", "max = 20000", "replicas.max"),
            ("delay = \"10s\"", "delay = \"0s\"", "slo.delay"),
            ("after = \"1m\"", "after = \"1m\"\nmax_step = 0", "behavior.down.max_step"),
            ("[\"telemetry\"]", "[]", "kafka.topics"),
            ("[slo]", "[capacity]\nper_replica = -5\n[slo]", "capacity.per_replica"),
            ("[kafka]", "listen = \"8081\"\n[kafka]", "listen"),
            ("[kafka]", "tick = \"1ms\"\n[kafka]", "tick"),
            ("[kafka]", "[kubernetes]\n[kafka]", "kafka"),
            ("[slo]\n        delay = \"10s\"", "", "slo"),
            ("[slo]", "[record]\ndir = ''\n[slo]", "record.dir"),
            ("[slo]", "[record]\ndir = 'r'\nmax_bytes = 1000\n[slo]", "record.max_bytes"),
        ] {
            assert!(GOOD.contains(from));
            let problem = settings(&GOOD.replace(from, to)).unwrap_err();
            assert_eq!(problem.key, key);
            assert!(!problem.allowed.is_empty());
        }
    }

    #[test]
    fn on_kubernetes_the_objects_say_what_to_scale() {
        let work = |text: &str| settings(&format!("key_file = '/k'\n{text}")).map(|settings| settings.work);
        let Ok(Work::Kubernetes(found)) = work("[kubernetes]") else { panic!("it is allowed") };
        assert!(found.namespace.is_none() && found.kubeconfig.is_none());
        let Ok(Work::Kubernetes(found)) = work("[kubernetes]\nnamespace = 'ingest'") else {
            panic!("it is allowed")
        };
        assert_eq!(found.namespace.as_deref(), Some("ingest"));
        for wrong in ["", "In", "-a", "a-", "a.b", &"a".repeat(64)] {
            let problem = work(&format!("[kubernetes]\nnamespace = '{wrong}'")).unwrap_err();
            assert_eq!(problem.key, "kubernetes.namespace");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let wrong = toml::from_str::<Raw>(&GOOD.replace("max = 8", "max = 8\nmaximum = 9")).unwrap_err();
        assert!(wrong.to_string().contains("maximum"), "{wrong}");
    }
}
