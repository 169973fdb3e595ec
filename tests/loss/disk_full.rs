//! Kafka is away for longer than the disk has room: 256 MiB, most of it taken by others, with segments of 4 MiB.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidegate_runtime::clock;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::disk::take_all_but;

use super::case::Case;
use super::gateway_killed;
use super::site::Site;

pub(super) const CASE: Case = Case {
    name: "disk-full",
    promise: "a disk that fills while Kafka is away holds devices back, loses nothing, and drains",
    payload_bytes: 16 * 1024,
    disk_mebibytes: Some(256),
    needs_spool: true,
    ..Case::USUAL
};

/// What others leave to the spool: its reserve for what is in memory (a pool of 32 MiB in segments of 4 MiB: 48 MiB),
/// and a few seconds of messages.
const LEFT_BYTES: u64 = 96 * 1024 * 1024;
/// The gateway notices that Kafka is away, and the disk takes at least this: a sixth of what there is room for.
const FROM_DISK: u64 = 500;
const FROM_DISK_WITHIN: Duration = Duration::from_secs(30);
const STORED: &str = "tidegate_spool_stored_records_total";
/// So long without an acknowledgement, with messages waiting, means that devices are held back.
const STILL: Duration = Duration::from_secs(3);
const FULL_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_holds_devices_back_and_loses_nothing() -> Result<()> {
    CASE.holds(async |site, lot| {
        take_all_but(&others(site)?, LEFT_BYTES)?;
        site.brokers[0].stand_still()?;
        let gateway = site.post().gateway();
        let has_taken = async || Ok((gateway.metric(STORED).await? >= FROM_DISK).then_some(()));
        eventually("the disk takes messages", FROM_DISK_WITHIN, has_taken).await?;
        devices_are_held_back(site).await?;
        // Others take the rest, so that not even the reserve is there.
        take_all_but(&others(site)?, 0)?;
        lot.pause(0..2000).await;
        if lot.coin() {
            gateway_killed::strike(site, lot).await.context("start on a full disk")?;
        }
        site.brokers[0].go_on()?;
        lot.pause(0..3000).await;
        std::fs::remove_file(others(site)?)?;
        Ok(())
    })
    .await
}

/// A file beside the spool. The way to it leads through the gateway's process.
pub(super) fn others(site: &mut Site) -> Result<PathBuf> {
    Ok(site.post().disk_folder()?.join("others"))
}

async fn devices_are_held_back(site: &mut Site) -> Result<()> {
    let begin = clock::monotonic();
    let mut last = (site.acknowledged(), begin);
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = clock::monotonic();
        if site.acknowledged() != last.0 {
            last = (site.acknowledged(), now);
        }
        if now.since(last.1) >= STILL {
            ensure!(site.post().unacknowledged() > 0, "devices have nothing more to send");
            return Ok(());
        }
        if now.since(begin) > FULL_WITHIN {
            bail!("the disk does not fill: {} acknowledged", site.acknowledged());
        }
    }
}
