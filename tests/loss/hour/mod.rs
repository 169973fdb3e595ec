//! One hour of a site's messages while Kafka is away. The spool is exactly as large as docs/operations.md asks for; the hour
//! is played faster than it is, and the uplink is slow enough for its way to Kafka to take a while, so that it can be seen
//! what the devices get that publish meanwhile.
//!
//! `HOUR_MESSAGES_PER_SEC` says how much the site sends (default: 20); `make test-long-hour` takes more.

mod levels;
mod live;
mod size;

use std::collections::BTreeMap;
use std::env;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tidegate_fleet::{Load, Plan, Report};
use tidegate_runtime::clock;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::fleet::Fleet;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::process::ensure_clean;
use tidegate_tests::support::proxy::{Direction, Link, Proxy};
use tidegate_tests::support::say::say;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::verifier::{Decode as _, Ledger, reader};
use tokio_util::sync::CancellationToken;
use toml::Table;

use super::post;
use super::site::topic_of;
use super::spool::{self, CLASSES};
use levels::Levels;
use live::Beside;
use size::{Need, Sizes, needs};

const PROMISE: &str =
    "an hour of a site without Kafka fits the spool of operations.md and drains beside live devices";
const SIZES: Sizes = Sizes { segment_bytes: 1024 * 1024, pool_bytes: 2 * 1024 * 1024 };
const PARTITIONS: i32 = 4;
const DEVICES: u32 = 200;
const HOUR_S: u32 = 3600;
const MESSAGES_PER_SEC: u32 = 20;
/// Of each connection to Kafka, while the hour goes through: some seconds, and far more than live devices need.
const UPLINK_BYTES_PER_SEC: u32 = 4_000_000;
/// Devices that publish while the hour drains, and how often: more than the site sends in an ordinary second, so that
/// seconds are enough to see how they fare.
const LIVE_DEVICES: u32 = 100;
const LIVE_PER_SEC: f64 = 3.0;
/// While so much of the hour goes to Kafka, each live device is acknowledged at least once, by Kafka or the disk.
const LONGEST_WAIT_BYTES: u64 = 16 * 1024 * 1024;
const PLAYED_WITHIN: Duration = Duration::from_mins(10);
const SETTLES_WITHIN: Duration = Duration::from_secs(90);
const STOPS_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Where the rest of what waits may be live devices' own, which are also on their way through the log.
const DRAINED_TO: u64 = 256 * 1024;

const STORED: &str = "tidegate_spool_stored_records_total";
const HELD: &str = "tidegate_gateway_held_messages_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_fits_the_spool_and_drains_without_starving_live_devices() -> Result<()> {
    on_real_parts(PROMISE, async |dir| {
        let plan = plan("hour", Load::count(DEVICES, messages_each()?), 1);
        let mut site = Site::open(dir, needs(&plan)).await?;
        match site.play(Fleet::new(plan)).await {
            Ok(summary) => say(format_args!("hour: {summary}")),
            Err(error) => return Err(error.context(site.describe().await)),
        }
        Ok(())
    })
    .await
}

/// Returns what one device sends in the hour.
fn messages_each() -> Result<u32> {
    let per_sec = match env::var("HOUR_MESSAGES_PER_SEC") {
        Ok(text) => text.parse().ok().filter(|per_sec| (1..=1000).contains(per_sec)).with_context(|| {
            format!(
                "HOUR_MESSAGES_PER_SEC = {text:?}: allowed is 1 to 1000 (messages per second of the site)"
            )
        })?,
        Err(_) => MESSAGES_PER_SEC,
    };
    Ok(per_sec * HOUR_S / DEVICES)
}

fn plan(prefix: &str, load: Load, seed: u64) -> Plan {
    let mut plan = Plan::new(load, seed);
    prefix.clone_into(&mut plan.prefix);
    plan.deadline = PLAYED_WITHIN;
    plan.stop_grace = SETTLES_WITHIN;
    plan
}

