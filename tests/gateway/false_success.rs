//! The first Produce request of a fresh partition fails while the second is on the wire.
//!
//! `parts/false_success.rs` shows that this makes librdkafka alone report a lost record as delivered.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_fleet::{Load, Plan};
use tidegate_tests::support::fleet::Fleet;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::kafka_proxy::{Injection, KafkaProxy};
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::verifier::{Ledger, reader};

const PARTITIONS: u32 = 4;
/// How long the proxy waits for a second request. A partition gets a dozen messages meanwhile, each later than the
/// linger of 5 ms: a gateway that would send a second request does.
const PATIENCE: Duration = Duration::from_millis(500);
/// A trickle that fits into the first window of each partition (64 records) until the first request is answered. A
/// flood would fill it before the producer has its id; then one request holds all, and no second one can follow.
const DEVICES: u32 = 50;
const PER_SEC: f64 = 2.0;
const LASTS: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_request_that_fails_loses_nothing_acknowledged() -> Result<()> {
    on_real_parts(
        "errors 3, 6 and 19 on a partition's first Produce lose nothing acknowledged",
        async |dir| {
            let proxy = KafkaProxy::open().await?;
            let kafka = Kafka::start_behind(dir, Some(proxy.address())).await?;
            proxy.forward_to(kafka.client_listener());
            for code in [3, 6, 19] {
                one_error(dir, &kafka, &proxy, code).await.with_context(|| format!("error {code}"))?;
            }
            Ok(())
        },
    )
    .await
}

/// A gateway of its own: its producers know no partition yet.
async fn one_error(dir: &std::path::Path, kafka: &Kafka, proxy: &KafkaProxy, code: i16) -> Result<()> {
    let topic = format!("answered-with-{code}");
    kafka.create_topic(&topic, PARTITIONS.try_into()?).await?;
    proxy.inject(Injection { code, patience: PATIENCE });
    let gateway = Gateway::start(dir, &kafka.bootstrap(), &format!("[[routes]]\ntopic = '{topic}'")).await?;

    // Devices of all classes, each with a producer of its own: they meet in the partitions.
    let fleet = Fleet::new(Plan::new(Load::steady(DEVICES, PER_SEC, LASTS), code.unsigned_abs().into()));
    let report = fleet.run(gateway.address, ()).await?;
    ensure!(report.published > 0 && report.unfinished == 0, "{report:?}\n{}", gateway.process.tail());

    let injected = proxy.injected();
    ensure!(injected.withheld >= PARTITIONS, "{injected:?}");
    let mut ledger = Ledger::default();
    fleet.account(&mut ledger);
    let direct = kafka.direct();
    let verify = move || reader::verify(&direct, &[&topic], &fleet, ledger);
    tokio::task::spawn_blocking(verify).await??.ensure_sound()?;
    ensure!(
        injected.with_second_on_the_wire == 0,
        "a cold partition had two requests under way: {injected:?}"
    );
    Ok(())
}
