//! What depends on clocks: messages that expire, and a box that does not know what time it is.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_gateway::config::RawSettings;
use tidegate_kafka::partitioner::partition_for;
use tidegate_mqtt::Version::V5;
use tidegate_mqtt::codec::PINGREQ;
use tidegate_runtime::clock::{self, Synchronisation};

use super::SILENCE;
use super::support::{
    Client, Clocks, Gateway, Got, Kafka, PARTITIONS, PATIENCE, Record, TOPIC, kafka, records, small_spool,
};

/// What messages may wait, and what they do wait.
const INTERVAL_S: u32 = 60;
const OUTAGE: Duration = Duration::from_mins(2);
/// A window has two or three messages of this size; what is beyond them waits in the gateway.
const LARGE: usize = 30_000;

const EXPIRED: &str = "tidegate_gateway_expired_messages_total{class=\"sensor\",topic=\"telemetry-sensor\"}";
const PAST: &str = "tidegate_spool_past_retention_state{topic=\"telemetry-sensor\"}";
const UNSURE: &str = "tidegate_gateway_clock_unsure_state";
const BEHIND: &str = "tidegate_gateway_routes_behind";
const BACKLOG: &str = "tidegate_spool_backlog_bytes{lane=\"sensor\"}";

/// Tests with clocks of their own.
const TESTS: usize = 8;
/// How far each test's clocks are ahead of the real ones.
static AHEAD_MS: [AtomicU64; TESTS] = [const { AtomicU64::new(0) }; TESTS];
static WALL_AHEAD_MS: [AtomicI64; TESTS] = [const { AtomicI64::new(0) }; TESTS];
static IS_SURE: [AtomicBool; TESTS] = [const { AtomicBool::new(true) }; TESTS];

/// The clocks of one test, by its number: clocks are functions, and tests run beside one another.
struct Time<const TEST: usize>;

impl<const TEST: usize> Time<TEST> {
    fn monotonic() -> Timestamp {
        clock::monotonic() + Duration::from_millis(AHEAD_MS[TEST].load(Ordering::Relaxed))
    }

    fn wall() -> UnixMillis {
        UnixMillis(clock::unix_millis().0 + WALL_AHEAD_MS[TEST].load(Ordering::Relaxed))
    }

    fn synchronisation() -> Synchronisation {
        if IS_SURE[TEST].load(Ordering::Relaxed) {
            Synchronisation::Synchronised
        } else {
            Synchronisation::Unsynchronised
        }
    }

    fn start(kafka: &Kafka, change: impl FnOnce(&mut RawSettings)) -> Gateway {
        let (clock, unix_clock) = (Self::monotonic, Self::wall);
        let clocks = Clocks { clock, unix_clock, synchronisation: Self::synchronisation };
        Gateway::start_in_time(kafka, change, clocks)
    }

    fn pass(time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("minutes");
        AHEAD_MS[TEST].fetch_add(millis, Ordering::Relaxed);
    }
}

fn with_spool(dir: &Path) -> impl FnOnce(&mut RawSettings) {
    |raw| {
        small_spool(raw, dir);
        raw.drain = Some(Duration::from_millis(300));
    }
}

fn large(id: u16) -> Vec<u8> {
    format!("{id:LARGE$}").into_bytes()
}

fn id(record: &Record) -> u16 {
    record.payload.trim().parse().expect("each payload is a number")
}

