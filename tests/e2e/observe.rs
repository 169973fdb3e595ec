//! What `kafka::observe` must say of a cluster, whichever broker answers.
//!
//! [`on_every_broker`] holds on the embedded broker and on real Kafka; [`on_real_kafka`] needs what the embedded one
//! lacks; [`what_the_embedded_broker_lacks`] asserts that list, so that a librdkafka which gains something is noticed.
//! Each takes the bootstrap address of a running cluster and makes topics and groups of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tidegate_core::time::Timestamp;
use tidegate_kafka::observe::{
    Commit, GroupMembers, GroupObservation, GroupProtocol, GroupState, GroupTopics, Isolation, Membership,
    Observer, OnNoCommit, Problem, Settings,
};
use tidegate_kafka::topics::{self, TopicSpec};

/// Longest wait for a group to settle: librdkafka's mock holds a new group for 3 s, a KIP-848 heartbeat takes 5 s.
const PATIENCE: Duration = Duration::from_secs(40);
/// Time between looks.
const LOOK: Duration = Duration::from_millis(100);

/// Lag, commits and refusals: what both brokers can say.
pub(crate) async fn on_every_broker(bootstrap: &str) {
    topics_are_made_once_and_counted(bootstrap).await;
    a_group_that_never_committed_lags_by_the_whole_log(bootstrap).await;
    commits_of_many_groups_are_told_apart(bootstrap).await;
    an_unknown_topic_is_a_problem_of_its_group_only(bootstrap).await;
}

/// Members of both group protocols, and transactions.
pub(crate) async fn on_real_kafka(bootstrap: &str) {
    a_topic_is_made_with_the_partitions_asked_for(bootstrap).await;
    members_share_the_partitions(bootstrap, GroupProtocol::Classic).await;
    members_share_the_partitions(bootstrap, GroupProtocol::Consumer).await;
    a_group_without_members_is_empty_and_one_that_never_was_is_dead(bootstrap).await;
    a_read_committed_observer_stops_before_an_open_transaction(bootstrap).await;
    three_thousand_groups_fit_one_observation(bootstrap).await;
}

/// No Describe, so membership is unknown and no problem; no `CreateTopics`, so a topic has the broker's own count.
pub(crate) async fn what_the_embedded_broker_lacks(bootstrap: &str) {
    let topic = make_topic(bootstrap, "lacks", 7).await;
    let topics = topics::describe(bootstrap, &[&topic]).await.expect("it exists");
    assert_ne!(topics[&topic].partitions, 7, "the embedded broker has learned CreateTopics");
    assert!(topics[&topic].min_in_sync.is_err(), "the embedded broker has learned DescribeConfigs");
    assert!(!topics[&topic].is_replicated());
    let seen = observe_one(&mut observer(bootstrap, Isolation::ReadUncommitted), "lacks", &topic).await;
    assert_eq!((seen.membership, seen.problems), (Membership::Unknown, vec![]));
}

async fn topics_are_made_once_and_counted(bootstrap: &str) {
    let topic = make_topic(bootstrap, "made-twice", 4).await;
    let again = TopicSpec { name: topic.clone(), partitions: 9, replication: 1 };
    let counts = topics::ensure(bootstrap, &[again]).await.expect("it exists");
    assert_eq!(counts[&topic], 4, "an existing topic is taken as it is");
    let missing = topics::describe(bootstrap, &["tg-observe-nobody-made-this"]).await;
    assert!(matches!(missing, Err(topics::Error::Missing { .. })), "{missing:?}");
}

async fn a_topic_is_made_with_the_partitions_asked_for(bootstrap: &str) {
    let topic = make_topic(bootstrap, "twelve", 12).await;
    let topics = topics::describe(bootstrap, &[&topic]).await.expect("it exists");
    let found = &topics[&topic];
    assert_eq!((found.partitions, found.replicas, found.min_in_sync.clone()), (12, 1, Ok(1)));
    assert_eq!(found.retention, Some(Duration::from_hours(168)), "kafka's default");
    let spec = TopicSpec { name: "tg-observe-too-many-replicas".to_owned(), partitions: 1, replication: 99 };
    let refused = topics::ensure(bootstrap, &[spec]).await;
    assert!(matches!(refused, Err(topics::Error::Refused { .. })), "{refused:?}");
}

