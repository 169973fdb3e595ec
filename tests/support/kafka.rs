//! A real Apache Kafka in `KRaft` mode: one broker, or a cluster of several, each a process of its own.
//!
//! A broker has two listeners. CLIENT is what the product uses, and may be advertised under another address, so
//! that a proxy can stand in between: a client follows the addresses in Kafka's metadata, not the one that it
//! was given. DIRECT is the test's own way in, past any proxy.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;
use rustix::process::Signal;

use super::deadline::eventually;
use super::process::{Process, ensure_clean};
use super::{parts, ports};

/// Any id in Kafka's own form (base64 of a UUID); fixed, since each Kafka is alone.
const CLUSTER_ID: &str = "dGlkZWdhdGUtdGVzdHMtMQ";
/// Starting took 4 s on an idle reference machine, and up to a minute beside a build.
const START_WITHIN: Duration = Duration::from_mins(2);
/// A port can be taken between asking and binding; thrice in a row it is something else.
const ATTEMPTS: u32 = 3;
/// Enough for the tests' load, and small enough to leave the machine to the product. By default it logs errors only.
const JVM: [&str; 4] = ["-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", "-Dlog4j2.level=INFO"];

/// A dead broker's partitions get new leaders after three seconds instead of nine, and a broker that is back gets its own
/// again after five instead of three hundred: tests wait for both.
const OF_A_CLUSTER: &str = "broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
leader.imbalance.check.interval.seconds=5
leader.imbalance.per.broker.percentage=0
";
/// Patience with a question to a running broker.
const ASK: Duration = Duration::from_secs(5);
/// A topic is made or gone on all brokers within this time, even beside a build.
const TOPIC_WITHIN: Duration = Duration::from_secs(30);

/// A running broker. Dropping it kills the process.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    dir: PathBuf,
    class_path: String,
    seat: Seat,
}

/// Who a broker is, and where it listens.
#[derive(Clone, Copy, Debug)]
struct Seat {
    /// Number of the broker in its cluster, from 1.
    id: usize,
    client: SocketAddr,
    advertised: SocketAddr,
    direct: SocketAddr,
    controller: SocketAddr,
}

impl Kafka {
    /// Starts a new, empty Kafka with its data and logs in `dir`, and waits until it answers.
    ///
    /// # Errors
    /// The part is missing, or Kafka does not start; shows the end of its log.
    pub async fn start(dir: &Path) -> Result<Self> {
        Self::start_behind(dir, None).await
    }