/// Connects and has one message acknowledged, as a gateway at work.
fn warmed_up(gateway: &Gateway) -> Client {
    let mut client = gateway.connect(V5, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    client
}

/// Returns all that Kafka has, up to message `last`, but at least `count`; first occurrences must be in order.
fn all_until(kafka: &Kafka, last: u16, count: usize) -> Vec<Record> {
    let mut all = records(kafka, TOPIC, count);
    while all.iter().all(|record| id(record) != last) {
        // Some were repeated.
        all = records(kafka, TOPIC, all.len() + 1);
    }
    let mut highest = 0;
    for record in &all {
        assert!(id(record) > highest || all.iter().filter(|other| id(other) == id(record)).count() > 1);
        highest = highest.max(id(record));
    }
    all
}

#[test]
fn in_an_outage_messages_expire_in_the_log_and_what_does_not_expire_comes_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let gateway = Time::<0>::start(&kafka, with_spool(folder.path()));
    let mut client = warmed_up(&gateway);
    kafka.broker_down(1).unwrap();
    for id in 2..=40u16 {
        let expiry = (id % 3 != 0).then_some(INTERVAL_S);
        client.publish_expiring(id, &large(id), expiry);
        client.expect_pubacks([id]);
    }
    Time::<0>::pass(OUTAGE);
    kafka.broker_up(1).unwrap();
    gateway.wait_for(BACKLOG, |bytes| bytes == 0);
    client.publish_expiring(41, b"41", Some(INTERVAL_S));
    client.expect_pubacks([41]);
    let expired = usize::try_from(gateway.metric(EXPIRED)).unwrap();
    assert!((20..=26).contains(&expired), "{expired} of 26, but those that were with the producer");
    let all = all_until(&kafka, 41, 41 - expired);
    let mut ids: Vec<u16> = all.iter().map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len() + expired, 41, "each is in Kafka or expired: {ids:?}");
    assert!((1..=13).all(|third| ids.contains(&(third * 3))), "{ids:?}");
    assert!(!ids.contains(&40) && ids.contains(&41));
    let left = |id_wanted| {
        let record = all.iter().find(|record| id(record) == id_wanted).unwrap();
        record.header("mqtt-expiry-s").map(|left| left.parse().unwrap())
    };
    assert_eq!((left(39), left(41)), (None, Some(INTERVAL_S)));
}

#[test]
fn in_memory_too_what_has_expired_is_acknowledged_in_its_turn_and_not_sent() {
    let kafka = kafka();
    let gateway = Time::<1>::start(&kafka, |_| ());
    let mut client = warmed_up(&gateway);
    kafka.broker_down(1).unwrap();
    // As many as a client may have unacknowledged.
    for id in 2..=17u16 {
        client.publish_expiring(id, &large(id), Some(INTERVAL_S));
    }
    client.send_raw(&PINGREQ);
    assert_eq!(client.next(PATIENCE), Got::PingResp, "all were decoded");
    Time::<1>::pass(OUTAGE);
    kafka.broker_up(1).unwrap();
    client.expect_pubacks(2..=17);
    client.publish(18, "t", b"18");
    client.expect_pubacks([18]);
    let expired = usize::try_from(gateway.metric(EXPIRED)).unwrap();
    assert!((10..=16).contains(&expired), "{expired} of 16");
    let ids: Vec<u16> = all_until(&kafka, 18, 18 - expired).iter().map(id).collect();
    assert!(!ids.contains(&17), "{ids:?}");
    assert_eq!(gateway.stop().unwrap().unconfirmed, 0);
}

#[test]
fn what_expires_while_it_is_held_is_acknowledged_and_costs_no_token() {
    let kafka = kafka();
    let gateway = Time::<2>::start(&kafka, |raw| {
        let sensor = raw.classes.get_mut("sensor").unwrap();
        (sensor.rate, sensor.burst) = (Some(0.001), Some(2));
    });
    let mut client = warmed_up(&gateway);
    client.publish(2, "t", b"2");
    client.publish_expiring(3, b"3", Some(INTERVAL_S));
    client.publish_expiring(4, b"4", Some(INTERVAL_S * 1_000));
    client.expect_pubacks([2]);
    gateway.wait_for("tidegate_gateway_hold_queue_messages", |held| held == 2);
    // One token.
    Time::<2>::pass(Duration::from_secs(1_001));
    client.expect_pubacks([3, 4]);
    let all = all_until(&kafka, 4, 3);
    assert_eq!(all.iter().map(id).collect::<Vec<_>>(), [1, 2, 4]);
    let left: u32 = all[2].header("mqtt-expiry-s").unwrap().parse().unwrap();
    assert!((58_900..59_000).contains(&left), "{left} s: the time in which it was held counts");
    assert_eq!(gateway.metric(EXPIRED), 1);
}

