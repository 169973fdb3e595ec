//! A spool that its gateway has left behind: a gateway with a closed door brings it to Kafka, and notes that there.

#![allow(clippy::unwrap_used, reason = "a scene that cannot be set up fails its test here")]

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use tidegate_gateway::config::{KafkaSettings, RawSettings};
use tidegate_gateway::{Error, LeftOver, Remains, Resources, Stats, Summary, Wish, run};
use tidegate_mqtt::Version::V311;
use tidegate_runtime::clock;
use tidegate_runtime::metrics::Registry;
use tidegate_spool::disk::RealDisk;
use tidegate_spool::{
    Ask, Boot, Frame, LaneId, Position, RawLane, RawPolicy, Room, RouteId, Sink, Spool, Stored,
};
use tokio_util::sync::CancellationToken;

use super::support::{Gateway, Kafka, PARTITIONS, PATIENCE, Record, TOPIC, kafka, records, small_spool};

const NAME: &str = "gateway-7";
/// Enough that each partition gets some.
const DEVICES: u16 = 20;
const EACH: u16 = 5;
/// Long enough to see that nothing comes.
const A_WHILE: Duration = Duration::from_millis(500);

fn start(kafka: &Kafka, dir: &Path) -> Gateway {
    let small = |raw: &mut RawSettings| {
        small_spool(raw, dir);
        raw.name = Some(NAME.to_owned());
        raw.drain = Some(Duration::from_millis(300));
    };
    Gateway::start_on(kafka, small, clock::monotonic, clock::unix_millis)
}

/// Has messages acknowledged of which Kafka gets only the first of each device, and stops the gateway.
fn leave(kafka: &Kafka, dir: &Path) {
    let gateway = start(kafka, dir);
    let mut clients: Vec<_> =
        (0..DEVICES).map(|device| gateway.connect(V311, &format!("device-{device}"))).collect();
    let mut publish = |ids: std::ops::RangeInclusive<u16>| {
        for (device, client) in (0..DEVICES).zip(&mut clients) {
            ids.clone().for_each(|id| client.publish(id, "t", format!("{device} {id}").as_bytes()));
        }
        for client in &mut clients {
            client.expect_pubacks(ids.clone());
        }
    };
    publish(1..=1);
    kafka.broker_down(1).unwrap();
    publish(2..=EACH);
    gateway.stop().unwrap();
}

fn wish(kafka: &Kafka) -> Wish {
    let bootstrap_servers = kafka.bootstrap_servers();
    let kafka = KafkaSettings { bootstrap_servers, overrides: BTreeMap::new(), embedded: false };
    Wish { name: None, lane: None, kafka, wait: Some(PATIENCE) }
}

fn begin(dir: &Path, wish: Wish) -> (Registry, JoinHandle<Result<Summary, Error>>) {
    let registry = Registry::new();
    let (settings, door) = LeftOver::find(dir).unwrap().order(wish).unwrap();
    let resources = Resources {
        settings,
        door,
        admin: None,
        registry: registry.clone(),
        stats: Stats::default(),
        clock: clock::monotonic,
        unix_clock: clock::unix_millis,
        synchronisation: || clock::Synchronisation::Synchronised,
    };
    let emptying = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(resources, CancellationToken::new()))
    });
    (registry, emptying)
}

fn empty(dir: &Path, wish: Wish) -> Summary {
    begin(dir, wish).1.join().unwrap().unwrap()
}

fn remains(dir: &Path) -> Remains {
    LeftOver::find(dir).unwrap().remains(None).unwrap()
}

