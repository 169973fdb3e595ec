//! What is refused, and what is taken and cannot work: each says what is wrong and what is allowed, and nothing is
//! scaled to a wrong number.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tidegate_tests::support::scenario::beside_others_on_kubernetes;

use super::site::{self, Site, deployment, scaler, within};

/// Port 1 is nobody's.
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_refuses_a_wrong_object_and_says_what_is_allowed() -> Result<()> {
    const NAMESPACE: &str = "refused";
    beside_others_on_kubernetes(
        "a wrong IngestScaler is refused by the API server",
        NAMESPACE,
        async |dir, cluster| {
            site::define(cluster).await?;
            let file = dir.join("object.json");
            // To the API server as it is, with kubectl's default strictness: kubectl itself might refuse it, in other words.
            let url = format!(
                "/apis/tidegate.dev/v1alpha1/namespaces/{NAMESPACE}/ingestscalers?fieldValidation=Strict"
            );
            let create = async |object: &Value| {
                fs::write(&file, object.to_string())?;
                let file = file.to_str().context("a path in UTF-8")?;
                cluster.kubectl(["create", "--raw", &url, "-f", file]).await
            };
            // What is changed of a right object, and what the answer must name: the field, and what is allowed.
            let table: &[(&str, Value, [&str; 2])] = &[
                ("/replicas/min", json!(9), ["spec.replicas.min", "1 to replicas.max"]),
                ("/replicas/min", json!(0), ["spec.replicas.min", "greater than or equal to 1"]),
                ("/replicas/max", json!(10_001), ["spec.replicas.max", "less than or equal to 10000"]),
                (
                    "/kafka/consumerGroup",
                    json!(""),
                    ["spec.kafka.consumerGroup", "the group.id of the consumers"],
                ),
                ("/kafka/topics", json!([]), ["spec.kafka.topics", "at least 1 items"]),
                ("/kafka/topics", json!(["a", "a"]), ["spec.kafka.topics", "Duplicate value"]),
                ("/kafka/bootstrapServers", json!(" "), ["spec.kafka.bootstrapServers", "HOST:PORT"]),
                ("/kafka", json!({ "topics": ["t"] }), ["spec.kafka.consumerGroup", "Required value"]),
                ("/slo/delay", json!("0s"), ["spec.slo.delay", "allowed is 1s to 1h"]),
                ("/slo/delay", json!("-5s"), ["spec.slo.delay", "allowed is 1s to 1h"]),
                ("/slo/delay", json!("ten seconds"), ["spec.slo.delay", "such as 10s, 1m30s or 500ms"]),
                ("/slo/delay", json!(10), ["spec.slo.delay", "must be of type string"]),
                (
                    "/slo",
                    json!({ "delay": "5s", "percentile": 99 }),
                    ["spec.slo.percentile", "unknown field"],
                ),
                ("/behavior/down/after", json!("2d"), ["spec.behavior.down.after", "allowed is 1s to 24h"]),
                ("/capacity/perReplica", json!(0), ["spec.capacity.perReplica", "0.001 to 1000000000"]),
                (
                    "/scaleTargetRef/name",
                    json!("../secrets"),
                    ["spec.scaleTargetRef.name", "allowed is the name"],
                ),
            ];
            let right = within(NAMESPACE, scaler("telemetry", ("Deployment", "consumer"), NOBODY));
            for (path, value, named) in table {
                let mut object = right.clone();
                *object["spec"].pointer_mut(path).expect("a path of the object") = value.clone();
                let Err(refused) = create(&object).await else { bail!("{path} = {value} was taken") };
                let said = format!("{refused:#}");
                for word in named {
                    ensure!(said.contains(word), "{path} = {value}: {word:?} is missing in: {said}");
                }
            }
            create(&right).await.map(drop)
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scaler_that_cannot_work_says_why_and_leaves_the_replicas_alone() -> Result<()> {
    const NAMESPACE: &str = "cannot-work";
    let promise = "no target, no topic, no Kafka: a condition says so, and the replicas stay";
    beside_others_on_kubernetes(promise, NAMESPACE, async |dir, cluster| {
        let site = Site::prepare(cluster, NAMESPACE, dir).await?;
        // More than nothing needs: whoever took "unknown" for "nothing to do" would give some back.
        site.apply(["works", "no-topic", "no-kafka"].map(|name| deployment(name, 4))).await?;
        let with = |name: &str, path: &str, value: Value| {
            let mut object = site.scaler(name, name);
            *object.pointer_mut(path).expect("a path of the object") = value;
            object
        };
        site.apply([
            site.scaler("works", "works"),
            site.scaler("no-target", "no-target"),
            with("no-topic", "/spec/kafka/topics", json!(["nobody-made-this"])),
            with("no-kafka", "/spec/kafka/bootstrapServers", json!(NOBODY)),
        ])
        .await?;
        let mut controller = site.controller().await?;

        let table = [
            ("no-target", "TargetScalable", "TargetNotFound", ["Deployment no-target", "create it"]),
            ("no-topic", "KafkaObserved", "UnknownTopic", ["nobody-made-this", "create it"]),
            ("no-kafka", "KafkaObserved", "KafkaUnreachable", [NOBODY, "check spec.kafka.bootstrapServers"]),
        ];
        for (scaler, condition, reason, named) in table {
            let told = site.says(scaler, condition, reason).await?;
            for word in named {
                ensure!(told.contains(word), "{scaler}: {word:?} is missing in: {told}");
            }
            site.says(scaler, "Ready", reason).await?;
        }
        // The one that works gives back what it does not need: there was time for the others to do so wrongly.
        site.has_replicas("works", 2).await?;
        for name in ["no-topic", "no-kafka"] {
            site.was_never_scaled(name).await?;
        }

        site.apply([deployment("no-target", 1)]).await?;
        site.has_replicas("no-target", 2).await?;
        site.says("no-target", "Ready", "Scaling").await?;
        ensure!(controller.process.ended()?.is_none(), "{}", controller.process.tail());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_cannot_be_scaled_is_named() -> Result<()> {
    const NAMESPACE: &str = "kinds";
    beside_others_on_kubernetes("a target without /scale is named", NAMESPACE, async |dir, cluster| {
        let site = Site::prepare(cluster, NAMESPACE, dir).await?;
        let kinds = [
            ("unknown", "apps/v1", "Sandcastle", "not known to the api server"),
            ("unscalable", "apps/v1", "DaemonSet", "has no /scale"),
            ("unspaced", "v1", "Node", "belongs to no namespace"),
        ];
        let scalers = kinds.map(|(name, api, kind, _)| {
            let mut object = site.scaler(name, name);
            object["spec"]["scaleTargetRef"] = json!({ "apiVersion": api, "kind": kind, "name": name });
            object
        });
        site.apply(scalers).await?;
        let _controller = site.controller().await?;
        for (name, _, kind, why) in kinds {
            let told = site.says(name, "TargetScalable", "TargetUnsupported").await?;
            for word in [kind, why, "name a Deployment"] {
                ensure!(told.contains(word), "{name}: {word:?} is missing in: {told}");
            }
        }
        Ok(())
    })
    .await
}
