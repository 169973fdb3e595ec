//! One fault: the site it strikes, and what has to hold afterwards.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_runtime::clock;
use tidegate_tests::support::disk::Disk;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::verifier::Verdict;
use tidegate_tests::support::{parts, say::say};

use super::lot::Lot;
use super::seeds::{Seeds, line};
use super::site::Site;
use super::spool;

/// Devices go on for so long after a fault.
const LOAD_AFTER: Duration = Duration::from_secs(2);

/// A row of the family: what differs between the faults, beside the fault itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// Names the fault in the results and in the Makefile; the module is called the same.
    pub(super) name: &'static str,
    /// What is promised under this fault.
    pub(super) promise: &'static str,
    /// One, or three, and then all of them have everything; only the topic of [`ALONE`](super::site::ALONE) has each
    /// partition on one of them.
    pub(super) brokers: usize,
    /// Partitions of each class's topic, where there is one broker.
    pub(super) partitions: i32,
    /// How many gateways share the devices.
    pub(super) gateways: usize,
    pub(super) devices: u32,
    /// Messages per second of each device.
    pub(super) per_sec: f64,
    pub(super) payload_bytes: usize,
    /// Time that every byte is under way between gateways and Kafka, each way.
    pub(super) latency: Duration,
    /// The gateway and its spool are on a disk of this size.
    pub(super) disk_mebibytes: Option<u64>,
    /// When messages are acknowledged, if there is a spool.
    pub(super) ack: &'static str,
    /// A gateway without a spool cannot survive this.
    pub(super) needs_spool: bool,
    /// The fault cuts devices off, so some of them must have sent messages again.
    pub(super) cuts_devices: bool,
    /// The proxy before Kafka reads requests, to answer some itself.
    pub(super) answers_produce: bool,
}

impl Case {
    /// The usual site: one broker, one gateway, 200 devices with 600 messages a second of 200 bytes.
    pub(super) const USUAL: Self = Self {
        name: "",
        promise: "",
        brokers: 1,
        partitions: 4,
        gateways: 1,
        devices: 200,
        per_sec: 3.0,
        payload_bytes: 200,
        latency: Duration::ZERO,
        disk_mebibytes: None,
        ack: "first",
        needs_spool: false,
        cuts_devices: false,
        answers_produce: false,
    };

    /// Returns the messages that all devices are to send within a time.
    pub(super) fn offered(&self, within: Duration) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand, never below 0"
        )]
        let messages = (f64::from(self.devices) * self.per_sec * within.as_secs_f64()) as u64;
        messages
    }

    /// Lets the fault strike a new site for each seed that is asked for, and holds the site to the promise.
    ///
    /// # Errors
    /// The first seed that failed; the others are run, too.
    pub(super) async fn holds(&self, strike: impl AsyncFn(&mut Site, &mut Lot) -> Result<()>) -> Result<()> {
        if parts::skipped(self.promise) {
            return Ok(());
        }
        let has_spool = spool::is_built_in()?;
        if !has_spool {
            say(format_args!("NOT CHECKED WITH A SPOOL (this gateway has none): {}", self.promise));
            if self.needs_spool {
                return Ok(());
            }
        }
        if let (Some(_), Some(why)) = (self.disk_mebibytes, Disk::unavailable()) {
            say(format_args!("NOT CHECKED ({why}): {}", self.promise));
            return Ok(());
        }
        let seeds = Seeds::of(self.name)?;
        let mut first = None;
        for seed in seeds.left() {
            let outcome = self.run(seed, has_spool, &strike).await;
            seeds.note(seed, &outcome)?;
            say(format_args!("loss, {}, seed {}", self.name, line(seed, &outcome)));
            if let Err(error) = outcome {
                first.get_or_insert(error.context(format!("{}, seed {seed}", self.name)));
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// One seed; returns what it brought in a line.
    async fn run(
        &self,
        seed: u64,
        has_spool: bool,
        strike: &impl AsyncFn(&mut Site, &mut Lot) -> Result<()>,
    ) -> Result<String> {
        let begin = clock::monotonic();
        let mut summary = String::new();
        on_real_parts(self.promise, async |dir| {
            let verdict = self.play(dir, seed, has_spool, strike).await?;
            let took = clock::monotonic().since(begin).as_secs();
            let spool = if has_spool { "" } else { " (no spool)" };
            summary = format!("{} in {took} s{spool}", brief(&verdict));
            Ok(())
        })
        .await?;
        Ok(summary)
    }

    async fn play(
        &self,
        dir: &Path,
        seed: u64,
        has_spool: bool,
        strike: &impl AsyncFn(&mut Site, &mut Lot) -> Result<()>,
    ) -> Result<Verdict> {
        let mut lot = Lot::new(seed);
        let mut site = Site::open(dir, *self, seed, has_spool).await?;
        let struck = match site.flows().await {
            Ok(()) => strike(&mut site, &mut lot).await.context("while the fault lasts"),
            Err(error) => Err(error),
        };
        let settled = match struck {
            Ok(()) => {
                // Whatever the fault has left behind meets new messages, too.
                tokio::time::sleep(LOAD_AFTER).await;
                site.settle().await
            }
            Err(error) => Err(error),
        };
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => return Err(error.context(site.describe().await)),
        };
        settled.verdict.ensure_sound()?;
        ensure!(
            settled.verdict.acknowledged == settled.acknowledged,
            "devices counted {} acknowledgements: {}",
            settled.acknowledged,
            settled.verdict
        );
        ensure!(!self.cuts_devices || settled.resent > 0, "the fault struck when nothing was under way");
        Ok(settled.verdict)
    }
}

/// What docs/benchmarks.md takes over of a run.
fn brief(verdict: &Verdict) -> String {
    let Verdict { acknowledged, records, duplicates, lost, out_of_order, .. } = verdict;
    format!(
        "acknowledged {acknowledged}, records {records}, lost {}, out of order {}, duplicates {} ours {} resent {} unmarked",
        lost.count, out_of_order.count, duplicates.ours, duplicates.resent, duplicates.unmarked
    )
}