/// A gateway with the spool that a site needs, before a Kafka behind a slow uplink.
struct Site {
    needs: BTreeMap<&'static str, Need>,
    kafka: Kafka,
    uplink: Proxy,
    gateway: Gateway,
    levels: Levels,
}

impl Site {
    async fn open(dir: &Path, needs: BTreeMap<&'static str, Need>) -> Result<Self> {
        let uplink = Proxy::open().await?;
        let kafka = Kafka::start_behind(dir, Some(uplink.address())).await?;
        uplink.forward_to(kafka.client_listener());
        for class in CLASSES {
            kafka.create_topic(&topic_of(class), PARTITIONS).await?;
        }
        let settings = settings(dir, &needs)?;
        let gateway = Gateway::start_as(("gateway", dir), &kafka.bootstrap(), settings, None).await?;
        Ok(Self { needs, kafka, uplink, gateway, levels: Levels::default() })
    }

    /// Plays the hour and what follows it; returns what is worth to be known of it, in a line.
    async fn play(&mut self, hour: Fleet) -> Result<String> {
        let warm = Fleet::new(plan("warm", Load::count(LIVE_DEVICES, 4), 2));
        ensure_all_acknowledged(&warm.run(self.gateway.address, ()).await?).context("before the hour")?;
        self.kafka.kill()?;
        let size = self.fill(&hour).await.context("in the hour")?;
        let link = Link { bytes_per_sec: NonZeroU32::new(UPLINK_BYTES_PER_SEC), ..Link::default() };
        self.uplink.set(Direction::ToServer, link);
        self.kafka.restart().await?;
        let live = Fleet::new(plan("live", Load::storm(LIVE_DEVICES, 0, LIVE_PER_SEC, PLAYED_WITHIN), 3));
        let drain = self.drain(&live).await.context("while the hour drains")?;
        self.gateway.process.signal(Signal::TERM)?;
        let status = self.gateway.process.end(STOPS_WITHIN).await?;
        ensure_clean(&self.gateway.process, status)?;
        self.verify(vec![warm, hour, live]).await?;
        Ok(format!("{size}; {drain}"))
    }

    /// Lets devices send the hour's messages while Kafka is away: all are acknowledged, and take the room that was said.
    async fn fill(&mut self, hour: &Fleet) -> Result<String> {
        let before = self.gateway.metric(STORED).await?;
        let sent = hour.run(self.gateway.address, ());
        tokio::pin!(sent);
        let report = loop {
            tokio::select! {
                report = &mut sent => break report?,
                () = tokio::time::sleep(LOOK_EVERY) => self.levels.look(&self.gateway).await?,
            }
        };
        ensure_all_acknowledged(&report)?;
        let records = self.needs.values().map(|need| need.records).sum();
        let stored = self.gateway.metric(STORED).await? - before;
        ensure!(stored == records, "{stored} records were written, of {records}");
        self.levels.look(&self.gateway).await?;
        let (mut by_rule, mut used) = (0, 0);
        for (class, need) in &self.needs {
            let level = self.levels.now(class)?;
            let waits = level.backlog_bytes;
            ensure!(waits == need.bytes, "{class}: {waits} bytes wait, by the rule {}", need.bytes);
            let may = need.bytes..=need.most_bytes(SIZES);
            ensure!(may.contains(&level.used_bytes), "{class}: {level:?}, by the rule {may:?}");
            by_rule += need.bytes;
            used += level.used_bytes;
        }
        Ok(format!(
            "{records} records in {:.1} s, {:.1} B each by the rule and in the log, {:.1} B on the disk",
            report.elapsed.as_secs_f64(),
            ratio(by_rule, records),
            ratio(used, records)
        ))
    }

