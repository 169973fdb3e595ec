//! The requests that this client speaks.

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse, CreateTopicsRequest, CreateTopicsResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message};

/// A request as a client needs it. (The crate's own `Request` also wants what only a broker does.)
pub(crate) trait Request: Message + Encodable + HeaderVersion + Sync {
    /// What answers it.
    type Response: Decodable + HeaderVersion + Send;
    /// Its number on the wire.
    const KEY: ApiKey;
    /// Its name, for errors.
    const NAME: &'static str;
}

macro_rules! requests {
    ($($name:ident $request:ty => $response:ty,)*) => {
        $(impl Request for $request {
            type Response = $response;
            const KEY: ApiKey = ApiKey::$name;
            const NAME: &'static str = stringify!($name);
        })*
    };
}

requests! {
    ApiVersions ApiVersionsRequest => ApiVersionsResponse,
    Metadata MetadataRequest => MetadataResponse,
    FindCoordinator FindCoordinatorRequest => FindCoordinatorResponse,
    OffsetFetch OffsetFetchRequest => OffsetFetchResponse,
    ListOffsets ListOffsetsRequest => ListOffsetsResponse,
    ConsumerGroupDescribe ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse,
    DescribeGroups DescribeGroupsRequest => DescribeGroupsResponse,
    DescribeConfigs DescribeConfigsRequest => DescribeConfigsResponse,
    CreateTopics CreateTopicsRequest => CreateTopicsResponse,
}
