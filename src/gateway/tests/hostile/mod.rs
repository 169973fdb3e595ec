//! Clients that break the rules, send too much, or come at the wrong moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_core::time::UnixMillis;
use tidegate_mqtt::Version::{V5, V311};
use tidegate_mqtt::codec::PINGREQ;

use crate::support::{Gateway, Got, PATIENCE, TOPIC};
use crate::{SILENCE, now};

#[test]
fn broken_packets_are_answered_as_the_standard_says_and_counted() {
    let gateway = Gateway::start(|raw| raw.mqtt.max_packet_bytes = Some(1_000));
    let count = |reason| {
        gateway.metric(&format!("tidegate_gateway_protocol_violations_total{{reason=\"{reason}\"}}"))
    };
    // The same packets in both versions but for the property length, which 3.1.1 takes as payload.
    let cases: [(&str, &[u8], u8); 5] = [
        ("packet_too_large", &[0x30, 0x80, 0x10], 0x95),
        ("topic_name", &[0x30, 4, 0, 1, b'#', 0], 0x90),
        ("packet_id_zero", &[0x32, 6, 0, 1, b't', 0, 0, 0], 0x82),
        ("utf8", &[0x30, 5, 0, 2, 0xC3, 0x28, 0], 0x81),
        ("second_connect", &[0x10, 0], 0x82),
    ];
    for (reason, bytes, code) in cases {
        let mut five = gateway.connect(V5, "device-1");
        five.send_raw(bytes);
        assert_eq!(five.next(PATIENCE), Got::Disconnect(code), "{reason}");
        assert_eq!(five.next(PATIENCE), Got::End);
        let mut three = gateway.connect(V311, "device-2");
        three.send_raw(bytes);
        assert_eq!(three.next(PATIENCE), Got::End, "{reason}: 3.1.1 has no words for it");
        assert_eq!(count(reason), 2, "{reason}");
    }
    let closed = "tidegate_gateway_closed_connections_total{reason=\"violation\"}";
    assert_eq!(gateway.metric(closed), 10);
}

#[test]
fn a_broken_first_packet_is_answered_as_the_standard_says_and_counted() {
    let gateway = Gateway::start(|_| ());
    let count = |reason| {
        gateway.metric(&format!("tidegate_gateway_protocol_violations_total{{reason=\"{reason}\"}}"))
    };
    let mut client = gateway.dial(V5);
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::End);
    assert_eq!(count("first_packet_not_connect"), 1);
    let mut client = gateway.dial(V5);
    // A client identifier that is not UTF-8.
    client.send_raw(&[0x10, 15, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 0, 0, 2, 0xC3, 0x28]);
    assert_eq!(client.expect_connack(), (false, 0x81));
    assert_eq!(client.next(PATIENCE), Got::End);
    assert_eq!(count("utf8"), 1);
    assert_eq!(gateway.metric("tidegate_gateway_refused_connections_total{reason=\"violation\"}"), 2);
}

#[test]
fn a_connect_that_never_completes_is_closed_in_time_and_counted() {
    let gateway = Gateway::start(|raw| raw.mqtt.connect_time = Some(Duration::from_millis(300)));
    let mut client = gateway.dial(V5);
    client.send_raw(&[0x10, 100, 0, 4, b'M']);
    assert_eq!(client.next(PATIENCE), Got::End);
    assert_eq!(gateway.metric("tidegate_gateway_refused_connections_total{reason=\"connect_time\"}"), 1);
}

#[test]
fn an_older_connection_of_a_client_does_not_take_over_from_a_newer_one() {
    // One worker, so that accept numbers are in the order of the calls.
    let gateway = Gateway::start(|raw| raw.workers = Some(1));
    let mut older = gateway.dial(V5);
    let mut newer = gateway.connect(V5, "device-1");
    older.send_connect("device-1", 0, true);
    assert_eq!(older.next(PATIENCE), Got::End);
    assert_eq!(gateway.metric("tidegate_gateway_refused_connections_total{reason=\"overtaken\"}"), 1);
    newer.publish(1, "t", b"x");
    newer.expect_pubacks([1]);
}