async fn a_group_that_never_committed_lags_by_the_whole_log(bootstrap: &str) {
    let topic = make_topic(bootstrap, "uncommitted", 4).await;
    produce(bootstrap, &topic, &[30, 0, 7]);
    let mut observer = observer(bootstrap, Isolation::ReadUncommitted);
    let seen = observe_one(&mut observer, "tg-observe-newcomer", &topic).await;
    assert_eq!(seen.problems, []);
    assert_eq!(lags(&seen, OnNoCommit::Earliest)[..3], [Some(30), Some(0), Some(7)]);
    assert_eq!(lags(&seen, OnNoCommit::Latest)[..3], [Some(0), Some(0), Some(0)]);
    assert!(seen.partitions.iter().all(|partition| partition.committed == Some(Commit::Never)));
}

async fn commits_of_many_groups_are_told_apart(bootstrap: &str) {
    let topic = make_topic(bootstrap, "committed", 4).await;
    produce(bootstrap, &topic, &[50, 50]);
    let groups: Vec<i64> = (0..20).collect();
    for group in &groups {
        commit(bootstrap, &format!("tg-observe-{group}"), &topic, &[*group, 50]);
    }
    let wanted: Vec<_> = groups.iter().map(|group| wanted(&format!("tg-observe-{group}"), &topic)).collect();
    let mut observer = observer(bootstrap, Isolation::ReadUncommitted);
    // A coordinator that has just been made may still be loading: that is unknown, not zero, and passes.
    let seen = eventually(async || {
        let seen = observer.observe(&wanted, Timestamp::ZERO).await.expect("the broker is up");
        if seen.iter().all(|group| group.problems.is_empty()) { Ok(seen) } else { Err(format!("{seen:?}")) }
    })
    .await;
    for (group, seen) in groups.iter().zip(&seen) {
        assert_eq!(seen.group, format!("tg-observe-{group}"));
        let behind = u64::try_from(50 - group).expect("20 groups");
        assert_eq!(lags(seen, OnNoCommit::Earliest)[..2], [Some(behind), Some(0)], "{seen:?}");
        assert_eq!(seen.partitions[2].committed, Some(Commit::Never));
    }
}

async fn an_unknown_topic_is_a_problem_of_its_group_only(bootstrap: &str) {
    let topic = make_topic(bootstrap, "known", 2).await;
    produce(bootstrap, &topic, &[3]);
    let missing = "tg-observe-no-such-topic".to_owned();
    let wanted = [wanted("tg-observe-right", &topic), wanted("tg-observe-wrong", &missing)];
    let mut observer = observer(bootstrap, Isolation::ReadUncommitted);
    let seen = observer.observe(&wanted, Timestamp::ZERO).await.expect("the broker is up");
    assert_eq!((lags(&seen[0], OnNoCommit::Earliest)[0], &seen[0].problems[..]), (Some(3), &[][..]));
    assert_eq!(seen[1].partitions, []);
    assert_eq!(seen[1].problems, [Problem::UnknownTopic { topic: missing.clone() }]);
    let created = topics::describe(bootstrap, &[&missing]).await;
    assert!(
        matches!(created, Err(topics::Error::Missing { .. })),
        "observing a topic must not create it: {created:?}"
    );
}

