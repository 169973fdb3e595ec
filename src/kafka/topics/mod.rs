//! Topics: made if they are missing, and described: how many partitions, how many brokers have each record, and how long it
//! is kept.
//!
//! Sets nothing of a topic beyond partitions and replication: an existing topic is taken as it is, with the count it
//! has, since partitions only grow and growing moves keys.

mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::protocol::StrBytes;
use tidegate_core::time::Timestamp;

use crate::observe::metadata::{Cluster, MetadataInquiry, topic_name};
use crate::observe::wire::{Connection, Dialing, Inquiry, Links, Stream, WireError, bootstrap_addresses};

pub use settings::Topic;
use settings::{Said, SettingsInquiry};

/// `client.id` that brokers see.
const CLIENT_ID: &str = "tidegate-topics";
/// Time for a connection and for each answer: creating hundreds of partitions takes a broker seconds.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between looks at topics that brokers do not show yet, and how many: six seconds, a leader election.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LOOKS: usize = 30;

/// A topic that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Partitions, if it has to be made.
    pub partitions: u32,
    /// Replicas of each partition, if it has to be made.
    pub replication: u16,
}

/// Why topics are not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bootstrap list names no broker.
    #[error("no bootstrap server is named")]
    NoBootstrapServer,
    /// No broker answers: the network, or whoever runs Kafka.
    #[error("no broker answers: {tried}")]
    Unreachable {
        /// Each address tried, with its error.
        tried: String,
    },
    /// The topic does not exist.
    #[error("topic {topic} does not exist")]
    Missing {
        /// Its name.
        topic: String,
    },
    /// Kafka refused to make or to describe the topic.
    #[error("kafka refused topic {topic}: {reason}")]
    Refused {
        /// Its name.
        topic: String,
        /// Kafka's error, with its message if it sent one.
        reason: String,
    },
    /// A partition of the topic has no leader although it had time to elect one.
    #[error("topic {topic} has a partition without a leader")]
    NoLeader {
        /// Its name.
        topic: String,
    },
}

impl Error {
    /// True if asking again later may help without anybody changing a setting.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NoLeader { .. })
    }
}

/// Makes the topics of `specs` that are missing and returns the partition count of each, which of an existing topic may
/// differ from its spec. Returns only once every partition has a leader. Of several specs of one name the first counts.
///
/// A broker without `CreateTopics` (the embedded one) is asked to create a topic by naming it, with its own partition
/// count.
///
/// # Errors
/// See [`Error`]; some topics may have been made.
pub async fn ensure(bootstrap_servers: &str, specs: &[TopicSpec]) -> Result<BTreeMap<String, u32>, Error> {
    let mut kafka = Kafka::new(bootstrap_servers)?;
    let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    let cluster = kafka.describe(&names, false).await?;
    let missing = missing(specs, &cluster);
    if !missing.is_empty() {
        kafka.create(&cluster, missing).await?;
    }
    for _ in 1..LOOKS {
        match counts(&names, &kafka.describe(&names, false).await?) {
            Err(Error::Missing { .. } | Error::NoLeader { .. }) => tokio::time::sleep(LOOK_AGAIN).await,
            settled => return settled,
        }
    }
    counts(&names, &kafka.describe(&names, false).await?)
}

/// Returns what Kafka says of each of `topics`. A broker that refuses to describe settings, or does not know how, still
/// counts partitions and replicas.
///
/// # Errors
/// See [`Error`]; a topic that does not exist is one, and none is created.
pub async fn describe(bootstrap_servers: &str, topics: &[&str]) -> Result<BTreeMap<String, Topic>, Error> {
    let names: Vec<String> = topics.iter().map(|name| (*name).to_owned()).collect();
    let mut kafka = Kafka::new(bootstrap_servers)?;
    let cluster = kafka.describe(&names, false).await?;
    let counts: BTreeMap<String, u32> =
        names.iter().map(|name| Ok((name.clone(), count(name, &cluster)?))).collect::<Result<_, Error>>()?;
    let bootstrap = kafka.bootstrap.clone();
    let mut found = kafka.ask(&bootstrap, &SettingsInquiry { topics: names }).await?;
    let topic = |(name, partitions): (String, u32)| {
        let replicas = cluster.replicas.get(&name).copied().unwrap_or_default();
        let said = found.remove(&name).unwrap_or_else(|| Said::nothing("nobody was asked"));
        let Said { min_in_sync, retention } = said;
        (name, Topic { partitions, replicas, min_in_sync, retention })
    };
    Ok(counts.into_iter().map(topic).collect())
}

