//! A gateway's post: what stays when its process does not. A name, a spool, and the door through which its devices come.
//!
//! The door is a proxy, so a gateway that is started again may listen elsewhere, and devices can be cut off from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tidegate_fleet::{Load as Shape, Plan, Progress, Report};
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::disk::Disk;
use tidegate_tests::support::fleet::Fleet;
use tidegate_tests::support::process::ensure_clean;
use tidegate_tests::support::proxy::Proxy;
use tidegate_tests::support::tidegate::Gateway;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use toml::Table;

use super::case::Case;
use super::spool::{self, CLASSES};

/// A gateway that is told to stop waits 3 s for Kafka; the rest is for the disk, and for a machine that does more.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// The load goes on until the fault is over; a test that takes longer has hung.
const LOAD_AT_MOST: Duration = Duration::from_mins(5);
/// What is unacknowledged when the load ends, soon after the fault, is acknowledged within this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);
/// Messages per second and device that are let in: Kafka and the disk hold devices back here, never their class.
const DEVICE_RATE: i32 = 1000;

/// A gateway's post, with the devices that come to it.
pub(super) struct Post {
    name: String,
    dir: PathBuf,
    kafka: String,
    settings: Table,
    disk: Option<Disk>,
    spool: Option<PathBuf>,
    gateway: Gateway,
    /// Between the devices and the gateway.
    pub(super) door: Proxy,
    pub(super) fleet: Fleet,
    progress: Arc<Progress>,
    load: Load,
}

/// The devices at work.
struct Load {
    running: Option<JoinHandle<Result<Report>>>,
    stop: CancellationToken,
}

impl Post {
    /// Starts the gateway and lets its devices begin. `number` tells posts of a site apart.
    pub(super) async fn open(
        (dir, number): (&Path, usize),
        kafka: &str,
        case: &Case,
        seed: u64,
        with_spool: bool,
    ) -> Result<Self> {
        let name = format!("gateway-{number}");
        let disk = case.disk_mebibytes.map(|size| Disk::new(dir, size)).transpose()?;
        let spool =
            with_spool.then(|| disk.as_ref().map_or(dir, Disk::mounted).join(format!("spool-{number}")));
        let mut settings = settings(&name)?;
        if let Some(folder) = &spool {
            settings = spool::with_spool(settings, folder, case.ack)?;
        }
        let gateway = Gateway::start_as((&name, dir), kafka, settings.clone(), disk.as_ref()).await?;
        let door = Proxy::open().await?;
        door.forward_to(gateway.address);
        let fleet = Fleet::new(plan(case, seed, number));
        let progress = Arc::new(Progress::default());
        let stop = CancellationToken::new();
        let (devices, address) = (fleet.clone(), door.address());
        let (observer, stopped) = (Arc::clone(&progress), stop.clone());
        let running = tokio::spawn(async move { devices.run_until(address, observer, stopped).await });
        let (dir, kafka) = (dir.to_owned(), kafka.to_owned());
        let load = Load { running: Some(running), stop };
        Ok(Self { name, dir, kafka, settings, disk, spool, gateway, door, fleet, progress, load })
    }

