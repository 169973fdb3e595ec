//! A burst of device messages becomes consumers, and when it is worked off they go again.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_core::time::Timestamp;
use tidegate_fleet::{Load, Plan, Progress};
use tidegate_runtime::clock;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::fleet::Fleet;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::parts;
use tidegate_tests::support::process::{Process, ensure_clean};
use tidegate_tests::support::say::say;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::{Controller, Gateway};
use tidegate_tests::support::timeline::{Row, Timeline};
use tidegate_tests::support::verifier::reader::{self, LagMeter};
use tidegate_tests::support::verifier::{Ledger, Lines, Stream};

const TOPIC: &str = "telemetry";
const GROUP: &str = "telemetry";
const PARTITIONS: i32 = 12;
/// Just within the burst of the smallest class, 50: what holds messages back is Kafka and the gateway's speed.
const MESSAGES_EACH: u32 = 49;
const DEVICES: u32 = 1000;
const PUBLISHERS: usize = 10;
const LINES_EACH: u64 = 100;
/// Class of `mosquitto_pub`, whose user name no class claims.
const DEFAULT_CLASS: &str = "sensor";
/// Consumers that the burst must bring.
const PEAK_AT_LEAST: u32 = 4;
/// The whole of it takes about a minute.
const DONE_WITHIN: Duration = Duration::from_secs(150);
const SOON: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A promise of seconds and a short memory, so that the way down fits into a test. One consumer sleeps 2 ms a record.
const CONTROLLER: &str = "
tick = '1s'
[kafka]
commit_interval = '1s'
[slo]
delay = '5s'
[replicas]
max = 8
[capacity]
per_replica = 400.0
[behavior.down]
after = '8s'
max_step = 8
";
const CONSUME: [&str; 4] = ["--work", "2ms", "--commit-interval", "1s"];

