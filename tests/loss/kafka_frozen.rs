//! Kafka stands still for half a minute: connections stay open and nobody answers.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::case::Case;
use super::spool;

pub(super) const CASE: Case = Case {
    name: "kafka-frozen",
    promise: "Kafka frozen for 30 s: devices are acknowledged from the disk, nothing is lost, order is kept",
    per_sec: 2.0,
    ..Case::USUAL
};

const FROZEN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_frozen_for_30_s_stops_no_device_and_loses_nothing() -> Result<()> {
    CASE.holds(async |site, lot| {
        lot.pause(0..2000).await;
        site.brokers[0].stand_still()?;
        site.endure(FROZEN).await?;
        if site.has_spool {
            // Whoever has to run this sees it, too.
            let gateway = site.posts[0].gateway();
            let said = spool::said(gateway).await?;
            ensure!(said.is_object(), "/v1/spool says {said}");
            let metrics = spool::metrics(gateway, "").await?;
            ensure!(metrics.iter().any(|(_, value)| *value > 0.0), "the spool's metrics: {metrics:?}");
        }
        site.brokers[0].go_on()
    })
    .await
}