const UNKNOWN: ResponseError = ResponseError::UnknownTopicOrPartition;

/// Specs of topics that Kafka does not have, each name once: Kafka refuses a request that names a topic twice.
fn missing(specs: &[TopicSpec], cluster: &Cluster) -> Vec<TopicSpec> {
    let mut missing: Vec<TopicSpec> = Vec::new();
    for spec in specs {
        let unknown = cluster.topics.get(&spec.name).is_none_or(|topic| *topic == Err(UNKNOWN));
        if unknown && missing.iter().all(|listed| listed.name != spec.name) {
            missing.push(spec.clone());
        }
    }
    missing
}

/// Counts of `names` if all exist and have their leaders.
fn counts(names: &[String], cluster: &Cluster) -> Result<BTreeMap<String, u32>, Error> {
    let mut counts = BTreeMap::new();
    for name in names {
        counts.insert(name.clone(), count(name, cluster)?);
        if let Some(Ok(leaders)) = cluster.topics.get(name)
            && leaders.values().any(Result::is_err)
        {
            return Err(Error::NoLeader { topic: name.clone() });
        }
    }
    Ok(counts)
}

fn count(name: &str, cluster: &Cluster) -> Result<u32, Error> {
    let topic = name.to_owned();
    match cluster.topics.get(name) {
        Some(Ok(leaders)) => Ok(u32::try_from(leaders.len()).expect("kafka counts partitions in an i32")),
        Some(Err(ResponseError::LeaderNotAvailable)) => Err(Error::NoLeader { topic }),
        Some(Err(error)) if *error != UNKNOWN => Err(Error::Refused { topic, reason: error.to_string() }),
        Some(Err(_)) | None => Err(Error::Missing { topic }),
    }
}

/// Short-lived connections to a cluster.
struct Kafka {
    bootstrap: Vec<String>,
    links: Links,
}

impl Kafka {
    fn new(bootstrap_servers: &str) -> Result<Self, Error> {
        let bootstrap = bootstrap_addresses(bootstrap_servers);
        if bootstrap.is_empty() {
            return Err(Error::NoBootstrapServer);
        }
        // Used once and dropped, so no reconnection is ever spread: the seed does not matter.
        let dialing = Dialing { client_id: StrBytes::from_static_str(CLIENT_ID), timeout: TIMEOUT, seed: 0 };
        Ok(Self { bootstrap, links: Links::new(dialing) })
    }

    async fn ask<I: Inquiry + Clone>(
        &mut self,
        addresses: &[String],
        inquiry: &I,
    ) -> Result<I::Answer, Error> {
        // Backoff is for those who come back every tick; here each failure is the caller's to see.
        let asked = self.links.ask_first(addresses, inquiry, Timestamp::ZERO).await;
        asked.map(|(_, answer)| answer).map_err(|errors| {
            let tried: Vec<_> = errors.iter().map(|(address, error)| format!("{address}: {error}")).collect();
            Error::Unreachable { tried: tried.join("; ") }
        })
    }

    async fn describe(&mut self, names: &[String], may_create: bool) -> Result<Cluster, Error> {
        let bootstrap = self.bootstrap.clone();
        self.ask(&bootstrap, &MetadataInquiry { topics: names.to_vec(), may_create }).await
    }

    async fn create(&mut self, cluster: &Cluster, specs: Vec<TopicSpec>) -> Result<(), Error> {
        let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let controller =
            cluster.controller.clone().map_or_else(|| self.bootstrap.clone(), |address| vec![address]);
        match self.ask(&controller, &CreateInquiry { specs }).await? {
            Created::Answered(results) => results
                .into_iter()
                .try_for_each(|(topic, result)| result.map_err(|reason| Error::Refused { topic, reason })),
            Created::CannotCreate => self.describe(&names, true).await.map(drop),
        }
    }
}

/// Asks a broker to make topics; it forwards to the controller if it is none itself.
#[derive(Clone, Debug)]
struct CreateInquiry {
    specs: Vec<TopicSpec>,
}

