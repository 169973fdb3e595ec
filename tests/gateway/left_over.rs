//! A gateway dies while Kafka stands still, and its spool is brought to Kafka by hand.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tidegate_mqtt::{ReasonCode, Version};
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::device::{Device, Got};
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::process::{Process, ensure_clean};
use tidegate_tests::support::proxy::{Direction, Link, Proxy};
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::verifier::{Check, Ledger, Lines, Seen, Stream, reader};

use super::{CLASS, TOPICS, create_topics};

const DEVICES: usize = 20;
/// Below the 16 unacknowledged messages that a device may have.
const EACH: u64 = 12;
/// Whose messages go to a topic that is deleted meanwhile.
const ALARM: &str = "alarm-device";
const ALARM_TOPIC: &str = TOPICS[0];
const PARTITIONS: i32 = 4;
/// Slow enough to be killed in the middle, of some 70 kB.
const SLOW_BYTES_PER_SEC: NonZeroU32 = NonZeroU32::new(15_000).expect("not 0");
const SOON: Duration = Duration::from_mins(1);
/// `EX_SOFTWARE`.
const SOFTWARE: Option<i32> = Some(70);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_left_over_spool_goes_to_kafka_whole_in_order_and_once_for_whoever_looks_at_headers() -> Result<()>
{
    let promise = "spool export --to-kafka: nothing lost or out of order, cut off by kill -9 and done again";
    on_real_parts(promise, async |dir| {
        let proxy = Proxy::open().await?;
        let kafka = Kafka::start_behind(dir, Some(proxy.address())).await?;
        proxy.forward_to(kafka.client_listener());
        create_topics(&kafka, PARTITIONS).await?;
        let site = Site { dir, kafka: &kafka, spool: dir.join("spool") };
        let ledger = site.leave().await?;
        kafka.delete_topic(ALARM_TOPIC).await?;
        let waits = site.waiting()?;
        ensure!(waits.contains(ALARM_TOPIC) && waits.contains(TOPICS[2]), "{waits:?}");

        for direction in [Direction::ToServer, Direction::ToClient] {
            proxy.set(direction, Link { bytes_per_sec: Some(SLOW_BYTES_PER_SEC), ..Link::default() });
        }
        let already = site.read().await?.len();
        let mut export = site.export("killed", &[])?;
        let comes = async || Ok((site.read().await?.len() > already + DEVICES).then_some(()));
        eventually("some of it is in kafka", SOON, comes).await.with_context(|| export.tail())?;
        ensure!(export.ended()?.is_none(), "it was to be killed in the middle: {}", export.tail());
        export.kill()?;
        ensure!(site.waiting()?.contains(TOPICS[2]), "it was to be killed in the middle");
        for direction in [Direction::ToServer, Direction::ToClient] {
            proxy.set(direction, Link::default());
        }

        let mut export = site.export("without-alarms", &[])?;
        ensure!(export.end(SOON).await?.code() == SOFTWARE, "{}", export.tail());
        let (said, told) = (export.stdout(), export.stderr());
        ensure!(said.contains(&format!("left: lane alarm, topic {ALARM_TOPIC}, partition ")), "{said}");
        ensure!(told.contains(&format!("topic {ALARM_TOPIC} does not exist")), "{told}");
        ensure!(site.waiting()? == BTreeSet::from([ALARM_TOPIC.to_owned()]), "{:?}", site.waiting()?);

        kafka.create_topic(ALARM_TOPIC, PARTITIONS).await?;
        let sent = site.exported("the-rest", &[]).await?;
        ensure!(sent == format!("sent {EACH}, left 0, dead letters 0\n"), "{sent}");
        ensure!(site.waiting()?.is_empty(), "{:?}", site.waiting()?);
        let sent = site.exported("once-more", &[]).await?;
        ensure!(sent == "sent 0, left 0, dead letters 0\n", "{sent}");

        let mut check = Check::new(ledger);
        let mut gateways = BTreeSet::new();
        for record in site.read().await? {
            gateways.extend(record.origin.as_ref().map(|origin| origin.gateway.clone()));
            check.record(&record);
        }
        let verdict = check.finish();
        verdict.ensure_sound()?;
        ensure!(verdict.duplicates.unmarked == 0, "{verdict}");
        ensure!(gateways.len() == 1, "records of one gateway have other names: {gateways:?}");
        Ok(())
    })
    .await
}

struct Site<'a> {
    dir: &'a Path,
    kafka: &'a Kafka,
    spool: PathBuf,
}

