//! Committed offsets of many groups, from their coordinator.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::StrBytes;

use super::metadata::topic_name;
use super::model::Commit;
use super::wire::{Connection, Inquiry, Stream, WireError};
use super::{ByPartition, GROUPS_PER_REQUEST, Partitions, partition_index, partition_number};

/// Version from which one request names many groups (KIP-709).
const BATCHED: i16 = 8;
/// Version used with brokers that cannot batch: 6 and 7 add nothing that is used here, and librdkafka's mock cluster
/// leaves off the end of its answers in them.
const UNBATCHED: i16 = 5;

/// Asks one coordinator for the commits of its groups in given partitions.
#[derive(Clone, Debug, Default)]
pub(super) struct CommitsInquiry {
    pub(super) groups: Vec<(String, Partitions)>,
}

/// Commits by group. A partition that the coordinator refuses keeps its error.
pub(super) type Commits = BTreeMap<String, Result<ByPartition<Result<Commit, ResponseError>>, ResponseError>>;

impl Inquiry for CommitsInquiry {
    type Answer = Commits;

    async fn ask<S: Stream>(&self, connection: &mut Connection<S>) -> Result<Commits, WireError> {
        let highest = connection.required::<OffsetFetchRequest>()?;
        let version = if highest >= BATCHED { highest } else { highest.min(UNBATCHED) };
        let mut commits = Commits::new();
        if version >= BATCHED {
            for groups in self.groups.chunks(GROUPS_PER_REQUEST) {
                commits.extend(read_many(connection.call(&request_many(groups), version).await?));
            }
        } else {
            for (group, partitions) in &self.groups {
                let answer = connection.call(&request_one(group, partitions), version).await?;
                commits.insert(group.clone(), read_one(&answer));
            }
        }
        Ok(commits)
    }
}

fn group_id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}

fn request_many(groups: &[(String, Partitions)]) -> OffsetFetchRequest {
    let topic = |(name, partitions): (&String, &Vec<u32>)| {
        let indexes = partitions.iter().map(|number| partition_index(*number)).collect();
        OffsetFetchRequestTopics::default().with_name(topic_name(name)).with_partition_indexes(indexes)
    };
    let group = |(group, partitions): &(String, Partitions)| {
        let topics = partitions.iter().map(topic).collect();
        OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(Some(topics))
    };
    OffsetFetchRequest::default().with_groups(groups.iter().map(group).collect())
}

fn request_one(group: &str, partitions: &Partitions) -> OffsetFetchRequest {
    let topic = |(name, partitions): (&String, &Vec<u32>)| {
        let indexes = partitions.iter().map(|number| partition_index(*number)).collect();
        OffsetFetchRequestTopic::default().with_name(topic_name(name)).with_partition_indexes(indexes)
    };
    let topics = partitions.iter().map(topic).collect();
    OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(Some(topics))
}

fn read_many(answer: OffsetFetchResponse) -> Commits {
    let mut commits = Commits::new();
    for group in answer.groups {
        let partitions = group.topics.iter().map(|topic| {
            let offsets =
                topic.partitions.iter().map(|p| (p.partition_index, p.committed_offset, p.error_code));
            (topic.name.to_string(), read_partitions(offsets))
        });
        let read =
            ResponseError::try_from_code(group.error_code).map_or_else(|| Ok(partitions.collect()), Err);
        commits.insert(group.group_id.to_string(), read);
    }
    commits
}

fn read_one(
    answer: &OffsetFetchResponse,
) -> Result<ByPartition<Result<Commit, ResponseError>>, ResponseError> {
    let partitions = answer.topics.iter().map(|topic| {
        let offsets = topic.partitions.iter().map(|p| (p.partition_index, p.committed_offset, p.error_code));
        (topic.name.to_string(), read_partitions(offsets))
    });
    ResponseError::try_from_code(answer.error_code).map_or_else(|| Ok(partitions.collect()), Err)
}

/// Reads (partition, offset, error). Kafka writes "never committed" as offset -1 without an error.
fn read_partitions(
    offsets: impl Iterator<Item = (i32, i64, i16)>,
) -> BTreeMap<u32, Result<Commit, ResponseError>> {
    let read = |(index, offset, code)| {
        let commit = if offset < 0 { Commit::Never } else { Commit::At(offset) };
        Some((partition_number(index)?, ResponseError::try_from_code(code).map_or(Ok(commit), Err)))
    };
    offsets.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
    };

    use super::*;

    fn partition(index: i32, offset: i64, code: i16) -> OffsetFetchResponsePartitions {
        let partition = OffsetFetchResponsePartitions::default().with_partition_index(index);
        partition.with_committed_offset(offset).with_error_code(code)
    }

    #[test]
    fn a_commit_no_commit_and_an_error_are_three_things() {
        let partitions = vec![partition(0, 42, 0), partition(1, -1, 0), partition(2, -1, 3)];
        let topic =
            OffsetFetchResponseTopics::default().with_name(topic_name("t")).with_partitions(partitions);
        let group = OffsetFetchResponseGroup::default().with_group_id(group_id("g")).with_topics(vec![topic]);
        let commits = read_many(OffsetFetchResponse::default().with_groups(vec![group]));
        let read = &commits["g"].as_ref().expect("no error of the group")["t"];
        assert_eq!(read[&0], Ok(Commit::At(42)));
        assert_eq!(read[&1], Ok(Commit::Never));
        assert_eq!(read[&2], Err(ResponseError::UnknownTopicOrPartition));
    }

    #[test]
    fn an_error_of_the_group_hides_no_other_group() {
        let group = |name, code| {
            OffsetFetchResponseGroup::default().with_group_id(group_id(name)).with_error_code(code)
        };
        let answer = OffsetFetchResponse::default().with_groups(vec![group("moved", 16), group("fine", 0)]);
        let commits = read_many(answer);
        assert_eq!(commits["moved"], Err(ResponseError::NotCoordinator));
        assert_eq!(commits["fine"], Ok(BTreeMap::new()));
    }

    #[test]
    fn an_error_of_an_older_answer_is_the_group_s() {
        assert_eq!(
            read_one(&OffsetFetchResponse::default().with_error_code(30)),
            Err(ResponseError::GroupAuthorizationFailed)
        );
    }
}
