//! Named scenarios: real sockets, the mock cluster of librdkafka behind.

mod clocks;
mod draining;
mod hostile;
mod leaderless;
mod left_over;
mod spooled;
mod support;

use std::time::{Duration, Instant};

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use support::{Gateway, Got, PATIENCE, TOPIC};
use tidegate_mqtt::Version::{V5, V311};
use tidegate_mqtt::codec::{Disconnect, PINGREQ, Packet};

/// Long enough for a wrong answer to arrive.
const SILENCE: Duration = Duration::from_millis(400);

#[expect(clippy::disallowed_methods, reason = "a test measures how long the gateway takes, from outside")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_message_is_acknowledged_once_it_is_in_kafka_with_its_headers() {
    let gateway = Gateway::start(|_| ());
    let mut client = gateway.connect(V5, "device-1");
    client.publish(7, "site/1/temp", b"21.5");
    client.expect_pubacks([7]);
    let record = &gateway.records(TOPIC, 1)[0];
    assert_eq!((record.key.as_str(), record.payload.as_str()), ("device-1", "21.5"));
    assert_eq!(record.header("mqtt-topic"), Some("site/1/temp"));
    assert_eq!(record.header("tg-seq"), Some("1"));
    assert!(record.header("tg-src").is_some_and(|source| source.ends_with(".sensor")), "{record:?}");
    assert!(record.header("tg-gw").is_some_and(|name| name.starts_with("gateway-")), "{record:?}");
    assert_eq!((record.header("tg-dup"), record.header("tg-retain")), (None, None));
    let wanted = tidegate_kafka::partitioner::partition_for(b"device-1", 4);
    assert_eq!(u32::try_from(record.partition), Ok(wanted));
    let summary = gateway.stop().unwrap();
    assert_eq!((summary.unconfirmed, summary.figures.acknowledged), (0, 1));
}

#[test]
fn a_success_without_an_offset_acknowledges_nothing_and_the_message_goes_again() {
    let gateway = Gateway::start(|_| ());
    let mut client = gateway.connect(V311, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    // librdkafka takes it for a success; nothing was written.
    let duplicate = RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
    gateway.kafka.request_errors(RDKafkaApiKey::Produce, &[duplicate]);
    client.publish(2, "t", b"2");
    client.expect_pubacks([2]);
    let payloads: Vec<String> = gateway.records(TOPIC, 2).into_iter().map(|record| record.payload).collect();
    assert_eq!(payloads, ["1", "2"]);
}

#[test]
fn without_kafka_nothing_is_acknowledged_and_pings_are_answered() {
    let gateway = Gateway::start(|_| ());
    let mut client = gateway.connect(V311, "device-1");
    client.publish(1, "t", b"0");
    client.expect_pubacks([1]);
    gateway.kafka.broker_down(1).unwrap();
    // Beyond the window of 32: the rest is not decoded, and the ping lies behind it.
    for id in 2..=60 {
        client.publish(id, "t", id.to_string().as_bytes());
    }
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp);
    assert_eq!(client.next(SILENCE), Got::Silence);
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp);
    gateway.kafka.broker_up(1).unwrap();
    client.expect_pubacks(2..=60);
    let payloads: Vec<String> = gateway.records(TOPIC, 60).into_iter().map(|record| record.payload).collect();
    let wanted: Vec<String> =
        ["0".to_owned()].into_iter().chain((2..=60).map(|id: u16| id.to_string())).collect();
    assert_eq!(payloads, wanted, "in order, each once");
}

#[test]
fn acknowledgements_leave_in_publish_order_though_partitions_differ() {
    let gateway = Gateway::start(|raw| {
        raw.routes
            .push(tidegate_gateway::config::RawRoute { key: Some("topic".to_owned()), ..Default::default() });
        raw.mqtt.receive_maximum = Some(500);
    });
    let mut client = gateway.connect(V5, "device-1");
    for id in 1..=400 {
        client.publish(id, &format!("t/{}", id % 17), b"x");
    }
    client.expect_pubacks(1..=400);
    let partitions: std::collections::BTreeSet<i32> =
        gateway.records(TOPIC, 400).iter().map(|record| record.partition).collect();
    assert!(partitions.len() > 1, "the test needs several partitions");
}

