//! The main job: a burst of device messages becomes consumers, and when it is worked off they go again.
//!
//! The load and what is looked at are the same whoever runs the consumers: processes of the controller, or a node.

mod kubernetes;
mod load;
mod processes;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_fleet::{Load, Plan, Progress};
use tidegate_tests::support::fleet::Fleet;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::timeline::Timeline;
use tidegate_tests::support::verifier::{Lines, reader};

use load::{DEVICES, MESSAGES_EACH, Publishers};
use watch::Watch;

const TOPIC: &str = "telemetry";
const GROUP: &str = "telemetry";
const PARTITIONS: i32 = 12;
/// Class of `mosquitto_pub`, whose user name no class claims.
const DEFAULT_CLASS: &str = "sensor";
/// Consumers that the burst must bring.
const PEAK_AT_LEAST: u32 = 4;

/// Who runs the consumers.
trait Consumers {
    /// Returns how many consumers run.
    async fn count(&self) -> Result<u32>;
    /// Fails if a process that must run has ended.
    fn check(&mut self) -> Result<()>;
    /// Returns what explains a failure.
    fn tail(&self) -> String;
}

/// Plays the load against `gateway`, waits until everything is consumed and one consumer is left, and verifies every
/// record. Returns what happened when.
async fn run(
    dir: &Path,
    kafka: &Kafka,
    mut gateway: Gateway,
    consumers: &mut impl Consumers,
    within: Duration,
) -> Result<(Timeline, String)> {
    let mut watch = Watch::new(kafka).await?;
    let before = watch.look(consumers, 0).await?;
    ensure!((before.lag, before.replicas) == (0, 1), "not at rest before the burst: {before:?}");

    let fleet = Fleet::new(Plan::new(Load::count(DEVICES, MESSAGES_EACH), 49));
    let progress = Arc::new(Progress::default());
    let (devices, address, observer) = (fleet.clone(), gateway.address, Arc::clone(&progress));
    let running = tokio::spawn(async move { devices.run(address, observer).await });
    let mut publishers = Publishers::start(dir, &gateway)?;
    let quiet = watch.until_quiet(consumers, &mut gateway, &mut publishers, &progress, within).await;
    quiet.with_context(|| consumers.tail())?;
    let report = running.await??;
    ensure!(report.acknowledged == u64::from(DEVICES * MESSAGES_EACH), "{report:?}");

    let mut ledger = tidegate_tests::support::verifier::Ledger::default();
    fleet.account(&mut ledger);
    publishers.account(&mut ledger).await?;
    let direct = kafka.direct();
    let decode = (fleet, Lines { class: DEFAULT_CLASS.to_owned() });
    let verify = move || reader::verify(&direct, &[TOPIC], &decode, ledger);
    let verdict = tokio::task::spawn_blocking(verify).await??;
    verdict.ensure_sound().with_context(|| watch.timeline.to_string())?;
    ensure!(watch.timeline.peak_replicas() >= PEAK_AT_LEAST, "too few consumers:\n{}", watch.timeline);
    Ok((watch.timeline, verdict.to_string()))
}

/// Devices say their class by user name; all classes go to one topic.
fn gateway_settings(report_to: &str, key_file: &Path) -> String {
    format!(
        "[[routes]]
topic = '{TOPIC}'
[classes.alarm]
users = ['alarm']
[classes.gateway]
users = ['gateway']
[report]
url = '{report_to}'
key_file = '{}'
",
        key_file.display()
    )
}
