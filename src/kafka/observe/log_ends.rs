//! First and last offsets of partitions, from their leader.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse};

use super::metadata::topic_name;
use super::model::Isolation;
use super::wire::{Connection, Inquiry, Stream, WireError};
use super::{ByPartition, Partitions, partition_index, partition_number};

/// Kafka's timestamps that stand for a place.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// Version from which a request can ask for the last stable offset.
const HAS_ISOLATION: i16 = 2;
/// Highest version used: later ones add nothing that is used here, Kafka 4 still takes it, and librdkafka's mock cluster
/// leaves off the end of its answers in them.
const HIGHEST: i16 = 5;

/// Asks one leader for begin and end of its partitions.
#[derive(Clone, Debug, Default)]
pub(super) struct LogEndsInquiry {
    pub(super) partitions: Partitions,
    pub(super) isolation: Isolation,
}

/// Offsets by partition.
#[derive(Debug, Default)]
pub(super) struct LogEnds {
    pub(super) begin: ByPartition<Result<i64, ResponseError>>,
    pub(super) end: ByPartition<Result<i64, ResponseError>>,
}

impl Inquiry for LogEndsInquiry {
    type Answer = LogEnds;

    /// Two requests: Kafka refuses one that names a partition twice. The begin comes first, so that it is not above
    /// the end.
    async fn ask<S: Stream>(&self, connection: &mut Connection<S>) -> Result<LogEnds, WireError> {
        let version = connection.required::<ListOffsetsRequest>()?.min(HIGHEST);
        let begin = connection.call(&self.request(EARLIEST, version), version).await?;
        let end = connection.call(&self.request(LATEST, version), version).await?;
        Ok(LogEnds { begin: read(begin), end: read(end) })
    }
}

impl LogEndsInquiry {
    fn request(&self, place: i64, version: i16) -> ListOffsetsRequest {
        let partition = |number: &u32| {
            ListOffsetsPartition::default()
                .with_partition_index(partition_index(*number))
                .with_timestamp(place)
        };
        let topic = |(name, partitions): (&String, &Vec<u32>)| {
            ListOffsetsTopic::default()
                .with_name(topic_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(self.partitions.iter().map(topic).collect());
        match self.isolation {
            Isolation::ReadCommitted if version >= HAS_ISOLATION => request.with_isolation_level(1),
            Isolation::ReadCommitted | Isolation::ReadUncommitted => request,
        }
    }
}

fn read(answer: ListOffsetsResponse) -> ByPartition<Result<i64, ResponseError>> {
    let offset = |partition: &ListOffsetsPartitionResponse| {
        let offset = match ResponseError::try_from_code(partition.error_code) {
            Some(error) => Err(error),
            // No offset and no error: the leader does not know it yet.
            None if partition.offset < 0 => Err(ResponseError::OffsetNotAvailable),
            None => Ok(partition.offset),
        };
        Some((partition_number(partition.partition_index)?, offset))
    };
    let mut offsets: ByPartition<_> = BTreeMap::new();
    for topic in answer.topics {
        offsets.insert(topic.name.to_string(), topic.partitions.iter().filter_map(offset).collect());
    }
    offsets
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::list_offsets_response::ListOffsetsTopicResponse;

    use super::*;

    #[test]
    fn an_offset_that_the_leader_does_not_know_is_an_error_not_a_number() {
        let partition = |index, offset, code| {
            let partition = ListOffsetsPartitionResponse::default().with_partition_index(index);
            partition.with_offset(offset).with_error_code(code)
        };
        let partitions = vec![partition(0, 0, 0), partition(1, -1, 0), partition(2, -1, 6)];
        let topic =
            ListOffsetsTopicResponse::default().with_name(topic_name("t")).with_partitions(partitions);
        let read = read(ListOffsetsResponse::default().with_topics(vec![topic]));
        assert_eq!(read["t"][&0], Ok(0));
        assert_eq!(read["t"][&1], Err(ResponseError::OffsetNotAvailable));
        assert_eq!(read["t"][&2], Err(ResponseError::NotLeaderOrFollower));
    }
}
