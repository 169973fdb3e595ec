//! A gateway over librdkafka's mock cluster, and a blocking MQTT client.

#![allow(clippy::unwrap_used, reason = "a scene that cannot be set up fails its test here")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate_core::time::{Clock, UnixMillis};
use tidegate_core::wire::GatewayReport;
use tidegate_gateway::config::{RawKafka, RawSettings};
use tidegate_gateway::{Door, Error, Resources, Stats, Summary, run};
use tidegate_mqtt::codec::{Connect, Packet, Properties, Property, Publish, decode, encode};
use tidegate_mqtt::{QoS, Version};
use tidegate_runtime::clock::{self, Synchronisation};
use tidegate_runtime::metrics::Registry;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a busy machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const TOPIC: &str = "telemetry-sensor";
pub(crate) const PARTITIONS: i32 = 4;
const CLASSES: [&str; 3] = ["alarm", "gateway", "sensor"];

pub(crate) type Kafka = Rc<MockCluster<'static, DefaultProducerContext>>;

/// Returns a mock cluster of one broker, with the topics of all classes.
pub(crate) fn kafka() -> Kafka {
    kafka_of(1)
}

/// The same, of some brokers.
pub(crate) fn kafka_of(brokers: i32) -> Kafka {
    cluster(brokers, PARTITIONS)
}

/// The same, after its topics have grown to so many partitions.
pub(crate) fn grown_kafka(partitions: i32) -> Kafka {
    cluster(1, partitions)
}

fn cluster(brokers: i32, partitions: i32) -> Kafka {
    let kafka = MockCluster::new(brokers).unwrap();
    for class in CLASSES {
        kafka.create_topic(&format!("telemetry-{class}"), partitions, 1).unwrap();
    }
    Rc::new(kafka)
}

/// Gives a gateway a small spool in `dir`: a lane counts as full from 5 MiB on. The mock cluster is one broker that tells
/// nothing of its settings, and most tests are of routes that may be DIRECT.
pub(crate) fn small_spool(raw: &mut RawSettings, dir: &Path) {
    raw.limits.queue_bytes = Some(1 << 20);
    raw.spool.dir = Some(dir.to_owned());
    raw.spool.ack = Some("first".to_owned());
    raw.spool.segment_bytes = Some(1 << 20);
    raw.spool.free_floor_bytes = Some(0);
    raw.spool.dead_letter_bytes = Some(8 << 20);
    for class in CLASSES {
        raw.classes.entry(class.to_owned()).or_default().spool_bytes = Some(8 << 20);
    }
}

/// What a gateway knows of time.
pub(crate) struct Clocks {
    pub(crate) clock: Clock,
    pub(crate) unix_clock: fn() -> UnixMillis,
    pub(crate) synchronisation: fn() -> Synchronisation,
}

/// Lets the last run of the gateway that this spool belongs to have found what the mock cluster cannot say: two copies of
/// everything. A run that starts without Kafka goes by that.
pub(crate) fn pretend_two_copies(dir: &Path) {
    let kept = dir.join("partitions.json");
    let said = std::fs::read_to_string(&kept).unwrap();
    assert_eq!(said.matches("\"replicated\":false").count(), CLASSES.len(), "{said}");
    std::fs::write(&kept, said.replace("\"replicated\":false", "\"replicated\":true")).unwrap();
}

pub(crate) struct Gateway {
    pub(crate) kafka: Kafka,
    pub(crate) stats: Stats,
    pub(crate) registry: Registry,
    address: SocketAddr,
    admin: SocketAddr,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<Result<Summary, Error>>>,
}

