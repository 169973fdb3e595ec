//! Puts the answers of all brokers together, one observation per wanted group.
//!
//! Pure. The rule it holds: a value is there if and only if a broker gave it in this round; otherwise it is `None` and
//! a problem says why.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use tidegate_core::time::Timestamp;

use super::ByPartition;
use super::metadata::Leaders;
use super::model::{Commit, GroupObservation, GroupTopics, Membership, PartitionObservation};
use super::problem::Problem;

/// Commits of one group by partition, or why there are none.
pub(super) type GroupCommits = Result<ByPartition<Result<Commit, ResponseError>>, Problem>;

/// What one round of questions learned.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) topics: BTreeMap<String, Result<Leaders, ResponseError>>,
    pub(super) commits: BTreeMap<String, GroupCommits>,
    pub(super) begin: ByPartition<Result<i64, Problem>>,
    pub(super) end: ByPartition<Result<i64, Problem>>,
    pub(super) memberships: BTreeMap<String, Result<Membership, Problem>>,
}

/// Returns one observation per entry of `wanted`, in its order.
pub(super) fn assemble(wanted: &[GroupTopics], round: &Round, at: Timestamp) -> Vec<GroupObservation> {
    wanted.iter().map(|group| observation(group, round, at)).collect()
}

fn observation(wanted: &GroupTopics, round: &Round, at: Timestamp) -> GroupObservation {
    let mut problems = BTreeSet::new();
    let commits = round.commits.get(&wanted.group);
    if let Some(Err(problem)) = commits {
        problems.insert(problem.clone());
    }
    let mut partitions = Vec::new();
    for topic in wanted.topics.iter().collect::<BTreeSet<_>>() {
        let leaders = match round.topics.get(topic) {
            Some(Ok(leaders)) => leaders,
            Some(Err(error)) => {
                problems.insert(Problem::of_topic(topic, *error));
                continue;
            }
            None => {
                problems.insert(Problem::of_topic(topic, ResponseError::UnknownTopicOrPartition));
                continue;
            }
        };
        for partition in leaders.keys().copied() {
            let mut known = |offset: Option<Result<i64, Problem>>| match offset {
                Some(Ok(offset)) => Some(offset),
                Some(Err(problem)) => {
                    problems.insert(problem);
                    None
                }
                None => {
                    problems.insert(unanswered("offsets", topic, partition));
                    None
                }
            };
            let begin_offset = known(at_partition(&round.begin, topic, partition));
            let end_offset = known(at_partition(&round.end, topic, partition));
            let committed = match commits {
                Some(Ok(commits)) => match at_partition(commits, topic, partition) {
                    Some(Ok(commit)) => Some(commit),
                    Some(Err(error)) => {
                        problems.insert(Problem::of_partition(topic, partition, error));
                        None
                    }
                    None => {
                        problems.insert(unanswered("the commit", topic, partition));
                        None
                    }
                },
                // Said once for the whole group, above.
                Some(Err(_)) | None => None,
            };
            partitions.push(PartitionObservation {
                topic: topic.clone(),
                partition,
                begin_offset,
                end_offset,
                committed,
            });
        }
    }
    let membership = match round.memberships.get(&wanted.group) {
        Some(Ok(membership)) => membership.clone(),
        Some(Err(problem)) => {
            problems.insert(problem.clone());
            Membership::Unknown
        }
        None => Membership::Unknown,
    };
    let problems = problems.into_iter().collect();
    GroupObservation { group: wanted.group.clone(), at, membership, partitions, problems }
}

fn at_partition<T: Clone>(values: &ByPartition<T>, topic: &str, partition: u32) -> Option<T> {
    values.get(topic)?.get(&partition).cloned()
}

/// A broker answered, and left out a partition that it was asked for.
fn unanswered(what: &str, topic: &str, partition: u32) -> Problem {
    let what = format!("{what} of partition {partition} of topic {topic}");
    Problem::Refused { what, error: "not in the answer".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::OnNoCommit;

    const NOW: Timestamp = Timestamp::from_millis(5);

    fn wanted(group: &str) -> GroupTopics {
        GroupTopics { group: group.to_owned(), topics: vec!["t".to_owned()] }
    }

    fn by_partition<T>(values: impl IntoIterator<Item = T>) -> ByPartition<T> {
        [("t".to_owned(), (0..).zip(values).collect())].into()
    }

    /// Two partitions, all known: 10 and 20 records, 4 and none of them committed.
    fn round() -> Round {
        Round {
            topics: [("t".to_owned(), Ok([0, 1].map(|number| (number, Ok("a:1".to_owned()))).into()))].into(),
            commits: [("g".to_owned(), Ok(by_partition([Ok(Commit::At(4)), Ok(Commit::Never)])))].into(),
            begin: by_partition([Ok(0), Ok(0)]),
            end: by_partition([Ok(10), Ok(20)]),
            memberships: BTreeMap::new(),
        }
    }

    fn observe(round: &Round) -> GroupObservation {
        assemble(&[wanted("g")], round, NOW).remove(0)
    }

    fn lags(seen: &GroupObservation) -> Vec<Option<u64>> {
        seen.partitions.iter().map(|partition| partition.lag(OnNoCommit::Earliest)).collect()
    }

    #[test]
    fn a_complete_round_has_every_value_and_no_problem() {
        let seen = observe(&round());
        assert_eq!((lags(&seen), seen.problems, seen.at), (vec![Some(6), Some(20)], vec![], NOW));
    }

    #[test]
    fn a_leader_that_moved_makes_its_partition_unknown_and_no_other() {
        let mut round = round();
        let moved = Problem::of_partition("t", 1, ResponseError::NotLeaderOrFollower);
        round.end = by_partition([Ok(10), Err(moved.clone())]);
        let seen = observe(&round);
        assert_eq!((lags(&seen), seen.problems), (vec![Some(6), None], vec![moved]));
    }

    #[test]
    fn a_coordinator_that_moved_makes_the_lag_unknown_and_is_said_once() {
        let mut round = round();
        let moved = Problem::of_group("commits", ResponseError::NotCoordinator);
        round.commits.insert("g".to_owned(), Err(moved.clone()));
        round.memberships.insert("g".to_owned(), Err(moved.clone()));
        let seen = observe(&round);
        assert_eq!((lags(&seen), seen.problems), (vec![None, None], vec![moved]));
        assert_eq!(seen.membership, Membership::Unknown);
    }

    #[test]
    fn an_unknown_topic_has_no_partitions_and_a_problem() {
        let mut round = round();
        round.topics.insert("t".to_owned(), Err(ResponseError::UnknownTopicOrPartition));
        let seen = observe(&round);
        assert_eq!(seen.partitions, []);
        assert_eq!(seen.problems, [Problem::UnknownTopic { topic: "t".to_owned() }]);
    }

    #[test]
    fn what_an_answer_left_out_is_unknown_and_said() {
        let mut round = round();
        round.begin = by_partition([Ok(0)]);
        let seen = observe(&round);
        assert_eq!((lags(&seen), seen.problems.len()), (vec![Some(6), None], 1));
    }
}
