//! Members of groups and what is assigned to them, from their coordinator.
//!
//! A group speaks the classic protocol or KIP-848's, and may change over; each is described by a request of its own
//! which does not see the other kind. So all groups are asked for as KIP-848 ones, and those the broker does not
//! know as such, as classic ones: nothing is remembered that could be out of date.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, GroupId, consumer_group_describe_response,
    describe_groups_response,
};
use kafka_protocol::protocol::StrBytes;

use super::model::{GroupMembers, GroupProtocol, GroupState, Member, Membership};
use super::wire::{Connection, Inquiry, Stream, WireError};
use super::{GROUPS_PER_REQUEST, Partitions, partition_number};

/// Protocol type of consumers among classic groups; others (Kafka Connect) assign what is not partitions.
const CONSUMERS: &str = "consumer";

/// Asks one coordinator to describe its groups.
#[derive(Clone, Debug, Default)]
pub(super) struct MembersInquiry {
    pub(super) groups: Vec<String>,
}

/// Membership by group; [`Membership::Unknown`] where the broker cannot describe groups.
pub(super) type Memberships = BTreeMap<String, Result<Membership, ResponseError>>;

impl Inquiry for MembersInquiry {
    type Answer = Memberships;

    async fn ask<S: Stream>(&self, connection: &mut Connection<S>) -> Result<Memberships, WireError> {
        let mut memberships = Memberships::new();
        for groups in self.groups.chunks(GROUPS_PER_REQUEST) {
            let mut classic: Vec<GroupId> = groups.iter().map(|group| group_id(group)).collect();
            if let Some(version) = connection.version::<ConsumerGroupDescribeRequest>() {
                let request =
                    ConsumerGroupDescribeRequest::default().with_group_ids(std::mem::take(&mut classic));
                for group in connection.call(&request, version).await?.groups {
                    let membership = match ResponseError::try_from_code(group.error_code) {
                        None => Ok(read_consumer(&group)),
                        Some(error) if is_not_of_this_kind(error) => {
                            classic.push(group.group_id);
                            continue;
                        }
                        Some(error) => Err(error),
                    };
                    memberships.insert(group.group_id.to_string(), membership);
                }
            }
            let Some(version) = connection.version::<DescribeGroupsRequest>() else {
                memberships
                    .extend(classic.into_iter().map(|group| (group.to_string(), Ok(Membership::Unknown))));
                continue;
            };
            if classic.is_empty() {
                continue;
            }
            let request = DescribeGroupsRequest::default().with_groups(classic);
            for group in connection.call(&request, version).await?.groups {
                memberships.insert(group.group_id.to_string(), read_classic(group));
            }
        }
        Ok(memberships)
    }
}

fn group_id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}

/// True if a coordinator says that a group is not a KIP-848 one, or that it does not do KIP-848 at all.
const fn is_not_of_this_kind(error: ResponseError) -> bool {
    matches!(error, ResponseError::GroupIdNotFound | ResponseError::UnsupportedVersion)
}

fn read_consumer(group: &consumer_group_describe_response::DescribedGroup) -> Membership {
    let Some(state) = GroupState::parse(&group.group_state) else { return Membership::Unknown };
    let partitions = |member: &consumer_group_describe_response::Member| -> Partitions {
        let of = member.assignment.topic_partitions.iter();
        of.map(|topic| (topic.topic_name.to_string(), partition_numbers(&topic.partitions))).collect()
    };
    let members = group.members.iter().map(|member| Member {
        id: member.member_id.to_string(),
        client_id: member.client_id.to_string(),
        partitions: partitions(member),
    });
    let assignor = group.assignor_name.to_string();
    Membership::Known(GroupMembers {
        state,
        protocol: GroupProtocol::Consumer,
        assignor,
        members: members.collect(),
    })
}

fn read_classic(group: describe_groups_response::DescribedGroup) -> Result<Membership, ResponseError> {
    let protocol = GroupProtocol::Classic;
    match ResponseError::try_from_code(group.error_code) {
        // From version 6 on, what older ones call the state Dead.
        Some(ResponseError::GroupIdNotFound) => {
            let state = GroupState::Dead;
            return Ok(Membership::Known(GroupMembers {
                state,
                protocol,
                assignor: String::new(),
                members: Vec::new(),
            }));
        }
        Some(error) => return Err(error),
        None => {}
    }
    let Some(state) = GroupState::parse(&group.group_state) else { return Ok(Membership::Unknown) };
    let assigns_partitions = group.protocol_type == *CONSUMERS;
    let mut members = Vec::with_capacity(group.members.len());
    for member in group.members {
        let partitions =
            if assigns_partitions { read_assignment(member.member_assignment)? } else { Partitions::new() };
        members.push(Member {
            id: member.member_id.to_string(),
            client_id: member.client_id.to_string(),
            partitions,
        });
    }
    Ok(Membership::Known(GroupMembers {
        state,
        protocol,
        assignor: group.protocol_data.to_string(),
        members,
    }))
}

