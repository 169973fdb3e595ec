//! The disk under the spool is gone for a while, with messages on it that Kafka does not have: neither reads nor writes succeed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_runtime::clock;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::tidegate::Gateway;

use super::case::Case;
use super::site::Site;
use super::spool;

pub(super) const CASE: Case = Case {
    name: "disk-down",
    promise: "a disk that is gone and comes back: 503, Kafka acknowledges alone, and nothing acknowledged is lost",
    devices: 100,
    payload_bytes: 8 * 1024,
    disk_mebibytes: Some(512),
    ack: "disk",
    needs_spool: true,
    ..Case::USUAL
};

/// Acknowledged while Kafka is away: twice what is read ahead of it (8 MiB), so that half has to be read from the disk
/// afterwards.
const FROM_DISK: u64 = 2000;
const FROM_DISK_WITHIN: Duration = Duration::from_secs(45);
/// Three failed writes follow one another within a second.
const DOWN_WITHIN: Duration = Duration::from_secs(20);
/// A disk that is down is tried again every 30 s.
const UP_WITHIN: Duration = Duration::from_mins(1);
/// What was answered before may still be on its way to the devices.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
const NOBODY_ANSWERS: Duration = Duration::from_secs(2);
/// Longer than a disk that is said to be well is asked again for what it does not give: 10 s.
const GONE_FOR: Duration = Duration::from_secs(14);
/// Devices without messages on the disk, which have to wait for nothing. Some share a route with a device that has.
const GUESTS: u32 = 40;
const GUESTS_SEND: u32 = 5;
/// A lane that has most of the devices.
const LANE: &str = "sensor";
const STORED: &str = "tidegate_spool_stored_records_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_gone_for_a_while_loses_nothing() -> Result<()> {
    CASE.holds(async |site, lot| {
        lot.pause(0..1000).await;
        site.brokers[0].stand_still()?;
        site.post().acknowledges(FROM_DISK, FROM_DISK_WITHIN).await.context("from the disk")?;
        site.post().take_disk_away()?;
        is_said_to_be_down(site).await?;
        tokio::time::sleep(LAST_ANSWERS).await;
        let before = site.acknowledged();
        tokio::time::sleep(NOBODY_ANSWERS).await;
        let during = site.acknowledged() - before;
        ensure!(during == 0, "{during} messages were acknowledged by nobody");

        let stored = site.post().gateway().metric(STORED).await?;
        site.brokers[0].go_on()?;
        let until = clock::monotonic() + GONE_FOR;
        let report = site.receive(GUESTS, GUESTS_SEND, GONE_FOR).await?;
        ensure!(report.acknowledged >= report.published / 2, "Kafka alone acknowledges: {report:?}");
        let more = site.post().gateway().metric(STORED).await? - stored;
        ensure!(more == 0, "{more} records were written to a disk that is gone");

        tokio::time::sleep(until.since(clock::monotonic())).await;
        site.post().give_disk_back()?;
        is_up_again(site).await?;
        site.brokers[0].stand_still()?;
        tokio::time::sleep(LAST_ANSWERS).await;
        site.post().acknowledges(FROM_DISK / 4, FROM_DISK_WITHIN).await.context("from the disk, again")?;
        site.brokers[0].go_on()
    })
    .await
}

/// Whoever has to run this sees it everywhere: readiness, metrics, `/v1/spool`.
async fn is_said_to_be_down(site: &mut Site) -> Result<()> {
    let gateway = site.post().gateway();
    is_said_to_be(gateway, "down", DOWN_WITHIN).await?;
    eventually("the gateway is not ready", DOWN_WITHIN, async || {
        let (ready, said) = gateway.readyz().await?;
        Ok((!ready && said.contains("the disk is down")).then_some(()))
    })
    .await
}

async fn is_up_again(site: &mut Site) -> Result<()> {
    let gateway = site.post().gateway();
    is_said_to_be(gateway, "ok", UP_WITHIN).await?;
    let ready = async || Ok(gateway.readyz().await?.0.then_some(()));
    eventually("the gateway is ready", UP_WITHIN, ready).await
}

async fn is_said_to_be(gateway: &Gateway, health: &str, within: Duration) -> Result<()> {
    eventually(&format!("the disk is {health}"), within, async || {
        let said = spool::said(gateway).await?;
        let lanes = said["lanes"].as_array().context("/v1/spool has lanes")?;
        let lane = lanes.iter().find(|lane| lane["name"] == LANE).context("a lane for most devices")?;
        Ok((lane["health"] == health).then_some(()))
    })
    .await?;
    let sample = format!("tidegate_spool_health_state{{lane=\"{LANE}\",state=\"{health}\"}}");
    ensure!(gateway.sample(&sample).await? == Some(1), "/metrics has no {sample}");
    Ok(())
}
