//! What a topic's settings promise a record: how many brokers have it when Kafka acknowledges it, and how long Kafka keeps it.
//!
//! Owns how that is asked and read. Does not know what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::observe::wire::{Connection, Inquiry, Stream, WireError};

/// `ConfigResource.Type.TOPIC` of the protocol.
const TOPIC: i8 = 2;
/// Settings of a topic, or of its brokers for all topics: a broker answers with the one that holds.
const MIN_IN_SYNC: &str = "min.insync.replicas";
const CLEANUP: &str = "cleanup.policy";
const RETENTION: &str = "retention.ms";

/// What Kafka says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its partitions.
    pub partitions: u32,
    /// Replicas of the partition that has the fewest.
    pub replicas: u32,
    /// `min.insync.replicas`: brokers that have a record before `acks=all` is answered; or why that is not known.
    pub min_in_sync: Result<u32, String>,
    /// How old a record may become, by its time, before Kafka deletes it; `None` if for ever, or if that is not known.
    pub retention: Option<Duration>,
}

impl Topic {
    /// Returns true if Kafka acknowledges only what two brokers have. With one, it may be in that broker's page cache only:
    /// Kafka counts on copies, not on fsync.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.replicas >= 2 && self.min_in_sync.as_ref().is_ok_and(|brokers| *brokers >= 2)
    }
}

/// What one topic's settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) min_in_sync: Result<u32, String>,
    pub(super) retention: Option<Duration>,
}

impl Said {
    pub(super) fn nothing(why: &str) -> Self {
        Self { min_in_sync: Err(why.to_owned()), retention: None }
    }
}

/// Asks for the settings of topics that matter here.
#[derive(Clone, Debug)]
pub(super) struct SettingsInquiry {
    pub(super) topics: Vec<String>,
}

impl Inquiry for SettingsInquiry {
    type Answer = BTreeMap<String, Said>;

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

impl SettingsInquiry {
    fn request(&self) -> DescribeConfigsRequest {
        let resource = |name: &String| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(StrBytes::from_string(name.clone()))
                .with_configuration_keys(Some(
                    [MIN_IN_SYNC, CLEANUP, RETENTION].map(StrBytes::from_static_str).into(),
                ))
        };
        DescribeConfigsRequest::default().with_resources(self.topics.iter().map(resource).collect())
    }

    fn all_unknown(&self, why: &str) -> BTreeMap<String, Said> {
        self.topics.iter().map(|name| (name.clone(), Said::nothing(why))).collect()
    }
}

fn read(answer: &DescribeConfigsResponse) -> impl Iterator<Item = (String, Said)> {
    let said = |result| Said { min_in_sync: min_in_sync(result), retention: retention(result) };
    answer.results.iter().map(move |result| (result.resource_name.to_string(), said(result)))
}

fn setting<'a>(result: &'a DescribeConfigsResult, name: &str) -> Option<&'a str> {
    result.configs.iter().find(|config| &*config.name == name)?.value.as_deref()
}

fn min_in_sync(result: &DescribeConfigsResult) -> Result<u32, String> {
    if let Some(error) = ResponseError::try_from_code(result.error_code) {
        return Err(error.to_string());
    }
    let value = setting(result, MIN_IN_SYNC).ok_or("the broker did not say")?;
    value.parse().map_err(|_| format!("{MIN_IN_SYNC} is {value:?}"))
}

/// A topic that is only compacted keeps the last of each key for ever, as does a negative time.
fn retention(result: &DescribeConfigsResult) -> Option<Duration> {
    let deletes = setting(result, CLEANUP)?.split(',').any(|policy| policy.trim() == "delete");
    let millis = setting(result, RETENTION)?.parse().ok()?;
    deletes.then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;

    use super::*;

    fn config(name: &'static str, value: Option<&'static str>) -> DescribeConfigsResourceResult {
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(value.map(StrBytes::from_static_str))
    }

    fn result(topic: &'static str, code: i16, value: Option<&'static str>) -> DescribeConfigsResult {
        let result = DescribeConfigsResult::default().with_resource_name(StrBytes::from_static_str(topic));
        result.with_error_code(code).with_configs(vec![config(MIN_IN_SYNC, value)])
    }

    #[test]
    fn a_time_bounds_what_is_deleted_and_what_is_only_compacted_stays() {
        let retention = |policy, millis| {
            let configs = vec![config(CLEANUP, Some(policy)), config(RETENTION, millis)];
            retention(&DescribeConfigsResult::default().with_configs(configs))
        };
        let week = Some("604800000");
        assert_eq!(retention("delete", week), Some(Duration::from_hours(168)));
        assert_eq!(retention("compact, delete", week), Some(Duration::from_hours(168)));
        for for_ever in [("compact", week), ("delete", Some("-1")), ("delete", None), ("delete", Some("x"))] {
            assert_eq!(retention(for_ever.0, for_ever.1), None, "{for_ever:?}");
        }
    }

    #[test]
    fn a_topic_is_replicated_only_if_both_numbers_are_known_and_two_or_more() {
        let topic = |replicas, min_in_sync| Topic { partitions: 1, replicas, min_in_sync, retention: None };
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
        assert_eq!(found["a"].min_in_sync, Ok(2));
        let refused = &found["b"].min_in_sync;
        assert!(refused.as_ref().is_err_and(|why| why.contains("Authorization")), "{refused:?}");
        assert!(found["c"].min_in_sync.is_err());
        assert!(min_in_sync(&result("d", 0, None)).is_err());
        assert!(min_in_sync(&DescribeConfigsResult::default()).is_err(), "named nothing");
    }

    #[test]
    fn each_topic_is_asked_for_these_settings_only() {
        let request = SettingsInquiry { topics: vec!["t".to_owned()] }.request();
        let resource = &request.resources[0];
        assert_eq!((resource.resource_type, &*resource.resource_name), (TOPIC, "t"));
        let keys = resource.configuration_keys.as_ref().expect("only these");
        assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), [MIN_IN_SYNC, CLEANUP, RETENTION]);
    }
}
