//! What somebody else scales is left alone: nothing is ordered, the condition names the owner, and scaling begins when
//! that one is gone.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidegate_runtime::clock;
use tidegate_tests::support::cluster::Cluster;
use tidegate_tests::support::scenario::beside_others_on_kubernetes;
use tokio::sync::Mutex;

use super::site::{Site, apply, deployment};

/// KEDA's object, as far as the controller reads it; the real definition needs the whole of KEDA.
const SCALED_OBJECTS: &str = "scaledobjects.keda.sh";

/// One test at a time changes what the API server knows.
static KEDA: Mutex<()> = Mutex::const_new(());

/// Runs `body` while the API server knows KEDA's `ScaledObject`.
pub(super) async fn with_scaled_objects(
    cluster: &Cluster,
    body: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let _only = KEDA.lock().await;
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": SCALED_OBJECTS },
        "spec": {
            "group": "keda.sh",
            "scope": "Namespaced",
            "names": { "kind": "ScaledObject", "plural": "scaledobjects", "singular": "scaledobject" },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
            }],
        },
    });
    apply(cluster, [definition]).await?;
    let crd = format!("crd/{SCALED_OBJECTS}");
    cluster.kubectl(["wait", "--for=condition=Established", &crd, "--timeout=30s"]).await?;
    let result = body().await;
    // The other tests have a cluster without KEDA.
    let removed = cluster.kubectl(["delete", &crd, "--timeout=60s"]).await;
    result.and(removed.map(drop))
}

/// A `HorizontalPodAutoscaler`. There are no metrics here, so it changes nothing by itself.
fn autoscaler(name: &str, deployment: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": name },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment },
            "minReplicas": 1,
            "maxReplicas": 5,
        },
    })
}

fn scaled_object(name: &str, deployment: &str) -> Value {
    json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": { "name": name },
        "spec": { "scaleTargetRef": { "name": deployment } },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_of_somebody_else_is_left_alone_until_that_one_is_gone() -> Result<()> {
    const NAMESPACE: &str = "owned";
    let promise = "beside an HPA, a ScaledObject or an older IngestScaler nothing is scaled";
    beside_others_on_kubernetes(promise, NAMESPACE, async |dir, cluster| {
        with_scaled_objects(cluster, async || {
            let site = Site::prepare(cluster, NAMESPACE, dir).await?;
            let names = ["beside-hpa", "beside-keda", "twins", "alone"];
            site.apply(names.map(|name| deployment(name, 1))).await?;
            let mut younger = site.scaler("younger", "twins");
            younger["spec"]["replicas"]["min"] = json!(3);
            site.apply([autoscaler("web", "beside-hpa"), scaled_object("queue", "beside-keda")]).await?;
            site.apply([site.scaler("older", "twins")]).await?;
            older_by_a_second().await;
            site.apply([younger]).await?;
            site.apply(["beside-hpa", "beside-keda", "alone"].map(|name| site.scaler(name, name))).await?;
            let mut controller = site.controller().await?;

            // What nobody else scales is scaled: there was time for the others.
            for (target, count) in [("alone", 2), ("twins", 2)] {
                site.has_replicas(target, count).await?;
            }
            let owners = [
                ("beside-hpa", "HorizontalPodAutoscaler web"),
                ("beside-keda", "ScaledObject queue"),
                ("younger", "ingestscaler older"),
            ];
            for (scaler, owner) in owners {
                let told = site.says(scaler, "TargetScalable", "TargetOwned").await?;
                ensure!(told.contains(owner), "{scaler} says: {told}");
                let told = site.says(scaler, "Ready", "TargetOwned").await?;
                ensure!(told.contains(owner), "{scaler} says: {told}");
            }
            site.was_never_scaled("beside-hpa").await?;
            site.was_never_scaled("beside-keda").await?;
            let events = site.kubectl("get events").await?;
            ensure!(events.contains("TargetOwned"), "an event:\n{events}");

            // One that comes later is respected, too.
            site.apply([autoscaler("late", "alone")]).await?;
            let told = site.says("alone", "TargetScalable", "TargetOwned").await?;
            ensure!(told.contains("late"), "alone says: {told}");
            site.kubectl("scale deployment/alone --replicas=1").await?;

            let owners = "hpa/web scaledobject/queue ingestscaler/older";
            site.kubectl(&format!("delete {owners}")).await?;
            for (target, count) in [("beside-hpa", 2), ("beside-keda", 2), ("twins", 3)] {
                site.has_replicas(target, count).await?;
            }
            for scaler in ["beside-hpa", "beside-keda", "younger"] {
                site.says(scaler, "Ready", "Scaling").await?;
            }
            let alone = site.get("deployment/alone").await?;
            ensure!(alone["spec"]["replicas"] == 1, "it was scaled beside an autoscaler:\n{alone:#}");
            ensure!(controller.process.ended()?.is_none(), "{}", controller.process.tail());
            Ok(())
        })
        .await
    })
    .await
}

/// Waits for another second of the wall clock: that is how exactly the API server writes when an object was made.
async fn older_by_a_second() {
    let second = || clock::unix_millis().0 / 1000;
    let made = second();
    while second() == made {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
