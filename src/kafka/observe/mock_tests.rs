//! The observer against librdkafka's mock cluster, whose brokers fail on request.

use std::time::Duration;

use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tidegate_core::time::Timestamp;

use super::{
    Commit, GroupObservation, GroupTopics, Isolation, ObserveError, Observer, OnNoCommit, Problem, Settings,
};

const TOPIC: &str = "readings";

type Mock = MockCluster<'static, DefaultProducerContext>;

/// Three brokers; one topic with six partitions, two led by each.
fn cluster() -> Mock {
    let mock = MockCluster::new(3).expect("a mock cluster starts");
    mock.create_topic(TOPIC, 6, 3).expect("the topic is new");
    for partition in 0..6 {
        mock.partition_leader(TOPIC, partition, Some(partition % 3 + 1)).expect("the broker exists");
    }
    mock
}

fn observer(bootstrap_servers: String) -> Observer {
    observer_with_timeout(bootstrap_servers, Settings::REQUEST_TIMEOUT)
}

fn observer_with_timeout(bootstrap_servers: String, request_timeout: Duration) -> Observer {
    let settings = Settings {
        bootstrap_servers,
        client_id: "tg".to_owned(),
        isolation: Isolation::ReadUncommitted,
        request_timeout,
        seed: 7,
    };
    Observer::new(settings).expect("a bootstrap server is named")
}

async fn observe(observer: &mut Observer, now: Timestamp) -> GroupObservation {
    let wanted = [GroupTopics { group: "g".to_owned(), topics: vec![TOPIC.to_owned()] }];
    observer.observe(&wanted, now).await.expect("a broker describes the cluster").remove(0)
}

/// Partitions whose lag is known; the mock's topic is empty, so every known lag is zero.
fn known(seen: &GroupObservation) -> Vec<u32> {
    let is_known = |partition: &&super::PartitionObservation| {
        let lag = partition.lag(OnNoCommit::Earliest);
        assert!(lag.is_none_or(|lag| lag == 0), "{partition:?}");
        lag.is_some()
    };
    seen.partitions.iter().filter(is_known).map(|partition| partition.partition).collect()
}

const ALL: [u32; 6] = [0, 1, 2, 3, 4, 5];
const NONE: [u32; 0] = [];

#[tokio::test]
async fn there_is_one_connection_per_broker_however_often_we_look() {
    let mock = cluster();
    let mut observer = observer(mock.bootstrap_servers());
    for tick in 0..3 {
        let seen = observe(&mut observer, Timestamp::from_millis(tick * 5_000)).await;
        assert_eq!((known(&seen), &seen.problems[..]), (ALL.to_vec(), &[][..]));
        assert_eq!(observer.connections(), 3);
    }
}

#[tokio::test]
async fn a_bootstrap_name_that_no_broker_calls_itself_by_is_not_kept_connected() {
    let mock = MockCluster::new(1).expect("a mock cluster starts");
    mock.create_topic(TOPIC, 6, 1).expect("the topic is new");
    let alias = mock.bootstrap_servers().replace("127.0.0.1", "127.1");
    let mut observer = observer(alias);
    assert_eq!(known(&observe(&mut observer, Timestamp::ZERO).await), ALL);
    assert_eq!(observer.connections(), 1);
}

#[tokio::test]
async fn a_leader_that_says_it_is_none_leaves_its_partitions_unknown_until_the_next_look() {
    let mock = cluster();
    let mut observer = observer(mock.bootstrap_servers());
    let moved = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    mock.request_errors(RDKafkaApiKey::ListOffsets, &[moved; 6]);
    let seen = observe(&mut observer, Timestamp::ZERO).await;
    assert_eq!(known(&seen), NONE);
    assert!(seen.partitions.iter().all(|partition| partition.committed == Some(Commit::Never)), "{seen:?}");
    assert!(seen.problems.contains(&Problem::LeaderMoved { topic: TOPIC.to_owned(), partition: 5 }));
    let seen = observe(&mut observer, Timestamp::from_millis(5_000)).await;
    assert_eq!((known(&seen), seen.problems), (ALL.to_vec(), vec![]));
}

#[tokio::test]
async fn leaders_are_followed_where_they_go() {
    let mock = cluster();
    let mut observer = observer(mock.bootstrap_servers());
    assert_eq!(known(&observe(&mut observer, Timestamp::ZERO).await), ALL);
    for partition in 0..6 {
        mock.partition_leader(TOPIC, partition, Some((partition + 1) % 3 + 1)).expect("the broker exists");
    }
    assert_eq!(known(&observe(&mut observer, Timestamp::from_millis(5_000)).await), ALL);
}

