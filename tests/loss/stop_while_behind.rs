//! A gateway is told to stop while Kafka is away and its spool holds what it has acknowledged.

use std::time::Duration;

use anyhow::{Context, Result};

use super::case::Case;

pub(super) const CASE: Case = Case {
    name: "stop-while-behind",
    promise: "SIGTERM while BEHIND: the gateway ends in time and in good order, and nothing acknowledged is lost",
    needs_spool: true,
    ..Case::USUAL
};

/// Acknowledged from the disk, since Kafka is away.
const FROM_DISK: u64 = 500;
const FROM_DISK_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stops_while_behind_loses_nothing() -> Result<()> {
    CASE.holds(async |site, lot| {
        site.brokers[0].stand_still()?;
        // What Kafka has answered before is not the spool's.
        tokio::time::sleep(Duration::from_secs(1)).await;
        site.post().acknowledges(FROM_DISK, FROM_DISK_WITHIN).await.context("from the disk")?;
        lot.pause(0..1500).await;
        site.post().stop().await?;
        if lot.coin() {
            // It starts although Kafka is away.
            site.post().start().await?;
            lot.pause(0..1500).await;
            site.brokers[0].go_on()
        } else {
            site.brokers[0].go_on()?;
            site.post().start().await
        }
    })
    .await
}
