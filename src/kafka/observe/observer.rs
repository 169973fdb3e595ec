//! The shell: asks the brokers, round by round, and remembers only where to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tidegate_core::time::Timestamp;

use super::assemble::{Round, assemble};
use super::commits::CommitsInquiry;
use super::coordinators::CoordinatorsInquiry;
use super::log_ends::{LogEnds, LogEndsInquiry};
use super::members::MembersInquiry;
use super::metadata::{Cluster, MetadataInquiry};
use super::model::{GroupObservation, GroupTopics, Isolation};
use super::problem::{ObserveError, Problem, coordinator_moved};
use super::wire::{Dialing, Inquiry, Links, WireError, bootstrap_addresses};
use super::{ByPartition, Partitions};

/// How to reach Kafka.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port` of some brokers, separated by commas; a missing port is 9092.
    pub bootstrap_servers: String,
    /// `client.id` that brokers see in logs and quotas.
    pub client_id: String,
    /// Which end of a partition counts.
    pub isolation: Isolation,
    /// Time for a connection and for each answer; see [`Settings::REQUEST_TIMEOUT`].
    pub request_timeout: Duration,
    /// Spreads the reconnections of several observers; any number that differs between processes.
    pub seed: u64,
}

impl Settings {
    /// Default time for an answer: an observation must fit a 5 s tick even if one broker of several is frozen.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
}

/// Observes consumer groups of one Kafka cluster.
#[derive(Debug)]
pub struct Observer {
    bootstrap: Vec<String>,
    isolation: Isolation,
    links: Links,
    /// The broker that last described the cluster comes first: a frozen one is not tried before it every tick.
    described_by: Option<String>,
    brokers: BTreeSet<String>,
    /// Where each wanted group's coordinator was found, until it fails.
    coordinators: BTreeMap<String, i32>,
}

impl Observer {
    /// Prepares an observer; connects to nothing yet.
    ///
    /// # Errors
    /// [`ObserveError::NoBootstrapServer`] if the list is empty.
    pub fn new(settings: Settings) -> Result<Self, ObserveError> {
        let bootstrap = bootstrap_addresses(&settings.bootstrap_servers);
        if bootstrap.is_empty() {
            return Err(ObserveError::NoBootstrapServer);
        }
        let client_id = StrBytes::from_string(settings.client_id);
        let links = Links::new(Dialing { client_id, timeout: settings.request_timeout, seed: settings.seed });
        let (brokers, coordinators) = (BTreeSet::new(), BTreeMap::new());
        Ok(Self {
            bootstrap,
            isolation: settings.isolation,
            links,
            described_by: None,
            brokers,
            coordinators,
        })
    }

    /// Returns one observation per entry of `wanted`, in its order, each stamped `now`.
    ///
    /// A group whose coordinator or leaders could not be asked is returned all the same, with `None` and problems.
    /// Takes at most a few request time-outs; may be cancelled at any point.
    ///
    /// # Errors
    /// [`ObserveError::Unreachable`] if no broker describes the cluster: then nothing is known of any group.
    pub async fn observe(
        &mut self,
        wanted: &[GroupTopics],
        now: Timestamp,
    ) -> Result<Vec<GroupObservation>, ObserveError> {
        let topics: BTreeSet<&String> = wanted.iter().flat_map(|group| &group.topics).collect();
        let cluster = self.describe(topics.into_iter().cloned().collect(), now).await?;

        let mut groups: BTreeMap<String, Partitions> = BTreeMap::new();
        for group in wanted {
            let partitions = groups.entry(group.group.clone()).or_default();
            for topic in &group.topics {
                if let Some(Ok(leaders)) = cluster.topics.get(topic) {
                    partitions.insert(topic.clone(), leaders.keys().copied().collect());
                }
            }
        }
        let mut round = Round::default();
        // Commits before ends: lag may then be over-read by what arrives in between, never under-read.
        let coordinators = self.locate(&groups, &cluster, &mut round, now).await;
        self.ask_commits(groups, &coordinators, &mut round, now).await;
        self.ask_log_ends(&cluster, &mut round, now).await;
        self.ask_members(&coordinators, &mut round, now).await;
        round.topics = cluster.topics;
        Ok(assemble(wanted, &round, now))
    }

