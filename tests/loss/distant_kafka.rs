//! A healthy Kafka that is far away is slow, not ill: the gateway does not take to the disk because of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_runtime::clock;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::proxy::Link;

use super::case::Case;
use super::site::{BLACK_HOLE, set};
use super::spool;

pub(super) const CASE: Case = Case {
    name: "distant-kafka",
    promise: "with 64 partitions and round trips of 50 ms a healthy Kafka stays DIRECT, and nothing is lost",
    partitions: 64,
    per_sec: 5.0,
    latency: Duration::from_millis(25),
    ..Case::USUAL
};

/// Twenty messages for each partition.
const WARM: u64 = 4000;
const WARM_WITHIN: Duration = Duration::from_mins(1);
/// Longer than the 20 s after which what a COLD partition holds back goes BEHIND at the latest.
const LASTS: Duration = Duration::from_secs(25);
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distant_healthy_kafka_does_not_go_behind() -> Result<()> {
    CASE.holds(async |site, _lot| {
        // A Kafka that has only just started is slow in earnest: it opens 192 partitions, and its code is cold. So a gateway
        // of yesterday warms it, and a new one, whose producers know no partition, is looked at.
        site.post().acknowledges(WARM, WARM_WITHIN).await?;
        // It leaves nothing: what a stop does not wait for is in the log, and its routes begin BEHIND.
        set(&site.post().door, BLACK_HOLE);
        if site.has_spool {
            eventually("kafka has everything", WARM_WITHIN, async || {
                let left = &spool::said(site.posts[0].gateway()).await?["drain"]["left"];
                let is_nothing = |what: &str| left[what] == 0;
                Ok((is_nothing("queued_records") && is_nothing("backlog_records")).then_some(()))
            })
            .await?;
        }
        site.post().stop().await?;
        let before = site.posts[0].spooled()?;
        set(&site.post().door, Link::default());
        site.post().start().await?;
        let begin = clock::monotonic();
        let mut most = 0;
        while site.has_spool && clock::monotonic().since(begin) < LASTS {
            tokio::time::sleep(LOOK_EVERY).await;
            let said = spool::said(site.posts[0].gateway()).await?;
            let behind = said["routes_behind"].as_u64().context("/v1/spool counts the routes behind")?;
            most = most.max(behind);
        }
        // The log itself knows best: a route that was behind for a moment has records in it.
        let records = site.posts[0].spooled()?.saturating_sub(before);
        ensure!(most == 0 && records == 0, "{most} routes were behind, {records} records are in the log");
        Ok(())
    })
    .await
}
