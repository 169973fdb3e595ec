//! A gateway with a spool: Kafka goes away and comes back, the gateway is killed and stopped, the disk fills.

use std::path::Path;
use std::time::Duration;

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tidegate_core::time::Timestamp;
use tidegate_gateway::config::RawSettings;
use tidegate_mqtt::Version::{V5, V311};
use tidegate_mqtt::codec::PINGREQ;
use tidegate_runtime::clock;

use super::support::{
    Client, Gateway, Got, Kafka, PARTITIONS, PATIENCE, TOPIC, grown_kafka, kafka, pretend_two_copies,
    records_in, small_spool,
};
use super::{SILENCE, now};

const STORED: &str = "tidegate_spool_stored_records_total";
const BEHIND: &str = "tidegate_gateway_routes_behind";

fn start(kafka: &Kafka, dir: &Path, change: impl FnOnce(&mut RawSettings)) -> Gateway {
    let small = |raw: &mut RawSettings| {
        small_spool(raw, dir);
        raw.drain = Some(Duration::from_millis(300));
        change(raw);
    };
    Gateway::start_on(kafka, small, clock::monotonic, clock::unix_millis)
}

/// Connects and has one message acknowledged by Kafka, as a gateway at work.
fn warmed_up(gateway: &Gateway) -> Client {
    let mut client = gateway.connect(V311, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    client
}

fn publish(client: &mut Client, ids: std::ops::RangeInclusive<u16>) {
    for id in ids.clone() {
        client.publish(id, "t", id.to_string().as_bytes());
    }
    client.expect_pubacks(ids);
}

/// First occurrences, which must be all of `1..=last` in order; repetitions have the identity of the first.
fn assert_all_in_order(gateway: &Gateway, last: u16) {
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut count = usize::from(last);
    loop {
        seen.clear();
        let records = gateway.records(TOPIC, count);
        for record in &records {
            let header = |name| record.header(name).unwrap_or_else(|| panic!("no {name} in {record:?}"));
            let identity = ["tg-gw", "tg-src", "tg-epoch", "tg-seq"].map(header).join(" ");
            match seen.iter().find(|(payload, _)| *payload == record.payload) {
                Some((_, first)) => assert_eq!(*first, identity, "a repetition can be recognised"),
                None => seen.push((record.payload.clone(), identity)),
            }
        }
        if seen.len() == usize::from(last) {
            break;
        }
        // Some were repeated, so there are more.
        count += usize::from(last) - seen.len();
    }
    let payloads: Vec<&str> = seen.iter().map(|(payload, _)| payload.as_str()).collect();
    let wanted: Vec<String> = (1..=last).map(|id| id.to_string()).collect();
    assert_eq!(payloads, wanted);
}

#[test]
fn without_kafka_the_disk_acknowledges_and_kafka_gets_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path(), |_| ());
    let mut client = warmed_up(&gateway);
    gateway.kafka.broker_down(1).unwrap();
    // More than a window of 32: the second half is let in because the first was acknowledged.
    publish(&mut client, 2..=100);
    assert!(gateway.metric(STORED) >= 99);
    gateway.wait_for(BEHIND, |routes| routes > 0);
    assert_eq!(gateway.get("/readyz").0, "HTTP/1.1 200 OK", "devices need not go elsewhere");
    gateway.kafka.broker_up(1).unwrap();
    publish(&mut client, 101..=120);
    assert_all_in_order(&gateway, 120);
    gateway.wait_for("tidegate_spool_backlog_bytes{lane=\"sensor\"}", |bytes| bytes == 0);
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_goes_before_what_comes_later() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kafka = kafka();
    let first = start(&kafka, folder.path(), |_| ());
    let mut client = warmed_up(&first);
    kafka.broker_down(1).unwrap();
    publish(&mut client, 2..=60);
    // What a killed process leaves: its files as they are in mid-work.
    copy_folder(folder.path(), copy.path()).unwrap();
    drop(first);
    let second = start(&kafka, copy.path(), |_| ());
    // Kafka is still away: the gateway starts with the partitions that it knows.
    let mut client = second.connect(V311, "device-1");
    publish(&mut client, 61..=80);
    kafka.broker_up(1).unwrap();
    publish(&mut client, 81..=90);
    assert_all_in_order(&second, 90);
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[test]
fn a_stop_while_kafka_is_away_loses_nothing_and_does_not_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let gateway = start(&kafka, folder.path(), |_| ());
    let mut client = gateway.connect(V5, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    kafka.broker_down(1).unwrap();
    // Young enough to wait for Kafka alone: the stop is what sends them to the disk.
    for id in 2..=12u16 {
        client.publish(id, "t", id.to_string().as_bytes());
    }
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp, "all were decoded");
    let began = now();
    gateway.begin_stop();
    client.expect_pubacks(2..=12);
    assert_eq!(client.next(PATIENCE), Got::Disconnect(0x8B));
    assert_eq!(gateway.stop().unwrap().unconfirmed, 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    kafka.broker_up(1).unwrap();
    let again = start(&kafka, folder.path(), |_| ());
    let mut client = again.connect(V311, "device-1");
    publish(&mut client, 13..=20);
    assert_all_in_order(&again, 20);
    let (status, page) = again.get("/v1/spool");
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(
        (status.as_str(), &page["epoch"], &page["found"]),
        ("HTTP/1.1 200 OK", &2.into(), &serde_json::json!([]))
    );
    assert_eq!(page["lanes"][2]["name"], "sensor");
    assert_eq!(page["lanes"][2]["health"], "ok");
}