async fn members_share_the_partitions(bootstrap: &str, protocol: GroupProtocol) {
    let (name, assignor) = match protocol {
        GroupProtocol::Classic => ("classic", "cooperative-sticky"),
        GroupProtocol::Consumer => ("kip-848", "uniform"),
    };
    let topic = make_topic(bootstrap, name, 6).await;
    produce(bootstrap, &topic, &[5; 6]);
    let group = format!("tg-observe-{name}");
    let members: Vec<_> = ["m-0", "m-1", "m-2"]
        .iter()
        .map(|client| Running::join(bootstrap, &group, client, &topic, protocol))
        .collect();
    let mut observer = observer(bootstrap, Isolation::ReadUncommitted);
    let known = eventually(async || {
        let seen = observe_one(&mut observer, &group, &topic).await;
        match seen.membership {
            Membership::Known(known) if is_settled(&known, 3) => Ok(known),
            other => Err(format!("{other:?} {:?}", seen.problems)),
        }
    })
    .await;
    assert_eq!((known.protocol, known.assignor.as_str()), (protocol, assignor));
    let mut clients: Vec<_> = known.members.iter().map(|member| member.client_id.clone()).collect();
    clients.sort();
    assert_eq!(clients, ["m-0", "m-1", "m-2"]);
    let mut partitions: Vec<u32> =
        known.members.iter().flat_map(|member| member.partitions[&topic].clone()).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2, 3, 4, 5], "{known:?}");

    drop(members);
    eventually(async || {
        let seen = observe_one(&mut observer, &group, &topic).await;
        match seen.membership {
            // Closing commits what was read, so the lag is gone and the offsets stay.
            Membership::Known(known) if known.members.is_empty() && known.state == GroupState::Empty => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

fn is_settled(group: &GroupMembers, members: usize) -> bool {
    group.state == GroupState::Stable
        && group.members.len() == members
        && group.members.iter().all(|member| member.partition_count() == 2)
}

async fn a_group_without_members_is_empty_and_one_that_never_was_is_dead(bootstrap: &str) {
    let topic = make_topic(bootstrap, "memberless", 1).await;
    produce(bootstrap, &topic, &[3]);
    commit(bootstrap, "tg-observe-memberless", &topic, &[1]);
    let mut observer = observer(bootstrap, Isolation::ReadUncommitted);
    for (group, state) in
        [("tg-observe-memberless", GroupState::Empty), ("tg-observe-never-was", GroupState::Dead)]
    {
        let seen = observe_one(&mut observer, group, &topic).await;
        match &seen.membership {
            Membership::Known(known) => assert_eq!((known.state, known.members.len()), (state, 0), "{group}"),
            Membership::Unknown => panic!("{seen:?}"),
        }
        assert_eq!(seen.problems, [], "{group}");
    }
}

async fn a_read_committed_observer_stops_before_an_open_transaction(bootstrap: &str) {
    let topic = make_topic(bootstrap, "transaction", 1).await;
    produce(bootstrap, &topic, &[4]);
    let mut config = client(bootstrap);
    let producer: BaseProducer =
        config.set("transactional.id", "tg-observe").create().expect("valid settings");
    producer.init_transactions(PATIENCE).expect("the coordinator answers");
    producer.begin_transaction().expect("initialised");
    send(&producer, &topic, 0, 5);
    let mut all = observer(bootstrap, Isolation::ReadUncommitted);
    let mut stable = observer(bootstrap, Isolation::ReadCommitted);
    let ends = async |observer: &mut Observer| {
        observe_one(observer, "tg-observe-tx", &topic).await.partitions[0].end_offset
    };
    assert_eq!((ends(&mut all).await, ends(&mut stable).await), (Some(9), Some(4)));
    producer.commit_transaction(PATIENCE).expect("the coordinator answers");
    // The commit marker takes an offset of its own.
    let seen = eventually(async || match ends(&mut stable).await {
        Some(end) if end > 9 => Ok(end),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(seen.await, 10);
}

async fn three_thousand_groups_fit_one_observation(bootstrap: &str) {
    let topic = make_topic(bootstrap, "many", 2).await;
    let wanted: Vec<_> =
        (0..3_000).map(|group| wanted(&format!("tg-observe-many-{group}"), &topic)).collect();
    let mut observer = observer(bootstrap, Isolation::ReadUncommitted);
    let seen = observer.observe(&wanted, Timestamp::ZERO).await.expect("the broker is up");
    assert_eq!(seen.len(), 3_000);
    for group in &seen {
        assert_eq!(
            (lags(group, OnNoCommit::Earliest), &group.problems[..]),
            (vec![Some(0), Some(0)], &[][..])
        );
    }
}

// What the scenarios are made of.

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

fn observer(bootstrap: &str, isolation: Isolation) -> Observer {
    let settings = Settings {
        bootstrap_servers: bootstrap.to_owned(),
        client_id: "tg-observe-test".to_owned(),
        isolation,
        request_timeout: Settings::REQUEST_TIMEOUT,
        seed: 1,
    };
    Observer::new(settings).expect("a bootstrap server is named")
}

fn wanted(group: &str, topic: &str) -> GroupTopics {
    GroupTopics { group: group.to_owned(), topics: vec![topic.to_owned()] }
}

/// Observes one group until its coordinator is there: a cluster's first group waits for the offsets topic.
async fn observe_one(observer: &mut Observer, group: &str, topic: &str) -> GroupObservation {
    eventually(async || {
        let seen = observer
            .observe(&[wanted(group, topic)], Timestamp::ZERO)
            .await
            .expect("the broker is up")
            .remove(0);
        let waiting =
            seen.problems.iter().any(|problem| matches!(problem, Problem::CoordinatorUnavailable { .. }));
        if waiting { Err(format!("{:?}", seen.problems)) } else { Ok(seen) }
    })
    .await
}

fn lags(seen: &GroupObservation, on_no_commit: OnNoCommit) -> Vec<Option<u64>> {
    seen.partitions.iter().map(|partition| partition.lag(on_no_commit)).collect()
}

async fn make_topic(bootstrap: &str, name: &str, partitions: u32) -> String {
    // A name of this run's own: a cluster may outlive it.
    let name = format!("tg-observe-{name}-{}", std::process::id());
    let spec = TopicSpec { name: name.clone(), partitions, replication: 1 };
    topics::ensure(bootstrap, &[spec]).await.expect("the topic can be made");
    name
}

/// Writes `counts[p]` records to partition p.
fn produce(bootstrap: &str, topic: &str, counts: &[usize]) {
    let producer: BaseProducer = client(bootstrap).create().expect("valid settings");
    for (partition, count) in (0..).zip(counts) {
        send(&producer, topic, partition, *count);
    }
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, count: usize) {
    for _ in 0..count {
        let record = BaseRecord::<(), _>::to(topic).partition(partition).payload("reading");
        producer.send(record).expect("the queue has room");
    }
    producer.flush(PATIENCE).expect("the broker takes the records");
}

/// Commits `offsets[p]` for partition p, without becoming a member.
fn commit(bootstrap: &str, group: &str, topic: &str, offsets: &[i64]) {
    let consumer: BaseConsumer = client(bootstrap).set("group.id", group).create().expect("valid settings");
    let mut list = TopicPartitionList::new();
    for (partition, offset) in (0..).zip(offsets) {
        list.add_partition_offset(topic, partition, Offset::Offset(*offset)).expect("a valid offset");
    }
    consumer.commit(&list, CommitMode::Sync).expect("the coordinator takes the commit");
}

/// Asks again until the answer is `Ok`.
async fn eventually<T>(mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut last = String::new();
    let looking = async {
        loop {
            match look().await {
                Ok(found) => return found,
                Err(seen) => last = seen,
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await.ok();
    found.unwrap_or_else(|| panic!("not within {PATIENCE:?}; last seen: {last}"))
}

/// A consumer that polls on a thread of its own until it is dropped; then it leaves its group.
struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn join(bootstrap: &str, group: &str, client_id: &str, topic: &str, protocol: GroupProtocol) -> Self {
        let mut config = client(bootstrap);
        config.set("group.id", group).set("client.id", client_id).set("auto.offset.reset", "earliest");
        match protocol {
            GroupProtocol::Classic => config.set("partition.assignment.strategy", "cooperative-sticky"),
            GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
        };
        let consumer: BaseConsumer = config.create().expect("valid settings");
        consumer.subscribe(&[topic]).expect("a valid topic");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // Records and passing errors alike: membership is what counts here.
                drop(consumer.poll(LOOK));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the consumer's thread does not panic");
        }
    }
}
