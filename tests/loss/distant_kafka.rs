//! A healthy Kafka that is far away is slow, not ill: the gateway does not take to the disk because of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_runtime::clock;

use super::case::Case;
use super::spool;

pub(super) const CASE: Case = Case {
    name: "distant-kafka",
    promise: "with 64 partitions and round trips of 50 ms a healthy Kafka stays DIRECT, and nothing is lost",
    partitions: 64,
    per_sec: 5.0,
    latency: Duration::from_millis(25),
    ..Case::USUAL
};

const LASTS: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distant_healthy_kafka_does_not_go_behind() -> Result<()> {
    CASE.holds(async |site, _lot| {
        let begin = clock::monotonic();
        while clock::monotonic().since(begin) < LASTS {
            tokio::time::sleep(LOOK_EVERY).await;
            if site.has_spool {
                let said = spool::said(site.posts[0].gateway()).await?;
                let behind = said["routes_behind"].as_u64().context("/v1/spool counts the routes behind")?;
                let after = clock::monotonic().since(begin);
                ensure!(behind == 0, "{behind} routes are behind after {after:?}");
            }
        }
        // The log itself knows best: a route that was behind for a moment has records in it.
        let records = site.posts[0].spooled()?;
        ensure!(records == 0, "{records} records are in the log");
        Ok(())
    })
    .await
}