/// The processes under test, and those that publish beside the fleet.
struct Site {
    controller: Controller,
    gateway: Gateway,
    publishers: Vec<Process>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_messages_becomes_consumers_and_they_go_when_it_is_worked_off() -> Result<()> {
    on_real_parts("49 000 + 1 000 messages, consumers 1 -> n -> 1, nothing lost, order kept", async |dir| {
        let kafka = Kafka::start(dir).await?;
        kafka.create_topic(TOPIC, PARTITIONS).await?;
        let target = (&*kafka.bootstrap(), GROUP, TOPIC);
        let controller = Controller::start(dir, target, CONTROLLER, &CONSUME).await?;
        let gateway = Gateway::start(dir, &kafka.bootstrap(), &gateway_settings(&controller)).await?;
        let one = async || Ok((controller.process.children()? == 1).then_some(()));
        eventually("the first consumer", SOON, one).await.with_context(|| controller.process.tail())?;

        let mut watch = Watch::new(&kafka).await?;
        let before = watch.look(&controller, 0).await?;
        ensure!((before.lag, before.replicas) == (0, 1), "not at rest before the burst: {before:?}");

        let fleet = Fleet::new(Plan::new(Load::count(DEVICES, MESSAGES_EACH), 49));
        let progress = Arc::new(Progress::default());
        let (devices, address, observer) = (fleet.clone(), gateway.address, Arc::clone(&progress));
        let running = tokio::spawn(async move { devices.run(address, observer).await });
        let publishers = start_publishers(dir, &gateway)?;
        let mut site = Site { controller, gateway, publishers };
        let quiet = watch.until_quiet(&mut site, &progress).await;
        quiet.with_context(|| site.controller.process.tail())?;
        let report = running.await??;
        ensure!(report.acknowledged == u64::from(DEVICES * MESSAGES_EACH), "{report:?}");

        let mut ledger = Ledger::default();
        fleet.account(&mut ledger);
        for (publisher, name) in site.publishers.iter_mut().zip(publisher_names()) {
            let status = publisher.end(Duration::ZERO).await?;
            // It ends with success only once its last line is acknowledged, and acknowledgements come in order.
            ensure_clean(publisher, status)?;
            ledger.acknowledged(&Stream::new(name, DEFAULT_CLASS), 0..LINES_EACH);
        }
        let direct = kafka.direct();
        let decode = (fleet, Lines { class: DEFAULT_CLASS.to_owned() });
        let verify = move || reader::verify(&direct, &[TOPIC], &decode, ledger);
        let verdict = tokio::task::spawn_blocking(verify).await??;
        say(format_args!("the main job on real kafka:\n{}{verdict}", watch.timeline));
        verdict.ensure_sound()?;
        ensure!(watch.timeline.peak_replicas() >= PEAK_AT_LEAST, "too few consumers");
        Ok(())
    })
    .await
}

/// Devices say their class by user name; all classes go to one topic.
fn gateway_settings(controller: &Controller) -> String {
    format!(
        "[[routes]]
topic = '{TOPIC}'
[classes.alarm]
users = ['alarm']
[classes.gateway]
users = ['gateway']
[report]
url = '{}'
key_file = '{}'
",
        controller.url,
        controller.key_file.display()
    )
}

fn publisher_names() -> impl Iterator<Item = String> {
    (0..PUBLISHERS).map(|number| format!("lines-{number}"))
}

/// Starts ten `mosquitto_pub -l`, each with a file of lines on its standard input.
fn start_publishers(dir: &Path, gateway: &Gateway) -> Result<Vec<Process>> {
    let program = parts::program("mosquitto_pub", "mqtt-clients")?;
    let start = |name: String| {
        let file = dir.join(format!("{name}.txt"));
        let lines: Vec<String> = (0..LINES_EACH).map(|seq| Lines::line(&name, seq) + "\n").collect();
        fs::write(&file, lines.concat())?;
        let port = gateway.address.port().to_string();
        let to = ["-h", "127.0.0.1", "-p", &port, "-q", "1", "-i", &name, "-t", &name, "-l"];
        Process::start_with(&name, dir, &program, to, File::open(&file)?.into())
    };
    publisher_names().map(start).collect()
}

/// Looks at the site from outside, once a second.
struct Watch {
    meter: Arc<LagMeter>,
    timeline: Timeline,
    start: Timestamp,
    last: (Timestamp, u64),
}

impl Watch {
    async fn new(kafka: &Kafka) -> Result<Self> {
        let direct = kafka.direct();
        let meter = tokio::task::spawn_blocking(move || LagMeter::new(&direct, GROUP, &[TOPIC])).await??;
        let start = clock::monotonic();
        Ok(Self { meter: Arc::new(meter), timeline: Timeline::default(), start, last: (start, 0) })
    }

    /// Adds a row and returns it.
    async fn look(&mut self, controller: &Controller, published: u64) -> Result<Row> {
        let meter = Arc::clone(&self.meter);
        let lag = tokio::task::spawn_blocking(move || meter.lag()).await??;
        let now = clock::monotonic();
        let passed = now.since(self.last.0).max(Duration::from_millis(1));
        let row = Row {
            at: now.since(self.start),
            offered_per_sec: f64::from(u32::try_from(published - self.last.1)?) / passed.as_secs_f64(),
            lag,
            replicas: controller.process.children()?,
        };
        self.last = (now, published);
        self.timeline.push(row);
        Ok(row)
    }

    /// Looks until everything is sent and acknowledged, all of it is consumed, and one consumer is left.
    async fn until_quiet(&mut self, site: &mut Site, progress: &Progress) -> Result<()> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            for process in [&mut site.controller.process, &mut site.gateway.process] {
                let ended = process.ended()?;
                ensure!(ended.is_none(), "{ended:?}\n{}", process.tail());
            }
            let mut all_sent = progress.messages_acknowledged() == u64::from(DEVICES * MESSAGES_EACH);
            for publisher in &mut site.publishers {
                all_sent &= publisher.ended()?.is_some();
            }
            // The lag is asked for after that: zero then means that all was consumed.
            let row = self.look(&site.controller, progress.messages_published()).await?;
            if all_sent && row.lag == 0 && row.replicas == 1 {
                return Ok(());
            }
            ensure!(row.at < DONE_WITHIN, "not done within {DONE_WITHIN:?}:\n{}", self.timeline);
        }
    }
}