#[test]
fn partitions_that_a_topic_has_grown_by_are_used_once_what_waited_at_a_start_is_gone() {
    const DEVICES: u16 = 16;
    let publish_all = |gateway: &Gateway, payload: &str| {
        for device in 0..DEVICES {
            let mut client = gateway.connect(V311, &format!("device-{device}"));
            client.publish(1, "t", payload.as_bytes());
            client.expect_pubacks([1]);
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let (kafka, grown) = (kafka(), grown_kafka(2 * PARTITIONS));
    let first = start(&kafka, folder.path(), |_| ());
    publish_all(&first, "0");
    kafka.broker_down(1).unwrap();
    publish_all(&first, "1");
    first.stop().unwrap();
    let second = start(&grown, folder.path(), |_| ());
    publish_all(&second, "2");
    second.wait_for("tidegate_spool_backlog_bytes{lane=\"sensor\"}", |bytes| bytes == 0);
    second.stop().unwrap();
    let third = start(&grown, folder.path(), |_| ());
    publish_all(&third, "3");
    let records = records_in(&grown, TOPIC, 0..2 * PARTITIONS, 3 * usize::from(DEVICES));
    for record in &records {
        let is_new = record.partition >= PARTITIONS;
        assert!(!is_new || record.payload == "3", "its device may overtake what waits: {record:?}");
    }
    assert!(records.iter().any(|record| record.partition >= PARTITIONS), "it has grown");
    for device in 0..DEVICES {
        let own = records.iter().filter(|record| record.key == format!("device-{device}"));
        assert_eq!(
            own.filter(|record| record.payload != "3").map(|record| &record.payload).collect::<Vec<_>>(),
            ["1", "2"]
        );
    }
}

#[test]
fn with_ack_kafka_the_disk_stores_and_only_kafka_acknowledges() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path(), |raw| raw.spool.ack = Some("kafka".to_owned()));
    let mut client = warmed_up(&gateway);
    gateway.kafka.broker_down(1).unwrap();
    for id in 2..=10u16 {
        client.publish(id, "t", id.to_string().as_bytes());
    }
    gateway.wait_for(STORED, |stored| stored >= 9);
    assert_eq!(client.next(SILENCE), Got::Silence);
    gateway.kafka.broker_up(1).unwrap();
    client.expect_pubacks(2..=10);
    assert_all_in_order(&gateway, 10);
}

#[test]
fn with_ack_disk_every_message_is_on_the_disk_before_its_puback() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path(), |raw| raw.spool.ack = Some("disk".to_owned()));
    let mut client = gateway.connect(V311, "device-1");
    for id in 1..=20u16 {
        publish(&mut client, id..=id);
        assert!(gateway.metric(STORED) >= u64::from(id));
    }
    assert_all_in_order(&gateway, 20);
}