#[tokio::test]
async fn a_coordinator_that_moved_is_looked_for_again() {
    let mock = cluster();
    let mut observer = observer_with_timeout(mock.bootstrap_servers(), Duration::from_millis(500));
    mock.coordinator(MockCoordinator::Group("g".to_owned()), 1).expect("the broker exists");
    assert_eq!(known(&observe(&mut observer, Timestamp::ZERO).await), ALL);
    mock.coordinator(MockCoordinator::Group("g".to_owned()), 2).expect("the broker exists");
    let moved = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
    mock.request_errors(RDKafkaApiKey::OffsetFetch, &[moved]);
    let seen = observe(&mut observer, Timestamp::from_millis(5_000)).await;
    assert_eq!(known(&seen), NONE);
    assert!(
        seen.partitions.iter().all(|partition| partition.end_offset == Some(0)),
        "the ends are known: {seen:?}"
    );
    assert!(
        seen.problems.iter().any(|problem| matches!(problem, Problem::CoordinatorUnavailable { .. })),
        "{seen:?}"
    );
    // The mock answers for any group on any broker; frozen, the old coordinator shows whether it is still asked.
    mock.broker_round_trip_time(1, Duration::from_secs(20)).expect("the broker exists");
    let seen = observe(&mut observer, Timestamp::from_millis(10_000)).await;
    assert!(seen.partitions.iter().all(|partition| partition.committed == Some(Commit::Never)), "{seen:?}");
}

#[tokio::test]
async fn groups_no_longer_wanted_are_forgotten() {
    let mock = cluster();
    let mut observer = observer(mock.bootstrap_servers());
    for group in ["a", "b", "c"] {
        let wanted = [GroupTopics { group: group.to_owned(), topics: vec![TOPIC.to_owned()] }];
        observer.observe(&wanted, Timestamp::ZERO).await.expect("a broker describes the cluster");
        assert_eq!(observer.coordinators_known(), 1);
    }
}

#[tokio::test]
async fn a_dead_broker_costs_what_it_led_and_a_returned_one_is_seen_again() {
    let mock = cluster();
    let mut observer = observer(mock.bootstrap_servers());
    mock.coordinator(MockCoordinator::Group("g".to_owned()), 1).expect("the broker exists");
    assert_eq!(known(&observe(&mut observer, Timestamp::ZERO).await), ALL);
    mock.broker_down(3).expect("the broker exists");
    let seen = observe(&mut observer, Timestamp::from_millis(5_000)).await;
    assert_eq!(known(&seen), [0, 1, 3, 4], "broker 3 leads 2 and 5: {seen:?}");
    assert!(!seen.problems.is_empty());
    mock.broker_up(3).expect("the broker exists");
    let seen = observe(&mut observer, Timestamp::from_millis(60_000)).await;
    assert_eq!((known(&seen), seen.problems), (ALL.to_vec(), vec![]));
}

#[tokio::test]
async fn a_broker_that_restarted_between_two_looks_is_not_noticed() {
    let mock = cluster();
    let mut observer = observer(mock.bootstrap_servers());
    assert_eq!(known(&observe(&mut observer, Timestamp::ZERO).await), ALL);
    for broker in 1..=3 {
        mock.broker_down(broker).expect("the broker exists");
        mock.broker_up(broker).expect("the broker exists");
    }
    let seen = observe(&mut observer, Timestamp::from_millis(5_000)).await;
    assert_eq!((known(&seen), seen.problems), (ALL.to_vec(), vec![]));
}

#[tokio::test]
async fn a_frozen_broker_delays_an_observation_by_its_time_out_and_then_by_nothing() {
    let mock = cluster();
    let mut observer = observer_with_timeout(mock.bootstrap_servers(), Duration::from_millis(500));
    mock.coordinator(MockCoordinator::Group("g".to_owned()), 1).expect("the broker exists");
    assert_eq!(known(&observe(&mut observer, Timestamp::ZERO).await), ALL);
    mock.broker_round_trip_time(3, Duration::from_secs(20)).expect("the broker exists");
    let seen = observe(&mut observer, Timestamp::from_millis(5_000)).await;
    assert_eq!(known(&seen), [0, 1, 3, 4], "{seen:?}");
    // In backoff now: its problem still names what happened, without asking.
    let seen = observe(&mut observer, Timestamp::from_millis(5_001)).await;
    let waits = |problem: &Problem| {
        problem.to_string().contains("waiting to reconnect after: no answer within 500 ms")
    };
    assert!(seen.problems.iter().any(waits), "{seen:?}");
    assert_eq!(observer.connections(), 2);
}

#[tokio::test]
async fn an_observer_that_reaches_nobody_knows_nothing() {
    let mock = cluster();
    let mut observer = observer(mock.bootstrap_servers());
    drop(mock);
    let wanted = [GroupTopics { group: "g".to_owned(), topics: vec![TOPIC.to_owned()] }];
    let seen = observer.observe(&wanted, Timestamp::ZERO).await;
    assert!(matches!(seen, Err(ObserveError::Unreachable { .. })), "{seen:?}");
}