    /// As [`start`](Self::start); clients are told to come to `proxy` (if any), which has to forward to
    /// [`client_listener`](Self::client_listener).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_behind(dir: &Path, proxy: Option<SocketAddr>) -> Result<Self> {
        let mut brokers = Self::start_cluster(dir, &[proxy]).await?;
        brokers.pop().context("a cluster of one broker has one")
    }

    /// Starts a new, empty cluster with a broker for each entry of `proxies`, and waits until all know each other.
    /// Broker and controller of a number are one process. Brokers talk to each other past the proxies.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_cluster(dir: &Path, proxies: &[Option<SocketAddr>]) -> Result<Vec<Self>> {
        let class_path = format!("{}/*", parts::kafka_libs()?.display());
        let mut attempt = 1;
        loop {
            let seats = seats(proxies)?;
            let mut brokers = Vec::new();
            for seat in &seats {
                brokers.push(Self::launch(dir, &class_path, *seat, &seats).await?);
            }
            match ready(&mut brokers).await {
                Ok(()) => return Ok(brokers),
                Err(error) => {
                    let taken =
                        brokers.iter().any(|one| one.process.stdout().contains("Address already in use"));
                    if attempt == ATTEMPTS || !taken {
                        let tails: Vec<String> = brokers.iter().map(|one| one.process.tail()).collect();
                        return Err(error.context(tails.join("\n")));
                    }
                }
            }
            for dead in brokers {
                let data = dead.dir.clone();
                drop(dead);
                fs::remove_dir_all(data)?;
            }
            attempt += 1;
        }
    }

    /// Starts the process of a broker that has no data yet.
    async fn launch(dir: &Path, class_path: &str, seat: Seat, all: &[Seat]) -> Result<Self> {
        let dir = if all.len() == 1 { dir.join("kafka") } else { dir.join(format!("kafka-{}", seat.id)) };
        fs::create_dir_all(&dir)?;
        fs::write(properties(&dir), settings(&dir, &seat, all))?;
        format(&dir, class_path).await?;
        let process = run(&dir, class_path)?;
        Ok(Self { process, dir, class_path: class_path.to_owned(), seat })
    }

    /// Returns the address that clients are to be given: the proxy's if there is one.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.seat.advertised.to_string()
    }

    /// Returns the socket that a proxy forwards to.
    #[must_use]
    pub fn client_listener(&self) -> SocketAddr {
        self.seat.client
    }

    /// Returns the test's own way in, past any proxy.
    #[must_use]
    pub fn direct(&self) -> String {
        self.seat.direct.to_string()
    }

    /// Makes a topic with one replica.
    ///
    /// # Errors
    /// Kafka's.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.create(NewTopic::new(name, partitions, TopicReplication::Fixed(1))).await
    }

    /// As [`create_topic`](Self::create_topic), with settings of the topic.
    ///
    /// # Errors
    /// Kafka's.
    pub async fn create_topic_with(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        self.create(settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))).await
    }

    /// Makes a topic of which partition `i` is on the brokers `places[i]`, the first being its preferred leader. A
    /// record is acknowledged once two of them have it, if there are two.
    ///
    /// # Errors
    /// Kafka's.
    pub async fn create_placed_topic(&self, name: &str, places: &[&[i32]]) -> Result<()> {
        let partitions = i32::try_from(places.len())?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Variable(places));
        self.create(topic.set("min.insync.replicas", "2")).await
    }

    async fn create(&self, topic: NewTopic<'_>) -> Result<()> {
        let (name, partitions) = (topic.name, topic.num_partitions);
        for made in self.admin()?.create_topics([&topic], &AdminOptions::new()).await? {
            made.map_err(|(topic, code)| anyhow::anyhow!("create topic {topic}: {code}"))?;
        }
        let all_led = async || {
            let leaders = self.leaders(name).await?;
            let led = leaders.iter().filter(|leader| **leader >= 0).count();
            Ok((i32::try_from(led)? == partitions).then_some(()))
        };
        eventually("a new topic's partitions have leaders", TOPIC_WITHIN, all_led).await
    }

    /// Waits until this broker answers for each partition of a topic that it leads alone: metadata names a leader some
    /// moments before it has begun.
    ///
    /// # Errors
    /// Kafka's, after a while.
    pub async fn serves(&self, topic: &str, partitions: i32) -> Result<()> {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", self.direct()).create()?;
        let consumer = Arc::new(consumer);
        let all_answer = async || {
            let (consumer, topic) = (Arc::clone(&consumer), topic.to_owned());
            let answers = move || (0..partitions).all(|p| consumer.fetch_watermarks(&topic, p, ASK).is_ok());
            Ok(tokio::task::spawn_blocking(answers).await?.then_some(()))
        };
        eventually("the leaders of a new topic answer", TOPIC_WITHIN, all_answer).await
    }

    /// Deletes a topic and waits until it is gone.
    ///
    /// # Errors
    /// Kafka's.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        for gone in self.admin()?.delete_topics(&[name], &AdminOptions::new()).await? {
            gone.map_err(|(topic, code)| anyhow::anyhow!("delete topic {topic}: {code}"))?;
        }
        let gone = async || Ok(self.leaders(name).await?.is_empty().then_some(()));
        eventually("a deleted topic is gone", TOPIC_WITHIN, gone).await
    }

    /// Returns the leader of each partition of a topic, -1 where there is none; empty if there is no such topic.
    ///
    /// # Errors
    /// This broker does not answer.
    pub async fn leaders(&self, topic: &str) -> Result<Vec<i32>> {
        let (direct, topic) = (self.direct(), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || metadata(&direct, Some(&topic), ASK));
        let metadata = asked.await??;
        let topic = metadata.topics().first().context("metadata without a topic")?;
        Ok(topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::leader).collect())
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(ClientConfig::new().set("bootstrap.servers", self.direct()).create()?)
    }

    /// Stops the process where it stands (SIGSTOP), until the guard is dropped: connections stay open, nothing answers.
    ///
    /// # Errors
    /// Kafka is gone.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        self.stand_still()?;
        Ok(Frozen { kafka: self })
    }

    /// As [`freeze`](Self::freeze), until told to [`go_on`](Self::go_on).
    ///
    /// # Errors
    /// Kafka is gone.
    pub fn stand_still(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Ends what [`stand_still`](Self::stand_still) began.
    ///
    /// # Errors
    /// Kafka is gone.
    pub fn go_on(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Kills the process as a crash would.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops Kafka in its own good order.
    ///
    /// # Errors
    /// It does not end within 30 s.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        self.process.end(Duration::from_secs(30)).await?;
        Ok(())
    }

    /// Starts it again on the same data and ports after [`kill`](Self::kill) or [`stop`](Self::stop).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<()> {
        self.process = run(&self.dir, &self.class_path)?;
        let ready = self.ready(1).await;
        ready.with_context(|| self.process.tail())
    }

    /// Waits until the broker answers on its direct listener and knows `brokers` of them.
    async fn ready(&mut self, brokers: usize) -> Result<()> {
        let direct = self.direct();
        eventually("kafka answers", START_WITHIN, async || {
            if let Some(status) = self.process.ended()? {
                bail!("kafka ended: {status}");
            }
            Ok((known_brokers(&direct).await? >= brokers).then_some(()))
        })
        .await
    }
}