impl Gateway {
    /// Starts a gateway with limits that do not get in the way, changed by `change`.
    pub(crate) fn start(change: impl FnOnce(&mut RawSettings)) -> Self {
        Self::start_with(change, clock::unix_millis)
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut RawSettings), unix_clock: fn() -> UnixMillis) -> Self {
        Self::start_on(&kafka(), change, clock::monotonic, unix_clock)
    }

    /// Starts a gateway on a cluster that is there already.
    pub(crate) fn start_on(
        kafka: &Kafka,
        change: impl FnOnce(&mut RawSettings),
        clock: Clock,
        unix_clock: fn() -> UnixMillis,
    ) -> Self {
        let synchronisation = || Synchronisation::Synchronised;
        Self::start_in_time(kafka, change, Clocks { clock, unix_clock, synchronisation })
    }

    /// The same with all that a gateway knows of time.
    pub(crate) fn start_in_time(
        kafka: &Kafka,
        change: impl FnOnce(&mut RawSettings),
        Clocks { clock, unix_clock, synchronisation }: Clocks,
    ) -> Self {
        let servers = Some(kafka.bootstrap_servers());
        let mut raw = RawSettings {
            kafka: RawKafka { bootstrap_servers: servers, ..RawKafka::default() },
            workers: Some(2),
            ..RawSettings::default()
        };
        let sensor = raw.classes.entry("sensor".to_owned()).or_default();
        (sensor.rate, sensor.burst) = (Some(1e6), Some(1_000_000));
        change(&mut raw);
        let settings = raw.try_into().unwrap_or_else(|problem| panic!("{problem:?}"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let admin_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = admin_listener.local_addr().unwrap();
        let (stats, registry, shutdown) = (Stats::default(), Registry::new(), CancellationToken::new());
        let resources = Resources {
            settings,
            door: Door::Open(listener),
            admin: Some(admin_listener),
            registry: registry.clone(),
            stats: stats.clone(),
            clock,
            unix_clock,
            synchronisation,
        };
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(resources, stop))
        });
        Self { kafka: Rc::clone(kafka), stats, registry, address, admin, shutdown, thread: Some(thread) }
    }

    pub(crate) fn dial(&self, version: Version) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, version, bytes: Vec::new() }
    }

    /// Returns a client whose CONNECT was accepted.
    pub(crate) fn connect(&self, version: Version, client_id: &str) -> Client {
        let mut client = self.dial(version);
        client.send_connect(client_id, 0, true);
        assert_eq!(client.expect_connack(), (false, 0));
        client
    }

    pub(crate) fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    pub(crate) fn stop(mut self) -> Result<Summary, Error> {
        self.begin_stop();
        self.thread.take().unwrap().join().unwrap()
    }

    /// Waits until nobody can connect any more.
    pub(crate) fn wait_until_closed(&self) {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if TcpStream::connect(self.address).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the door is never closed");
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for a gateway that stops by itself.
    pub(crate) fn wait(mut self) -> Result<Summary, Error> {
        self.thread.take().unwrap().join().unwrap()
    }

    /// Returns the value of a metric, given with its labels as the exposition writes them.
    pub(crate) fn metric(&self, sample: &str) -> u64 {
        let text = self.registry.encode();
        let line =
            text.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until a metric is as it should be.
    pub(crate) fn wait_for(&self, sample: &str, is_right: impl Fn(u64) -> bool) {
        for _ in 0..PATIENCE.as_millis() / 20 {
            let text = self.registry.encode();
            let line = text.lines().find(|line| line.starts_with(&format!("{sample} ")));
            if line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).is_some_and(&is_right) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{sample} is never right in\n{}", self.registry.encode());
    }

    /// Returns what the admin HTTP answers: the status line and the body.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        self.ask("GET", path)
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// Returns the first `count` records of a topic.
    pub(crate) fn records(&self, topic: &str, count: usize) -> Vec<Record> {
        records(&self.kafka, topic, count)
    }
}

/// Returns the first `count` records of a topic.
pub(crate) fn records(kafka: &Kafka, topic: &str, count: usize) -> Vec<Record> {
    records_in(kafka, topic, 0..PARTITIONS, count)
}

/// Returns the first `count` records of some partitions.
pub(crate) fn records_in(kafka: &Kafka, topic: &str, partitions: Range<i32>, count: usize) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap_servers())
        .set("group.id", "reader")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut records = Vec::new();
    while records.len() < count {
        let message = consumer.poll(PATIENCE).expect("a record in time").unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        records.push(Record {
            key: text(message.key()),
            payload: text(message.payload()),
            partition: message.partition(),
            time_ms: message.timestamp().to_millis().unwrap_or_default(),
            headers: message
                .headers()
                .map(|headers| headers.iter().map(|h| (h.key.to_owned(), text(h.value))).collect())
                .unwrap_or_default(),
        });
    }
    records
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) payload: String,
    pub(crate) partition: i32,
    pub(crate) time_ms: i64,
    pub(crate) headers: Vec<(String, String)>,
}