#[test]
fn a_device_over_its_limit_is_slowed_and_loses_nothing() {
    let gateway = Gateway::start(|raw| {
        let sensor = raw.classes.get_mut("sensor").unwrap();
        (sensor.rate, sensor.burst) = (Some(1.0), Some(10));
    });
    let mut client = gateway.connect(V311, "device-1");
    let start = now();
    for id in 1..=12 {
        client.publish(id, "t", b"x");
    }
    client.expect_pubacks(1..=12);
    // Ten at once, two more at one per second.
    assert!(start.elapsed() >= Duration::from_millis(1_900), "{:?}", start.elapsed());
    assert_eq!(gateway.stats.figures().held, 2);
    // A reconnect does not refill the bucket.
    let mut again = gateway.connect(V311, "device-1");
    again.publish(1, "t", b"x");
    again.expect_pubacks([1]);
    assert_eq!(gateway.stats.figures().held, 3);
}

#[test]
fn a_full_queue_holds_messages_back_and_loses_none() {
    let gateway = Gateway::start(|raw| raw.limits.queue_bytes = Some(1 << 20));
    let mut client = gateway.connect(V311, "device-1");
    client.publish(1, "t", b"first");
    client.expect_pubacks([1]);
    gateway.kafka.broker_down(1).unwrap();
    for id in 2..=25 {
        client.publish(id, "t", &vec![0x61; 100_000]);
    }
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp);
    assert!(gateway.stats.figures().held > 10, "{:?}", gateway.stats.figures());
    let queued = gateway.metric("tidegate_gateway_queue_bytes");
    assert!(queued <= 1 << 20, "{queued}");
    gateway.kafka.broker_up(1).unwrap();
    client.expect_pubacks(2..=25);
}

#[test]
fn reports_reach_the_controller_with_the_shared_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123\n").unwrap();
    let controller = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", controller.local_addr().unwrap());
    let gateway = Gateway::start(|raw| (raw.report.url, raw.report.key_file) = (Some(url), Some(key)));
    let mut client = gateway.connect(V311, "device-1");
    client.publish(1, "t", b"x");
    client.expect_pubacks([1]);
    let deadline = now() + PATIENCE;
    loop {
        assert!(now() < deadline, "no report with the message");
        let (head, report) = support::answer_report(&controller);
        assert!(head.contains("authorization: Bearer 0123456789abcdef0123"), "{head}");
        let load = &report.topics[TOPIC]["sensor"];
        if load.admitted == 1 {
            assert!(load.offered_est > 0.0 && load.censored.abs() < f64::EPSILON, "{load:?}");
            return;
        }
    }
}

#[test]
fn qos_0_over_the_limit_is_held_while_there_is_room_and_then_shed_and_counted() {
    let gateway = Gateway::start(|raw| {
        let sensor = raw.classes.get_mut("sensor").unwrap();
        (sensor.rate, sensor.burst) = (Some(50.0), Some(5));
    });
    let mut client = gateway.connect(V311, "device-1");
    let packet = client.encoded(0, "t", b"x");
    client.send_raw(&packet.repeat(100));
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp);
    // 5 + 32 are kept, and what the bucket gave while they were decoded.
    let shed = gateway.metric("tidegate_gateway_shed_messages_total{class=\"sensor\",reason=\"over_limit\"}");
    assert!((50..=63).contains(&shed), "{shed}");
    gateway.records(TOPIC, usize::try_from(100 - shed).unwrap());
}

#[test]
fn a_topic_filter_decides_the_class_and_with_it_the_kafka_topic() {
    let gateway = Gateway::start(|raw| {
        raw.classes.entry("alarm".to_owned()).or_default().topic_filters = Some(vec!["+/alarm".to_owned()]);
    });
    let mut client = gateway.connect(V311, "device-1");
    client.publish(1, "site/alarm", b"fire");
    client.publish(2, "site/temp", b"21");
    client.expect_pubacks([1, 2]);
    assert_eq!(gateway.records("telemetry-alarm", 1)[0].payload, "fire");
    assert_eq!(gateway.records(TOPIC, 1)[0].payload, "21");
}