#[test]
fn a_site_that_is_not_known_to_have_two_copies_acknowledges_from_the_disk_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path(), |raw| raw.spool.ack = None);
    let mut client = gateway.connect(V311, "device-1");
    for id in 1..=5u16 {
        publish(&mut client, id..=id);
        assert!(gateway.metric(STORED) >= u64::from(id));
    }
    assert_eq!(gateway.metric("tidegate_spool_acknowledgement_state{at=\"disk\"}"), 1);
    assert_eq!(gateway.metric(&format!("tidegate_spool_single_copy_state{{topic=\"{TOPIC}\"}}")), 1);
    let (_, page) = gateway.get("/v1/spool");
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!((&page["ack"], &page["topics"][2]["replicated"]), (&"disk".into(), &false.into()));
    let found = page["topics"][2]["found"].as_str().unwrap();
    assert!(found.contains("replication is 1") && found.contains("DescribeConfigs"), "{found}");
    assert_all_in_order(&gateway, 5);
}

#[test]
fn without_kafka_what_an_earlier_run_found_decides_who_acknowledges() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let first = start(&kafka, folder.path(), |_| ());
    warmed_up(&first);
    drop(first);
    pretend_two_copies(folder.path());
    kafka.broker_down(1).unwrap();
    let gateway = start(&kafka, folder.path(), |raw| raw.spool.ack = None);
    gateway.wait_for("tidegate_spool_acknowledgement_state{at=\"first\"}", |is| is == 1);
    drop(gateway);
    // And once Kafka is asked again, what it says.
    kafka.broker_up(1).unwrap();
    let gateway = start(&kafka, folder.path(), |raw| raw.spool.ack = None);
    gateway.wait_for("tidegate_spool_acknowledgement_state{at=\"disk\"}", |is| is == 1);
}

#[test]
fn a_full_lane_holds_devices_back_until_kafka_has_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path(), |_| ());
    let mut client = warmed_up(&gateway);
    gateway.kafka.broker_down(1).unwrap();
    let payload = |id: u16| format!("{id}{}", " ".repeat(100_000));
    let mut next = 2;
    let mut acknowledged = 1;
    loop {
        while next < acknowledged + 16 {
            client.publish(next, "t", payload(next).as_bytes());
            next += 1;
        }
        match client.next(Duration::from_secs(8)) {
            Got::PubAck { id, code: 0 } => acknowledged = id,
            Got::Silence => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((30..70).contains(&acknowledged), "{acknowledged} of 100 kB in about 5 MiB");
    assert_eq!(gateway.metric("tidegate_spool_full_state{lane=\"sensor\"}"), 1);
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp);
    gateway.kafka.broker_up(1).unwrap();
    client.expect_pubacks(acknowledged + 1..next);
    publish(&mut client, next..=next);
    gateway.wait_for("tidegate_gateway_kafka_delivered_records_total", |count| count >= u64::from(next));
    // The mock cluster keeps the last 5 MiB of a partition only.
    let ids = gateway.records(TOPIC, 20).into_iter().map(|record| record.payload.trim_end().parse().unwrap());
    let ids: Vec<u16> = ids.collect();
    assert!(ids.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{ids:?}");
}

#[test]
fn a_lane_that_rejects_says_so_to_those_whose_mqtt_has_words_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path(), |raw| {
        raw.classes.get_mut("sensor").unwrap().full = Some("reject".to_owned());
    });
    let mut client = gateway.connect(V5, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    gateway.kafka.broker_down(1).unwrap();
    let payload = vec![b'x'; 100_000];
    for id in 2..=200u16 {
        client.publish(id, "t", &payload);
        match client.next(PATIENCE) {
            Got::PubAck { code: 0, .. } => {}
            Got::PubAck { code: 0x97, .. } => {
                let rejected = "tidegate_spool_refusals_total{lane=\"sensor\",reason=\"rejected\"}";
                assert!(gateway.metric(rejected) >= 1);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("20 MB fit a lane of 8 MiB");
}

#[test]
fn a_producer_that_failed_is_replaced_and_kafka_gets_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path(), |_| ());
    let mut client = warmed_up(&gateway);
    let out_of_order = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    gateway.kafka.request_errors(RDKafkaApiKey::Produce, &[out_of_order]);
    publish(&mut client, 2..=60);
    assert_eq!(gateway.metric("tidegate_gateway_kafka_retired_producers_total"), 1);
    assert_all_in_order(&gateway, 60);
}

/// So that a second error meets the next producer.
fn one_request_at_a_time(raw: &mut RawSettings) {
    raw.kafka.overrides.insert("max.in.flight".to_owned(), "1".to_owned());
}

#[test]
fn a_record_that_kafka_refuses_for_good_is_put_aside_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path(), one_request_at_a_time);
    let mut client = warmed_up(&gateway);
    // Once in whatever batch it is, and then alone.
    let invalid = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    gateway.kafka.request_errors(RDKafkaApiKey::Produce, &[invalid, invalid]);
    publish(&mut client, 2..=20);
    gateway.wait_for("tidegate_gateway_dead_letters_total", |letters| letters == 1);
    let payloads: Vec<u16> =
        gateway.records(TOPIC, 19).iter().map(|record| record.payload.parse().unwrap()).collect();
    assert!(payloads.windows(2).all(|pair| pair[0] < pair[1]), "{payloads:?}");
    assert_eq!((payloads[0], payloads.len()), (1, 19), "all but one of twenty");
    let (_, page) = gateway.get("/v1/spool");
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["lanes"][3]["name"], "dead-letter");
    assert_eq!(page["lanes"][3]["backlog_routes"], 1);
}

