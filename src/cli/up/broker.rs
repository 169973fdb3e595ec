//! The Kafka of `tidegate up`: the caller's, or the embedded one.

use anyhow::Context as _;
use tidegate_kafka::topics::{self, TopicSpec};

use super::scenario::PARTITIONS;

/// Where records go.
pub(super) enum Broker {
    /// librdkafka's mock cluster in this process.
    #[cfg(feature = "embedded")]
    Embedded(tidegate_kafka::embedded::Embedded),
    /// A Kafka of the caller's.
    Real(String),
}

impl Broker {
    /// Takes the caller's Kafka, or starts the embedded one, and makes sure that the topics are there.
    ///
    /// # Errors
    /// If Kafka is away or refuses the topics.
    pub(super) async fn start(given: Option<&str>, names: &[String]) -> anyhow::Result<Self> {
        let Some(address) = given else { return Self::embedded(names) };
        let spec = |name: &String| TopicSpec { name: name.clone(), partitions: PARTITIONS, replication: 1 };
        let specs: Vec<TopicSpec> = names.iter().map(spec).collect();
        topics::ensure(address, &specs).await.with_context(|| format!("--kafka {address}"))?;
        Ok(Self::Real(address.to_owned()))
    }

    #[cfg(feature = "embedded")]
    fn embedded(names: &[String]) -> anyhow::Result<Self> {
        let specs: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), PARTITIONS)).collect();
        let embedded = tidegate_kafka::embedded::Embedded::start(&specs).context("the embedded Kafka")?;
        Ok(Self::Embedded(embedded))
    }

    #[cfg(not(feature = "embedded"))]
    fn embedded(_: &[String]) -> anyhow::Result<Self> {
        anyhow::bail!("this build has no embedded Kafka: give --kafka HOST:PORT")
    }

    /// Returns its address.
    pub(super) fn bootstrap_servers(&self) -> String {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.bootstrap_servers(),
            Self::Real(address) => address.clone(),
        }
    }

    /// True if it is the embedded one, which keeps nothing.
    pub(super) fn is_embedded(&self) -> bool {
        !matches!(self, Self::Real(_))
    }

    /// Returns the librdkafka settings that consumers of this Kafka need.
    pub(super) fn consumer_overrides(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => tidegate_kafka::embedded::CONSUMER_OVERRIDES,
            Self::Real(_) => &[],
        }
    }

    /// Returns how many records of `group` the embedded Kafka deleted before they were read; blocks.
    ///
    /// # Errors
    /// If it does not answer.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(unused_variables, reason = "only the embedded one is asked")
    )]
    pub(super) fn deleted_unread(&self, group: &str) -> anyhow::Result<u64> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => {
                let deleted = embedded.deleted_unread(group, std::time::Duration::from_secs(5))?;
                Ok(deleted.iter().map(|partition| partition.records).sum())
            }
            // A real Kafka keeps what retention says, which is days.
            Self::Real(_) => Ok(0),
        }
    }
}