#[test]
fn an_alarm_that_waits_behind_held_readings_is_counted_and_keeps_its_place() {
    let gateway = Gateway::start(|raw| {
        raw.classes.entry("alarm".to_owned()).or_default().topic_filters = Some(vec!["+/alarm".to_owned()]);
        let sensor = raw.classes.get_mut("sensor").unwrap();
        (sensor.rate, sensor.burst) = (Some(5.0), Some(1));
    });
    let mut client = gateway.connect(V311, "device-1");
    let topics = ["site/temp", "site/temp", "site/alarm", "site/temp"];
    let packets = (1..).zip(topics).map(|(id, topic)| client.encoded(id, topic, b"x"));
    let packets: Vec<u8> = packets.collect::<Vec<_>>().concat();
    client.send_raw(&packets);
    client.expect_pubacks(1..=4);
    assert_eq!(gateway.metric("tidegate_gateway_class_inversions_total"), 1);
    assert_eq!(gateway.metric("tidegate_gateway_held_messages_total"), 3);
}

#[test]
fn a_message_without_a_route_is_refused_as_its_version_can() {
    let gateway = Gateway::start(|raw| {
        let filter = Some("known/#".to_owned());
        raw.routes.push(tidegate_gateway::config::RawRoute { filter, ..Default::default() });
    });
    let mut five = gateway.connect(V5, "device-1");
    five.publish(1, "unknown", b"x");
    assert_eq!(five.next(PATIENCE), Got::PubAck { id: 1, code: 0x90 });
    five.publish(2, "known/t", b"x");
    five.expect_pubacks([2]);
    let mut three = gateway.connect(V311, "device-2");
    three.publish(1, "unknown", b"x");
    assert_eq!(three.next(PATIENCE), Got::End);
    assert_eq!(
        gateway.metric("tidegate_gateway_shed_messages_total{class=\"sensor\",reason=\"no_route\"}"),
        2
    );
}

#[test]
fn a_final_refusal_by_kafka_stops_the_gateway_and_nothing_is_acknowledged() {
    let gateway = Gateway::start(|_| ());
    let mut client = gateway.connect(V5, "device-1");
    let invalid = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    gateway.kafka.request_errors(RDKafkaApiKey::Produce, &[invalid; 16]);
    client.publish(1, "t", b"x");
    assert_eq!(client.next(PATIENCE), Got::Disconnect(0x8B), "and no PUBACK");
    let error = gateway.wait().unwrap_err().to_string();
    assert!(error.contains("kafka"), "{error}");
}

#[test]
fn the_newest_connection_of_a_client_takes_over() {
    let gateway = Gateway::start(|_| ());
    let mut old = gateway.connect(V5, "device-1");
    let mut new = gateway.connect(V5, "device-1");
    assert_eq!(old.next(PATIENCE), Got::Disconnect(0x8E));
    assert_eq!(old.next(PATIENCE), Got::End);
    new.publish(1, "t", b"x");
    new.expect_pubacks([1]);
    assert_eq!(gateway.stats.figures().connections, 1);
}

#[test]
fn a_late_confirmation_is_not_given_to_the_next_connection_of_the_device() {
    let gateway = Gateway::start(|_| ());
    let mut old = gateway.connect(V5, "device-1");
    old.publish(1, "t", b"x");
    old.expect_pubacks([1]);
    gateway.kafka.broker_down(1).unwrap();
    old.publish(5, "t", b"old");
    old.send_raw(&PINGREQ);
    assert_eq!(old.next(PATIENCE), Got::PingResp);
    let mut new = gateway.connect(V5, "device-1");
    gateway.kafka.broker_up(1).unwrap();
    new.publish(6, "t", b"new");
    new.expect_pubacks([6]);
    assert_eq!(new.next(SILENCE), Got::Silence);
    assert_eq!(gateway.metric("tidegate_gateway_orphaned_acknowledgements_total"), 1);
    let payloads: Vec<String> = gateway.records(TOPIC, 3).into_iter().map(|record| record.payload).collect();
    assert_eq!(payloads, ["x", "old", "new"]);
}