impl Site<'_> {
    /// Has messages acknowledged by Kafka, then by the disk while Kafka stands still; the gateway dies, and Kafka goes on.
    async fn leave(&self) -> Result<Ledger> {
        let spool = format!("name = 'edge-7'\n[spool]\ndir = '{}'\nack = 'first'", self.spool.display());
        let gateway = ("gateway", self.dir);
        let settings = toml::from_str(&spool)?;
        let mut gateway = Gateway::start_as(gateway, &self.kafka.bootstrap(), settings, None).await?;
        let mut devices = Vec::new();
        for index in 0..DEVICES {
            devices.push(Publisher::connect(&gateway, &format!("device-{index}"), "t").await?);
        }
        let mut ledger = Ledger::default();
        publish(&mut devices, 0..1, &mut ledger).await?;
        let mut refused = self.export("refused", &[])?;
        ensure!(refused.end(SOON).await?.code() == SOFTWARE, "{}", refused.tail());
        ensure!(refused.stderr().contains("open in another process"), "{}", refused.stderr());

        let frozen = self.kafka.freeze()?;
        publish(&mut devices, 1..EACH, &mut ledger).await?;
        let mut alarm = [Publisher::connect(&gateway, ALARM, "alarms/fire").await?];
        publish(&mut alarm, 0..EACH, &mut ledger).await?;
        gateway.process.kill()?;
        let mut impatient = self.export("impatient", &["--wait", "1s"])?;
        ensure!(impatient.end(SOON).await?.code() == SOFTWARE, "{}", impatient.tail());
        ensure!(impatient.stderr().contains("kafka does not answer"), "{}", impatient.stderr());
        ensure!(impatient.stdout().starts_with("sent 0, left "), "{}", impatient.stdout());
        let mut stopped = self.export("stopped", &[])?;
        stopped.line("it waits for kafka", SOON, |line| line.contains("it is asked for the topics")).await?;
        stopped.signal(Signal::TERM)?;
        ensure!(stopped.end(SOON).await?.code() == SOFTWARE, "{}", stopped.tail());
        ensure!(stopped.stdout() == impatient.stdout(), "{}", stopped.stdout());
        drop(frozen);
        Ok(ledger)
    }

    fn export(&self, name: &str, args: &[&str]) -> Result<Process> {
        let kafka = self.kafka.bootstrap();
        let spool = self.spool.to_str().context("a path in UTF-8")?;
        let all = [&["spool", "export", spool, "--to-kafka", &kafka][..], args].concat();
        Process::tidegate(name, self.dir, all)
    }

    /// Exports all, and returns what was said of it.
    async fn exported(&self, name: &str, args: &[&str]) -> Result<String> {
        let mut export = self.export(name, args)?;
        let status = export.end(SOON).await?;
        ensure_clean(&export, status)?;
        Ok(export.stdout())
    }

    /// Returns the topics that records wait for, as `spool inspect` sees it.
    fn waiting(&self) -> Result<BTreeSet<String>> {
        let binary = tidegate_tests::support::process::tidegate_binary()?;
        let said = std::process::Command::new(binary).args(["spool", "inspect"]).arg(&self.spool).output()?;
        let seen: Value = serde_json::from_slice(&said.stdout).context("spool inspect")?;
        let lanes = seen["lanes"].as_array().context("spool inspect shows no lanes")?;
        let routes = lanes.iter().filter_map(|lane| lane["routes"].as_array()).flatten();
        Ok(routes.filter_map(|route| route["topic"].as_str().map(str::to_owned)).collect())
    }

    /// Reads what is in Kafka, past the proxy; a topic that is not there has nothing.
    async fn read(&self) -> Result<Vec<Seen>> {
        let direct = self.kafka.direct();
        let read = move || -> Result<Vec<Seen>> {
            let mut records = Vec::new();
            let decode = Lines { class: CLASS.to_owned() };
            for topic in TOPICS {
                let read =
                    reader::read(&direct, &[topic], &decode, &mut |record| records.push(record.clone()));
                if topic != ALARM_TOPIC {
                    read?;
                }
            }
            Ok(records)
        };
        tokio::task::spawn_blocking(read).await?.context("read what is in kafka")
    }
}

struct Publisher {
    name: String,
    topic: &'static str,
    device: Device,
}

impl Publisher {
    async fn connect(gateway: &Gateway, name: &str, topic: &'static str) -> Result<Self> {
        let device = Device::connect(gateway.address, name, Version::V5).await?;
        Ok(Self { name: name.to_owned(), topic, device })
    }
}

/// Publishes, and waits for the acknowledgements.
async fn publish(publishers: &mut [Publisher], numbers: Range<u64>, ledger: &mut Ledger) -> Result<()> {
    for Publisher { name, topic, device } in &mut *publishers {
        for seq in numbers.clone() {
            device.publish(topic, Lines::line(name, seq).as_bytes()).await?;
        }
    }
    for Publisher { name, device, .. } in publishers {
        for seq in numbers.clone() {
            let got = device.next(SOON).await?;
            ensure!(matches!(got, Some(Got::PubAck(_, ReasonCode::SUCCESS))), "{got:?}");
            ledger.acknowledged(&Stream::new(name.clone(), CLASS), [seq]);
        }
    }
    Ok(())
}