/// Waits for all of a new cluster's brokers.
async fn ready(brokers: &mut [Kafka]) -> Result<()> {
    let count = brokers.len();
    for broker in brokers {
        broker.ready(count).await?;
    }
    Ok(())
}

/// A Kafka that stands still; it goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen<'a> {
    kafka: &'a Kafka,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Gone means that the test has killed it meanwhile.
        let _ = self.kafka.go_on();
    }
}

/// Returns how many brokers the one at this address knows; 0 if it does not answer within a second.
async fn known_brokers(address: &str) -> Result<usize> {
    // librdkafka would log and retry a refused connection; a plain one is cheaper to ask first.
    if tokio::net::TcpStream::connect(address).await.is_err() {
        return Ok(0);
    }
    let address = address.to_owned();
    let asked = tokio::task::spawn_blocking(move || metadata(&address, None, Duration::from_secs(1)));
    Ok(asked.await?.map_or(0, |metadata| metadata.brokers().len()))
}

/// Asks for metadata. Blocks.
fn metadata(address: &str, topic: Option<&str>, within: Duration) -> Result<Metadata> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", address).create()?;
    Ok(consumer.fetch_metadata(topic, within)?)
}

/// Finds ports for a broker behind each of these proxies.
fn seats(proxies: &[Option<SocketAddr>]) -> Result<Vec<Seat>> {
    let ports = ports::free_list(3 * proxies.len())?;
    let seat = |(index, (ports, proxy)): (usize, (&[SocketAddr], &Option<SocketAddr>))| Seat {
        id: index + 1,
        client: ports[0],
        advertised: proxy.unwrap_or(ports[0]),
        direct: ports[1],
        controller: ports[2],
    };
    Ok(ports.chunks_exact(3).zip(proxies).enumerate().map(seat).collect())
}

/// Writes the empty data directory that Kafka insists on.
async fn format(dir: &Path, class_path: &str) -> Result<()> {
    let file = properties(dir);
    let file = file.to_str().context("a path in UTF-8")?;
    let tool = ["-cp", class_path, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", file];
    let mut process = java("kafka-format", dir, &tool)?;
    let status = process.end(START_WITHIN).await?;
    ensure_clean(&process, status)
}

fn run(dir: &Path, class_path: &str) -> Result<Process> {
    let file = properties(dir);
    let file = file.to_str().context("a path in UTF-8")?;
    java("kafka", dir, &[&JVM[..], &["-cp", class_path, "kafka.Kafka", file]].concat())
}

fn java(name: &str, dir: &Path, args: &[&str]) -> Result<Process> {
    Process::start(name, dir, &parts::program("java", "kafka")?, args)
}

fn properties(dir: &Path) -> PathBuf {
    dir.join("server.properties")
}

/// Returns `server.properties`.
fn settings(dir: &Path, seat: &Seat, all: &[Seat]) -> String {
    let Seat { id, client, advertised, direct, controller } = seat;
    let voters: Vec<String> = all.iter().map(|one| format!("{}@{}", one.id, one.controller)).collect();
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={}
listeners=CLIENT://{client},DIRECT://{direct},CONTROLLER://{controller}
advertised.listeners=CLIENT://{advertised},DIRECT://{direct}
listener.security.protocol.map=CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=DIRECT
log.dirs={}
auto.create.topics.enable=false
# Internal topics hold nothing that a test could lose, and fewer partitions start sooner.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A test group is complete when its first member joins; the default waits three seconds for more.
group.initial.rebalance.delay.ms=0
{}",
        voters.join(","),
        dir.join("data").display(),
        if all.len() > 1 { OF_A_CLUSTER } else { "" }
    )
}