#[test]
fn publishes_sent_along_with_connect_are_taken_in_order() {
    let gateway = Gateway::start(|_| ());
    let mut client = gateway.dial(V311);
    let mut burst = client.connect_packet("device-1", 0, true);
    for id in 1..=20 {
        burst.extend(client.encoded(id, "t", &vec![b'a' + u8::try_from(id).unwrap(); 500]));
    }
    client.send_raw(&burst);
    assert_eq!(client.expect_connack(), (false, 0));
    client.expect_pubacks(1..=20);
    let first: Vec<u8> =
        gateway.records(TOPIC, 20).iter().map(|record| record.payload.as_bytes()[0] - b'a').collect();
    assert_eq!(first, (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_full_window_does_not_slow_a_device_below_its_limit() {
    let gateway = Gateway::start(|raw| {
        raw.mqtt.v311_window = Some(2);
        let sensor = raw.classes.get_mut("sensor").unwrap();
        (sensor.rate, sensor.burst) = (Some(50.0), Some(3));
    });
    let mut client = gateway.connect(V311, "device-1");
    let packets: Vec<u8> = (1..=75).flat_map(|id| client.encoded(id, "t", b"x")).collect();
    let start = now();
    client.send_raw(&packets);
    client.expect_pubacks(1..=75);
    // A second and a half; twenty if each full window costs a second.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn half_packets_do_not_take_more_memory_than_they_may() {
    const MAX_BYTES: i64 = 1 << 20;
    let gateway = Gateway::start(|raw| raw.limits.hold_bytes = Some(MAX_BYTES));
    let mut clients: Vec<_> = (0..12).map(|n| gateway.connect(V5, &format!("device-{n}"))).collect();
    let packet = clients[0].encoded(1, "t", &vec![0; 250_000]);
    for client in &mut clients {
        // A client that was turned away meanwhile cannot be written to.
        let _ = client.try_send_raw(&packet[..200_000]);
    }
    let refused = "tidegate_gateway_closed_connections_total{reason=\"no_memory\"}";
    let deadline = now() + PATIENCE;
    while gateway.metric(refused) < 6 {
        assert!(now() < deadline, "{} were refused", gateway.metric(refused));
        std::thread::sleep(Duration::from_millis(5));
    }
    let held = gateway.metric("tidegate_gateway_hold_bytes");
    // Twelve whole packets are three times as much; each connection may have a few kilobytes in any case.
    assert!(held <= MAX_BYTES.unsigned_abs() * 3 / 2, "{held}");
    // Small messages pass all the same.
    let mut other = gateway.connect(V5, "device-99");
    other.publish(1, "t", b"x");
    other.expect_pubacks([1]);
    // A whole packet gives its memory back though its connection stays busy.
    drop(clients);
    let deadline = now() + PATIENCE;
    while gateway.metric("tidegate_gateway_hold_bytes") > 100_000 {
        assert!(now() < deadline, "{}", gateway.metric("tidegate_gateway_hold_bytes"));
        std::thread::sleep(Duration::from_millis(5));
    }
    other.send_raw(&[&packet[..], &PINGREQ[..1]].concat());
    other.expect_pubacks([1]);
    let held = gateway.metric("tidegate_gateway_hold_bytes");
    assert!(held < 100_000, "{held}");
}

static CLOCK_BREAKS: AtomicBool = AtomicBool::new(false);

fn a_clock_that_breaks() -> UnixMillis {
    assert!(!CLOCK_BREAKS.load(Ordering::Relaxed), "a defect, for a test");
    UnixMillis(1)
}

#[test]
fn a_panic_in_the_task_of_one_connection_stops_the_gateway() {
    let gateway = Gateway::start_with(|_| (), a_clock_that_breaks);
    let mut client = gateway.connect(V5, "device-1");
    client.publish(1, "t", b"x");
    client.expect_pubacks([1]);
    CLOCK_BREAKS.store(true, Ordering::Relaxed);
    client.publish(2, "t", b"x");
    let error = gateway.wait().unwrap_err().to_string();
    assert!(error.contains("a connection's task"), "{error}");
    assert_ne!(client.next(SILENCE), Got::PubAck { id: 2, code: 0 });
}
