//! Kafka starts, freezes, thaws, dies and comes back; the verifier reads what is in it.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::producer::PlainProducer;
use tidegate_tests::support::proxy::Proxy;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::verifier::reader;

const TOPIC: &str = "smoke";
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_kafka_answers_nothing_and_a_killed_one_keeps_its_data() -> Result<()> {
    on_real_parts("the tests can freeze, kill and restart kafka", async |dir| {
        let proxy = Proxy::open().await?;
        let mut kafka = Kafka::start_behind(dir, Some(proxy.address())).await?;
        proxy.forward_to(kafka.client_listener());
        kafka.create_topic(TOPIC, 3).await?;
        let producer = PlainProducer::new(&kafka.bootstrap(), TOPIC, "pub")?;

        producer.send(0)?;
        reported(&producer, 1, SOON).await?;
        let frozen = kafka.freeze()?;
        producer.send(1)?;
        ensure!(reported(&producer, 2, Duration::from_secs(1)).await.is_err(), "a frozen kafka answered");
        drop(frozen);
        reported(&producer, 2, SOON).await?;
        kafka.kill()?;
        kafka.restart().await?;
        producer.send(2)?;
        reported(&producer, 3, SOON).await?;

        let (direct, ledger) = (kafka.direct(), producer.ledger());
        let verify = move || reader::verify(&direct, &[TOPIC], &PlainProducer::decode(), ledger);
        let verdict = tokio::task::spawn_blocking(verify).await??;
        verdict.ensure_sound()?;
        ensure!(verdict.messages == 3, "{verdict}");
        kafka.stop().await
    })
    .await
}

async fn reported(producer: &PlainProducer, count: usize, within: Duration) -> Result<()> {
    let all = async || Ok((producer.delivered().len() >= count).then_some(()));
    eventually("delivery reports", within, all).await
}