#[test]
fn a_session_that_outlives_its_connection_is_present_and_a_clean_start_ends_it() {
    let gateway = Gateway::start(|_| ());
    for (clean_start, present) in [(false, false), (false, true), (true, false), (false, false)] {
        let mut client = gateway.dial(V311);
        client.send_connect("device-1", 0, clean_start);
        assert_eq!(client.expect_connack(), (present, 0), "clean start {clean_start}");
        client.send(&Packet::Disconnect(Disconnect::default()));
        assert_eq!(client.next(PATIENCE), Got::End);
    }
}

#[test]
fn a_stopping_gateway_acknowledges_what_kafka_confirms_and_then_says_so() {
    let gateway = Gateway::start(|_| ());
    let mut idle = gateway.connect(V5, "device-2");
    let mut client = gateway.connect(V5, "device-1");
    client.publish(1, "t", b"x");
    client.expect_pubacks([1]);
    gateway.kafka.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
    for id in 2..=11 {
        client.publish(id, "t", b"x");
    }
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp, "all were decoded");
    gateway.begin_stop();
    assert_eq!(idle.next(PATIENCE), Got::Disconnect(0x8B));
    client.expect_pubacks(2..=11);
    assert_eq!(client.next(PATIENCE), Got::Disconnect(0x8B));
    assert_eq!(client.next(PATIENCE), Got::End);
    let summary = gateway.stop().unwrap();
    assert_eq!((summary.unconfirmed, summary.figures.acknowledged), (0, 11));
}

#[test]
fn a_stopping_gateway_does_not_wait_for_a_kafka_that_is_away() {
    let gateway = Gateway::start(|raw| raw.drain = Some(Duration::from_millis(300)));
    let mut client = gateway.connect(V5, "device-1");
    client.publish(1, "t", b"x");
    client.expect_pubacks([1]);
    gateway.kafka.broker_down(1).unwrap();
    client.publish(2, "t", b"x");
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp);
    let start = now();
    gateway.begin_stop();
    assert_eq!(client.next(PATIENCE), Got::Disconnect(0x8B), "and no PUBACK");
    assert_eq!(gateway.stop().unwrap().unconfirmed, 1);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn beyond_the_connection_limit_connack_says_busy() {
    let gateway = Gateway::start(|raw| raw.max_connections = Some(1));
    let first = gateway.connect(V5, "device-1");
    for (version, code) in [(V5, 0x89), (V311, 3)] {
        let mut second = gateway.dial(version);
        second.send_connect("device-2", 0, true);
        assert_eq!(second.expect_connack(), (false, code));
        assert_eq!(second.next(PATIENCE), Got::End);
    }
    assert_eq!(gateway.metric("tidegate_gateway_refused_connections_total{reason=\"connection_limit\"}"), 2);
    drop(first);
}

#[test]
fn a_client_that_is_silent_for_one_and_a_half_keep_alives_is_closed() {
    let gateway = Gateway::start(|_| ());
    let mut client = gateway.dial(V5);
    client.send_connect("device-1", 1, true);
    assert_eq!(client.expect_connack(), (false, 0));
    let start = now();
    assert_eq!(client.next(PATIENCE), Got::Disconnect(0x8D));
    assert!(start.elapsed() >= Duration::from_millis(1_400), "{:?}", start.elapsed());
}

#[test]
fn many_devices_keep_their_order_and_lose_nothing() {
    let gateway = Gateway::start(|_| ());
    let mut clients: Vec<_> = (0..20).map(|n| gateway.connect(V311, &format!("device-{n}"))).collect();
    for id in 1..=50u16 {
        for client in &mut clients {
            client.publish(id, "t", id.to_string().as_bytes());
        }
    }
    for client in &mut clients {
        client.expect_pubacks(1..=50);
    }
    let mut last = std::collections::BTreeMap::new();
    for record in gateway.records(TOPIC, 1_000) {
        let number: u16 = record.payload.parse().unwrap();
        assert_eq!(last.insert(record.key.clone(), number).unwrap_or(0) + 1, number, "{}", record.key);
    }
    assert!(last.len() == 20 && last.values().all(|number| *number == 50));
}