#[test]
fn a_record_whose_time_kafka_refuses_is_sent_again_with_the_present_one() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path(), one_request_at_a_time);
    let mut client = warmed_up(&gateway);
    // Once in whatever batch it is, and then alone.
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
    gateway.kafka.request_errors(RDKafkaApiKey::Produce, &[refused, refused]);
    publish(&mut client, 2..=20);
    assert_all_in_order(&gateway, 20);
    assert_eq!(gateway.metric("tidegate_gateway_dead_letters_total"), 0);
    let records = gateway.records(TOPIC, 20);
    let first = records.iter().find(|record| record.payload == "2").unwrap();
    let own: i64 = first.header("tg-time").expect("its own time").parse().unwrap();
    assert!(own < first.time_ms, "{own} is when it came, {} when it was sent", first.time_ms);
    assert_eq!(records[0].header("tg-time"), None, "what came before was not refused");
}

/// The process's time, four times as fast: the minute that a route stays BEHIND takes a quarter.
fn fast_clock() -> Timestamp {
    Timestamp::from_nanos(clock::monotonic().as_nanos() * 4)
}

#[test]
fn a_route_that_has_caught_up_leaves_the_disk_alone_after_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let small = |raw: &mut RawSettings| small_spool(raw, folder.path());
    let gateway = Gateway::start_on(&kafka, small, fast_clock, clock::unix_millis);
    let mut client = warmed_up(&gateway);
    kafka.broker_down(1).unwrap();
    publish(&mut client, 2..=10);
    gateway.wait_for(BEHIND, |routes| routes > 0);
    kafka.broker_up(1).unwrap();
    let turned = || gateway.metric("tidegate_gateway_route_turns_total{to=\"direct\"}");
    let mut last = 10;
    while turned() == 0 {
        assert!(last < 300, "a minute is over, and the route is still BEHIND");
        last += 1;
        publish(&mut client, last..=last);
        // A route without traffic is forgotten before it is judged.
        std::thread::sleep(Duration::from_millis(100));
    }
    gateway.wait_for(BEHIND, |routes| routes == 0);
    let stored = gateway.metric(STORED);
    publish(&mut client, last + 1..=last + 20);
    assert_eq!(gateway.metric(STORED), stored, "Kafka alone takes them");
    assert_all_in_order(&gateway, last + 20);
}

#[test]
fn a_device_that_changed_its_class_does_not_overtake_what_it_left_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let one_topic = |raw: &mut RawSettings| {
        let topic = Some(TOPIC.to_owned());
        raw.routes.push(tidegate_gateway::config::RawRoute { topic, ..Default::default() });
    };
    let first = start(&kafka, folder.path(), one_topic);
    let mut client = warmed_up(&first);
    kafka.broker_down(1).unwrap();
    publish(&mut client, 2..=200);
    assert_eq!(first.stop().unwrap().unconfirmed, 0);
    let second = start(&kafka, folder.path(), |raw| {
        one_topic(raw);
        let alarm = raw.classes.get_mut("alarm").unwrap();
        alarm.client_id_prefixes = vec!["device-".to_owned()];
    });
    let mut client = second.connect(V311, "device-1");
    publish(&mut client, 201..=220);
    kafka.broker_up(1).unwrap();
    publish(&mut client, 221..=230);
    assert_all_in_order(&second, 230);
}
