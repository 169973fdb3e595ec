use rdkafka::consumer::CommitMode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::*;

const WAIT: Duration = Duration::from_secs(20);

fn produce(cluster: &Embedded, topic: &str, records: usize, bytes: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("linger.ms", "0")
        .create()
        .unwrap();
    let payload = vec![b'x'; bytes];
    for _ in 0..records {
        producer.send(BaseRecord::<(), _>::to(topic).partition(0).payload(&payload)).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

fn commit(cluster: &Embedded, group: &str, topic: &str, offset: i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

#[test]
fn what_lies_before_the_commit_was_read() {
    assert_eq!(unread_before(0, Offset::Invalid), 0);
    assert_eq!(unread_before(7, Offset::Invalid), 7, "never committed, and seven are gone");
    assert_eq!(unread_before(7, Offset::Offset(9)), 0);
    assert_eq!(unread_before(9, Offset::Offset(7)), 2);
}

#[test]
fn records_deleted_before_they_were_read_are_told() {
    let cluster = Embedded::start(&[("t", 2)]).unwrap();
    assert_eq!(cluster.deleted_unread("g", WAIT).unwrap(), []);
    produce(&cluster, "t", 15, 500_000);
    let deleted = cluster.deleted_unread("g", WAIT).unwrap();
    let records = deleted[0].records;
    assert_eq!((deleted.len(), deleted[0].partition), (1, 0));
    assert!((4..=6).contains(&records), "7.5 MB were written, 5 MiB are kept: {records} are gone");
    commit(&cluster, "g", "t", i64::try_from(records).unwrap());
    assert_eq!(cluster.deleted_unread("g", WAIT).unwrap(), [], "what is gone was read");
}