    /// Learns brokers and leaders anew in every round: one request, and moves are seen before they cost an answer.
    async fn describe(&mut self, topics: Vec<String>, now: Timestamp) -> Result<Cluster, ObserveError> {
        let known = self.described_by.iter().chain(&self.brokers).chain(&self.bootstrap);
        let mut candidates: Vec<String> = Vec::new();
        for address in known {
            if !candidates.contains(address) {
                candidates.push(address.clone());
            }
        }
        let inquiry = MetadataInquiry { topics, may_create: false };
        let (address, cluster) =
            self.links.ask_first(&candidates, &inquiry, now).await.map_err(|errors| {
                let tried: Vec<_> =
                    errors.iter().map(|(address, error)| format!("{address}: {error}")).collect();
                ObserveError::Unreachable { tried: tried.join("; ") }
            })?;
        self.brokers = cluster.brokers.values().cloned().collect();
        // A bootstrap address by which no broker calls itself would be a second connection to one of them.
        self.links.keep_only(&self.brokers);
        self.described_by = self.brokers.contains(&address).then_some(address);
        Ok(cluster)
    }

    /// Returns the address of each group's coordinator; puts down the problems of those that have none.
    async fn locate(
        &mut self,
        groups: &BTreeMap<String, Partitions>,
        cluster: &Cluster,
        round: &mut Round,
        now: Timestamp,
    ) -> BTreeMap<String, String> {
        self.coordinators.retain(|group, id| groups.contains_key(group) && cluster.brokers.contains_key(id));
        let unknown = groups.keys().filter(|group| !self.coordinators.contains_key(*group)).cloned();
        let inquiry = CoordinatorsInquiry { groups: unknown.collect() };
        if !inquiry.groups.is_empty() {
            let candidates: Vec<_> = self.described_by.iter().chain(&self.brokers).cloned().collect();
            let found = self.links.ask_first(&candidates, &inquiry, now).await;
            let problem_of_all = match &found {
                Err(errors) => errors.last().map(|(address, error)| unreachable(address, error)),
                Ok(_) => None,
            };
            let mut found = found.map(|(_, found)| found).unwrap_or_default();
            for group in inquiry.groups {
                let problem = match found.remove(&group) {
                    Some(Ok(id)) if cluster.brokers.contains_key(&id) => {
                        self.coordinators.insert(group, id);
                        continue;
                    }
                    Some(Err(error)) => Problem::of_group("the group's coordinator", error),
                    Some(Ok(_)) | None => problem_of_all.clone().unwrap_or_else(|| {
                        Problem::of_group("the group's coordinator", ResponseError::CoordinatorNotAvailable)
                    }),
                };
                round.commits.insert(group, Err(problem));
            }
        }
        let address = |(group, id): (&String, &i32)| Some((group.clone(), cluster.brokers.get(id)?.clone()));
        self.coordinators.iter().filter_map(address).collect()
    }

    async fn ask_commits(
        &mut self,
        groups: BTreeMap<String, Partitions>,
        coordinators: &BTreeMap<String, String>,
        round: &mut Round,
        now: Timestamp,
    ) {
        let mut work: BTreeMap<String, CommitsInquiry> = BTreeMap::new();
        for (group, partitions) in groups {
            if let Some(address) = coordinators.get(&group) {
                work.entry(address.clone()).or_default().groups.push((group, partitions));
            }
        }
        let mut answers = self.ask_all(work, now).await;
        for (group, address) in coordinators {
            let answer = match answers.get_mut(address) {
                Some(Ok(answer)) => answer.remove(group),
                Some(Err(problem)) => {
                    self.coordinators.remove(group);
                    round.commits.insert(group.clone(), Err(problem.clone()));
                    continue;
                }
                None => None,
            };
            let commits = answer.unwrap_or(Err(ResponseError::CoordinatorNotAvailable));
            let commits =
                commits.map_err(|error| self.refused_by_coordinator(group, "the group's commits", error));
            round.commits.insert(group.clone(), commits);
        }
    }

