//! The gateway is killed at random points while its devices publish, and started again on the same spool: with a Kafka
//! that takes everything, and with one that is away, when all that was acknowledged is on the disk.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};

use super::case::Case;
use super::lot::Lot;
use super::site::Site;

pub(super) const CASE: Case = Case {
    name: "gateway-killed",
    promise: "kill -9 of the gateway at random points under load loses nothing acknowledged, and keeps order",
    cuts_devices: true,
    ..Case::USUAL
};

/// Starting, and 200 devices whose back-off reaches 6 s.
const BACK_WITHIN: Duration = Duration::from_secs(45);
/// Messages that are acknowledged before a kill.
const BETWEEN_KILLS: Range<u32> = 50..1500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_loses_nothing_acknowledged() -> Result<()> {
    CASE.holds(async |site, lot| {
        kill_under_load(site, lot).await?;
        if site.has_spool {
            site.brokers[0].stand_still()?;
            // What Kafka has answered before is not the spool's.
            tokio::time::sleep(Duration::from_secs(1)).await;
            kill_under_load(site, lot).await.context("while Kafka is away")?;
            lot.pause(0..1000).await;
            site.brokers[0].go_on()?;
        }
        kill_under_load(site, lot).await
    })
    .await
}

async fn kill_under_load(site: &mut Site, lot: &mut Lot) -> Result<()> {
    let more = lot.number(BETWEEN_KILLS);
    site.post().acknowledges(more.into(), BACK_WITHIN).await?;
    strike(site, lot).await
}

/// Kills the gateway now and starts it again a little later.
pub(super) async fn strike(site: &mut Site, lot: &mut Lot) -> Result<()> {
    site.post().kill()?;
    lot.pause(0..500).await;
    site.post().start().await
}
