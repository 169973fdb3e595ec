//! The consumer against librdkafka's mock cluster.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::*;
use crate::embedded::{CONSUMER_OVERRIDES, Embedded};

/// Far more than any of this takes; a test that needs it has failed.
const DEADLINE: Duration = Duration::from_secs(30);
const PARTITIONS: u32 = 4;

/// A clock that only the tests' work moves: each look takes a millisecond.
fn clock() -> Timestamp {
    static MILLIS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    Timestamp::from_millis(MILLIS.fetch_add(1, Ordering::Relaxed))
}

fn cluster(records_per_partition: u32) -> Embedded {
    let cluster = Embedded::start(&[("t", PARTITIONS)]).unwrap();
    produce(&cluster, records_per_partition);
    cluster
}

fn produce(cluster: &Embedded, records_per_partition: u32) {
    let servers = cluster.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    for partition in 0..PARTITIONS.cast_signed() {
        for number in 0..records_per_partition {
            let payload = number.to_be_bytes();
            let record = BaseRecord::<(), _>::to("t").partition(partition).payload(&payload[..]);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(DEADLINE).unwrap();
}

type Seen = (u32, i64);

fn settings(cluster: &Embedded, name: &str) -> Settings {
    let mut settings = Settings::new(cluster.bootstrap_servers(), "g", "t", name);
    // Longer than a test: what is committed is committed by leaving.
    settings.commit_interval = Duration::from_mins(10);
    settings.overrides = CONSUMER_OVERRIDES.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    settings
}

fn member(cluster: &Embedded, name: &str, work: Work) -> (Running, Receiver<Seen>) {
    let mut settings = settings(cluster, name);
    settings.work = work;
    let (tell, seen) = sync_channel(100_000);
    let sink = move |record: &Received<'_>| {
        let _ = tell.try_send((record.partition(), record.offset()));
    };
    (spawn(&settings, clock, Timestamp::ZERO, sink).unwrap(), seen)
}

fn take(seen: &Receiver<Seen>, count: usize) -> Vec<Seen> {
    let mut got: Vec<_> = (0..count).map(|_| seen.recv_timeout(DEADLINE).expect("a record")).collect();
    got.sort_unstable();
    got
}

fn all(records_per_partition: i64, from: i64) -> Vec<Seen> {
    (0..PARTITIONS).flat_map(|p| (from..from + records_per_partition).map(move |o| (p, o))).collect()
}

#[test]
fn a_stopped_member_has_committed_what_it_processed_and_its_successor_goes_on_there() {
    let cluster = cluster(50);
    let (first, seen) = member(&cluster, "a", Work::None);
    assert_eq!(take(&seen, 200), all(50, 0));
    first.stop();
    let stats = Arc::clone(first.stats());
    first.join().unwrap();
    let figures = stats.snapshot();
    assert_eq!((figures.records, figures.failed_commits), (200, 0));
    assert!(figures.busy >= Duration::from_millis(200), "one look at the clock per record at least");
    assert!(figures.first_fetch.is_some());
    assert_eq!(figures.partitions, 0, "it left");

    produce(&cluster, 10);
    let (second, seen) = member(&cluster, "b", Work::None);
    assert_eq!(take(&seen, 40), all(10, 50), "nothing again, nothing left out");
    assert_eq!(cluster.deleted_unread("g", DEADLINE).unwrap(), []);
    second.stop();
    second.join().unwrap();
}

#[test]
fn a_member_that_joins_takes_half_of_the_partitions_and_gives_them_back_when_it_leaves() {
    let cluster = cluster(1);
    let (first, _seen) = member(&cluster, "a", Work::None);
    until(|| first.stats().snapshot().partitions == PARTITIONS);
    let (second, _also_seen) = member(&cluster, "b", Work::None);
    until(|| first.stats().snapshot().partitions == 2 && second.stats().snapshot().partitions == 2);
    second.stop();
    second.join().unwrap();
    until(|| first.stats().snapshot().partitions == PARTITIONS);
    first.stop();
    first.join().unwrap();
}

#[test]
fn a_record_in_work_when_the_stop_comes_is_finished_and_committed_and_no_other_is() {
    let cluster = cluster(50);
    let settings = settings(&cluster, "a");
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    let (tell, seen) = sync_channel(1);
    let wait = Arc::clone(&gate);
    let sink = move |record: &Received<'_>| {
        let _ = tell.try_send((record.partition(), record.offset()));
        drop(wait.lock().unwrap());
    };
    let first = spawn(&settings, clock, Timestamp::ZERO, sink).unwrap();
    let (partition, offset) = seen.recv_timeout(DEADLINE).unwrap();
    assert_eq!(offset, 0);
    first.stop();
    drop(held);
    first.join().unwrap();

    let (second, seen) = member(&cluster, "b", Work::None);
    let rest: Vec<_> = all(50, 0).into_iter().filter(|record| *record != (partition, 0)).collect();
    assert_eq!(take(&seen, 199), rest);
    second.stop();
    second.join().unwrap();
}

/// Each look takes 100 ms: the time to leave is over after fifty.
fn fast_clock() -> Timestamp {
    static LOOKS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    Timestamp::from_millis(100 * LOOKS.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn a_member_whose_coordinator_is_gone_ends_nevertheless() {
    let cluster = native::MockCluster::new(1, Duration::from_millis(300)).unwrap();
    cluster.get().create_topic("t", 1, 1).unwrap();
    let mut settings = Settings::new(cluster.get().bootstrap_servers(), "g", "t", "a");
    settings.overrides = CONSUMER_OVERRIDES.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let member = spawn(&settings, fast_clock, Timestamp::ZERO, |_| {}).unwrap();
    until(|| member.stats().snapshot().partitions == 1);
    cluster.get().broker_down(1).unwrap();
    member.stop();
    until(|| member.is_finished());
    member.join().unwrap();
}

#[test]
fn a_member_that_never_reached_kafka_ends_when_told_to() {
    let settings = Settings::new("127.0.0.1:1", "g", "t", "a");
    let member = spawn(&settings, fast_clock, Timestamp::ZERO, |_| {}).unwrap();
    member.stop();
    until(|| member.is_finished());
    member.join().unwrap();
}

#[test]
fn burning_takes_as_long_as_it_was_told_to() {
    let cluster = cluster(2);
    let (member, seen) = member(&cluster, "a", Work::Burn(Duration::from_millis(30)));
    take(&seen, 8);
    member.stop();
    let stats = Arc::clone(member.stats());
    member.join().unwrap();
    let figures = stats.snapshot();
    assert!(figures.busy >= Duration::from_millis(30) * 8, "{figures:?}");
}

fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..DEADLINE.as_millis() / 10 {
        if condition() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("not within {DEADLINE:?}");
}
