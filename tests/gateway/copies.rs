//! Who acknowledges depends on how many brokers have a record: Kafka is asked, and what follows is said.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_mqtt::{ReasonCode, Version};
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::device::{Device, Got};
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::Gateway;

use super::TOPICS;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_acknowledges_where_kafka_has_one_copy_and_whoever_is_first_where_it_has_two() -> Result<()>
{
    let promise = "replication and min.insync.replicas of 2: ack = first; a topic on one broker: ack = disk, and said so";
    on_real_parts(promise, async |dir| {
        let brokers = Kafka::start_cluster(dir, &[None, None, None]).await?;
        for topic in TOPICS {
            brokers[0].create_placed_topic(topic, &[&[1, 2, 3], &[2, 3, 1]]).await?;
        }
        brokers[0].create_topic("single", 2).await?;
        let kafka: Vec<_> = brokers.iter().map(Kafka::bootstrap).collect();
        let kafka = kafka.join(",");

        let settings = toml::from_str(&format!("spool.dir = '{}'", dir.join("a").display()))?;
        let gateway = Gateway::start_as(("gateway-a", dir), &kafka, settings, None).await?;
        let metrics = metrics(&gateway).await?;
        ensure!(metrics.contains("tidegate_spool_acknowledgement_state{at=\"first\"} 1"), "{metrics}");
        for topic in TOPICS {
            let single = format!("tidegate_spool_single_copy_state{{topic=\"{topic}\"}} 0");
            ensure!(metrics.contains(&single), "{metrics}");
        }
        drop(gateway);

        let routes = "routes = [{ filter = '#', topic = 'single' }]";
        let settings = toml::from_str(&format!("spool.dir = '{}'\n{routes}", dir.join("b").display()))?;
        let gateway = Gateway::start_as(("gateway-b", dir), &kafka, settings, None).await?;
        let mut device = Device::connect(gateway.address, "device", Version::V5).await?;
        device.publish("t", b"1").await?;
        let got = device.next(SOON).await?;
        ensure!(matches!(got, Some(Got::PubAck(_, ReasonCode::SUCCESS))), "{got:?}");
        let metrics = gateway.ask("/metrics").await?;
        for sample in [
            "tidegate_spool_acknowledgement_state{at=\"disk\"} 1",
            "tidegate_spool_single_copy_state{topic=\"single\"} 1",
            "tidegate_spool_stored_records_total 1",
        ] {
            ensure!(metrics.contains(sample), "no {sample} in {metrics}");
        }
        let said = gateway.process.stderr();
        ensure!(said.contains("replication is 1, min.insync.replicas is 1"), "{said}");
        Ok(())
    })
    .await
}

/// Returns the metrics once there are any: the door may be open a moment before.
async fn metrics(gateway: &Gateway) -> Result<String> {
    let asked = async || Ok(Some(gateway.ask("/metrics").await?).filter(|metrics| !metrics.is_empty()));
    eventually("there are metrics", SOON, asked).await
}