    /// Lets live devices publish while Kafka gets what waits: none of them is held back, and none waits for all of that.
    async fn drain(&mut self, live: &Fleet) -> Result<String> {
        let held_before = self.gateway.metric(HELD).await?;
        let (beside, stop) = (Beside::default(), CancellationToken::new());
        let (devices, address) = (live.clone(), self.gateway.address);
        let (observer, stopped) = (beside.clone(), stop.clone());
        let begin = clock::monotonic();
        let publishing = tokio::spawn(async move { devices.run_until(address, observer, stopped).await });
        let all = self.levels.backlog_bytes();
        self.backlog_falls_to(DRAINED_TO, |left| beside.has_come_to(all.saturating_sub(left))).await?;
        let (took, count) = (clock::monotonic().since(begin), beside.count());
        let (device, wait) = beside.longest_wait(LIVE_DEVICES, all).context("there are live devices")?;
        stop.cancel();
        let report = publishing.await??;
        ensure_all_acknowledged(&report)?;
        let held = self.gateway.metric(HELD).await? - held_before;
        ensure!(held == 0, "{held} messages of live devices were held back");
        ensure!(
            wait <= LONGEST_WAIT_BYTES,
            "{wait} bytes of {all} went to Kafka while live device {device} waited"
        );
        // What live devices sent last may have gone to the disk, too.
        self.backlog_falls_to(0, |_| ()).await?;
        let millis = |quantile| ratio(report.ack_micros.value_at_quantile(quantile), 1000);
        Ok(format!(
            "drained in {:.1} s beside {count} live messages, PUBACK p50 {:.1} ms p99 {:.1} ms, longest wait {:.0} % of the drain",
            took.as_secs_f64(),
            millis(0.5),
            millis(0.99),
            100.0 * ratio(wait, all)
        ))
    }

    /// Waits, and says what is left at each look.
    async fn backlog_falls_to(&mut self, bytes: u64, mut left: impl FnMut(u64)) -> Result<()> {
        let what = format!("all but {bytes} bytes of the spool are in Kafka");
        eventually(&what, PLAYED_WITHIN, async || {
            self.levels.look(&self.gateway).await?;
            left(self.levels.backlog_bytes());
            Ok((self.levels.backlog_bytes() <= bytes).then_some(()))
        })
        .await
    }

    /// Compares what is in Kafka with what all devices know.
    async fn verify(&self, fleets: Vec<Fleet>) -> Result<()> {
        let mut ledger = Ledger::default();
        for fleet in &fleets {
            fleet.account(&mut ledger);
        }
        let direct = self.kafka.direct();
        let verify = move || {
            let decode = |topic: &str, key: &[u8], payload: &[u8]| {
                fleets.iter().find_map(|fleet| fleet.decode(topic, key, payload))
            };
            let topics = CLASSES.map(topic_of);
            reader::verify(&direct, &topics.each_ref().map(String::as_str), &decode, ledger)
        };
        tokio::task::spawn_blocking(verify).await??.ensure_sound()
    }

    /// Says how the site is, for whoever reads of a failure.
    async fn describe(&self) -> String {
        let said = spool::said(&self.gateway).await;
        let said = said.map_or_else(|error| format!("{error:#}"), |said| format!("{said:#}"));
        format!("/v1/spool: {said}\n{}", self.gateway.process.tail())
    }
}

/// Settings of a gateway whose lanes are as large as the rule says.
fn settings(dir: &Path, needs: &BTreeMap<&'static str, Need>) -> Result<Table> {
    let mut settings = spool::with_spool(post::settings("gateway")?, &dir.join("spool"), "first")?;
    let lane =
        |(class, need): (_, &Need)| format!("classes.{class}.spool_bytes = {}\n", SIZES.lane_bytes(*need));
    let lanes: String = needs.iter().map(lane).collect();
    let Sizes { segment_bytes, pool_bytes } = SIZES;
    let exact = format!("limits.queue_bytes = {pool_bytes}\nspool.segment_bytes = {segment_bytes}\n{lanes}");
    spool::merge(&mut settings, toml::from_str(&exact)?);
    Ok(settings)
}

fn ensure_all_acknowledged(report: &Report) -> Result<()> {
    let all = report.published > 0 && report.acknowledged == report.published;
    ensure!(all && report.lost_connections == 0 && report.refused.is_empty(), "{report:?}");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}
