//! Reads topics from their beginning to the end they had when reading began.
//!
//! The reading itself is `tidegate_kafka::reader`'s; here records become what the check understands, and a group's lag
//! is asked for without joining it.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidegate_kafka::consumer::Received;
use tidegate_kafka::reader;
use tidegate_runtime::clock;

use super::check::{Check, Origin, Seen};
use super::ledger::Ledger;
use super::payload::Decode;
use super::verdict::Verdict;

/// Patience with one question to Kafka.
const ASK: Duration = Duration::from_secs(10);
/// Between two questions that had no answer.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Answers that only mean: not yet.
const COORDINATOR_MOVES: [RDKafkaErrorCode; 3] = [
    RDKafkaErrorCode::CoordinatorLoadInProgress,
    RDKafkaErrorCode::CoordinatorNotAvailable,
    RDKafkaErrorCode::NotCoordinator,
];
/// Patience with the whole reading: a hundred times what the tests' largest topics take.
const READ_WITHIN: Duration = Duration::from_mins(1);

/// Reads `topics` and checks them against `ledger`. Blocks; on a runtime, call it from `spawn_blocking`.
///
/// # Errors
/// Kafka's, or the end was not reached within a minute. A fault that the check finds is no error, see
/// [`Verdict::ensure_sound`].
pub fn verify(bootstrap: &str, topics: &[&str], decode: &dyn Decode, ledger: Ledger) -> Result<Verdict> {
    let mut check = Check::new(ledger);
    read(bootstrap, topics, decode, &mut |record| check.record(record))?;
    Ok(check.finish())
}

/// Reads `topics` and hands over each record; those of a partition come in order of offset. Blocks.
///
/// # Errors
/// As [`verify`].
pub fn read(
    bootstrap: &str,
    topics: &[&str],
    decode: &dyn Decode,
    each: &mut dyn FnMut(&Seen),
) -> Result<()> {
    let mut outcome = Ok(());
    reader::read_all(bootstrap, topics, READ_WITHIN, clock::monotonic, &mut |record| {
        if outcome.is_ok() {
            outcome = seen(record, decode).map(|seen| each(&seen));
        }
    })?;
    outcome
}

/// Asks again and again how far a group is behind; joins nothing.
pub struct LagMeter {
    consumer: BaseConsumer,
    partitions: Vec<(String, i32)>,
}

impl LagMeter {
    /// Measures `group` on the partitions that `topics` have now. Blocks.
    ///
    /// # Errors
    /// Kafka's.
    pub fn new(bootstrap: &str, group: &str, topics: &[&str]) -> Result<Self> {
        let consumer = consumer(bootstrap, group)?;
        let partitions = partitions(&consumer, topics)?;
        Ok(Self { consumer, partitions })
    }

    /// Returns how many records the group has not committed, over all partitions; where it has never committed it
    /// is behind by all of them. Blocks.
    ///
    /// # Errors
    /// Kafka's.
    pub fn lag(&self) -> Result<u64> {
        let mut asked = TopicPartitionList::new();
        for (topic, partition) in &self.partitions {
            asked.add_partition(topic, *partition);
        }
        let mut lag = 0;
        for committed in self.committed(&asked)?.elements() {
            let (topic, partition) = (committed.topic(), committed.partition());
            let (begin, end) = self.consumer.fetch_watermarks(topic, partition, ASK)?;
            let from = if let Offset::Offset(offset) = committed.offset() { offset } else { begin };
            lag += u64::try_from(end - from).context("committed beyond the end")?;
        }
        Ok(lag)
    }

    /// Asks for the commits, again while the group's coordinator is moving in: the first group of a new Kafka makes it.
    fn committed(&self, asked: &TopicPartitionList) -> Result<TopicPartitionList> {
        let start = clock::monotonic();
        loop {
            let answer = self.consumer.committed_offsets(asked.clone(), ASK);
            let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
            if !code.is_some_and(|code| COORDINATOR_MOVES.contains(&code)) {
                return Ok(answer?);
            }
            ensure!(clock::monotonic().since(start) < ASK, "no coordinator: {code:?}");
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A consumer that commits nothing; `group` is only whose offsets it can ask for.
fn consumer(bootstrap: &str, group: &str) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    config.create().context("the verifier's consumer")
}

fn partitions(consumer: &BaseConsumer, topics: &[&str]) -> Result<Vec<(String, i32)>> {
    let mut all = Vec::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), ASK)?;
        let of_topic = metadata.topics().first().context("no metadata")?;
        if of_topic.partitions().is_empty() {
            bail!("no topic {topic}");
        }
        all.extend(of_topic.partitions().iter().map(|partition| ((*topic).to_owned(), partition.id())));
    }
    Ok(all)
}

fn seen(record: &Received<'_>, decode: &dyn Decode) -> Result<Seen> {
    Ok(Seen {
        message: decode.decode(record.topic(), record.key(), record.payload()),
        topic: record.topic().to_owned(),
        partition: record.partition().cast_signed(),
        offset: record.offset(),
        origin: origin(record)?,
    })
}

/// Reads the `tg-` headers; either all four are there or none.
fn origin(record: &Received<'_>) -> Result<Option<Origin>> {
    let text = |name: &str| Some(String::from_utf8_lossy(record.header(name)?).into_owned());
    let headers = (text("tg-gw"), text("tg-src"), text("tg-epoch"), text("tg-seq"));
    match headers {
        (Some(gateway), Some(source), Some(epoch), Some(seq)) => {
            let number =
                |text: String| text.parse().with_context(|| format!("tg- header {text:?} is no number"));
            Ok(Some(Origin { gateway, source, epoch: number(epoch)?, seq: number(seq)? }))
        }
        (None, None, None, None) => Ok(None),
        some => bail!("tg- headers are there in part: {some:?}"),
    }
}
