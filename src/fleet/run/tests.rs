//! Fleets against a small MQTT server on loopback.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_mqtt::codec::{self, Ack, ConnAck, Packet, Properties, Property};
use tidegate_mqtt::{QoS, ReasonCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::*;
use crate::{Ledger, Load, Payload, Phase, Progress, Versions};

#[expect(clippy::disallowed_methods, reason = "the runtime's clock is out of reach for this layer")]
fn clock() -> Timestamp {
    static ORIGIN: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Timestamp::from_nanos(u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap())
}

const UNIX: UnixMillis = UnixMillis(1_700_000_000_000);
const CLOCKS: Clocks = Clocks { monotonic: clock, unix_millis: || UNIX };

/// One PUBLISH as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    connection: u64,
    dup: bool,
    topic: String,
    payload: Payload,
}

/// How the server treats its clients.
#[derive(Clone, Copy, Debug, Default)]
struct Manners {
    /// Acknowledges this long after it read.
    delay: Duration,
    /// Cuts each device's first connections after so many PUBLISH packets on it, those unacknowledged.
    cut_after: Option<u32>,
    /// How many connections of each device are cut that way.
    cuts: u64,
    /// Receive Maximum for MQTT 5.
    receive_maximum: Option<u16>,
    /// Answers the first CONNECT of each device with 0x9F and this advice.
    come_back_in_ms: Option<u32>,
    /// Acknowledges every third message with 0x97 (MQTT 5).
    reject_thirds: bool,
    /// Never answers a PUBLISH.
    mute: bool,
}

#[derive(Default)]
struct Server {
    manners: Manners,
    connections: AtomicU64,
    /// CONNECT packets per client identifier.
    connects: Mutex<BTreeMap<String, u64>>,
    seen: Mutex<Vec<Seen>>,
    disconnects: AtomicU64,
    most_unacknowledged: AtomicU64,
}

impl Server {
    async fn start(manners: Manners) -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Self { manners, ..Self::default() });
        let accepting = Arc::clone(&server);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = Arc::clone(&accepting);
                let number = server.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move { server.serve(stream, number).await });
            }
        });
        (server, address)
    }

    /// Returns when the client left, was cut or was turned away.
    async fn serve(&self, mut stream: TcpStream, connection: u64) {
        let (mut bytes, mut version, mut nth, mut published) = (Vec::new(), Version::V5, 0, 0);
        loop {
            let (mut out, mut used, mut unacknowledged) = (Vec::new(), 0, 0);
            while let Some((packet, len)) = codec::decode(&bytes[used..], version, 1 << 20).unwrap() {
                used += len;
                match packet {
                    Packet::Connect(connect) => {
                        version = connect.version;
                        nth = {
                            let mut connects = self.connects.lock().unwrap();
                            let count = connects.entry(connect.client_id.to_owned()).or_default();
                            *count += 1;
                            *count
                        };
                        self.greet(version, nth, &mut out);
                    }
                    Packet::Publish(publish) => {
                        published += 1;
                        unacknowledged += 1;
                        let payload = Payload::decode(publish.payload).unwrap();
                        let seen =
                            Seen { connection, dup: publish.dup, topic: publish.topic.into(), payload };
                        self.seen.lock().unwrap().push(seen);
                        if nth <= self.manners.cuts && self.manners.cut_after == Some(published) {
                            return;
                        }
                        let reject = self.manners.reject_thirds
                            && version == Version::V5
                            && payload.seq.is_multiple_of(3);
                        let reason = if reject { ReasonCode::QUOTA_EXCEEDED } else { ReasonCode::SUCCESS };
                        if let (Some(packet_id), false) = (publish.packet_id, self.manners.mute) {
                            let ack = Ack { packet_id, reason, properties: Properties::EMPTY };
                            codec::encode(&Packet::PubAck(ack), version, &mut out).unwrap();
                        }
                    }
                    Packet::PingReq => out.extend_from_slice(&codec::PINGRESP),
                    Packet::Disconnect(_) => {
                        self.disconnects.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    other => panic!("a device sent {other:?}"),
                }
            }
            self.most_unacknowledged.fetch_max(unacknowledged, Ordering::Relaxed);
            bytes.drain(..used);
            bytes.reserve(64 * 1024);
            if unacknowledged > 0 {
                sleep(self.manners.delay).await;
            }
            if stream.write_all(&out).await.is_err() || !matches!(stream.read_buf(&mut bytes).await, Ok(1..))
            {
                return;
            }
        }
    }

    fn greet(&self, version: Version, nth: u64, out: &mut Vec<u8>) {
        let advice = self.manners.come_back_in_ms.filter(|_| nth == 1 && version == Version::V5);
        let millis = advice.map(|millis| millis.to_string()).unwrap_or_default();
        let user = [Property::UserProperty("retry-after-ms", &millis)];
        let window =
            self.manners.receive_maximum.and_then(std::num::NonZeroU16::new).map(Property::ReceiveMaximum);
        let properties = match (&window, version) {
            _ if advice.is_some() => Properties::new(&user),
            (Some(window), Version::V5) => Properties::new(std::slice::from_ref(window)),
            _ => Properties::EMPTY,
        };
        let reason =
            if advice.is_some() { ReasonCode::CONNECTION_RATE_EXCEEDED } else { ReasonCode::SUCCESS };
        codec::encode(&Packet::ConnAck(ConnAck { session_present: false, reason, properties }), version, out)
            .unwrap();
    }
}

