//! How many brokers have a record when Kafka acknowledges it.
//!
//! Owns the two numbers that decide it. Does not know what follows from them.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::observe::wire::{Connection, Inquiry, Stream, WireError};

/// `ConfigResource.Type.TOPIC` of the protocol.
const TOPIC: i8 = 2;
/// The setting of a topic, or of its brokers for all topics: a broker answers with the one that holds.
const MIN_IN_SYNC: &str = "min.insync.replicas";

/// What Kafka says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its partitions.
    pub partitions: u32,
    /// Replicas of the partition that has the fewest.
    pub replicas: u32,
    /// `min.insync.replicas`: brokers that have a record before `acks=all` is answered; or why that is not known.
    pub min_in_sync: Result<u32, String>,
}

impl Topic {
    /// Returns true if Kafka acknowledges only what two brokers have. With one, it may be in that broker's page cache only:
    /// Kafka counts on copies, not on fsync.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.replicas >= 2 && self.min_in_sync.as_ref().is_ok_and(|brokers| *brokers >= 2)
    }
}

/// Asks for `min.insync.replicas` of topics.
#[derive(Clone, Debug)]
pub(super) struct MinInSyncInquiry {
    pub(super) topics: Vec<String>,
}

impl Inquiry for MinInSyncInquiry {
    type Answer = BTreeMap<String, Result<u32, String>>;

    async fn ask<S: Stream>(&self, connection: &mut Connection<S>) -> Result<Self::Answer, WireError> {
        let Some(version) = connection.version::<DescribeConfigsRequest>() else {
            return Ok(self.all_unknown("the broker does not know DescribeConfigs"));
        };
        let answer = connection.call(&self.request(), version).await?;
        let mut found = self.all_unknown("the broker did not say");
        found.extend(read(&answer));
        Ok(found)
    }
}

impl MinInSyncInquiry {
    fn request(&self) -> DescribeConfigsRequest {
        let resource = |name: &String| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(StrBytes::from_string(name.clone()))
                .with_configuration_keys(Some(vec![StrBytes::from_static_str(MIN_IN_SYNC)]))
        };
        DescribeConfigsRequest::default().with_resources(self.topics.iter().map(resource).collect())
    }

    fn all_unknown(&self, why: &str) -> BTreeMap<String, Result<u32, String>> {
        self.topics.iter().map(|name| (name.clone(), Err(why.to_owned()))).collect()
    }
}

fn read(answer: &DescribeConfigsResponse) -> impl Iterator<Item = (String, Result<u32, String>)> {
    answer.results.iter().map(|result| (result.resource_name.to_string(), min_in_sync(result)))
}

fn min_in_sync(result: &DescribeConfigsResult) -> Result<u32, String> {
    if let Some(error) = ResponseError::try_from_code(result.error_code) {
        return Err(error.to_string());
    }
    let value = result.configs.iter().find(|config| &*config.name == MIN_IN_SYNC);
    let value = value.and_then(|config| config.value.as_ref()).ok_or("the broker did not say")?;
    value.parse().map_err(|_| format!("{MIN_IN_SYNC} is {value:?}"))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;

    use super::*;

    fn result(topic: &'static str, code: i16, value: Option<&'static str>) -> DescribeConfigsResult {
        let config = DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(MIN_IN_SYNC))
            .with_value(value.map(StrBytes::from_static_str));
        let result = DescribeConfigsResult::default().with_resource_name(StrBytes::from_static_str(topic));
        result.with_error_code(code).with_configs(vec![config])
    }

    #[test]
    fn a_topic_is_replicated_only_if_both_numbers_are_known_and_two_or_more() {
        let topic = |replicas, min_in_sync| Topic { partitions: 1, replicas, min_in_sync };
        assert!(topic(2, Ok(2)).is_replicated());
        assert!(topic(3, Ok(2)).is_replicated());
        for single in [topic(1, Ok(2)), topic(3, Ok(1)), topic(0, Ok(0)), topic(3, Err(String::new()))] {
            assert!(!single.is_replicated(), "{single:?}");
        }
    }

    #[test]
    fn a_refusal_and_a_value_that_is_no_number_are_reasons_not_values() {
        // TOPIC_AUTHORIZATION_FAILED
        let unauthorized = 29;
        let results =
            vec![result("a", 0, Some("2")), result("b", unauthorized, None), result("c", 0, Some("two"))];
        let found: BTreeMap<_, _> = read(&DescribeConfigsResponse::default().with_results(results)).collect();
        assert_eq!(found["a"], Ok(2));
        assert!(found["b"].as_ref().is_err_and(|why| why.contains("Authorization")), "{:?}", found["b"]);
        assert!(found["c"].is_err());
        assert!(min_in_sync(&result("d", 0, None)).is_err());
        assert!(min_in_sync(&DescribeConfigsResult::default()).is_err(), "named nothing");
    }

    #[test]
    fn each_topic_is_asked_for_the_one_setting() {
        let request = MinInSyncInquiry { topics: vec!["t".to_owned()] }.request();
        let resource = &request.resources[0];
        assert_eq!((resource.resource_type, &*resource.resource_name), (TOPIC, "t"));
        let keys = resource.configuration_keys.as_ref().expect("only this one");
        assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), [MIN_IN_SYNC]);
    }
}
