//! The consumers are pods of a real node.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::support::cluster::Cluster;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::image;
use tidegate_tests::support::install::{Installed, install};
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::say::say;
use tidegate_tests::support::scenario::on_kubernetes;
use tidegate_tests::support::tidegate::Gateway;

use super::{Consumers, GROUP, PARTITIONS, TOPIC, gateway_settings};

const NAMESPACE: &str = "main-job";
/// 1 -> n -> 1, the end of the pods included.
const DONE_WITHIN: Duration = Duration::from_mins(4);
const SOON: Duration = Duration::from_mins(1);

/// The pods of the Deployment.
struct Pods<'a> {
    cluster: &'a Cluster,
    dir: &'a Path,
}

impl Consumers for Pods<'_> {
    /// Counts what is Ready.
    async fn count(&self) -> Result<u32> {
        let ready = "jsonpath={.status.readyReplicas}";
        let said =
            self.cluster.kubectl(["get", "deployment/telemetry", "-n", NAMESPACE, "-o", ready]).await?;
        if said.is_empty() { Ok(0) } else { Ok(said.parse()?) }
    }

    fn check(&mut self) -> Result<()> {
        Ok(())
    }

    fn tail(&self) -> String {
        format!("logs and objects: {}", self.dir.display())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_messages_becomes_pods_and_they_go_when_it_is_worked_off() -> Result<()> {
    let promise = "the main job on a real node: pods 1 -> n -> 1, nothing lost, order kept";
    on_kubernetes(promise, NAMESPACE, async |dir, cluster| {
        let kafka = Kafka::start(dir).await?;
        kafka.create_topic(TOPIC, PARTITIONS).await?;
        let installed = install(cluster, NAMESPACE, dir, "tick = '1s'").await?;
        cluster.apply(&consumers(&kafka, &installed)).await?;
        cluster.apply(&scaler(&kafka)).await?;
        let mut pods = Pods { cluster, dir };
        let one = async || Ok((pods.count().await? == 1).then_some(()));
        eventually("the first consumer", SOON, one).await?;
        consumes(&kafka).await?;

        let settings = gateway_settings(&installed.url, &installed.key_file);
        let gateway = Gateway::start(dir, &kafka.bootstrap(), &settings).await?;
        let (timeline, verdict) = super::run(dir, &kafka, gateway, &mut pods, DONE_WITHIN).await?;
        let seen = shown(cluster).await?;
        let told = cluster.kubectl(["describe", "ingestscaler/telemetry", "-n", NAMESPACE]).await?;
        say(format_args!("the main job on a real node:\n{timeline}{verdict}\n{seen}\n{told}"));
        explains(&told)
    })
    .await
}

/// Returns what `kubectl get` shows once it shows that all is quiet: writes are few, so it may take some seconds.
async fn shown(cluster: &Cluster) -> Result<String> {
    let mut last = String::new();
    let quiet = eventually("the table shows that one is enough", SOON, async || {
        last = cluster.kubectl(["get", "ingestscalers", "-n", NAMESPACE]).await?;
        let mut lines = last.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let head = lines.next().context("a header")?;
        ensure!(head.starts_with(&["NAME", "WANT", "HAVE", "SLO", "WHY"]), "{last}");
        let row = lines.next().context("a row")?;
        Ok(row.starts_with(&["telemetry", "1", "1", "Met"]).then_some(()))
    });
    quiet.await.with_context(|| last.clone())?;
    Ok(last)
}

/// Fails unless an event tells of each step, and why.
fn explains(told: &str) -> Result<()> {
    let scaled = |part: &str| told.lines().any(|line| line.contains("Scaled") && line.contains(part));
    ensure!(scaled("1 -> ") && scaled("-> 1 replica: "), "no event for a step:\n{told}");
    Ok(())
}

/// Waits until the first consumer has its partitions: it then shows at the Kafka group.
async fn consumes(kafka: &Kafka) -> Result<()> {
    let direct = kafka.direct();
    let meter = tokio::task::spawn_blocking(move || {
        tidegate_tests::support::verifier::reader::LagMeter::new(&direct, GROUP, &[TOPIC])
    });
    drop(meter.await??);
    Ok(())
}

fn consumers(kafka: &Kafka, installed: &Installed) -> String {
    let kafka = kafka.bootstrap();
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: telemetry, namespace: {NAMESPACE}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: telemetry}}}}
  template:
    metadata: {{labels: {{app: telemetry}}}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 10
      securityContext: {{fsGroup: 65532}}
      containers:
      - name: consume
        image: {}
        imagePullPolicy: Never
        args: [consume, --kafka, '{kafka}', --group, {GROUP}, --topic, {TOPIC}, --client-id, $(POD), --work, 2ms,
          --commit-interval, 1s, --report-to, '{}', --key-file, /key/key]
        env:
        - {{name: POD, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        resources: {{requests: {{cpu: 50m}}}}
        volumeMounts:
        - {{name: key, mountPath: /key}}
      volumes:
      - {{name: key, secret: {{secretName: tidegate-report-key, defaultMode: 0440}}}}
",
        image::TIDEGATE,
        installed.url
    )
}

fn scaler(kafka: &Kafka) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1
kind: IngestScaler
metadata: {{name: telemetry, namespace: {NAMESPACE}}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: telemetry}}
  kafka: {{bootstrapServers: '{}', consumerGroup: {GROUP}, topics: [{TOPIC}], commitInterval: 1s}}
  slo: {{delay: 5s}}
  replicas: {{max: 8}}
  capacity: {{perReplica: 400}}
  behavior: {{down: {{after: 20s, maxStep: 8}}}}
",
        kafka.bootstrap()
    )
}