async fn play<O: Observer>(plan: Plan, address: SocketAddr, observer: O) -> Report {
    let run = run(plan, address, CLOCKS, observer, CancellationToken::new());
    tokio::time::timeout(Duration::from_mins(1), run).await.expect("ends in time").unwrap()
}

/// The messages of each device in the order in which each connection brought them.
fn by_connection(seen: &[Seen]) -> BTreeMap<(u32, u64), Vec<u32>> {
    let mut order: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for one in seen {
        order.entry((one.payload.device, one.connection)).or_default().push(one.payload.seq);
    }
    order
}

#[tokio::test]
async fn connections_cut_in_mid_stream_lose_nothing_and_keep_the_order() {
    let manners =
        Manners { delay: Duration::from_millis(2), cut_after: Some(7), cuts: 2, ..Manners::default() };
    let (server, address) = Server::start(manners).await;
    let plan = Plan::new(Load::count(20, 60), 3);
    let ledger = Arc::new(Ledger::new(&plan));
    let progress = Arc::new(Progress::default());
    let report = play(plan, address, (Arc::clone(&ledger), Arc::clone(&progress))).await;

    assert_eq!((report.published, report.acknowledged, report.unfinished), (1200, 1200, 0));
    assert_eq!((report.reconnects, report.lost_connections, report.stray_acks), (40, 40, 0));
    assert_eq!(
        (ledger.count(), progress.messages_published(), progress.messages_acknowledged()),
        (1200, 1200, 1200)
    );
    assert_eq!(report.ack_micros.len(), 1200);
    assert!(report.ack_micros.min() >= 1900, "the delay is in the latency: {}", report.ack_micros.min());
    assert_eq!(server.disconnects.load(Ordering::Relaxed), 20, "all left in order");

    let seen = server.seen.lock().unwrap();
    for ((device, connection), order) in by_connection(&seen) {
        assert!(order.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{device} on {connection}: {order:?}");
    }
    let mut sent: BTreeMap<(u32, u32), Payload> = BTreeMap::new();
    for one in seen.iter() {
        let before = sent.insert((one.payload.device, one.payload.seq), one.payload);
        // What the server saw before goes again with DUP and the same bytes. DUP alone may also stand on a message
        // that was lost on its way to the server.
        assert!(before.is_none_or(|before| before == one.payload && one.dup), "{one:?}");
    }
    assert_eq!(sent.len(), 1200);
    let resends = u64::try_from(seen.iter().filter(|one| one.dup).count()).unwrap();
    assert!(resends >= 40 && resends <= report.resent, "{resends} of {}", report.resent);
}

#[tokio::test]
async fn the_window_and_the_servers_receive_maximum_are_kept() {
    for (version, receive_maximum, most) in
        [(Version::V311, None, 16), (Version::V5, None, 16), (Version::V5, Some(5), 5)]
    {
        let manners = Manners { delay: Duration::from_millis(5), receive_maximum, ..Manners::default() };
        let (server, address) = Server::start(manners).await;
        let plan = Plan { versions: Versions::Only(version), ..Plan::new(Load::count(3, 100), 1) };
        let report = play(plan, address, ()).await;
        assert_eq!((report.acknowledged, report.resent), (300, 0));
        assert_eq!(
            server.most_unacknowledged.load(Ordering::Relaxed),
            most,
            "{version:?} {receive_maximum:?}"
        );
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_counted_by_reason_and_not_sent_again() {
    let manners = Manners { reject_thirds: true, ..Manners::default() };
    let (server, address) = Server::start(manners).await;
    let plan = Plan { versions: Versions::Only(Version::V5), ..Plan::new(Load::count(4, 30), 1) };
    let report = play(plan, address, ()).await;
    assert_eq!((report.acknowledged, report.unfinished), (80, 0));
    assert_eq!(report.refused, BTreeMap::from([("puback quota exceeded".into(), 40)]));
    assert_eq!(server.seen.lock().unwrap().len(), 120);
}

#[tokio::test]
async fn a_device_that_is_turned_away_comes_back_when_it_was_told() {
    let manners = Manners { come_back_in_ms: Some(700), ..Manners::default() };
    let (_server, address) = Server::start(manners).await;
    let plan = Plan { versions: Versions::Only(Version::V5), ..Plan::new(Load::count(10, 1), 1) };
    let report = play(plan, address, ()).await;
    assert_eq!(report.acknowledged, 10);
    assert_eq!(report.refused, BTreeMap::from([("connack connection rate exceeded".into(), 10)]));
    assert!(report.elapsed >= Duration::from_millis(700), "{:?}", report.elapsed);
    assert_eq!((report.reconnects, report.lost_connections), (0, 0));
}

#[tokio::test]
async fn qos_0_is_sent_once_and_arrives_before_the_farewell() {
    let (server, address) = Server::start(Manners::default()).await;
    let plan = Plan { qos: QoS::AtMostOnce, ..Plan::new(Load::count(5, 400), 1) };
    let report = play(plan, address, ()).await;
    assert_eq!((report.published, report.acknowledged, report.unfinished), (2000, 0, 0));
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 2000);
    assert!(seen.iter().all(|one| !one.dup));
    assert_eq!(server.disconnects.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_paced_load_is_sent_over_its_time_by_devices_that_say_their_class() {
    let (server, address) = Server::start(Manners::default()).await;
    let second = Duration::from_secs(1);
    let load = Load { phases: vec![Phase { lasts: second, rate: 20.0 }], ..Load::count(30, 5) };
    let plan = Plan { run: 77, ..Plan::new(load, 9) };
    let report = play(plan, address, ()).await;
    assert_eq!(report.acknowledged, 30 * 25);
    assert!(report.elapsed >= second, "connected until the load ends: {:?}", report.elapsed);
    for one in server.seen.lock().unwrap().iter() {
        let Payload { run, device, class, sent_unix_micros, .. } = one.payload;
        assert_eq!(
            (run, one.topic.as_str()),
            (77, format!("{}/fleet-{device}/telemetry", class.topic_root()).as_str())
        );
        let since_start = sent_unix_micros - u64::try_from(UNIX.0).unwrap() * 1000;
        assert!(since_start < u64::try_from(report.elapsed.as_micros()).unwrap());
    }
}

#[tokio::test]
async fn a_fleet_that_is_stopped_sends_nothing_new_and_gives_up_in_time() {
    let (server, address) = Server::start(Manners { mute: true, ..Manners::default() }).await;
    let shutdown = CancellationToken::new();
    let plan = Plan { stop_grace: Duration::from_millis(100), ..Plan::new(Load::count(3, 100), 1) };
    let running = tokio::spawn(run(plan, address, CLOCKS, (), shutdown.clone()));
    while server.seen.lock().unwrap().len() < 3 * 16 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    let report = running.await.unwrap().unwrap();
    assert_eq!((report.published, report.acknowledged, report.unfinished), (48, 0, 300));
}
