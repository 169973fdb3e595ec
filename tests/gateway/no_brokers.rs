//! A site's only broker says for a moment that there is no broker, as it does while its controller has it fenced.
//!
//! librdkafka then forgets it, and often for ever: see `tidegate_kafka`'s `rebootstrap`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_fleet::{Load, Plan};
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::fleet::Fleet;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::kafka_proxy::KafkaProxy;
use tidegate_tests::support::process::Process;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::verifier::reader::LagMeter;
use tidegate_tests::support::verifier::{Ledger, Lines};

use super::{CLASS, TOPICS, create_topics, verify};

const TIMES: u32 = 2;
/// As many as there are clients, three lanes and a consumer: each is told once, and asks again at once.
const ANSWERS: u32 = 4;
const REFRESH: &str = "topic.metadata.refresh.interval.ms";
const GROUP: &str = "readers";
const PAUSE: Duration = Duration::from_secs(2);
const LASTS: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_lists_no_broker_for_a_moment_is_found_again() -> Result<()> {
    let promise = "a Kafka that lists no broker for a moment is found again, and nothing is lost";
    on_real_parts(promise, async |dir| {
        let proxy = KafkaProxy::open().await?;
        let kafka = Kafka::start_behind(dir, Some(proxy.address())).await?;
        proxy.forward_to(kafka.client_listener());
        create_topics(&kafka, 4).await?;
        let settings = format!("[kafka.overrides]\n'{REFRESH}' = '500'");
        let gateway = Gateway::start(dir, &kafka.bootstrap(), &settings).await?;
        let consumer = consume(dir, &kafka)?;

        let mut plan = Plan::new(Load::steady(50, 5.0, LASTS), 11);
        plan.user_names = false;
        let fleet = Fleet::new(plan);
        let (devices, address) = (fleet.clone(), gateway.address);
        let running = tokio::spawn(async move { devices.run(address, ()).await });
        for _ in 0..TIMES {
            tokio::time::sleep(PAUSE).await;
            proxy.hide_brokers(ANSWERS);
            let asked = async || Ok((proxy.to_hide() == 0).then_some(()));
            eventually("metadata is asked for", SOON, asked).await?;
        }
        let report = running.await?.context("the fleet")?;
        ensure!(
            report.published > 0 && report.unfinished == 0 && report.lost_connections == 0,
            "{report:?}\n{}",
            gateway.process.tail()
        );
        let mut ledger = Ledger::default();
        fleet.account(&mut ledger);
        verify(&kafka, (fleet, Lines { class: CLASS.to_owned() }), ledger).await?.ensure_sound()?;

        let direct = kafka.direct();
        let meter = tokio::task::spawn_blocking(move || LagMeter::new(&direct, GROUP, &TOPICS)).await??;
        let meter = Arc::new(meter);
        let read = eventually("the consumer has read all", SOON, async || {
            let meter = Arc::clone(&meter);
            let lag = tokio::task::spawn_blocking(move || meter.lag()).await??;
            Ok((lag == 0).then_some(()))
        });
        read.await.with_context(|| consumer.tail())
    })
    .await
}

/// Starts a consumer of all topics, which asks for metadata as often as the gateway.
fn consume(dir: &Path, kafka: &Kafka) -> Result<Process> {
    let (bootstrap, refresh) = (kafka.bootstrap(), format!("{REFRESH}=500"));
    let mut args = vec!["consume", "--kafka", &bootstrap, "--group", GROUP, "--set", &refresh];
    args.extend(["--commit-interval", "500ms"]);
    args.extend(TOPICS.iter().flat_map(|topic| ["--topic", topic]));
    Process::tidegate("consumer", dir, args)
}
