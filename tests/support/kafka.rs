//! A real Apache Kafka: one broker in `KRaft` mode, one process.
//!
//! It has two listeners. CLIENT is what the product uses, and may be advertised under another address, so
//! that a proxy can stand in between: a client follows the addresses in Kafka's metadata, not the one that it
//! was given. DIRECT is the test's own way in, past any proxy.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
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

/// A running Kafka. Dropping it kills the process.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    dir: PathBuf,
    class_path: String,
    client: SocketAddr,
    advertised: SocketAddr,
    direct: SocketAddr,
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
        let class_path = format!("{}/*", parts::kafka_libs()?.display());
        let dir = dir.join("kafka");
        fs::create_dir_all(&dir)?;
        let mut attempt = 1;
        loop {
            let [client, direct, controller] = ports::free()?;
            let advertised = proxy.unwrap_or(client);
            fs::write(properties(&dir), settings(&dir, client, advertised, direct, controller))?;
            format(&dir, &class_path).await?;
            let process = run(&dir, &class_path)?;
            let mut kafka = Self {
                process,
                dir: dir.clone(),
                class_path: class_path.clone(),
                client,
                advertised,
                direct,
            };
            match kafka.ready().await {
                Ok(()) => return Ok(kafka),
                Err(error)
                    if attempt == ATTEMPTS || !kafka.process.stdout().contains("Address already in use") =>
                {
                    return Err(error.context(kafka.process.tail()));
                }
                Err(_) => {
                    drop(kafka);
                    fs::remove_dir_all(dir.join("data"))?;
                    attempt += 1;
                }
            }
        }
    }

    /// Returns the address that clients are to be given: the proxy's if there is one.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.advertised.to_string()
    }

    /// Returns the socket that a proxy forwards to.
    #[must_use]
    pub fn client_listener(&self) -> SocketAddr {
        self.client
    }

    /// Returns the test's own way in, past any proxy.
    #[must_use]
    pub fn direct(&self) -> String {
        self.direct.to_string()
    }

    /// Makes a topic with one replica.
    ///
    /// # Errors
    /// Kafka's.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.direct()).create()?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for made in admin.create_topics([&topic], &AdminOptions::new()).await? {
            made.map_err(|(topic, code)| anyhow::anyhow!("create topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// Stops the process where it stands (SIGSTOP): connections stay open, nothing answers.
    ///
    /// # Errors
    /// Kafka is gone.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        self.process.signal(Signal::STOP)?;
        Ok(Frozen { kafka: self })
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
        let ready = self.ready().await;
        ready.with_context(|| self.process.tail())
    }

    /// Waits until Kafka answers on its direct listener.
    async fn ready(&mut self) -> Result<()> {
        let direct = self.direct();
        eventually("kafka answers", START_WITHIN, async || {
            if let Some(status) = self.process.ended()? {
                bail!("kafka ended: {status}");
            }
            Ok(answers(&direct).await?.then_some(()))
        })
        .await
    }
}

/// A Kafka that stands still; it goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen<'a> {
    kafka: &'a Kafka,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Gone means that the test has killed it meanwhile.
        let _ = self.kafka.process.signal(Signal::CONT);
    }
}

/// Asks for metadata, with a second's patience.
async fn answers(address: &str) -> Result<bool> {
    // librdkafka would log and retry a refused connection; a plain one is cheaper to ask first.
    if tokio::net::TcpStream::connect(address).await.is_err() {
        return Ok(false);
    }
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", address).create()?;
    let asked =
        tokio::task::spawn_blocking(move || consumer.fetch_metadata(None, Duration::from_secs(1)).is_ok());
    Ok(asked.await?)
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
fn settings(
    dir: &Path,
    client: SocketAddr,
    advertised: SocketAddr,
    direct: SocketAddr,
    controller: SocketAddr,
) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=CLIENT://{client},DIRECT://{direct},CONTROLLER://{controller}
advertised.listeners=CLIENT://{advertised},DIRECT://{direct}
listener.security.protocol.map=CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=DIRECT
log.dirs={}
auto.create.topics.enable=false
# One broker: its internal topics cannot have three replicas, and fewer partitions start sooner.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A test group is complete when its first member joins; the default waits three seconds for more.
group.initial.rebalance.delay.ms=0
",
        dir.join("data").display()
    )
}