/// First occurrences of each device's messages, which must be all of them in order, and repeated with the same identity only.
fn assert_all_in_order(records: &[Record]) {
    let mut identities = BTreeMap::new();
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for record in records {
        let header = |name| record.header(name).unwrap_or_else(|| panic!("no {name} in {record:?}"));
        assert!(header("tg-gw").starts_with(&format!("{NAME}-")), "{record:?}");
        assert_eq!(header("mqtt-topic"), "t");
        let identity = ["tg-gw", "tg-src", "tg-epoch", "tg-seq"].map(header).join(" ");
        let (device, id) = record.payload.split_once(' ').unwrap();
        assert_eq!(record.key, format!("device-{device}"));
        let first = identities.entry(&record.payload).or_insert_with(|| identity.clone());
        assert_eq!(*first, identity, "a repetition can be recognised");
        let ids = seen.entry(device).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let wanted: Vec<String> = (1..=EACH).map(|id| id.to_string()).collect();
    assert_eq!(seen.len(), usize::from(DEVICES));
    assert!(seen.values().all(|ids| *ids == wanted), "{seen:?}");
}

#[test]
fn a_left_over_spool_is_emptied_in_order_with_the_identity_of_its_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    leave(&kafka, folder.path());
    let waiting: u64 = remains(folder.path()).records.values().sum();
    assert!(waiting >= u64::from(DEVICES * (EACH - 1)), "{waiting}");
    let (_, emptying) = begin(folder.path(), wish(&kafka));
    std::thread::sleep(A_WHILE);
    assert!(!emptying.is_finished(), "it waits for kafka");
    kafka.broker_up(1).unwrap();
    let summary = emptying.join().unwrap().unwrap();
    assert_eq!((summary.delivered, summary.damaged), (waiting, 0));
    assert_eq!(remains(folder.path()), Remains::default());
    assert_all_in_order(&records(&kafka, TOPIC, usize::try_from(waiting).unwrap() + usize::from(DEVICES)));
    assert_eq!(empty(folder.path(), wish(&kafka)).delivered, 0, "kafka has everything");
}

#[test]
fn a_spool_that_a_gateway_has_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(&kafka(), folder.path());
    let mut client = gateway.connect(V311, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    let refused = LeftOver::find(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("open in another process"), "{refused}");
    gateway.stop().unwrap();
    LeftOver::find(folder.path()).unwrap();
}

#[test]
fn what_kafka_has_no_partition_for_stays_and_the_rest_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let before = kafka();
    leave(&before, folder.path());
    let smaller = Rc::new(MockCluster::new(1).unwrap());
    smaller.create_topic(TOPIC, PARTITIONS - 1, 1).unwrap();
    let waiting = remains(folder.path()).records;
    let gone = ("sensor".to_owned(), TOPIC.to_owned(), u32::try_from(PARTITIONS - 1).unwrap());
    assert!(waiting.len() == usize::try_from(PARTITIONS).unwrap() && waiting[&gone] > 0, "{waiting:?}");
    let (registry, emptying) = begin(folder.path(), wish(&smaller));
    let sent = emptying.join().unwrap().unwrap().delivered;
    let (metrics, none) = (registry.encode(), "tidegate_gateway_kafka_failed_records_total 0\n");
    assert!(metrics.contains(none), "each asking in vain costs a producer: {metrics}");
    // It has the spool open as long as it can be asked.
    drop(registry);
    assert_eq!(sent, waiting.values().sum::<u64>() - waiting[&gone]);
    assert_eq!(remains(folder.path()).records, BTreeMap::from([(gone.clone(), waiting[&gone])]));
    // Once Kafka has it again it goes there.
    before.broker_up(1).unwrap();
    assert_eq!(empty(folder.path(), wish(&before)).delivered, waiting[&gone]);
    assert_eq!(remains(folder.path()), Remains::default());
}

#[test]
fn a_damaged_place_is_passed_over_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    leave(&kafka, folder.path());
    let waiting: u64 = remains(folder.path()).records.values().sum();
    let segment = folder.path().join("sensor/0000000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(3).position(|bytes| bytes == b"7 3").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    kafka.broker_up(1).unwrap();
    let summary = empty(folder.path(), wish(&kafka));
    assert_eq!((summary.delivered, summary.damaged), (waiting - 1, 1));
    assert_eq!(remains(folder.path()), Remains::default());
}

/// There are none.
enum NoRecord {}

impl tidegate_spool::Record for NoRecord {
    fn frame(&self) -> Frame<'_> {
        match *self {}
    }
}

/// Nobody reads.
struct NoSink;

impl Sink for NoSink {
    fn ask(&mut self, _: LaneId, _: RouteId) -> Ask {
        Ask { after: Position::START, room: Room::Shut { moved: Duration::ZERO } }
    }

