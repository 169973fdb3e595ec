//! A namespace with the definition, the rights and the objects that the tests of the controller need.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidegate_kafka::embedded::Embedded;
use tidegate_tests::support::cluster::Cluster;
use tidegate_tests::support::install::manifests;
use tidegate_tests::support::tidegate::Operator;
use tidegate_tests::support::{access, image};
use tokio::sync::OnceCell;

use super::rights;

/// The controller's service account.
pub(super) const ACCOUNT: &str = "tidegate-controller";
/// A topic of the embedded Kafka, which nothing is written to.
pub(super) const TOPIC: &str = "telemetry";
/// Time for what takes a tick or two. It can be many times that: the machine is busy, and six writes of status and events
/// are free, the next ones ten seconds apart.
const SOON: &str = "--timeout=60s";
/// Looks once a second.
const SETTINGS: &str = "tick = '1s'";

/// A namespace in which a controller may work.
pub(super) struct Site<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    pub(super) kafka: Embedded,
    dir: &'a Path,
}

impl<'a> Site<'a> {
    /// Prepares the namespace, which exists, and starts a Kafka.
    pub(super) async fn prepare(cluster: &'a Cluster, namespace: &'a str, dir: &'a Path) -> Result<Self> {
        define(cluster).await?;
        let site = Self { cluster, namespace, dir, kafka: Embedded::start(&[(TOPIC, 4)])? };
        site.apply(rights::grant(namespace, namespace, &rights::in_use()?)).await?;
        Ok(site)
    }

    /// Returns a way into the API server with the controller's rights.
    pub(super) async fn kubeconfig(&self, name: &str, proxy: Option<SocketAddr>) -> Result<PathBuf> {
        access::of_account(self.cluster, (self.namespace, ACCOUNT), proxy, (self.dir, name)).await
    }

    /// Starts a controller.
    pub(super) async fn controller(&self) -> Result<Operator> {
        let kubeconfig = self.kubeconfig("controller", None).await?;
        self.controller_with("controller", &kubeconfig, SETTINGS).await
    }

    /// Starts a controller under this name, with this access.
    pub(super) async fn controller_with(
        &self,
        name: &str,
        kubeconfig: &Path,
        settings: &str,
    ) -> Result<Operator> {
        Operator::start((self.dir, name), kubeconfig, self.namespace, settings).await
    }

    /// Applies objects, in the site's namespace if they name none.
    pub(super) async fn apply(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        apply(self.cluster, objects.into_iter().map(|object| within(self.namespace, object))).await
    }

    /// Runs `kubectl` in the namespace.
    pub(super) async fn kubectl(&self, args: &str) -> Result<String> {
        self.cluster.kubectl(args.split(' ').chain(["--namespace", self.namespace])).await
    }

    /// Returns what `kubectl get` tells.
    pub(super) async fn get(&self, what: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&format!("get {what} -o json")).await?)?)
    }

    /// Waits until the path of an object has this value; says otherwise how the scalers stand.
    pub(super) async fn becomes(&self, object: &str, path: &str, value: &str) -> Result<()> {
        let awaited = format!("--for=jsonpath={{{path}}}={value}");
        let args = ["wait", &awaited, object, SOON, "--namespace", self.namespace];
        match self.cluster.kubectl(args).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let seen = self.kubectl("get ingestscalers,deployments -o yaml").await.unwrap_or_default();
                Err(error.context(format!("{object}: {path} is not {value}\n{seen}")))
            }
        }
    }

    /// Waits until a Deployment is ordered to have this many replicas.
    pub(super) async fn has_replicas(&self, deployment: &str, count: u32) -> Result<()> {
        self.becomes(&format!("deployment/{deployment}"), ".spec.replicas", &count.to_string()).await
    }

    /// Waits until a condition of a scaler has this reason, and returns what it says.
    pub(super) async fn says(&self, scaler: &str, condition: &str, reason: &str) -> Result<String> {
        let of = |field: &str| format!(".status.conditions[?(@.type=='{condition}')].{field}");
        let object = format!("ingestscaler/{scaler}");
        self.becomes(&object, &of("reason"), reason).await?;
        let message = format!("jsonpath={{{}}}", of("message"));
        self.cluster.kubectl(["get", &object, "-o", &message, "--namespace", self.namespace]).await
    }

    /// Fails if the number of replicas of a Deployment that was made by the test was ever changed. The API server
    /// counts the changes of what is ordered; status and metadata do not count.
    pub(super) async fn was_never_scaled(&self, deployment: &str) -> Result<()> {
        let seen = self.get(&format!("deployment/{deployment}")).await?;
        ensure!(seen["metadata"]["generation"] == 1, "{deployment} was changed:\n{seen:#}");
        Ok(())
    }

    /// Returns a scaler of a Deployment on the embedded Kafka: at least two replicas, at most eight.
    pub(super) fn scaler(&self, name: &str, deployment: &str) -> Value {
        scaler(name, ("Deployment", deployment), &self.kafka.bootstrap_servers())
    }
}

/// Returns where the API server listens, for a proxy.
pub(super) fn api_server(cluster: &Cluster) -> Result<SocketAddr> {
    Ok(format!("{}:443", cluster.address()?).parse()?)
}

/// Makes `IngestScaler` known, once for all tests.
pub(super) async fn define(cluster: &Cluster) -> Result<()> {
    static DEFINED: OnceCell<()> = OnceCell::const_new();
    let define = async || {
        cluster.apply(&fs::read_to_string(manifests().join("crd.yaml"))?).await?;
        let known = ["wait", "--for=condition=Established", "crd/ingestscalers.tidegate.dev", SOON];
        cluster.kubectl(known).await.map(drop)
    };
    DEFINED.get_or_try_init(define).await.map(drop)
}

/// Applies objects, which name their namespaces.
pub(super) async fn apply(cluster: &Cluster, objects: impl IntoIterator<Item = Value>) -> Result<()> {
    let items: Vec<Value> = objects.into_iter().collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    cluster.apply(&list.to_string()).await
}

/// Returns the object in this namespace.
pub(super) fn within(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// Returns a Deployment that makes no pods: it is paused.
pub(super) fn deployment(name: &str, replicas: u32) -> Value {
    let mut object = workload("Deployment", name, replicas);
    object["spec"]["paused"] = json!(true);
    object
}

/// Returns a StatefulSet whose pods never run: no scheduler takes them.
pub(super) fn stateful_set(name: &str, replicas: u32) -> Value {
    let mut object = workload("StatefulSet", name, replicas);
    object["spec"]["serviceName"] = json!(name);
    object
}

fn workload(kind: &str, name: &str, replicas: u32) -> Value {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "schedulerName": "nobody",
                    "containers": [{ "name": "pause", "image": image::PAUSE, "imagePullPolicy": "Never" }],
                },
            },
        },
    })
}

/// Returns a scaler that gives back quickly: a wrong number shows soon.
pub(super) fn scaler(name: &str, (kind, target): (&str, &str), kafka: &str) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "IngestScaler",
        "metadata": { "name": name },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": kind, "name": target },
            "kafka": { "bootstrapServers": kafka, "consumerGroup": name, "topics": [TOPIC] },
            "slo": { "delay": "5s" },
            "replicas": { "min": 2, "max": 8 },
            "capacity": { "perReplica": 100 },
            "behavior": { "down": { "after": "1s", "maxStep": 8 } },
        },
    })
}

/// Returns a field as text.
pub(super) fn text<'a>(of: &'a Value, field: &str) -> Result<&'a str> {
    of[field].as_str().with_context(|| format!("{field} is no text in {of}"))
}
