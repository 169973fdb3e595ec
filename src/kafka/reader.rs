//! Reads topics once, from their beginning to the end they had when reading began.
//!
//! For audits. A plain consumer with assigned partitions: it joins no group, so it can neither disturb the consumers
//! that it looks at nor be served by their progress, and it commits nothing.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tidegate_core::time::Clock;

use crate::consumer::Received;

/// Patience with one question to Kafka.
const ASK: Duration = Duration::from_secs(10);
/// One wait for a record.
const POLL: Duration = Duration::from_millis(100);
/// librdkafka wants a group id even of a consumer that joins none.
const NO_GROUP: &str = "tidegate-reader";

/// Why topics were not read to their end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka's answer, or none.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The topic does not exist.
    #[error("topic {0} does not exist")]
    Missing(String),
    /// Time was up.
    #[error("{topics} not read to the end within {within:?}: {left} partitions are left")]
    Late {
        /// The topics, separated by commas.
        topics: String,
        /// The time that was given.
        within: Duration,
        /// Partitions whose end was not reached.
        left: usize,
    },
}

/// Reads `topics` and hands over each record; those of a partition come in order of offset. Blocks, for `within` at
/// most and what one question to Kafka takes.
///
/// # Errors
/// See [`Error`]; some records may have been handed over.
pub fn read_all(
    bootstrap_servers: &str,
    topics: &[&str],
    within: Duration,
    clock: Clock,
    each: &mut dyn FnMut(&Received<'_>),
) -> Result<(), Error> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .set("group.id", NO_GROUP)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // What retention deletes while we read is skipped; the default would skip to the end.
        .set("auto.offset.reset", "earliest")
        .create()?;
    let mut left = HashMap::new();
    let mut assignment = TopicPartitionList::new();
    for topic in topics {
        for partition in partitions(&reader, topic)? {
            let (begin, end) = reader.fetch_watermarks(topic, partition, ASK)?;
            if begin < end {
                assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
                left.insert(((*topic).to_owned(), partition), end);
            }
        }
    }
    reader.assign(&assignment)?;
    let start = clock();
    while !left.is_empty() {
        if clock().since(start) > within {
            return Err(Error::Late { topics: topics.join(", "), within, left: left.len() });
        }
        let message = match reader.poll(POLL) {
            None => continue,
            Some(Ok(message)) => message,
            // A broker is away: librdkafka tries again by itself, and our time bounds it.
            Some(Err(error)) => {
                tracing::warn!(%error, "reader error");
                continue;
            }
        };
        let at = (message.topic().to_owned(), message.partition());
        // What was written while we read belongs to the next reading.
        let Some(end) = left.get(&at).copied() else { continue };
        each(&Received(&message));
        if message.offset() + 1 >= end {
            left.remove(&at);
        }
    }
    Ok(())
}

fn partitions(reader: &BaseConsumer, topic: &str) -> Result<Vec<i32>, Error> {
    let metadata = reader.fetch_metadata(Some(topic), ASK)?;
    let found =
        metadata.topics().iter().find(|found| found.name() == topic && !found.partitions().is_empty());
    let found = found.ok_or_else(|| Error::Missing(topic.to_owned()))?;
    Ok(found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
}

#[cfg(feature = "embedded")]
#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
