//! The gateway in front of a real Kafka: what is acknowledged is there, whatever happens in between.

mod copies;
mod drain;
mod false_success;
mod frozen_kafka;
mod left_over;
mod no_brokers;
mod refused_time;

use anyhow::Result;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::verifier::{Decode, Ledger, Verdict, reader};

/// Topics of the default routes, one for each class.
const TOPICS: [&str; 3] = ["telemetry-alarm", "telemetry-gateway", "telemetry-sensor"];
/// Class of devices that no class claims.
const CLASS: &str = "sensor";

/// Makes the topics of the default routes.
async fn create_topics(kafka: &Kafka, partitions: i32) -> Result<()> {
    for topic in TOPICS {
        kafka.create_topic(topic, partitions).await?;
    }
    Ok(())
}

/// Reads all topics past any proxy and checks them against `ledger`.
async fn verify(kafka: &Kafka, decode: impl Decode + Send + 'static, ledger: Ledger) -> Result<Verdict> {
    let direct = kafka.direct();
    let verify = move || reader::verify(&direct, &TOPICS, &decode, ledger);
    tokio::task::spawn_blocking(verify).await?
}