impl Record {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    ConnAck {
        session_present: bool,
        code: u8,
    },
    PubAck {
        id: u16,
        code: u8,
    },
    PingResp,
    Disconnect(u8),
    Other,
    /// The server closed.
    End,
    /// Nothing, for as long as was waited.
    Silence,
}

pub(crate) struct Client {
    stream: TcpStream,
    version: Version,
    bytes: Vec<u8>,
}

impl Client {
    pub(crate) fn send_connect(&mut self, client_id: &str, keep_alive_secs: u16, clean_start: bool) {
        let packet = self.connect_packet(client_id, keep_alive_secs, clean_start);
        self.send_raw(&packet);
    }

    pub(crate) fn connect_packet(&self, client_id: &str, keep_alive_secs: u16, clean_start: bool) -> Vec<u8> {
        let connect = Packet::Connect(Connect {
            version: self.version,
            clean_start,
            keep_alive_secs,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        });
        let mut out = Vec::new();
        encode(&connect, self.version, &mut out).unwrap();
        out
    }

    pub(crate) fn publish(&mut self, id: u16, topic: &str, payload: &[u8]) {
        let packet = self.encoded(id, topic, payload);
        self.send_raw(&packet);
    }

    /// Publishes on topic `t` with a Message Expiry Interval, if any.
    pub(crate) fn publish_expiring(&mut self, id: u16, payload: &[u8], interval_s: Option<u32>) {
        let properties = interval_s.map(Property::MessageExpiryInterval);
        let packet = self.encoded_with(id, "t", payload, properties.as_slice());
        self.send_raw(&packet);
    }

    /// Returns a PUBLISH packet; `id` 0 is QoS 0.
    pub(crate) fn encoded(&self, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
        self.encoded_with(id, topic, payload, &[])
    }

    fn encoded_with(&self, id: u16, topic: &str, payload: &[u8], properties: &[Property<'_>]) -> Vec<u8> {
        let packet_id = NonZeroU16::new(id);
        let qos = if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let properties = Properties::new(properties);
        let publish = Publish { dup: false, qos, retain: false, topic, packet_id, properties, payload };
        let mut out = Vec::new();
        encode(&Packet::Publish(publish), self.version, &mut out).unwrap();
        out
    }

    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        let mut out = Vec::new();
        encode(packet, self.version, &mut out).unwrap();
        self.send_raw(&out);
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).unwrap();
    }

    /// Fails if the server has closed.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn expect_connack(&mut self) -> (bool, u8) {
        match self.next(PATIENCE) {
            Got::ConnAck { session_present, code } => (session_present, code),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// Returns the next packet, waiting for it for `patience` at most.
    pub(crate) fn next(&mut self, patience: Duration) -> Got {
        self.stream.set_read_timeout(Some(patience)).unwrap();
        loop {
            if let Some((packet, len)) = decode(&self.bytes, self.version, 1 << 20).unwrap() {
                let got = match packet {
                    Packet::ConnAck(connack) => Got::ConnAck {
                        session_present: connack.session_present,
                        code: match self.version {
                            Version::V311 => connack.reason.to_v311().unwrap(),
                            Version::V5 => connack.reason.as_byte(),
                        },
                    },
                    Packet::PubAck(ack) => {
                        Got::PubAck { id: ack.packet_id.get(), code: ack.reason.as_byte() }
                    }
                    Packet::PingResp => Got::PingResp,
                    Packet::Disconnect(disconnect) => Got::Disconnect(disconnect.reason.as_byte()),
                    _ => Got::Other,
                };
                self.bytes.drain(..len);
                return got;
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more) {
                Ok(0) => return Got::End,
                Ok(count) => self.bytes.extend_from_slice(&more[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Got::Silence;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Got::End,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Expects these PUBACKs, in order and nothing between.
    pub(crate) fn expect_pubacks(&mut self, ids: impl IntoIterator<Item = u16>) {
        for id in ids {
            assert_eq!(self.next(PATIENCE), Got::PubAck { id, code: 0 });
        }
    }
}

/// Takes one report as the controller would, on a connection of its own; returns its HTTP head and what it says.
pub(crate) fn answer_report(controller: &TcpListener) -> (String, GatewayReport) {
    let (mut stream, _) = controller.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut more = [0; 4096];
        let count = stream.read(&mut more).unwrap();
        bytes.extend_from_slice(&more[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(report) = serde_json::from_str(body) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            return (head.to_owned(), report);
        }
    }
}