/// Reads the assignment that a classic group's leader gave a member: a version, then the partitions. Versions above
/// ours only append fields. No bytes mean no assignment yet.
///
/// Read by hand: these bytes are any client's, the coordinator passes them on unread, and the crate's decoder reserves
/// whatever count they name.
fn read_assignment(mut assignment: Bytes) -> Result<Partitions, ResponseError> {
    if assignment.is_empty() {
        return Ok(Partitions::new());
    }
    read_topics(&mut assignment).map_err(|_| ResponseError::CorruptMessage)
}

fn read_topics(from: &mut Bytes) -> Result<Partitions, TryGetError> {
    from.try_get_i16()?;
    let mut topics = Partitions::new();
    for _ in 0..from.try_get_i32()?.max(0) {
        let mut name = vec![0; from.try_get_u16()?.into()];
        from.try_copy_to_slice(&mut name)?;
        let count = from.try_get_i32()?.max(0);
        let indexes = (0..count).map(|_| from.try_get_i32()).collect::<Result<Vec<_>, _>>()?;
        topics.insert(String::from_utf8_lossy(&name).into_owned(), partition_numbers(&indexes));
    }
    Ok(topics)
}

fn partition_numbers(indexes: &[i32]) -> Vec<u32> {
    let mut numbers: Vec<u32> = indexes.iter().copied().filter_map(partition_number).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::consumer_group_describe_response::{Assignment, TopicPartitions};
    use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};

    use super::super::metadata::topic_name;
    use super::*;

    /// Version 1, one topic `t` with partitions 2 and 0, no user data.
    const ASSIGNMENT: &[u8] =
        &[0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    fn classic(state: &'static str, kind: &'static str, assignment: &'static [u8]) -> DescribedGroup {
        let member = DescribedGroupMember::default()
            .with_member_id(text("m-1"))
            .with_client_id(text("m"))
            .with_member_assignment(Bytes::from_static(assignment));
        DescribedGroup::default()
            .with_group_state(text(state))
            .with_protocol_type(text(kind))
            .with_protocol_data(text("range"))
            .with_members(vec![member])
    }

    fn known(membership: Result<Membership, ResponseError>) -> GroupMembers {
        match membership {
            Ok(Membership::Known(members)) => members,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_classic_member_has_the_partitions_of_its_assignment() {
        let group = known(read_classic(classic("Stable", "consumer", ASSIGNMENT)));
        assert_eq!(
            (group.state, group.protocol, group.assignor.as_str()),
            (GroupState::Stable, GroupProtocol::Classic, "range")
        );
        assert_eq!(group.members[0].partitions, [("t".to_owned(), vec![0, 2])].into());
        assert_eq!(group.members[0].partition_count(), 2);
    }

    #[test]
    fn a_member_without_an_assignment_yet_has_no_partitions() {
        let group = known(read_classic(classic("CompletingRebalance", "consumer", &[])));
        assert_eq!(group.members[0].partition_count(), 0);
    }

    #[test]
    fn counts_that_no_assignment_has_are_an_error_before_memory_is_reserved() {
        const TOPICS: &[u8] = &[0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 1, b't', 0, 0, 0, 0];
        const PARTITIONS: &[u8] = &[0, 1, 0, 0, 0, 1, 0, 1, b't', 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 2];
        for hostile in [TOPICS, PARTITIONS] {
            let read = read_classic(classic("Stable", "consumer", hostile));
            assert_eq!(read, Err(ResponseError::CorruptMessage));
        }
    }

    #[test]
    fn an_assignment_cut_short_is_an_error_not_fewer_partitions() {
        // The last four bytes are user data, which is not looked at.
        for cut in 1..ASSIGNMENT.len() - 4 {
            let read = read_assignment(Bytes::from_static(&ASSIGNMENT[..cut]));
            assert_eq!(read, Err(ResponseError::CorruptMessage), "cut at {cut}");
        }
    }

    #[test]
    fn the_members_of_other_protocols_are_counted_without_partitions() {
        let group = known(read_classic(classic("Stable", "connect", b"no assignment of partitions")));
        assert_eq!((group.members.len(), group.members[0].partition_count()), (1, 0));
    }

    #[test]
    fn a_group_that_does_not_exist_is_dead_and_an_unknown_state_is_unknown() {
        let group = known(read_classic(DescribedGroup::default().with_error_code(69)));
        assert_eq!((group.state, group.members.len()), (GroupState::Dead, 0));
        assert_eq!(read_classic(classic("Dreaming", "consumer", ASSIGNMENT)), Ok(Membership::Unknown));
    }

    #[test]
    fn a_kip_848_member_has_the_partitions_it_confirmed_not_its_target() {
        let assignment = |partitions| {
            let topic =
                TopicPartitions::default().with_topic_name(topic_name("t")).with_partitions(partitions);
            Assignment::default().with_topic_partitions(vec![topic])
        };
        let member = consumer_group_describe_response::Member::default()
            .with_assignment(assignment(vec![1]))
            .with_target_assignment(assignment(vec![1, 2]));
        let group = consumer_group_describe_response::DescribedGroup::default()
            .with_group_state(text("Reconciling"))
            .with_assignor_name(text("uniform"))
            .with_members(vec![member]);
        let group = known(Ok(read_consumer(&group)));
        assert_eq!((group.state, group.protocol), (GroupState::Reconciling, GroupProtocol::Consumer));
        assert_eq!(group.members[0].partitions["t"], [1]);
    }
}
