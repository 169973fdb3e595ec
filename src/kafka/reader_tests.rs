//! The reader against librdkafka's mock cluster.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tidegate_core::time::Timestamp;

use super::*;
use crate::embedded::Embedded;

/// Far more than any of this takes; a test that needs it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

fn standing() -> Timestamp {
    Timestamp::ZERO
}

/// Each look takes a minute.
fn running() -> Timestamp {
    static MINUTES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    Timestamp::from_millis(60_000 * MINUTES.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

fn produce(cluster: &Embedded, topic: &str, partition: i32, payloads: std::ops::Range<u32>) {
    let servers = cluster.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    for number in payloads {
        let payload = number.to_be_bytes();
        let record = BaseRecord::<(), _>::to(topic).partition(partition).payload(&payload[..]);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(DEADLINE).unwrap();
}

type Read = HashMap<(String, u32), Vec<u32>>;

fn read(cluster: &Embedded, topics: &[&str], mut each: impl FnMut()) -> Result<Read, Error> {
    let mut read = Read::new();
    read_all(&cluster.bootstrap_servers(), topics, DEADLINE, standing, &mut |record| {
        each();
        let payload = u32::from_be_bytes(record.payload().try_into().unwrap());
        read.entry((record.topic().to_owned(), record.partition())).or_default().push(payload);
    })?;
    Ok(read)
}

#[test]
fn every_record_of_every_topic_is_read_in_order_and_each_reading_starts_anew() {
    let cluster = Embedded::start(&[("a", 2), ("b", 1), ("empty", 3)]).unwrap();
    produce(&cluster, "a", 0, 0..1000);
    produce(&cluster, "a", 1, 5..6);
    produce(&cluster, "b", 0, 7..9);
    let expected = [
        (("a".to_owned(), 0), (0..1000).collect()),
        (("a".to_owned(), 1), vec![5]),
        (("b".to_owned(), 0), vec![7, 8]),
    ];
    for _ in 0..2 {
        assert_eq!(read(&cluster, &["a", "b", "empty"], || {}).unwrap(), expected.clone().into());
    }
}

#[test]
fn a_reading_ends_where_the_topic_ended_when_it_began() {
    let cluster = Embedded::start(&[("a", 1)]).unwrap();
    produce(&cluster, "a", 0, 0..3);
    let mut more = 3..1000;
    // A topic that grows with every record read has no other end.
    let read = read(&cluster, &["a"], || produce(&cluster, "a", 0, more.next().map_or(0..0, |n| n..n + 1)));
    assert_eq!(read.unwrap()[&("a".to_owned(), 0)], [0, 1, 2]);
}

#[test]
fn nothing_to_read_is_read_at_once_and_a_missing_topic_is_named() {
    let cluster = Embedded::start(&[("empty", 3)]).unwrap();
    assert_eq!(read(&cluster, &["empty"], || {}).unwrap(), Read::new());
    let missing = read(&cluster, &["empty", "nobody-made-this"], || {}).unwrap_err();
    assert_eq!(missing.to_string(), "topic nobody-made-this does not exist");
}

#[test]
fn time_that_is_up_is_said_with_what_is_left() {
    let cluster = Embedded::start(&[("a", 2), ("b", 1)]).unwrap();
    produce(&cluster, "a", 0, 0..3);
    produce(&cluster, "b", 0, 0..3);
    let within = Duration::from_secs(1);
    let late = read_all(&cluster.bootstrap_servers(), &["a", "b"], within, running, &mut |_| {});
    assert_eq!(late.unwrap_err().to_string(), "a, b not read to the end within 1s: 2 partitions are left");
}
