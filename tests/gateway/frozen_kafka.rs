//! Kafka stands still for ten seconds in the middle of a stream.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_core::time::Timestamp;
use tidegate_fleet::{Acknowledged, Load, Observer, Plan};
use tidegate_mqtt::{ReasonCode, Version};
use tidegate_runtime::clock;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::device::{Device, Got};
use tidegate_tests::support::fleet::Fleet;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::verifier::{Ledger, Lines, Stream};

use super::{CLASS, create_topics, verify};

const FROZEN: Duration = Duration::from_secs(10);
/// What Kafka had answered before it froze may still be on its way to the devices.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// A device library closes a connection whose PINGREQ is not answered for some seconds.
const PING_WITHIN: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(30);
/// More than the 32 unacknowledged messages that the gateway takes from a 3.1.1 client: the rest lies unread before
/// the PINGREQ. Within the burst of the device's class, so that only Kafka holds them back.
const PUSHY_MESSAGES: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_kafka_delays_acknowledgements_and_nothing_else() -> Result<()> {
    on_real_parts(
        "with kafka frozen for 10 s no PUBACK, no loss, order kept, PINGREQ answered",
        async |dir| {
            let kafka = Kafka::start(dir).await?;
            create_topics(&kafka, 4).await?;
            let gateway = Gateway::start(dir, &kafka.bootstrap(), "").await?;

            let mut plan = Plan::new(Load::steady(100, 5.0, Duration::from_secs(16)), 7);
            plan.user_names = false;
            let fleet = Fleet::new(plan);
            let acks = Arc::new(AckTimes::default());
            let (devices, address, observer) = (fleet.clone(), gateway.address, Arc::clone(&acks));
            let running = tokio::spawn(async move { devices.run(address, observer).await });
            eventually("the stream flows", SOON, async || Ok((acks.count() > 300).then_some(()))).await?;

            let mut idle = Device::connect(gateway.address, "idle", Version::V5).await?;
            let mut pushy = Device::connect(gateway.address, "pushy", Version::V311).await?;
            let frozen = kafka.freeze()?;
            let begin = clock::monotonic();
            for seq in 0..PUSHY_MESSAGES {
                pushy.publish("t", Lines::line("pushy", seq).as_bytes()).await?;
            }
            while clock::monotonic().since(begin) < FROZEN {
                for (name, device) in [("idle", &mut idle), ("pushy", &mut pushy)] {
                    device.ping().await?;
                    let got = device.next(PING_WITHIN).await?;
                    ensure!(got == Some(Got::PingResp), "{name} device sent PINGREQ and got {got:?}");
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            let early = acks.between(begin + SETTLED_AFTER, clock::monotonic());
            drop(frozen);
            ensure!(early == 0, "{early} messages were acknowledged while kafka stood still");
            let said = gateway.process.stderr();
            ensure!(
                said.contains("there was no report"),
                "the gateway did not say that kafka is silent: {said}"
            );

            let mut ledger = Ledger::default();
            let stream = Stream::new("pushy", CLASS);
            for seq in 0..PUSHY_MESSAGES {
                let got = pushy.next(SOON).await?;
                let Some(Got::PubAck(packet_id, ReasonCode::SUCCESS)) = got else {
                    anyhow::bail!("instead of acknowledgement {seq}: {got:?}");
                };
                ensure!(
                    u64::from(packet_id.get()) == seq + 1,
                    "acknowledgement {packet_id} instead of {}",
                    seq + 1
                );
                ledger.acknowledged(&stream, [seq]);
            }
            let report = running.await?.context("the fleet")?;
            ensure!(
                report.unfinished == 0 && report.lost_connections == 0 && report.refused.is_empty(),
                "{report:?}"
            );
            fleet.account(&mut ledger);
            let verdict = verify(&kafka, (fleet, Lines { class: CLASS.to_owned() }), ledger).await?;
            verdict.ensure_sound()?;
            ensure!(verdict.acknowledged == report.acknowledged + PUSHY_MESSAGES, "{verdict}");
            Ok(())
        },
    )
    .await
}

/// When acknowledgements came.
#[derive(Default)]
struct AckTimes(Mutex<Vec<Timestamp>>);

impl AckTimes {
    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn between(&self, from: Timestamp, to: Timestamp) -> usize {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.iter().filter(|at| (from..=to).contains(*at)).count()
    }
}

impl Observer for AckTimes {
    fn acknowledged(&self, what: Acknowledged) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.at);
    }
}
