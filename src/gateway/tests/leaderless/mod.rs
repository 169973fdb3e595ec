//! A partition that never gets a leader again: the others go on, and of the spool it takes its own records and no more.

use std::ops::RangeInclusive;
use std::path::Path;

use tidegate_gateway::config::RawSettings;
use tidegate_kafka::partitioner::partition_for;
use tidegate_mqtt::Version::V311;
use tidegate_runtime::clock;

use super::support::{
    Client, Gateway, Kafka, PARTITIONS, TOPIC, kafka_of, pretend_two_copies, records_in, small_spool,
};

const DEAD: i32 = 2;
const LIVE: [i32; 3] = [0, 1, 3];
const SEGMENT_BYTES: u64 = 1 << 20;
const LANE_BYTES: i64 = 12 << 20;
/// That, less the reserve for a pool of 1 MiB.
const LANE_FULL_BYTES: u64 = 9 << 20;
/// The log takes this many times what it holds within 80 rounds, or more of them if Kafka is often faster than the disk.
const TIMES_OVER: u64 = 3;
const MOST_ROUNDS: u16 = 800;
/// Messages of each live device in a round, and how long they are.
const LIVE_MESSAGES: u16 = 16;
const LIVE_BYTES: usize = 8000;
const DEAD_BYTES: usize = 1000;
/// What a record takes beside its payload and its key: the rule of docs/operations.md, for MQTT topic `t`.
const RECORD_BYTES: usize = 60 + "mqtt-topic".len() + 6 + "t".len();

const DELIVERED: &str = "tidegate_gateway_kafka_delivered_records_total";

/// Starts a gateway that sends all through its spool, on topics of which it takes Kafka to have two copies: with one,
/// nothing leaves the spool for a minute. One partition has no leader by the time that it finds Kafka: librdkafka's mock
/// reads a null pointer if a Produce request for such a partition comes to the broker that led it.
fn start(kafka: &Kafka, dir: &Path) -> Gateway {
    let start = || {
        let change = |raw: &mut RawSettings| {
            small_spool(raw, dir);
            raw.spool.ack = Some("disk".to_owned());
            raw.classes.get_mut("sensor").expect("a default class").spool_bytes = Some(LANE_BYTES);
        };
        Gateway::start_on(kafka, change, clock::monotonic, clock::unix_millis)
    };
    let first = start();
    publish(&mut device(&first, LIVE[0]).0, 1..=1, b"1");
    drop(first);
    pretend_two_copies(dir);
    let brokers = [1, 2];
    for broker in brokers {
        kafka.broker_down(broker).expect("the mock cluster");
    }
    let second = start();
    // It has metrics once it is at work, with what the last run knew.
    second.wait_for("tidegate_gateway_routes", |_| true);
    kafka.partition_leader(TOPIC, DEAD, None).expect("the mock cluster");
    for broker in brokers {
        kafka.broker_up(broker).expect("the mock cluster");
    }
    second
}

/// Connects a device whose messages go to a partition; returns its name, too.
fn device(gateway: &Gateway, partition: i32) -> (Client, String) {
    let as_u32 = |number: i32| u32::try_from(number).expect("partitions are counted from 0");
    let goes_there = |name: &String| partition_for(name.as_bytes(), as_u32(PARTITIONS)) == as_u32(partition);
    let name = (0..1000).map(|number| format!("device-{number}")).find(goes_there).expect("keys are spread");
    (gateway.connect(V311, &name), name)
}

fn publish(client: &mut Client, ids: RangeInclusive<u16>, payload: &[u8]) {
    for id in ids.clone() {
        client.publish(id, "t", payload);
    }
    client.expect_pubacks(ids);
}

/// What a device of the dead partition sends in a round.
fn payload(round: u16) -> String {
    format!("{round:<DEAD_BYTES$}")
}

#[test]
fn a_partition_without_a_leader_for_ever_leaves_the_spool_to_the_others_but_for_its_own_records() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka_of(2);
    let gateway = start(&kafka, folder.path());
    let (mut dead, name) = device(&gateway, DEAD);
    let mut live = LIVE.map(|partition| device(&gateway, partition).0);
    // From half of the lane on, segments are rewritten; one is being written, one rewritten, one waits for its turn.
    let bound = LANE_FULL_BYTES / 2 + 3 * SEGMENT_BYTES;
    let lane = |metric: &str| gateway.metric(&format!("tidegate_spool_{metric}{{lane=\"sensor\"}}"));
    let mut round = 0;
    while gateway.metric("tidegate_spool_stored_bytes_total") <= TIMES_OVER * LANE_FULL_BYTES {
        round += 1;
        assert!(round <= MOST_ROUNDS, "what is acknowledged by the disk goes to the disk");
        publish(&mut dead, round..=round, payload(round).as_bytes());
        let ids = (round - 1) * LIVE_MESSAGES + 1..=round * LIVE_MESSAGES;
        for client in &mut live {
            publish(client, ids.clone(), &[b'x'; LIVE_BYTES]);
        }
        let sent = u64::from(round * LIVE_MESSAGES) * LIVE.len() as u64;
        gateway.wait_for(DELIVERED, |delivered| delivered >= sent);
        gateway.wait_for("tidegate_spool_used_bytes{lane=\"sensor\"}", |used| used <= bound);
    }
    assert_eq!(lane("full_bytes"), LANE_FULL_BYTES);
    let own = u64::from(round) * (RECORD_BYTES + name.len() + DEAD_BYTES) as u64;
    gateway.wait_for("tidegate_spool_backlog_routes{lane=\"sensor\"}", |routes| routes == 1);
    gateway.wait_for("tidegate_spool_backlog_bytes{lane=\"sensor\"}", |bytes| bytes == own);
    assert_eq!(gateway.metric("tidegate_spool_refusals_total{lane=\"sensor\",reason=\"waited\"}"), 0);

    // For ever is over.
    kafka.partition_leader(TOPIC, DEAD, Some(1)).unwrap();
    gateway.wait_for("tidegate_spool_backlog_bytes{lane=\"sensor\"}", |bytes| bytes == 0);
    let records = records_in(&kafka, TOPIC, DEAD..DEAD + 1, usize::from(round));
    let payloads: Vec<String> = records.into_iter().map(|record| record.payload).collect();
    assert_eq!(payloads, (1..=round).map(payload).collect::<Vec<_>>());
}
