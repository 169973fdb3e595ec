//! From a burst to the first write to `/scale`: how long it takes, and how much of the final count it asks for.
//!
//! A measurement, run by `make bench-scale`; on a busy machine it fails nothing. Everything is real: Kafka, the node, the
//! installed controller, consumers as pods. Each burst has a topic, a group, a Deployment and an IngestScaler of its own
//! and begins with one consumer at rest, so that none remembers another.

mod load;
mod report;
mod writes;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tidegate_core::time::Timestamp;
use tidegate_tests::support::cluster::Cluster;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::image;
use tidegate_tests::support::install::{Installed, install};
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::say::say;
use tidegate_tests::support::scenario::on_kubernetes;

use super::site::{apply, within};
use report::{Burst, Report};
use writes::Writes;

/// Bursts of each case, unless the environment's `BURSTS` says otherwise.
const BURSTS: u32 = 20;
const PARTITIONS: i32 = 64;
const MAX_REPLICAS: u32 = 40;
/// What a consumer sleeps for each record, and the messages per second that this leaves it.
const WORK: &str = "10ms";
const PER_REPLICA: u32 = 100;
/// Writes after the first one are counted for this long.
const WATCHED: Duration = Duration::from_secs(20);
/// One pod starts, or all of a burst end.
const AT_REST_WITHIN: Duration = Duration::from_mins(3);
/// No write for this long after a burst is a failure, not a measurement.
const FIRST_WRITE_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of a quarter of an hour: make bench-scale"]
async fn first_write_after_messages_are_in_kafka() -> Result<()> {
    measure("first-write-kafka", "40 000 messages already in Kafka", async |stage: &Stage<'_>, name| {
        stage.create(name).await?;
        let mut writes = Writes::watch(stage.cluster, stage.namespace, name).await?;
        let begin = load::produce(&stage.kafka.bootstrap(), name, PARTITIONS).await?;
        stage.after(&mut writes, begin).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of half an hour: make bench-scale"]
async fn first_write_after_devices_offer_ten_times_as_much() -> Result<()> {
    measure("first-write-rate", "offered rate x 10", async |stage: &Stage<'_>, name| {
        stage.create(name).await?;
        let mut writes = Writes::watch(stage.cluster, stage.namespace, name).await?;
        let rising = load::Rising::start(stage.dir, &stage.kafka.bootstrap(), name, &stage.installed).await?;
        let begin = rising.risen().await?;
        let burst = stage.after(&mut writes, begin).await;
        rising.stop().await?;
        burst
    })
    .await
}

/// Plays one case and prints its table.
async fn measure(
    namespace: &'static str,
    case: &'static str,
    burst: impl AsyncFn(&Stage<'_>, &str) -> Result<Burst>,
) -> Result<()> {
    on_kubernetes("the time to the first write to /scale", namespace, async |dir, cluster| {
        let bursts = match std::env::var("BURSTS") {
            Ok(text) => text.parse().context("BURSTS is a number")?,
            Err(_) => BURSTS,
        };
        let kafka = Kafka::start(dir).await?;
        let installed = install(cluster, namespace, dir, "tick = '1s'").await?;
        let stage = Stage { dir, cluster, namespace, kafka, installed };
        let mut report = Report::new(case);
        for number in 0..bursts {
            let name = format!("burst-{number}");
            let measured = burst(&stage, &name).await.with_context(|| format!("{case}, {name}"))?;
            say(format_args!("{case}, {name}: {measured}"));
            report.add(measured);
            stage.remove(&name).await?;
        }
        say(format_args!("\n{report}"));
        Ok(())
    })
    .await
}

/// What all bursts of a case share.
struct Stage<'a> {
    dir: &'a Path,
    cluster: &'a Cluster,
    namespace: &'a str,
    kafka: Kafka,
    installed: Installed,
}

impl Stage<'_> {
    /// Makes a topic, one consumer and its scaler, all of this name, and waits until they are at rest: the consumer has
    /// its partitions, and the scaler has seen it consume.
    async fn create(&self, name: &str) -> Result<()> {
        self.kafka.create_topic(name, PARTITIONS).await?;
        let objects = [self.consumer(name), self.scaler(name)];
        apply(self.cluster, objects.map(|object| within(self.namespace, object))).await?;
        let decision = format!("{}/v1/decision?scaler={name}", self.installed.url);
        eventually("one consumer at rest", AT_REST_WITHIN, async || {
            let answer = reqwest::get(&decision).await?;
            if !answer.status().is_success() {
                return Ok(None);
            }
            let view: Value = answer.json().await?;
            let at_rest = view["want"] == 1 && view["have"] == 1 && view["delay_secs"] == 0.0;
            Ok(at_rest.then_some(()))
        })
        .await
    }

    /// Returns what was written to `/scale` after `begin`.
    async fn after(&self, writes: &mut Writes, begin: Timestamp) -> Result<Burst> {
        let first = writes.next(FIRST_WRITE_WITHIN).await?.context("nothing was written to /scale")?;
        let further = writes.collect(WATCHED).await?;
        let last = further.last().copied().unwrap_or(first);
        Ok(Burst {
            first_secs: report::secs_between(begin, first.0),
            first: first.1,
            last: last.1,
            last_secs: report::secs_between(begin, last.0),
            further: further.len(),
        })
    }

    /// Takes everything of a burst away and waits until its pods are gone.
    async fn remove(&self, name: &str) -> Result<()> {
        let scaler = ["delete", "ingestscaler", name, "--namespace", self.namespace];
        self.cluster.kubectl(scaler).await?;
        let within = format!("--timeout={}s", AT_REST_WITHIN.as_secs());
        let deployment =
            ["delete", "deployment", name, "--cascade=foreground", &within, "--namespace", self.namespace];
        self.cluster.kubectl(deployment).await.map(drop)
    }

    fn consumer(&self, name: &str) -> Value {
        let labels = json!({ "app": name });
        let kafka = self.kafka.bootstrap();
        let args = [
            ["consume", "--kafka", &kafka],
            ["--group", name, "--topic"],
            [name, "--client-id", "$(POD)"],
            ["--work", WORK, "--commit-interval"],
            ["1s", "--report-to", &self.installed.url],
        ];
        let args: Vec<&str> = args.concat().into_iter().chain(["--key-file", "/key/key"]).collect();
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": name },
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "hostNetwork": true,
                        "terminationGracePeriodSeconds": 5,
                        "securityContext": { "fsGroup": 65532 },
                        "containers": [{
                            "name": "consume",
                            "image": image::TIDEGATE,
                            "imagePullPolicy": "Never",
                            "args": args,
                            "env": [{
                                "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } },
                            }],
                            // So that all of them fit on a node of two processors.
                            "resources": { "requests": { "cpu": "10m" } },
                            "volumeMounts": [{ "name": "key", "mountPath": "/key" }],
                        }],
                        "volumes": [{
                            "name": "key",
                            "secret": { "secretName": "tidegate-report-key", "defaultMode": 0o440 },
                        }],
                    },
                },
            },
        })
    }

    fn scaler(&self, name: &str) -> Value {
        json!({
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "IngestScaler",
            "metadata": { "name": name },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
                "kafka": {
                    "bootstrapServers": self.kafka.bootstrap(),
                    "consumerGroup": name,
                    "topics": [name],
                    "commitInterval": "1s",
                },
                "slo": { "delay": "10s" },
                "replicas": { "max": MAX_REPLICAS },
                "capacity": { "perReplica": PER_REPLICA },
            },
        })
    }
}
