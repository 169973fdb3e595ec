//! A gateway that is to be taken away: nobody comes in, Kafka gets what there is, and then it ends by itself.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tidegate_gateway::config::RawSettings;
use tidegate_mqtt::Version::{V5, V311};
use tidegate_runtime::clock;

use super::support::{Client, Gateway, Got, Kafka, PATIENCE, TOPIC, kafka, records, small_spool};

/// Long enough to see that a drain waits.
const A_WHILE: Duration = Duration::from_millis(500);

fn start(kafka: &Kafka, dir: &Path) -> Gateway {
    let small = |raw: &mut RawSettings| {
        small_spool(raw, dir);
        raw.drain = Some(Duration::from_millis(300));
    };
    Gateway::start_on(kafka, small, clock::monotonic, clock::unix_millis)
}

/// Connects and has messages acknowledged, of which Kafka is away for all but the first.
fn with_backlog(gateway: &Gateway, last: u16) -> Client {
    let mut client = gateway.connect(V5, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    gateway.kafka.broker_down(1).expect("the mock cluster");
    for id in 2..=last {
        client.publish(id, "t", id.to_string().as_bytes());
        client.expect_pubacks([id]);
    }
    client
}

fn ask_to_drain(gateway: &Gateway) -> Value {
    let (status, answer) = gateway.ask("POST", "/v1/drain");
    assert_eq!(status, "HTTP/1.1 202 Accepted", "{answer}");
    serde_json::from_str(&answer).expect("JSON")
}

/// First occurrences, which must be all of `1..=last` in order.
fn assert_all_in_order(kafka: &Kafka, last: u16) {
    let wanted: Vec<String> = (1..=last).map(|id| id.to_string()).collect();
    let mut seen: Vec<String> = Vec::new();
    let mut count = wanted.len();
    while seen.len() < wanted.len() {
        seen.clear();
        for record in records(kafka, TOPIC, count) {
            if !seen.contains(&record.payload) {
                seen.push(record.payload);
            }
        }
        // Some were repeated, so there are more.
        count += wanted.len() - seen.len();
    }
    assert_eq!(seen, wanted);
}

#[test]
fn a_drained_gateway_lets_nobody_in_and_ends_once_kafka_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let gateway = start(&kafka, folder.path());
    let mut client = with_backlog(&gateway, 30);
    let answer = ask_to_drain(&gateway);
    assert_eq!(answer["draining"], true);
    assert!(answer["left"]["backlog_bytes"].as_u64().unwrap() > 0, "{answer}");
    assert_eq!(client.next(PATIENCE), Got::Disconnect(0x8B));
    gateway.wait_until_closed();
    let again = ask_to_drain(&gateway);
    assert!(again["left"]["backlog_routes"].as_u64().unwrap() > 0, "{again}");
    let (_, page) = gateway.get("/v1/spool");
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["drain"]["draining"], true);
    assert_eq!(gateway.get("/readyz").0, "HTTP/1.1 503 Service Unavailable");
    assert!(!gateway.has_ended(), "kafka has not got everything");
    kafka.broker_up(1).unwrap();
    assert_eq!(gateway.wait().unwrap().unconfirmed, 0);
    assert_all_in_order(&kafka, 30);
}

#[test]
fn a_drain_waits_for_messages_that_only_memory_has() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let gateway = start(&kafka, folder.path());
    let mut client = gateway.connect(V5, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    kafka.broker_down(1).unwrap();
    client.publish(2, "t", b"2");
    client.send_raw(&tidegate_mqtt::codec::PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp, "it was decoded");
    ask_to_drain(&gateway);
    // Acknowledged by whoever has it first, and only then is the device told to go.
    client.expect_pubacks([2]);
    assert_eq!(client.next(PATIENCE), Got::Disconnect(0x8B));
    kafka.broker_up(1).unwrap();
    assert_eq!(gateway.wait().unwrap().unconfirmed, 0);
    assert_all_in_order(&kafka, 2);
}

#[test]
fn a_drain_with_nothing_left_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path());
    let mut client = gateway.connect(V311, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    ask_to_drain(&gateway);
    assert_eq!(gateway.wait().unwrap().unconfirmed, 0);
}

/// Damages what a stopped gateway has left where `payload` stands; returns whether it stands there.
fn damage(dir: &Path, payload: &[u8]) -> std::io::Result<bool> {
    for segment in std::fs::read_dir(dir.join("sensor"))? {
        let path = segment?.path();
        let mut bytes = std::fs::read(&path)?;
        if let Some(at) = bytes.windows(payload.len()).position(|window| window == payload) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes)?;
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_drain_ends_though_the_last_record_on_the_disk_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let first = start(&kafka, folder.path());
    let mut client = with_backlog(&first, 5);
    client.publish(6, "t", b"the one that is hit");
    client.expect_pubacks([6]);
    assert_eq!(first.stop().unwrap().unconfirmed, 0);
    assert!(damage(folder.path(), b"the one that is hit").unwrap());
    let second = start(&kafka, folder.path());
    kafka.broker_up(1).unwrap();
    let _other = second.connect(V311, "device-2");
    ask_to_drain(&second);
    assert_eq!(second.wait().unwrap().unconfirmed, 0);
    assert_all_in_order(&kafka, 5);
}

#[test]
fn a_stop_ends_a_drain_and_the_next_start_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let gateway = start(&kafka, folder.path());
    let _client = with_backlog(&gateway, 20);
    ask_to_drain(&gateway);
    std::thread::sleep(A_WHILE);
    assert!(!gateway.has_ended());
    assert_eq!(gateway.stop().unwrap().unconfirmed, 0);
    kafka.broker_up(1).unwrap();
    let next = start(&kafka, folder.path());
    let mut client = next.connect(V311, "device-1");
    client.publish(21, "t", b"21");
    client.expect_pubacks([21]);
    assert_all_in_order(&kafka, 21);
}
