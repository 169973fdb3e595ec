//! Looks at the site from outside, once a second.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_core::time::Timestamp;
use tidegate_fleet::Progress;
use tidegate_runtime::clock;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::timeline::{Row, Timeline};
use tidegate_tests::support::verifier::reader::LagMeter;

use super::load::{DEVICES, MESSAGES_EACH, Publishers};
use super::{Consumers, GROUP, TOPIC};

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Watch {
    pub(super) timeline: Timeline,
    meter: Arc<LagMeter>,
    start: Timestamp,
    last: (Timestamp, u64),
}

impl Watch {
    pub(super) async fn new(kafka: &Kafka) -> Result<Self> {
        let direct = kafka.direct();
        let meter = tokio::task::spawn_blocking(move || LagMeter::new(&direct, GROUP, &[TOPIC])).await??;
        let start = clock::monotonic();
        Ok(Self { meter: Arc::new(meter), timeline: Timeline::default(), start, last: (start, 0) })
    }

    /// Adds a row and returns it.
    pub(super) async fn look(&mut self, consumers: &impl Consumers, published: u64) -> Result<Row> {
        let meter = Arc::clone(&self.meter);
        let lag = tokio::task::spawn_blocking(move || meter.lag()).await??;
        let replicas = consumers.count().await?;
        let now = clock::monotonic();
        let passed = now.since(self.last.0).max(Duration::from_millis(1));
        let row = Row {
            at: now.since(self.start),
            offered_per_sec: f64::from(u32::try_from(published - self.last.1)?) / passed.as_secs_f64(),
            lag,
            replicas,
        };
        self.last = (now, published);
        self.timeline.push(row);
        Ok(row)
    }

    /// Looks until everything is sent and acknowledged, all of it is consumed, and one consumer is left.
    pub(super) async fn until_quiet(
        &mut self,
        consumers: &mut impl Consumers,
        gateway: &mut Gateway,
        publishers: &mut Publishers,
        progress: &Progress,
        within: Duration,
    ) -> Result<()> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            consumers.check()?;
            let ended = gateway.process.ended()?;
            ensure!(ended.is_none(), "{ended:?}\n{}", gateway.process.tail());
            let all_sent = progress.messages_acknowledged() == u64::from(DEVICES * MESSAGES_EACH)
                && publishers.ended()?;
            // The lag is asked for after that: zero then means that all was consumed.
            let row = self.look(consumers, progress.messages_published()).await?;
            if all_sent && row.lag == 0 && row.replicas == 1 {
                return Ok(());
            }
            ensure!(row.at < within, "not done within {within:?}:\n{}", self.timeline);
        }
    }
}
