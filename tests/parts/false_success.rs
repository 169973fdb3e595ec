//! The fault behind COLD partitions is real: librdkafka alone reports records as delivered that no broker has.
//!
//! Without this test, the product's own (`gateway/false_success.rs`) could pass because the proxy does nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::kafka_proxy::{Injection, KafkaProxy};
use tidegate_tests::support::producer::PlainProducer;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::verifier::reader;

/// What librdkafka reports as the offset of a record whose offset it never learnt.
const OFFSET_INVALID: i64 = -1001;
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn librdkafka_alone_reports_a_lost_record_as_delivered() -> Result<()> {
    on_real_parts("an unprotected producer loses what it calls delivered", async |dir| {
        let proxy = KafkaProxy::open().await?;
        let kafka = Kafka::start_behind(dir, Some(proxy.address())).await?;
        proxy.forward_to(kafka.client_listener());
        for code in [3, 6, 19] {
            lose_one(&kafka, &proxy, code).await.with_context(|| format!("error {code}"))?;
        }
        Ok(())
    })
    .await
}

/// Sends a record, and a second one while the first is unanswered; then both must be reported as delivered and
/// one of them must be missing.
async fn lose_one(kafka: &Kafka, proxy: &KafkaProxy, code: i16) -> Result<()> {
    let topic = format!("answered-with-{code}");
    kafka.create_topic(&topic, 1).await?;
    proxy.inject(Injection { code, patience: SOON });
    let producer = PlainProducer::new(&kafka.bootstrap(), &topic, "pub")?;

    producer.send(0)?;
    let withheld = async || Ok((proxy.injected().withheld == 1).then_some(()));
    eventually("the first request is withheld", SOON, withheld).await?;
    producer.send(1)?;
    let both = async || Ok((producer.delivered().len() == 2).then_some(()));
    eventually("both records are reported as delivered", SOON, both).await?;

    let reports = producer.delivered();
    ensure!(proxy.injected().with_second_on_the_wire == 1, "{:?}", proxy.injected());
    ensure!(reports.contains(&(0, OFFSET_INVALID)), "reports: {reports:?}");
    let (direct, ledger) = (kafka.direct(), producer.ledger());
    let verify = move || reader::verify(&direct, &[&topic], &PlainProducer::decode(), ledger);
    let verdict = tokio::task::spawn_blocking(verify).await??;
    ensure!(verdict.lost.examples == ["sensor/pub#0"], "{verdict}");
    Ok(())
}
