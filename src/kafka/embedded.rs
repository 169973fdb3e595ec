//! An in-process Kafka for a first look and for tests: librdkafka's mock cluster.
//!
//! Nothing survives it, and it deletes what exceeds its bounds, read or not: [`Embedded::deleted_unread`] tells. It
//! knows no `CreateTopics`, no `DeleteRecords` and no `DescribeGroups`.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::native::MockCluster;

/// Bytes that one partition keeps at most; older records go first, read or not.
pub const PARTITION_BYTES_MAX: u64 = 5 << 20;
/// Records that one partition keeps at most.
pub const PARTITION_RECORDS_MAX: u64 = 100_000;
/// What consumers of this cluster set ([`crate::consumer::Settings::overrides`]).
///
/// Kafka ends a rebalance when all members have joined again; the mock always waits for a second less than the session
/// timeout, and a cooperative change of partitions takes two rebalances: 18 s with the timeout that suits Kafka, 2 s
/// with this one.
pub const CONSUMER_OVERRIDES: &[(&str, &str)] =
    &[("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "200")];
/// One broker is enough for a demonstration.
const BROKERS: u32 = 1;
/// How long a new group waits for more members. Must be below the session timeout, or it forgets who waits.
const GROUP_DELAY: Duration = Duration::from_millis(300);

/// A running cluster; it ends when dropped.
pub struct Embedded {
    cluster: MockCluster,
    topics: Vec<(String, u32)>,
}

/// Records of one partition that are gone though the group had not read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// How many.
    pub records: u64,
}

impl Embedded {
    /// Starts a cluster on loopback ports of the system's choice, with these topics and partition counts.
    ///
    /// # Errors
    /// librdkafka's: a port or a thread could not be had, or a topic name is malformed.
    pub fn start(topics: &[(&str, u32)]) -> Result<Self, KafkaError> {
        let cluster = MockCluster::new(BROKERS, GROUP_DELAY)?;
        for (name, partitions) in topics {
            cluster.get().create_topic(name, partitions.cast_signed(), BROKERS.cast_signed())?;
        }
        let topics = topics.iter().map(|(name, partitions)| ((*name).to_owned(), *partitions)).collect();
        Ok(Self { cluster, topics })
    }

    /// Returns `host:port` of its brokers, comma separated.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.get().bootstrap_servers()
    }

    /// Returns where records were deleted before `group` had committed them: there the demonstration has failed.
    ///
    /// # Errors
    /// librdkafka's, after `timeout` per request.
    pub fn deleted_unread(&self, group: &str, timeout: Duration) -> Result<Vec<Deleted>, KafkaError> {
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap_servers())
            .set("group.id", group)
            .create()?;
        let mut wanted = TopicPartitionList::new();
        for (topic, partitions) in &self.topics {
            wanted.add_partition_range(topic, 0, partitions.cast_signed() - 1);
        }
        let mut deleted = Vec::new();
        for place in reader.committed_offsets(wanted, timeout)?.elements() {
            let (begin, _) = reader.fetch_watermarks(place.topic(), place.partition(), timeout)?;
            let records = unread_before(begin, place.offset());
            if records > 0 {
                deleted.push(Deleted {
                    topic: place.topic().to_owned(),
                    partition: place.partition().cast_unsigned(),
                    records,
                });
            }
        }
        Ok(deleted)
    }
}

/// Records between what was committed, or the first one ever, and the first one that is still there.
fn unread_before(begin: i64, committed: Offset) -> u64 {
    let next = if let Offset::Offset(next) = committed { next } else { 0 };
    begin.saturating_sub(next).try_into().unwrap_or(0)
}

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
