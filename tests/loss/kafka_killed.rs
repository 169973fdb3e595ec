//! Kafka is killed under load and started again.

use std::time::Duration;

use anyhow::Result;

use super::case::Case;

pub(super) const CASE: Case = Case {
    name: "kafka-killed",
    promise: "Kafka killed and started again under load: nothing acknowledged is lost, order is kept",
    ..Case::USUAL
};

const KILLS: u32 = 2;
const BACK_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_kafka_takes_nothing_acknowledged_with_it() -> Result<()> {
    CASE.holds(async |site, lot| {
        for _ in 0..KILLS {
            let more = lot.number(50..1500);
            site.post().acknowledges(more.into(), BACK_WITHIN).await?;
            site.brokers[0].kill()?;
            lot.pause(500..5000).await;
            site.brokers[0].restart().await?;
        }
        Ok(())
    })
    .await
}
