//! What Kafka says about the group, in the words of `core::scaling`.
//!
//! [`Observe`] stands in front of `tidegate_kafka::observe` so that the loop can be driven by a script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_core::scaling::{Assignor, Group, Member, Membership, PartitionId, PartitionOffsets};
use tidegate_core::time::Timestamp;
use tidegate_kafka::observe as kafka;

use crate::config::Settings;
use crate::error::Error;

/// Name under which Kafka's logs and quotas see the controller.
const CLIENT_ID: &str = "tidegate-controller";

/// The group at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Offsets of all partitions, with unknown ends for those that Kafka did not tell of.
    pub partitions: Vec<PartitionOffsets>,
    /// Its members.
    pub membership: Membership,
    /// Why something is missing.
    pub problems: Vec<String>,
}

/// Looks at one consumer group.
pub trait Observe: Send + 'static {
    /// Returns what can be learned now, or why nothing can. May be cancelled.
    fn observe(&mut self, now: Timestamp) -> impl Future<Output = Result<Seen, String>> + Send;
}

/// A consumer group on Kafka.
#[derive(Debug)]
pub struct KafkaGroup {
    observer: kafka::Observer,
    wanted: [kafka::GroupTopics; 1],
    known: Known,
}

/// Partitions per topic as Kafka last told them. A topic that is missing from an answer is not gone: its partitions are
/// unknown, or else what the others need would look like all that is needed. Bounded by the topics of the settings.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, BTreeSet<u32>>);

impl Known {
    /// Adds to `seen` what is missing of `topics`; one never seen counts as one partition.
    fn complete(&mut self, seen: &mut Seen, topics: &[String]) {
        let mut told: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for partition in &seen.partitions {
            told.entry(&partition.id.topic).or_default().insert(partition.id.partition);
        }
        let mut missing = Vec::new();
        for topic in topics.iter().collect::<BTreeSet<_>>() {
            if let Some(partitions) = told.remove(topic.as_str()) {
                self.0.insert(topic.clone(), partitions);
                continue;
            }
            let name: Arc<str> = Arc::from(topic.as_str());
            let known = self.0.get(topic).cloned().unwrap_or_else(|| BTreeSet::from([0]));
            missing.extend(
                known.into_iter().map(|partition| unknown(PartitionId { topic: name.clone(), partition })),
            );
        }
        seen.partitions.extend(missing);
    }
}

fn unknown(id: PartitionId) -> PartitionOffsets {
    PartitionOffsets { id, begin: 0, end: None, committed: None }
}

impl KafkaGroup {
    /// Prepares to observe the settings' group; connects to nothing yet. `seed` spreads retries of several controllers.
    ///
    /// # Errors
    /// If no bootstrap server is named.
    pub fn new(settings: &Settings, seed: u64) -> Result<Self, Error> {
        let observer = kafka::Observer::new(kafka::Settings {
            bootstrap_servers: settings.bootstrap_servers.clone(),
            client_id: CLIENT_ID.to_owned(),
            isolation: kafka::Isolation::default(),
            request_timeout: kafka::Settings::REQUEST_TIMEOUT,
            seed,
        })
        .map_err(Error::Kafka)?;
        let group = settings.consumer_group.clone();
        let wanted = [kafka::GroupTopics { group, topics: settings.topics.clone() }];
        Ok(Self { observer, wanted, known: Known::default() })
    }
}

impl Observe for KafkaGroup {
    async fn observe(&mut self, now: Timestamp) -> Result<Seen, String> {
        let mut groups =
            self.observer.observe(&self.wanted, now).await.map_err(|problem| problem.to_string())?;
        let group = groups.pop().ok_or("kafka said nothing about the group")?;
        let mut seen = translate(group);
        self.known.complete(&mut seen, &self.wanted[0].topics);
        Ok(seen)
    }
}

