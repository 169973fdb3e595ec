//! The consumers are processes of the controller.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::say::say;
use tidegate_tests::support::scenario::on_real_parts;
use tidegate_tests::support::tidegate::{Controller, Gateway};

use super::{Consumers, GROUP, PARTITIONS, TOPIC, gateway_settings};

/// The whole of it takes about a minute.
const DONE_WITHIN: Duration = Duration::from_secs(150);
const SOON: Duration = Duration::from_secs(20);

/// A promise of seconds and a short memory, so that the way down fits into a test. One consumer sleeps 2 ms a record.
const CONTROLLER: &str = "
tick = '1s'
[kafka]
commit_interval = '1s'
[slo]
delay = '5s'
[replicas]
max = 8
[capacity]
per_replica = 400.0
[behavior.down]
after = '8s'
max_step = 8
";
const CONSUME: [&str; 4] = ["--work", "2ms", "--commit-interval", "1s"];

impl Consumers for Controller {
    async fn count(&self) -> Result<u32> {
        self.process.children()
    }

    fn check(&mut self) -> Result<()> {
        let ended = self.process.ended()?;
        ensure!(ended.is_none(), "{ended:?}\n{}", self.process.tail());
        Ok(())
    }

    fn tail(&self) -> String {
        self.process.tail()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_messages_becomes_consumers_and_they_go_when_it_is_worked_off() -> Result<()> {
    on_real_parts("49 000 + 1 000 messages, consumers 1 -> n -> 1, nothing lost, order kept", async |dir| {
        let kafka = Kafka::start(dir).await?;
        kafka.create_topic(TOPIC, PARTITIONS).await?;
        let target = (&*kafka.bootstrap(), GROUP, TOPIC);
        let mut controller = Controller::start(dir, target, CONTROLLER, &CONSUME).await?;
        let settings = gateway_settings(&controller.url, &controller.key_file);
        let gateway = Gateway::start(dir, &kafka.bootstrap(), &settings).await?;
        let one = async || Ok((controller.process.children()? == 1).then_some(()));
        eventually("the first consumer", SOON, one).await.with_context(|| controller.process.tail())?;
        let (timeline, verdict) = super::run(dir, &kafka, gateway, &mut controller, DONE_WITHIN).await?;
        say(format_args!("the main job on real kafka:\n{timeline}{verdict}"));
        Ok(())
    })
    .await
}
