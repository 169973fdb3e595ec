//! The whole main job, and what crosses every layer of it.

mod main_job;
mod observe;

use anyhow::Result;
use tidegate_kafka::embedded::Embedded;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::scenario::on_real_parts;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_broker_is_observed_as_far_as_it_answers() -> Result<()> {
    let broker = Embedded::start(&[])?;
    observe::on_every_broker(&broker.bootstrap_servers()).await;
    observe::what_the_embedded_broker_lacks(&broker.bootstrap_servers()).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_kafka_is_observed_with_its_members_and_transactions() -> Result<()> {
    on_real_parts("lag, membership and open transactions are read from a real kafka", async |dir| {
        let kafka = Kafka::start(dir).await?;
        observe::on_every_broker(&kafka.bootstrap()).await;
        observe::on_real_kafka(&kafka.bootstrap()).await;
        Ok(())
    })
    .await
}
