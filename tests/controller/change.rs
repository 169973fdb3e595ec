//! Somebody else scales the same target by hand, and orders meet a target that is not what it was.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_tests::support::proxy::{Direction, Link, Proxy};
use tidegate_tests::support::say::say;
use tidegate_tests::support::scenario::beside_others_on_kubernetes;

use super::site::{Site, api_server, deployment};

/// Between the controller's look and the arrival of its order: `kubectl scale` takes a fraction of it.
const LATENCY: Duration = Duration::from_millis(500);
const CHANGES: u64 = 20;
/// Ticks at a quarter of a second, after which a fight would show.
const QUIET: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_for_a_target_that_changed_meanwhile_is_not_carried_out() -> Result<()> {
    const NAMESPACE: &str = "change";
    let promise = "twenty changes by hand while the controller orders: no stale write, no fight";
    beside_others_on_kubernetes(promise, NAMESPACE, async |dir, cluster| {
        let site = Site::prepare(cluster, NAMESPACE, dir).await?;
        let proxy = Proxy::open().await?;
        proxy.forward_to(api_server(cluster)?);
        let kubeconfig = site.kubeconfig("slow", Some(proxy.address())).await?;
        site.apply([deployment("consumer", 1), site.scaler("consumer", "consumer")]).await?;
        let mut controller = site.controller_with("controller", &kubeconfig, "tick = '250ms'").await?;
        site.has_replicas("consumer", 2).await?;

        proxy.set(Direction::ToServer, Link { latency: LATENCY, ..Link::default() });
        for change in 1..=CHANGES {
            // Below the least, each time another number: the controller has a reason to order after each of them.
            site.kubectl(&format!("scale deployment/consumer --replicas={}", change % 2)).await?;
        }
        site.has_replicas("consumer", 2).await?;
        let settled = site.get("deployment/consumer").await?;
        tokio::time::sleep(QUIET).await;
        let later = site.get("deployment/consumer").await?;
        ensure!(settled["metadata"]["generation"] == later["metadata"]["generation"], "a fight:\n{later:#}");

        let log = controller.process.stderr();
        let conflicts = log.matches("the object has been modified").count();
        let generation = later["metadata"]["generation"].as_u64().unwrap_or_default();
        // Made, scaled for the first time, changed by hand; the rest is the controller's.
        let orders = generation - 2 - CHANGES;
        say(format_args!(
            "{CHANGES} changes by hand: {orders} orders carried out, conflicts logged: {conflicts}"
        ));
        ensure!(conflicts > 0, "no order met a change, so nothing was shown:\n{}", controller.process.tail());
        ensure!(orders <= CHANGES, "more orders than changes by hand: {orders}");
        ensure!(!log.contains("panic"), "{}", controller.process.tail());
        ensure!(controller.process.ended()?.is_none(), "{}", controller.process.tail());
        Ok(())
    })
    .await
}
