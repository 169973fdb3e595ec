//! The API server is away, or the controller was: replicas stay, people are told, and work goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::proxy::{Direction, Flow, Link, Proxy};
use tidegate_tests::support::scenario::beside_others_on_kubernetes;
use tidegate_tests::support::tidegate::Operator;

use super::site::{Site, api_server, deployment, text};

/// A lost connection shows at once; one that is silent when an answer is overdue, which is after 75 s.
const NOTICED_WITHIN: Duration = Duration::from_secs(100);
/// The longest pause between two tries, and a look.
const BACK_WITHIN: Duration = Duration::from_secs(45);
/// Ten ticks.
const QUIET: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_cannot_be_reached_is_told_and_work_goes_on_when_it_is_back() -> Result<()> {
    let promise = "no connection to the API server: /readyz says so, nothing is scaled, and it goes on";
    let away = |proxy: &Proxy| {
        // Nobody listens there: new connections are refused.
        proxy.forward_to(([127, 0, 0, 1], 1).into());
        proxy.cut();
    };
    let back = |proxy: &Proxy, server| proxy.forward_to(server);
    outage(promise, "unreachable", away, back).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_hangs_is_told_and_work_goes_on_when_it_is_back() -> Result<()> {
    let promise = "a frozen API server: /readyz says so, nothing is scaled, and it goes on";
    let flow = |proxy: &Proxy, flow| {
        for direction in [Direction::ToServer, Direction::ToClient] {
            proxy.set(direction, Link { flow, ..Link::default() });
        }
    };
    outage(promise, "frozen", |proxy| flow(proxy, Flow::Stall), |proxy, _| flow(proxy, Flow::Pass)).await
}

async fn outage(
    promise: &str,
    namespace: &str,
    away: impl Fn(&Proxy),
    back: impl Fn(&Proxy, SocketAddr),
) -> Result<()> {
    beside_others_on_kubernetes(promise, namespace, async |dir, cluster| {
        let site = Site::prepare(cluster, namespace, dir).await?;
        let proxy = Proxy::open().await?;
        proxy.forward_to(api_server(cluster)?);
        let kubeconfig = site.kubeconfig("behind-proxy", Some(proxy.address())).await?;
        site.apply([deployment("consumer", 1), site.scaler("consumer", "consumer")]).await?;
        let mut controller = site.controller_with("controller", &kubeconfig, "tick = '1s'").await?;
        site.has_replicas("consumer", 2).await?;
        is_ready(&mut controller).await?;

        away(&proxy);
        let more = r#"{"spec":{"replicas":{"min":3}}}"#;
        site.kubectl(&format!("patch ingestscaler/consumer --type=merge --patch={more}")).await?;
        let told = eventually("/readyz tells", NOTICED_WITHIN, async || {
            ensure!(controller.process.ended()?.is_none(), "it ended");
            let (ready, told) = controller.readyz().await?;
            Ok((!ready).then_some(told))
        })
        .await
        .with_context(|| controller.process.tail())?;
        ensure!(told.contains("kubernetes: ") && told.contains("the api server"), "/readyz says: {told}");
        let logged = |line: &str| line.contains("not ready") && line.contains("kubernetes");
        controller.process.line("what it says in the log", NOTICED_WITHIN, logged).await?;
        let meanwhile = site.get("deployment/consumer").await?;
        ensure!(meanwhile["spec"]["replicas"] == 2, "{meanwhile:#}");

        back(&proxy, api_server(cluster)?);
        is_ready(&mut controller).await?;
        site.has_replicas("consumer", 3).await
    })
    .await
}

async fn is_ready(controller: &mut Operator) -> Result<()> {
    let ready = eventually("the controller is ready", BACK_WITHIN, async || {
        ensure!(controller.process.ended()?.is_none(), "it ended");
        Ok(controller.readyz().await?.0.then_some(()))
    });
    ready.await.with_context(|| controller.process.tail())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_was_killed_and_starts_again_writes_nothing() -> Result<()> {
    const NAMESPACE: &str = "restart";
    let promise = "a restart of the controller changes neither replicas nor status, and tells nothing again";
    beside_others_on_kubernetes(promise, NAMESPACE, async |dir, cluster| {
        let site = Site::prepare(cluster, NAMESPACE, dir).await?;
        site.apply([
            deployment("consumer", 1),
            site.scaler("consumer", "consumer"),
            site.scaler("no-target", "no-target"),
        ])
        .await?;
        let mut controller = site.controller().await?;
        site.has_replicas("consumer", 2).await?;
        site.becomes("ingestscaler/consumer", ".status.want", "2").await?;
        site.says("no-target", "Ready", "TargetNotFound").await?;
        let told = async || {
            Ok((written(&site).await?.keys().filter(|it| it.starts_with("Event")).count() == 2).then_some(()))
        };
        eventually("one event for each", NOTICED_WITHIN, told).await?;
        let settled = settled(&site).await?;

        controller.process.signal(Signal::KILL)?;
        controller.process.kill()?;
        let mut controller = site.controller().await?;
        is_ready(&mut controller).await?;
        tokio::time::sleep(QUIET).await;
        let later = written(&site).await?;
        ensure!(settled == later, "before: {settled:#?}\nafter: {later:#?}");
        ensure!(controller.process.ended()?.is_none(), "{}", controller.process.tail());

        // It works: what changes now is written.
        site.kubectl("scale deployment/consumer --replicas=1").await?;
        site.has_replicas("consumer", 2).await
    })
    .await
}

/// Waits until nothing was written for some ticks, and returns what there is.
async fn settled(site: &Site<'_>) -> Result<BTreeMap<String, String>> {
    let mut before = written(site).await?;
    eventually("everything is written", NOTICED_WITHIN, async || {
        tokio::time::sleep(QUIET / 3).await;
        let now = written(site).await?;
        let same = now == before;
        before.clone_from(&now);
        Ok(same.then_some(now))
    })
    .await
}

/// Returns everything that a controller may write: its resourceVersion, and what it says.
async fn written(site: &Site<'_>) -> Result<BTreeMap<String, String>> {
    let all = site.get("deployments,ingestscalers,events.events.k8s.io").await?;
    let items = all["items"].as_array().into_iter().flatten();
    let version = |item: &Value| -> Result<(String, String)> {
        let metadata = &item["metadata"];
        let name = format!("{} {}", text(item, "kind")?, text(metadata, "name")?);
        let says = if item["kind"] == "Event" { &item["note"] } else { &item["status"] };
        Ok((name, format!("version {}: {says}", text(metadata, "resourceVersion")?)))
    };
    items.map(version).collect()
}
