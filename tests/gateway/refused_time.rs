//! A topic takes no record that is older than some seconds, and an outage lasts longer.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_mqtt::{ReasonCode, Version};
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::device::{Device, Got};
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::verifier::{Ledger, Lines, Stream};

use super::{CLASS, TOPICS, verify};

/// What Kafka takes, and how long it stands still.
const OLDEST_MS: &str = "4000";
const OUTAGE: Duration = Duration::from_secs(8);
/// Below the 16 unacknowledged messages that a device may have.
const MESSAGES: u64 = 12;
const SOON: Duration = Duration::from_secs(20);
/// Producers that a refusal costs, each with a pause of up to some seconds.
const DRAINS_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_too_old_for_kafka_are_sent_with_another_time_and_not_given_up() -> Result<()> {
    let promise = "INVALID_TIMESTAMP: what was acknowledged comes, in order, with the time of its sending";
    on_real_parts(promise, async |dir| {
        let kafka = Kafka::start(dir).await?;
        for topic in TOPICS {
            kafka.create_topic_with(topic, 2, &[("message.timestamp.before.max.ms", OLDEST_MS)]).await?;
        }
        let spool = format!("[spool]\ndir = '{}'\nack = 'first'", dir.join("spool").display());
        let settings = toml::from_str(&spool)?;
        let gateway = Gateway::start_as(("gateway", dir), &kafka.bootstrap(), settings, None).await?;
        let mut device = Device::connect(gateway.address, "device", Version::V5).await?;
        let (stream, mut ledger) = (Stream::new("device", CLASS), Ledger::default());
        publish(&mut device, 0..1, &stream, &mut ledger).await?;
        let frozen = kafka.freeze()?;
        publish(&mut device, 1..MESSAGES, &stream, &mut ledger).await?;
        tokio::time::sleep(OUTAGE).await;
        drop(frozen);
        let comes = async || {
            // Leaders may still be on their way back.
            let verdict = verify(&kafka, Lines { class: CLASS.to_owned() }, ledger.clone()).await;
            Ok(verdict.ok().filter(|verdict| verdict.lost.count == 0))
        };
        let verdict = eventually("kafka has what was acknowledged", DRAINS_WITHIN, comes).await?;
        verdict.ensure_sound()?;
        let said = gateway.process.stderr();
        ensure!(said.contains("kafka refuses the time of a record"), "kafka has refused nothing: {said}");
        let metrics = gateway.ask("/metrics").await?;
        ensure!(metrics.contains("tidegate_gateway_dead_letters_total 0"), "{metrics}");
        Ok(())
    })
    .await
}

/// Publishes, and waits for the acknowledgements.
async fn publish(
    device: &mut Device,
    numbers: std::ops::Range<u64>,
    stream: &Stream,
    ledger: &mut Ledger,
) -> Result<()> {
    for seq in numbers.clone() {
        device.publish("t", Lines::line("device", seq).as_bytes()).await?;
    }
    for seq in numbers {
        let got = device.next(SOON).await?;
        ensure!(matches!(got, Some(Got::PubAck(_, ReasonCode::SUCCESS))), "{got:?}");
        ledger.acknowledged(stream, [seq]);
    }
    Ok(())
}