    async fn ask_members(
        &mut self,
        coordinators: &BTreeMap<String, String>,
        round: &mut Round,
        now: Timestamp,
    ) {
        let mut work: BTreeMap<String, MembersInquiry> = BTreeMap::new();
        for (group, address) in coordinators {
            work.entry(address.clone()).or_default().groups.push(group.clone());
        }
        let mut answers = self.ask_all(work, now).await;
        for (group, address) in coordinators {
            let membership = match answers.get_mut(address) {
                Some(Ok(answer)) => {
                    answer.remove(group).unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
                }
                Some(Err(problem)) => {
                    round.memberships.insert(group.clone(), Err(problem.clone()));
                    continue;
                }
                None => continue,
            };
            let membership = membership
                .map_err(|error| self.refused_by_coordinator(group, "to describe the group", error));
            round.memberships.insert(group.clone(), membership);
        }
    }

    async fn ask_log_ends(&mut self, cluster: &Cluster, round: &mut Round, now: Timestamp) {
        let mut work: BTreeMap<String, LogEndsInquiry> = BTreeMap::new();
        let all = cluster.topics.iter().filter_map(|(topic, leaders)| Some((topic, leaders.as_ref().ok()?)));
        for (topic, leaders) in all {
            for (partition, leader) in leaders {
                match leader {
                    Ok(address) => {
                        let inquiry = work.entry(address.clone()).or_default();
                        inquiry.isolation = self.isolation;
                        inquiry.partitions.entry(topic.clone()).or_default().push(*partition);
                    }
                    Err(error) => {
                        put_both(round, topic, *partition, &Problem::of_partition(topic, *partition, *error));
                    }
                }
            }
        }
        let asked: Vec<(String, Partitions)> =
            work.iter().map(|(address, inquiry)| (address.clone(), inquiry.partitions.clone())).collect();
        let mut answers = self.ask_all(work, now).await;
        for (address, partitions) in asked {
            match answers.remove(&address) {
                Some(Ok(LogEnds { begin, end })) => {
                    put(&mut round.begin, begin);
                    put(&mut round.end, end);
                }
                Some(Err(problem)) => {
                    for (topic, partition) in
                        partitions.iter().flat_map(|(t, all)| all.iter().map(move |p| (t, *p)))
                    {
                        put_both(round, topic, partition, &problem);
                    }
                }
                None => {}
            }
        }
    }

    /// Asks all brokers at once; what a broker failed to say is a problem that names it.
    async fn ask_all<I: Inquiry>(
        &mut self,
        work: BTreeMap<String, I>,
        now: Timestamp,
    ) -> BTreeMap<String, Result<I::Answer, Problem>> {
        let answers = self.links.ask_each(work, now).await.into_iter();
        answers
            .map(|(address, answer)| {
                let answer = answer.map_err(|error| unreachable(&address, &error));
                (address, answer)
            })
            .collect()
    }

    /// Returns how many connections are open.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.links.open()
    }

    /// Returns of how many groups the coordinator is remembered.
    #[cfg(test)]
    pub(super) fn coordinators_known(&self) -> usize {
        self.coordinators.len()
    }

    /// Forgets a coordinator that says it is none; the next observation looks for it again.
    fn refused_by_coordinator(&mut self, group: &str, what: &str, error: ResponseError) -> Problem {
        if coordinator_moved(error) {
            self.coordinators.remove(group);
        }
        Problem::of_group(what, error)
    }
}

fn unreachable(address: &str, error: &WireError) -> Problem {
    Problem::BrokerUnreachable { broker: address.to_owned(), error: error.to_string() }
}

fn put(into: &mut ByPartition<Result<i64, Problem>>, offsets: ByPartition<Result<i64, ResponseError>>) {
    for (topic, partitions) in offsets {
        let known = |(partition, offset): (u32, Result<i64, ResponseError>)| {
            (partition, offset.map_err(|error| Problem::of_partition(&topic, partition, error)))
        };
        let known: Vec<_> = partitions.into_iter().map(known).collect();
        into.entry(topic).or_default().extend(known);
    }
}

fn put_both(round: &mut Round, topic: &str, partition: u32, problem: &Problem) {
    for offsets in [&mut round.begin, &mut round.end] {
        offsets.entry(topic.to_owned()).or_default().insert(partition, Err(problem.clone()));
    }
}
