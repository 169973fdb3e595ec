//! The two bursts: messages that are in Kafka already, and devices that offer ten times as much.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidegate_core::time::Timestamp;
use tidegate_fleet::{Identity, Load, Observer, Plan};
use tidegate_runtime::clock;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::fleet::Fleet;
use tidegate_tests::support::install::Installed;
use tidegate_tests::support::tidegate::Gateway;
use tokio::task::JoinHandle;

/// As in the comparison with KEDA and the HPA.
const MESSAGES: i32 = 40_000;
const PAYLOAD: [u8; 200] = [b'x'; 200];
/// All are delivered within a second or two.
const DELIVERED_WITHIN: Duration = Duration::from_mins(1);

/// 60 messages per second of all devices, which one consumer carries; then 600.
const DEVICES: u32 = 600;
const RATE_EACH: f64 = 0.1;
/// Long enough for the averages to know the steady rate.
const STEADY: Duration = Duration::from_secs(20);
/// As long as writes are counted, and more.
const RISEN: Duration = Duration::from_secs(40);

/// Fills a topic evenly and returns when the last delivery was reported.
pub(super) async fn produce(bootstrap: &str, topic: &str, partitions: i32) -> Result<Timestamp> {
    let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("linger.ms", "5")
            .set("enable.idempotence", "true")
            .create()?;
        for number in 0..MESSAGES {
            let record = || BaseRecord::<(), _>::to(&topic).partition(number % partitions).payload(&PAYLOAD);
            while let Err((error, _)) = producer.send(record()) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                ensure!(error == full, "{error}");
                producer.poll(Duration::from_millis(10));
            }
        }
        producer.flush(DELIVERED_WITHIN)?;
        Ok(clock::monotonic())
    })
    .await?
}

/// A gateway, and a fleet that offers ten times as much after some time. Both end when this is dropped.
pub(super) struct Rising {
    _gateway: Gateway,
    fleet: JoinHandle<Result<()>>,
    risen: Arc<Risen>,
}

impl Rising {
    /// Starts both; all messages go to `topic`.
    pub(super) async fn start(dir: &Path, kafka: &str, topic: &str, to: &Installed) -> Result<Self> {
        let Installed { url, key_file } = to;
        let settings = format!(
            "[[routes]]\ntopic = '{topic}'\n[report]\nurl = '{url}'\nkey_file = '{}'\n",
            key_file.display()
        );
        let gateway = Gateway::start(dir, kafka, &settings).await?;
        let plan = Plan::new(Load::burst(DEVICES, RATE_EACH, STEADY, RISEN, Duration::ZERO), 40);
        let risen = Arc::new(Risen { plan: plan.clone(), first: OnceLock::new() });
        let (address, observer) = (gateway.address, Arc::clone(&risen));
        let fleet = tokio::spawn(async move { Fleet::new(plan).run(address, observer).await.map(drop) });
        Ok(Self { _gateway: gateway, fleet, risen })
    }

    /// Waits for the first message of the risen rate and returns when it was sent.
    pub(super) async fn risen(&self) -> Result<Timestamp> {
        let first = async || {
            ensure!(!self.fleet.is_finished(), "the fleet has ended");
            Ok(self.risen.first.get().copied())
        };
        eventually("the rate rises", 2 * STEADY, first).await
    }

    /// Waits until the devices have sent everything.
    pub(super) async fn stop(self) -> Result<()> {
        self.fleet.await.context("the fleet panicked")?
    }
}

/// Notes when the first message went out that the steady rate would not have brought.
struct Risen {
    plan: Plan,
    first: OnceLock<Timestamp>,
}

impl Observer for Risen {
    fn sent(&self, device: u32, seq: u32, _resend: bool) {
        if self.first.get().is_some() {
            return;
        }
        let phase = Identity::draw(self.plan.seed, device, self.plan.versions).phase;
        if self.plan.load.due(phase, seq).is_some_and(|due| due >= STEADY) {
            // Another thread may have been first.
            let _ = self.first.set(clock::monotonic());
        }
    }
}
