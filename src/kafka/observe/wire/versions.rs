//! Which version of a request a broker and this client both speak.

use std::collections::BTreeMap;

use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::protocol::VersionRange;

use super::api::Request;

/// What a broker said in its `ApiVersions` answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions(BTreeMap<i16, VersionRange>);

impl Versions {
    /// Reads the answer; a request named twice keeps its last range.
    pub(super) fn from_answer(answer: &ApiVersionsResponse) -> Self {
        let range = |api: &kafka_protocol::messages::api_versions_response::ApiVersion| VersionRange {
            min: api.min_version,
            max: api.max_version,
        };
        Self(answer.api_keys.iter().map(|api| (api.api_key, range(api))).collect())
    }

    /// Returns the highest version of `R` that both sides speak; `None` if the broker lacks it.
    pub(super) fn highest<R: Request>(&self) -> Option<i16> {
        let common = self.0.get(&(R::KEY as i16))?.intersect(&R::VERSIONS);
        (!common.is_empty()).then_some(common.max)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{ApiKey, DescribeGroupsRequest, OffsetFetchRequest};
    use kafka_protocol::protocol::Message as _;

    use super::*;

    fn broker(api: ApiKey, min: i16, max: i16) -> Versions {
        let range =
            ApiVersion::default().with_api_key(api as i16).with_min_version(min).with_max_version(max);
        Versions::from_answer(&ApiVersionsResponse::default().with_api_keys(vec![range]))
    }

    #[test]
    fn the_highest_common_version_is_taken() {
        assert_eq!(broker(ApiKey::OffsetFetch, 0, 6).highest::<OffsetFetchRequest>(), Some(6));
        let ours = OffsetFetchRequest::VERSIONS.max;
        assert_eq!(broker(ApiKey::OffsetFetch, 1, ours + 5).highest::<OffsetFetchRequest>(), Some(ours));
    }

    #[test]
    fn a_request_the_broker_does_not_name_or_outgrew_has_no_version() {
        assert_eq!(broker(ApiKey::OffsetFetch, 0, 6).highest::<DescribeGroupsRequest>(), None);
        let ours = OffsetFetchRequest::VERSIONS.max;
        assert_eq!(broker(ApiKey::OffsetFetch, ours + 1, ours + 5).highest::<OffsetFetchRequest>(), None);
    }
}