enum Created {
    /// The broker has no `CreateTopics`.
    CannotCreate,
    /// Per topic, done or why not.
    Answered(Vec<(String, Result<(), String>)>),
}

impl Inquiry for CreateInquiry {
    type Answer = Created;

    async fn ask<S: Stream>(&self, connection: &mut Connection<S>) -> Result<Created, WireError> {
        let Some(version) = connection.version::<CreateTopicsRequest>() else {
            return Ok(Created::CannotCreate);
        };
        let timeout_ms = i32::try_from(connection.timeout().as_millis()).unwrap_or(i32::MAX);
        let request = CreateTopicsRequest::default()
            .with_topics(self.specs.iter().map(creatable).collect())
            .with_timeout_ms(timeout_ms);
        let answer = connection.call(&request, version).await?;
        let topics = answer.topics.into_iter();
        Ok(Created::Answered(
            topics.map(|t| (t.name.to_string(), created(t.error_code, t.error_message))).collect(),
        ))
    }
}

/// Reads whether a topic was made.
fn created(code: i16, message: Option<StrBytes>) -> Result<(), String> {
    match ResponseError::try_from_code(code) {
        // Somebody else made it meanwhile, or the controller goes on making it: the caller looks whether it is there.
        None | Some(ResponseError::TopicAlreadyExists | ResponseError::RequestTimedOut) => Ok(()),
        Some(error) => Err(message.map_or_else(|| error.to_string(), |text| format!("{error}: {text}"))),
    }
}

/// Numbers above what Kafka counts with are passed as its largest, which it refuses with a reason.
fn creatable(spec: &TopicSpec) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(&spec.name))
        .with_num_partitions(i32::try_from(spec.partitions).unwrap_or(i32::MAX))
        .with_replication_factor(i16::try_from(spec.replication).unwrap_or(i16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(topic: Result<&[Result<String, ResponseError>], ResponseError>) -> Cluster {
        let leaders = topic.map(|leaders| (0..).zip(leaders.iter().cloned()).collect());
        Cluster { topics: [("t".to_owned(), leaders)].into(), ..Cluster::default() }
    }

    #[test]
    fn a_topic_counts_once_every_partition_has_a_leader() {
        let names = ["t".to_owned()];
        let up = Ok("a:1".to_owned());
        let down = Err(ResponseError::LeaderNotAvailable);
        let both = counts(&names, &cluster(Ok(&[up.clone(), up.clone()]))).expect("both have leaders");
        assert_eq!(both["t"], 2);
        let one = counts(&names, &cluster(Ok(&[up, down])));
        assert!(matches!(one, Err(Error::NoLeader { .. })), "{one:?}");
    }

    #[test]
    fn a_topic_made_by_somebody_else_or_still_being_made_is_looked_for_and_not_refused() {
        assert_eq!((created(0, None), created(36, None), created(7, None)), (Ok(()), Ok(()), Ok(())));
        let refused = created(37, Some(StrBytes::from_static_str("too many"))).unwrap_err();
        assert!(refused.ends_with(": too many"), "{refused}");
    }

    #[test]
    fn a_missing_topic_named_twice_is_made_once() {
        let spec = |name: &str, partitions| TopicSpec { name: name.to_owned(), partitions, replication: 1 };
        let specs = [spec("u", 3), spec("t", 1), spec("u", 4)];
        assert_eq!(missing(&specs, &cluster(Ok(&[Ok("a:1".to_owned())]))), [spec("u", 3)]);
    }

    #[test]
    fn a_missing_topic_a_refused_one_and_an_election_are_three_things() {
        let of = |error| count("t", &cluster(Err(error))).expect_err("no topic");
        assert!(matches!(of(UNKNOWN), Error::Missing { .. }));
        assert!(matches!(of(ResponseError::TopicAuthorizationFailed), Error::Refused { .. }));
        assert!(of(ResponseError::LeaderNotAvailable).is_transient());
    }

    #[tokio::test]
    async fn an_empty_bootstrap_list_and_a_closed_port_are_errors() {
        assert!(matches!(describe(" ", &["t"]).await, Err(Error::NoBootstrapServer)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        assert!(matches!(describe(&address, &["t"]).await, Err(Error::Unreachable { .. })));
    }
}
