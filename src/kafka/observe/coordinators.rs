//! Which broker coordinates which group.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::GROUPS_PER_REQUEST;
use super::wire::{Connection, Inquiry, Stream, WireError};

/// Version from which one request names many groups (KIP-699).
const BATCHED: i16 = 4;

/// Asks for the coordinators of groups; any broker knows them.
#[derive(Clone, Debug)]
pub(super) struct CoordinatorsInquiry {
    pub(super) groups: Vec<String>,
}

/// Broker id of each group's coordinator.
pub(super) type Coordinators = BTreeMap<String, Result<i32, ResponseError>>;

impl Inquiry for CoordinatorsInquiry {
    type Answer = Coordinators;

    async fn ask<S: Stream>(&self, connection: &mut Connection<S>) -> Result<Coordinators, WireError> {
        let version = connection.required::<FindCoordinatorRequest>()?;
        let mut found = Coordinators::new();
        if version >= BATCHED {
            for groups in self.groups.chunks(GROUPS_PER_REQUEST) {
                let keys = groups.iter().map(|group| key(group)).collect();
                let request = FindCoordinatorRequest::default().with_coordinator_keys(keys);
                found.extend(read_many(connection.call(&request, version).await?));
            }
        } else {
            for group in &self.groups {
                let request = FindCoordinatorRequest::default().with_key(key(group));
                found.insert(group.clone(), read_one(&connection.call(&request, version).await?));
            }
        }
        Ok(found)
    }
}

fn key(group: &str) -> StrBytes {
    StrBytes::from_string(group.to_owned())
}

fn read_many(answer: FindCoordinatorResponse) -> Coordinators {
    let broker = |code, id| ResponseError::try_from_code(code).map_or(Ok(id), Err);
    answer
        .coordinators
        .into_iter()
        .map(|found| (found.key.to_string(), broker(found.error_code, found.node_id.0)))
        .collect()
}

fn read_one(answer: &FindCoordinatorResponse) -> Result<i32, ResponseError> {
    ResponseError::try_from_code(answer.error_code).map_or(Ok(answer.node_id.0), Err)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::find_coordinator_response::Coordinator;

    use super::*;

    #[test]
    fn a_batched_answer_names_each_group_with_its_broker_or_error() {
        let found = |group, id, code| {
            let coordinator = Coordinator::default().with_key(key(group));
            coordinator.with_node_id(BrokerId(id)).with_error_code(code)
        };
        let answer =
            FindCoordinatorResponse::default().with_coordinators(vec![found("a", 1, 0), found("b", -1, 15)]);
        let expected = [("a", Ok(1)), ("b", Err(ResponseError::CoordinatorNotAvailable))];
        assert_eq!(read_many(answer), expected.map(|(group, id)| (group.to_owned(), id)).into());
    }

    #[test]
    fn an_older_answer_is_about_the_one_group_asked_for() {
        let answer = FindCoordinatorResponse::default().with_node_id(BrokerId(3));
        assert_eq!(read_one(&answer), Ok(3));
        assert_eq!(read_one(&answer.with_error_code(30)), Err(ResponseError::GroupAuthorizationFailed));
    }
}
