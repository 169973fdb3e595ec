//! Brokers of the cluster, and the leader of every partition of the wanted topics.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::partition_number;
use super::wire::{Connection, Inquiry, Stream, WireError};

/// Version from which a request can forbid Kafka to create the topics it names.
const FORBIDS_CREATION: i16 = 4;

/// The cluster as one broker sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cluster {
    /// `host:port` by broker id.
    pub(crate) brokers: BTreeMap<i32, String>,
    /// Address of the controller: where topics are created.
    pub(crate) controller: Option<String>,
    /// The topics asked for.
    pub(crate) topics: BTreeMap<String, Result<Leaders, ResponseError>>,
    /// Replicas of the partition that has the fewest, of each topic that has partitions; those that are away count.
    pub(crate) replicas: BTreeMap<String, u32>,
}

/// Leader of each partition, as an address.
pub(crate) type Leaders = BTreeMap<u32, Result<String, ResponseError>>;

/// Asks for topics by name.
#[derive(Clone, Debug)]
pub(crate) struct MetadataInquiry {
    pub(crate) topics: Vec<String>,
    /// Let the broker create what it does not know, if it is set up to.
    pub(crate) may_create: bool,
}

impl Inquiry for MetadataInquiry {
    type Answer = Cluster;

    async fn ask<S: Stream>(&self, connection: &mut Connection<S>) -> Result<Cluster, WireError> {
        let version = connection.required::<MetadataRequest>()?;
        connection.call(&self.request(version), version).await.map(Cluster::from)
    }
}

impl MetadataInquiry {
    fn request(&self, version: i16) -> MetadataRequest {
        let topic = |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default().with_topics(Some(self.topics.iter().map(topic).collect()));
        let may_create = self.may_create || version < FORBIDS_CREATION;
        request.with_allow_auto_topic_creation(may_create)
    }
}

impl From<MetadataResponse> for Cluster {
    fn from(answer: MetadataResponse) -> Self {
        // An IPv6 address has colons of its own.
        let address = |host: &str, port: i32| {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        let brokers: BTreeMap<i32, String> = answer
            .brokers
            .iter()
            .map(|broker| (broker.node_id.0, address(&broker.host, broker.port)))
            .collect();
        let controller = brokers.get(&answer.controller_id.0).cloned();
        let leader = |partition: &MetadataResponsePartition| {
            let number = partition_number(partition.partition_index)?;
            // A partition may have a leader and still carry an error (a replica is away); the leader is what counts.
            let leader =
                brokers.get(&partition.leader_id.0).cloned().ok_or(ResponseError::LeaderNotAvailable);
            Some((number, leader))
        };
        let leaders = |topic: &MetadataResponseTopic| match ResponseError::try_from_code(topic.error_code) {
            Some(error) => Err(error),
            None => Ok(topic.partitions.iter().filter_map(leader).collect()),
        };
        let named = |topic: &MetadataResponseTopic| Some((topic.name.as_ref()?.to_string(), leaders(topic)));
        let topics = answer.topics.iter().filter_map(named).collect();
        let fewest = |topic: &MetadataResponseTopic| {
            let of_partitions = topic.partitions.iter().map(|partition| partition.replica_nodes.len());
            let fewest = of_partitions.min().and_then(|count| u32::try_from(count).ok())?;
            Some((topic.name.as_ref()?.to_string(), fewest))
        };
        let replicas = answer.topics.iter().filter_map(fewest).collect();
        Self { brokers, controller, topics, replicas }
    }
}

/// Returns `name` in the protocol's type.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;

    use super::*;

    fn broker(id: i32, host: &'static str) -> MetadataResponseBroker {
        let host = StrBytes::from_static_str(host);
        MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_host(host).with_port(9092)
    }

    fn partition(index: i32, leader: i32, error: i16) -> MetadataResponsePartition {
        let partition = MetadataResponsePartition::default().with_partition_index(index);
        partition.with_leader_id(BrokerId(leader)).with_error_code(error)
    }

    #[test]
    fn leaders_are_addresses_and_a_missing_one_is_an_error() {
        let partitions =
            vec![partition(0, 1, 0), partition(1, -1, 5), partition(2, 2, 9), partition(3, 7, 0)];
        let topic =
            MetadataResponseTopic::default().with_name(Some(topic_name("t"))).with_partitions(partitions);
        let answer = MetadataResponse::default()
            .with_brokers(vec![broker(1, "a"), broker(2, "::1")])
            .with_controller_id(BrokerId(2))
            .with_topics(vec![topic]);
        let cluster = Cluster::from(answer);
        assert_eq!(cluster.controller.as_deref(), Some("[::1]:9092"));
        let none = Err(ResponseError::LeaderNotAvailable);
        let leaders = [Ok("a:9092".to_owned()), none.clone(), Ok("[::1]:9092".to_owned()), none];
        assert_eq!(cluster.topics["t"], Ok((0..).zip(leaders).collect()));
    }

    #[test]
    fn a_topic_has_as_many_replicas_as_its_poorest_partition() {
        let on = |brokers: &[i32]| {
            partition(0, 1, 0).with_replica_nodes(brokers.iter().map(|id| BrokerId(*id)).collect())
        };
        let topic = |name, partitions| {
            MetadataResponseTopic::default().with_name(Some(topic_name(name))).with_partitions(partitions)
        };
        let topics = vec![topic("t", vec![on(&[1, 2, 3]), on(&[2, 3])]), topic("u", vec![])];
        let cluster = Cluster::from(MetadataResponse::default().with_topics(topics));
        assert_eq!(cluster.replicas, [("t".to_owned(), 2)].into());
    }

    #[test]
    fn a_topic_that_kafka_refuses_keeps_its_error() {
        let topic = MetadataResponseTopic::default().with_name(Some(topic_name("t"))).with_error_code(3);
        let cluster = Cluster::from(MetadataResponse::default().with_topics(vec![topic]));
        assert_eq!(cluster.topics["t"], Err(ResponseError::UnknownTopicOrPartition));
    }

    #[test]
    fn topics_are_not_created_by_asking_for_them() {
        let inquiry = MetadataInquiry { topics: vec!["t".to_owned()], may_create: false };
        assert!(!inquiry.request(FORBIDS_CREATION).allow_auto_topic_creation);
    }
}
