//! Two gateways, each with its devices, are restarted one after the other under load.

use std::time::Duration;

use anyhow::Result;

use super::case::Case;

pub(super) const CASE: Case = Case {
    name: "rolling-restart",
    promise: "a rolling restart of two gateways under load loses nothing acknowledged, and keeps order",
    gateways: 2,
    ..Case::USUAL
};

/// Starting, and devices whose back-off reaches 6 s.
const BACK_WITHIN: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing_acknowledged() -> Result<()> {
    CASE.holds(async |site, lot| {
        for post in &mut site.posts {
            lot.pause(0..1000).await;
            post.stop().await?;
            lot.pause(0..500).await;
            post.start().await?;
            // The next one only when this one has its devices back.
            post.acknowledges(100, BACK_WITHIN).await?;
        }
        Ok(())
    })
    .await
}