    fn take(&mut self, _: Stored<'_>) {}

    fn lost(&mut self, _: LaneId, _: RouteId, _: Position, _: Position) {}
}

/// Makes the spool say that another machine had it open last.
fn open_on_another_machine(dir: &Path) {
    let lane = RawLane {
        name: "sensor".to_owned(),
        capacity_bytes: 1 << 30,
        full: RawPolicy::Block,
        allow_acked_loss: false,
    };
    let raw = tidegate_spool::RawSettings { lanes: vec![lane], ..tidegate_spool::RawSettings::default() };
    let boot = Boot { random: [7; 32], machine_boot: [0; 16], now_unix_ms: i64::MAX };
    let open = tidegate_spool::open(RealDisk::open(dir).unwrap(), raw.try_into().unwrap(), &boot).unwrap();
    let spool: Spool<RealDisk, NoRecord> = open.start(|| Duration::ZERO, NoSink, |_, _| {}).unwrap();
    // The clock stands still, so this waits as long as it takes.
    assert!(spool.stop(Duration::from_secs(1)));
}

#[test]
fn on_another_machine_what_a_lone_broker_may_have_forgotten_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    leave(&kafka, folder.path());
    kafka.broker_up(1).unwrap();
    let sent = empty(folder.path(), wish(&kafka)).delivered;
    open_on_another_machine(folder.path());
    assert_eq!(remains(folder.path()), Remains::default(), "nothing is known to wait");
    assert_eq!(empty(folder.path(), wish(&kafka)).delivered, sent);
    assert_eq!(remains(folder.path()), Remains::default());
    assert_eq!(empty(folder.path(), wish(&kafka)).delivered, 0, "once is enough on one machine");
}

#[test]
fn a_lane_alone_is_emptied_if_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    let gateway = start(&kafka, folder.path());
    let mut client = gateway.connect(V311, "device-1");
    client.publish(1, "t", b"1");
    client.expect_pubacks([1]);
    kafka.broker_down(1).unwrap();
    client.publish(2, "t", b"2");
    client.publish(3, "alarms/fire", b"3");
    client.expect_pubacks([2, 3]);
    gateway.stop().unwrap();
    kafka.broker_up(1).unwrap();
    let only = Wish { lane: Some("alarm".to_owned()), ..wish(&kafka) };
    assert_eq!(empty(folder.path(), only).delivered, 1);
    let left = remains(folder.path()).records;
    assert_eq!(left.keys().map(|(lane, ..)| lane.as_str()).collect::<Vec<_>>(), ["sensor"]);
    assert_eq!(empty(folder.path(), wish(&kafka)).delivered, 1);
}

#[test]
fn a_kafka_that_takes_nothing_is_waited_for_as_long_as_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    leave(&kafka, folder.path());
    let waiting = remains(folder.path());
    let impatient = Wish { wait: Some(A_WHILE), ..wish(&kafka) };
    assert_eq!(empty(folder.path(), impatient).delivered, 0);
    assert_eq!(remains(folder.path()), waiting);
}

#[test]
fn a_wish_that_cannot_be_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = kafka();
    leave(&kafka, folder.path());
    let left_over = LeftOver::find(folder.path()).unwrap();
    let said = |name: Option<&str>, lane: Option<&str>, overrides: &[(&str, &str)]| {
        let mut wish = wish(&kafka);
        (wish.name, wish.lane) = (name.map(str::to_owned), lane.map(str::to_owned));
        wish.kafka.overrides =
            overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        left_over.order(wish).map(drop).map_err(|problem| (problem.key, problem.allowed))
    };
    assert_eq!(said(Some(NAME), Some("sensor"), &[("linger.ms", "20")]), Ok(()));
    let (key, allowed) = said(Some("other"), None, &[]).unwrap_err();
    assert!(key == "name" && allowed.contains(NAME), "{allowed}");
    assert_eq!(said(None, Some("alarm"), &[]), Err(("lane".to_owned(), "one of sensor".to_owned())));
    assert_eq!(said(None, None, &[("acks", "1")]).unwrap_err().0, "kafka.overrides.\"acks\"");
}