fn translate(group: kafka::GroupObservation) -> Seen {
    let mut topics: BTreeMap<String, Arc<str>> = BTreeMap::new();
    let mut id = |topic: &str, partition| {
        let topic = topics.entry(topic.to_owned()).or_insert_with(|| Arc::from(topic)).clone();
        PartitionId { topic, partition }
    };
    let partitions = group
        .partitions
        .iter()
        .map(|seen| {
            let id = id(&seen.topic, seen.partition);
            // A lag needs both ends: without a begin or a commit, the end is of no use.
            match (seen.begin_offset, seen.end_offset, seen.committed) {
                (Some(begin), Some(end), Some(commit)) => {
                    let committed = match commit {
                        kafka::Commit::At(offset) => Some(offset),
                        kafka::Commit::Never => None,
                    };
                    PartitionOffsets { id, begin, end: Some(end), committed }
                }
                _ => unknown(id),
            }
        })
        .collect();
    let membership = match group.membership {
        kafka::Membership::Unknown => Membership::Unknown,
        kafka::Membership::Known(members) => Membership::Known(Group {
            stable: members.state == kafka::GroupState::Stable,
            cooperative: members.protocol == kafka::GroupProtocol::Consumer
                || members.assignor.contains("cooperative"),
            assignor: Assignor::from_kafka(&members.assignor),
            members: members
                .members
                .iter()
                .map(|member| Member {
                    id: member.id.clone(),
                    partitions: member
                        .partitions
                        .iter()
                        .flat_map(|(topic, numbers)| numbers.iter().map(|n| (topic.clone(), *n)))
                        .map(|(topic, number)| id(&topic, number))
                        .collect(),
                })
                .collect(),
        }),
    };
    Seen { partitions, membership, problems: group.problems.iter().map(ToString::to_string).collect() }
}

#[cfg(test)]
mod tests {
    use kafka::{GroupProtocol, GroupState};

    use super::*;

    fn partition(
        begin: Option<i64>,
        end: Option<i64>,
        committed: Option<kafka::Commit>,
    ) -> kafka::PartitionObservation {
        let topic = "telemetry".to_owned();
        kafka::PartitionObservation { topic, partition: 3, begin_offset: begin, end_offset: end, committed }
    }

    fn seen(partitions: Vec<kafka::PartitionObservation>, membership: kafka::Membership) -> Seen {
        translate(kafka::GroupObservation {
            group: "g".to_owned(),
            at: Timestamp::ZERO,
            membership,
            partitions,
            problems: Vec::new(),
        })
    }

    #[test]
    fn a_lag_needs_begin_end_and_commit_and_unknown_is_not_zero() {
        let lag = |begin, end, commit| {
            seen(vec![partition(begin, end, commit)], kafka::Membership::Unknown).partitions[0].lag()
        };
        assert_eq!(lag(Some(2), Some(10), Some(kafka::Commit::At(4))), Some(6));
        assert_eq!(lag(Some(2), Some(10), Some(kafka::Commit::Never)), Some(8));
        assert_eq!(lag(None, Some(10), Some(kafka::Commit::At(4))), None);
        assert_eq!(lag(Some(2), None, Some(kafka::Commit::At(4))), None);
        assert_eq!(lag(Some(2), Some(10), None), None);
    }

    #[test]
    fn a_topic_missing_from_an_answer_keeps_its_partitions_as_unknown() {
        let topics = ["alarms".to_owned(), "telemetry".to_owned()];
        let answer = || {
            seen(vec![partition(Some(0), Some(9), Some(kafka::Commit::At(4)))], kafka::Membership::Unknown)
        };
        let mut known = Known::default();
        let mut first = answer();
        known.complete(&mut first, &topics);
        let lags: Vec<_> = first.partitions.iter().map(|p| (&*p.id.topic, p.id.partition, p.lag())).collect();
        assert_eq!(
            lags,
            [("telemetry", 3, Some(5)), ("alarms", 0, None)],
            "never seen: one unknown partition"
        );
        let mut nothing = Seen::default();
        known.complete(&mut nothing, &topics);
        let lags: Vec<_> =
            nothing.partitions.iter().map(|p| (&*p.id.topic, p.id.partition, p.lag())).collect();
        assert_eq!(lags, [("alarms", 0, None), ("telemetry", 3, None)]);
    }

    #[test]
    fn only_a_stable_group_is_stable_and_both_cooperative_protocols_are_known() {
        let group = |state, protocol, assignor: &str| {
            let assignor = assignor.to_owned();
            let members = kafka::GroupMembers { state, protocol, assignor, members: Vec::new() };
            match seen(Vec::new(), kafka::Membership::Known(members)).membership {
                Membership::Known(group) => (group.stable, group.cooperative),
                Membership::Unknown => panic!("the group was described"),
            }
        };
        assert_eq!(group(GroupState::Stable, GroupProtocol::Classic, "cooperative-sticky"), (true, true));
        assert_eq!(group(GroupState::Stable, GroupProtocol::Consumer, "uniform"), (true, true));
        assert_eq!(group(GroupState::PreparingRebalance, GroupProtocol::Classic, "range"), (false, false));
    }
}