/// Leaves messages 2 to 9 in the log; returns with its gateway stopped.
fn left_behind<const TEST: usize>(kafka: &Kafka, dir: &Path, interval_s: Option<u32>) {
    let gateway = Time::<TEST>::start(kafka, with_spool(dir));
    let mut client = warmed_up(&gateway);
    kafka.broker_down(1).expect("the mock cluster");
    for id in 2..=9u16 {
        client.publish_expiring(id, &large(id), interval_s);
        client.expect_pubacks([id]);
    }
    assert_eq!(gateway.stop().expect("it stops in order").unconfirmed, 0);
    kafka.broker_up(1).expect("the mock cluster");
}

#[test]
fn a_restart_lets_expire_what_the_wall_clock_says_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    left_behind::<3>(&kafka, folder.path(), Some(INTERVAL_S));
    WALL_AHEAD_MS[3].store(i64::try_from(OUTAGE.as_millis()).unwrap(), Ordering::Relaxed);
    let gateway = Time::<3>::start(&kafka, with_spool(folder.path()));
    gateway.wait_for(BACKLOG, |bytes| bytes == 0);
    let mut client = gateway.connect(V5, "device-1");
    client.publish(10, "t", b"10");
    client.expect_pubacks([10]);
    // With the producer of the last run a few may have come to Kafka.
    assert_eq!(gateway.metric(EXPIRED), 8);
    let ids: Vec<u16> = all_until(&kafka, 10, 2).iter().map(id).collect();
    assert!(!ids.contains(&9), "{ids:?}");
}

#[test]
fn a_restart_lets_nothing_expire_while_the_clock_is_not_sure() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    left_behind::<4>(&kafka, folder.path(), Some(INTERVAL_S));
    WALL_AHEAD_MS[4].store(i64::try_from(OUTAGE.as_millis()).unwrap(), Ordering::Relaxed);
    IS_SURE[4].store(false, Ordering::Relaxed);
    let gateway = Time::<4>::start(&kafka, with_spool(folder.path()));
    gateway.wait_for(BACKLOG, |bytes| bytes == 0);
    let all = all_until(&kafka, 9, 9);
    assert!((1..=9).all(|wanted| all.iter().any(|record| id(record) == wanted)));
    assert_eq!(gateway.metric(EXPIRED), 0);
    let last = all.iter().find(|record| id(record) == 9).unwrap();
    assert_eq!((last.header("tg-clock"), last.header("tg-time")), (None, None), "it was sure when it came");
}

#[test]
fn what_comes_before_the_box_knows_the_time_is_sent_with_the_time_of_its_sending() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let before = clock::unix_millis().0;
    // 1970, as a box without a clock begins.
    WALL_AHEAD_MS[5].store(-before, Ordering::Relaxed);
    IS_SURE[5].store(false, Ordering::Relaxed);
    let gateway = Time::<5>::start(&kafka, with_spool(folder.path()));
    let mut client = warmed_up(&gateway);
    kafka.broker_down(1).unwrap();
    for id in 2..=9u16 {
        client.publish(id, "t", &large(id));
        client.expect_pubacks([id]);
    }
    assert_eq!(gateway.metric(UNSURE), 1);
    let page = || serde_json::from_str::<serde_json::Value>(&gateway.get("/v1/spool").1).unwrap();
    assert_eq!(page()["clock"], "unsynchronised");
    WALL_AHEAD_MS[5].store(0, Ordering::Relaxed);
    IS_SURE[5].store(true, Ordering::Relaxed);
    gateway.wait_for(UNSURE, |is| is == 0);
    kafka.broker_up(1).unwrap();
    client.publish(10, "t", b"10");
    client.expect_pubacks([10]);
    let all = all_until(&kafka, 10, 10);
    let find = |wanted| all.iter().find(|record| id(record) == wanted).unwrap();
    let (last, sure) = (find(9), find(10));
    assert_eq!(last.header("tg-clock"), Some("unsure"));
    assert!(last.time_ms >= before, "{last:?}");
    let own: i64 = last.header("tg-time").unwrap().parse().unwrap();
    assert!((0..3_600_000).contains(&own), "{own}");
    assert_eq!((sure.header("tg-clock"), sure.header("tg-time")), (None, None));
    assert_eq!(page()["clock"], "synchronised");
}