    /// Returns the running gateway.
    pub(super) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Kills the gateway's process as a crash would.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.gateway.process.kill()
    }

    /// Tells the gateway to stop, and waits until it has done so in good order.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.gateway.process.signal(Signal::TERM)?;
        let status = self.gateway.process.end(STOPS_WITHIN).await;
        let status = status.with_context(|| self.gateway.process.tail())?;
        ensure_clean(&self.gateway.process, status)
    }

    /// Starts the gateway again on the same spool.
    pub(super) async fn start(&mut self) -> Result<()> {
        let name_in_dir = (self.name.as_str(), self.dir.as_path());
        self.gateway =
            Gateway::start_as(name_in_dir, &self.kafka, self.settings.clone(), self.disk.as_ref()).await?;
        self.door.forward_to(self.gateway.address);
        Ok(())
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.progress.messages_acknowledged()
    }

    /// Returns how many messages are sent and not acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        // Asked for first: an acknowledgement between the two must not make it negative.
        let acknowledged = self.progress.messages_acknowledged();
        self.progress.messages_published() - acknowledged
    }

    /// Waits until so many more messages are acknowledged.
    pub(super) async fn acknowledges(&self, more: u64, within: Duration) -> Result<()> {
        let until = self.acknowledged() + more;
        let what = format!("{more} more messages of {} are acknowledged", self.name);
        let enough = async || Ok((self.acknowledged() >= until).then_some(()));
        eventually(&what, within, enough).await
    }

    /// Ends the load: no device begins anything new.
    pub(super) fn quiet(&self) {
        self.load.stop.cancel();
    }

    /// Waits until no device has anything left to do, and returns what they count.
    pub(super) async fn settled(&mut self) -> Result<Report> {
        let report = self.load.running.take().context("devices settle once")?.await??;
        let waiting = report.published - report.acknowledged;
        ensure!(
            report.published > 0 && waiting == 0,
            "{waiting} messages were not acknowledged {SETTLES_WITHIN:?} after the load: {report:?}"
        );
        let refused: Vec<_> = report.refused.iter().filter(|(what, _)| what.starts_with("puback")).collect();
        ensure!(refused.is_empty(), "messages were refused: {refused:?}");
        Ok(report)
    }

    /// Returns the folder of the disk that the gateway runs on, as this process sees it.
    pub(super) fn disk_folder(&self) -> Result<PathBuf> {
        let disk = self.disk.as_ref().context("this site has a disk of its own")?;
        Ok(disk.seen_through(self.gateway.process.id()))
    }

    /// Takes the gateway's disk away: nothing can be read or written any more.
    pub(super) fn take_disk_away(&self) -> Result<()> {
        self.disk.as_ref().context("this site has a disk of its own")?.vanish(self.gateway.process.id())
    }

    /// Gives it back, with what had reached the medium.
    pub(super) fn give_disk_back(&self) -> Result<()> {
        self.disk.as_ref().context("this site has a disk of its own")?.come_back(self.gateway.process.id())
    }

    /// Returns how many records lie in the spool's log, done ones included.
    pub(super) fn spooled(&self) -> Result<u64> {
        Ok(self.records()?.0)
    }

    /// Fails if records were given up as refused for good, or a thread of the gateway has panicked.
    pub(super) fn ensure_healthy(&self) -> Result<()> {
        ensure!(!self.gateway.process.stderr().contains("panicked"), "{}", self.gateway.process.tail());
        let (_, given_up) = self.records()?;
        ensure!(given_up == 0, "{given_up} records were given up, of which none was refused alone");
        Ok(())
    }

    /// Returns the records of the spool, and those that were given up; none without a spool.
    fn records(&self) -> Result<(u64, u64)> {
        let Some(folder) = &self.spool else { return Ok((0, 0)) };
        if self.disk.is_none() {
            return spool::records(folder);
        }
        let name = folder.file_name().context("the spool has a name")?;
        spool::records(&self.disk_folder()?.join(name))
    }

    /// Says how the gateway is, for whoever reads of a failure.
    pub(super) async fn describe(&self) -> String {
        let spool = match spool::said(&self.gateway).await {
            Ok(said) if self.spool.is_some() => format!("/v1/spool: {said:#}"),
            Err(error) if self.spool.is_some() => format!("/v1/spool: {error:#}"),
            _ => "no spool".to_owned(),
        };
        let (acknowledged, waiting) = (self.acknowledged(), self.unacknowledged());
        let name = &self.name;
        format!(
            "{name}: {acknowledged} acknowledged, {waiting} sent and not\n{spool}\n{}",
            self.gateway.process.tail()
        )
    }
}

fn plan(case: &Case, seed: u64, number: usize) -> Plan {
    let devices = case.devices / u32::try_from(case.gateways).unwrap_or(1);
    let mut plan = Plan::new(Shape::steady(devices, case.per_sec, LOAD_AT_MOST), seed);
    plan.prefix = format!("device-{number}");
    plan.payload_bytes = case.payload_bytes;
    plan.deadline = LOAD_AT_MOST + SETTLES_WITHIN;
    plan.stop_grace = SETTLES_WITHIN;
    plan
}

/// Settings of a gateway without a spool.
pub(super) fn settings(name: &str) -> Result<Table> {
    let limits = |class| format!("[classes.{class}]\nrate = {DEVICE_RATE}.0\nburst = {DEVICE_RATE}\n");
    let classes: String = CLASSES.iter().map(limits).collect();
    Ok(toml::from_str(&format!("name = '{name}'\n{classes}"))?)
}
