//! A gateway that is told to stop says good-bye, and acknowledges exactly what Kafka has.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;
use tidegate_mqtt::{ReasonCode, Version};
use tidegate_tests::support::device::{Device, Got};
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::process::ensure_clean;
use tidegate_tests::support::proxy::{Direction, Link, Proxy};
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::verifier::{Ledger, Lines, Stream};

use super::{CLASS, create_topics, verify};

const DEVICES: usize = 20;
/// MQTT 5 clients may have 16 unacknowledged messages here; this keeps to it.
const MESSAGES_EACH: u64 = 10;
/// Of the gateway: 3 s for Kafka, and what starting and stopping takes.
const DRAINED_WITHIN: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_gateway_acknowledges_what_kafka_has_and_exits_in_order() -> Result<()> {
    on_real_parts("SIGTERM: DISCONNECT 0x8B, what kafka confirmed is acknowledged, exit 0", async |dir| {
        let proxy = Proxy::open().await?;
        let kafka = Kafka::start_behind(dir, Some(proxy.address())).await?;
        proxy.forward_to(kafka.client_listener());
        create_topics(&kafka, 4).await?;
        let mut gateway = Gateway::start(dir, &kafka.bootstrap(), "").await?;
        let mut devices = connect(&gateway).await?;
        // One message each: producers and partitions are no longer new.
        publish(&mut devices, 0..1).await?;
        let mut ledger = Ledger::default();
        for (index, device) in devices.iter_mut().enumerate() {
            let got = device.next(SOON).await?;
            ensure!(matches!(got, Some(Got::PubAck(_, ReasonCode::SUCCESS))), "{got:?}");
            ledger.acknowledged(&stream(index), [0]);
        }

        // Kafka's answers take their time, so the signal finds messages under way.
        proxy.set(Direction::ToClient, Link { latency: Duration::from_millis(700), ..Link::default() });
        publish(&mut devices, 1..MESSAGES_EACH).await?;
        for device in &mut devices {
            // The answer shows that the gateway has read all that was sent before.
            device.ping().await?;
            let got = device.next(SOON).await?;
            ensure!(got == Some(Got::PingResp), "acknowledged before kafka could have answered: {got:?}");
        }
        gateway.process.signal(Signal::TERM)?;
        for (index, device) in devices.iter_mut().enumerate() {
            let last = goodbye(device, &stream(index), &mut ledger).await?;
            ensure!(last == ReasonCode::SERVER_SHUTTING_DOWN, "DISCONNECT {}", last.as_str());
        }
        let status = gateway.process.end(DRAINED_WITHIN).await?;
        ensure_clean(&gateway.process, status)?;
        ensure!(
            ledger.acknowledged_count() == DEVICES as u64 * MESSAGES_EACH,
            "of {} messages that kafka had time to confirm, {} were acknowledged",
            DEVICES as u64 * MESSAGES_EACH,
            ledger.acknowledged_count()
        );
        verify(&kafka, Lines { class: CLASS.to_owned() }, ledger).await?.ensure_sound()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_stops_in_time_although_kafka_stands_still() -> Result<()> {
    on_real_parts(
        "SIGTERM with kafka frozen: the gateway ends in time and acknowledges nothing",
        async |dir| {
            let kafka = Kafka::start(dir).await?;
            create_topics(&kafka, 4).await?;
            let mut gateway = Gateway::start(dir, &kafka.bootstrap(), "").await?;
            let mut devices = connect(&gateway).await?;
            let frozen = kafka.freeze()?;
            publish(&mut devices, 0..MESSAGES_EACH).await?;
            gateway.process.signal(Signal::TERM)?;
            gateway.process.end(DRAINED_WITHIN).await?;
            drop(frozen);
            let mut ledger = Ledger::default();
            for (index, device) in devices.iter_mut().enumerate() {
                goodbye(device, &stream(index), &mut ledger).await?;
            }
            ensure!(
                ledger.acknowledged_count() == 0,
                "{} acknowledged by nobody",
                ledger.acknowledged_count()
            );
            Ok(())
        },
    )
    .await
}

fn stream(index: usize) -> Stream {
    Stream::new(name(index), CLASS)
}

fn name(index: usize) -> String {
    format!("device-{index}")
}

async fn connect(gateway: &Gateway) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for index in 0..DEVICES {
        devices.push(Device::connect(gateway.address, &name(index), Version::V5).await?);
    }
    Ok(devices)
}

async fn publish(devices: &mut [Device], numbers: std::ops::Range<u64>) -> Result<()> {
    for (index, device) in devices.iter_mut().enumerate() {
        for seq in numbers.clone() {
            device.publish("t", Lines::line(&name(index), seq).as_bytes()).await?;
        }
    }
    Ok(())
}

/// Takes acknowledgements to the end of the connection and returns the reason of its DISCONNECT.
async fn goodbye(device: &mut Device, stream: &Stream, ledger: &mut Ledger) -> Result<ReasonCode> {
    ledger.published(stream, 0..MESSAGES_EACH);
    let mut reason = None;
    loop {
        match device.next(SOON).await? {
            // Packet ids count from 1.
            Some(Got::PubAck(packet_id, ReasonCode::SUCCESS)) => {
                ensure!(reason.is_none(), "PUBACK after DISCONNECT [MQTT-3.14.4-2]");
                ledger.acknowledged(stream, [u64::from(packet_id.get()) - 1]);
            }
            Some(Got::Disconnect(why)) => reason = Some(why),
            Some(Got::Closed) => match reason {
                Some(reason) => return Ok(reason),
                None => bail!("closed without DISCONNECT"),
            },
            other => bail!("{other:?} instead of a good-bye"),
        }
    }
}