#[test]
fn an_outage_longer_than_the_retention_of_a_topic_is_said_before_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    left_behind::<6>(&kafka, folder.path(), None);
    kafka.broker_down(1).unwrap();
    let kept = folder.path().join("partitions.json");
    // What the mock cluster cannot say.
    let said = std::fs::read_to_string(&kept).unwrap();
    let retention = "\"replicated\":false,\"retention_ms\":60000";
    std::fs::write(&kept, said.replace("\"replicated\":false", retention)).unwrap();
    let gateway = Time::<6>::start(&kafka, with_spool(folder.path()));
    gateway.wait_for(PAST, |is| is == 0);
    WALL_AHEAD_MS[6].store(i64::try_from(OUTAGE.as_millis()).unwrap(), Ordering::Relaxed);
    gateway.wait_for(PAST, |is| is == 1);
    let page: serde_json::Value = serde_json::from_str(&gateway.get("/v1/spool").1).unwrap();
    let topic = &page["topics"][2];
    assert_eq!((&topic["retention_s"], &topic["past_retention"]), (&60.into(), &true.into()));
    kafka.broker_up(1).unwrap();
    gateway.wait_for(BACKLOG, |bytes| bytes == 0);
    gateway.wait_for(PAST, |is| is == 0);
}

#[test]
fn what_a_cold_partition_holds_back_goes_behind_after_twice_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let gateway = Time::<7>::start(&kafka, |raw| {
        with_spool(folder.path())(raw);
        // Each worker has its own notion of what is slow.
        raw.workers = Some(1);
    });
    let mut warm = warmed_up(&gateway);
    // One report of two takes two seconds: three times that, and a little, is slow.
    kafka.broker_round_trip_time(1, Duration::from_secs(2)).unwrap();
    warm.publish(2, "t", b"2");
    warm.expect_pubacks([2]);
    kafka.broker_down(1).unwrap();
    let partition = |name: &str| partition_for(name.as_bytes(), PARTITIONS.cast_unsigned());
    let mut names = (2..).map(|number| format!("device-{number}"));
    let first = names.find(|name| partition(name) != partition("device-1")).unwrap();
    let second = names.find(|name| partition(name) == partition(&first)).unwrap();
    let [mut cold, mut held_back] = [first, second].map(|name| gateway.connect(V5, &name));
    for (client, id) in [(&mut warm, 3), (&mut cold, 1), (&mut held_back, 1)] {
        client.publish(id, "t", b"3");
        client.send_raw(&PINGREQ);
        assert_eq!(client.next(PATIENCE), Got::PingResp, "it was decoded");
    }
    Time::<7>::pass(Duration::from_secs(7));
    warm.expect_pubacks([3]);
    cold.expect_pubacks([1]);
    assert_eq!(held_back.next(SILENCE), Got::Silence, "it has time for two answers");
    gateway.wait_for(BEHIND, |routes| routes == 2);
    Time::<7>::pass(Duration::from_secs(7));
    held_back.expect_pubacks([1]);
    gateway.wait_for(BEHIND, |routes| routes == 3);
}
