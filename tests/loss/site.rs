//! A site: Kafka, a proxy before each of its brokers, gateways, and their devices.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_fleet::{Load, Plan, Report};
use tidegate_runtime::clock;
use tidegate_tests::support::fleet::Fleet;
use tidegate_tests::support::kafka::Kafka;
use tidegate_tests::support::kafka_proxy::KafkaProxy;
use tidegate_tests::support::proxy::{Direction, Flow, Link, Proxy};
use tidegate_tests::support::verifier::{Check, Decode as _, Ledger, Seen, Verdict, reader};

use super::case::Case;
use super::post::Post;
use super::spool::CLASSES;

/// Where partition `i` of a topic is, with three brokers.
const ON_ALL: [&[i32]; 4] = [&[1, 2, 3], &[2, 3, 1], &[3, 1, 2], &[1, 3, 2]];
const ON_ONE: [&[i32]; 3] = [&[1], &[2], &[3]];
/// Class whose topic has each partition on one of the three brokers: without it the partition has no leader.
pub(super) const ALONE: &str = "gateway";
/// Acknowledgements that show that everything is connected and works.
const FLOWS: u64 = 300;
/// Producers start within half a second; three brokers and 200 devices beside a build take longer.
const FLOWS_WITHIN: Duration = Duration::from_mins(1);
/// After a fault: the gateway's longest back-off (30 s), and time to hand over what waits.
const DRAINS_WITHIN: Duration = Duration::from_secs(90);
/// Time in which a gateway notices that Kafka is away: `spool.after` is capped at 10 s where partitions are warm, one
/// judgement may be skipped.
const NOTICED_WITHIN: Duration = Duration::from_secs(12);
/// Brokers that were away lead again: three seconds, or more on a busy machine.
const READ_WITHIN: Duration = Duration::from_secs(45);
/// What Kafka had answered before it went may still be on its way to the devices.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A running site.
pub(super) struct Site {
    case: Case,
    /// The brokers; number `i + 1` behind proxy `i`.
    pub(super) brokers: Vec<Kafka>,
    /// Between the gateways and each broker.
    pub(super) uplinks: Vec<Proxy>,
    /// In the place of the first uplink, if the case says so.
    pub(super) answers: Option<KafkaProxy>,
    pub(super) posts: Vec<Post>,
    /// Devices that come to the first gateway and leave again.
    guests: Vec<Fleet>,
    /// Whether the gateways have a spool.
    pub(super) has_spool: bool,
    /// What was in topics that are no more.
    deleted: Vec<Seen>,
}

/// What is left when all is over.
pub(super) struct Settled {
    pub(super) verdict: Verdict,
    /// Messages that devices count as acknowledged.
    pub(super) acknowledged: u64,
    /// Messages that devices sent again.
    pub(super) resent: u64,
}

impl Site {
    /// Starts everything.
    pub(super) async fn open(dir: &Path, case: Case, seed: u64, has_spool: bool) -> Result<Self> {
        let mut uplinks = Vec::new();
        for _ in 0..case.brokers {
            uplinks.push(Proxy::open().await?);
        }
        let answers = if case.answers_produce { Some(KafkaProxy::open().await?) } else { None };
        let mut addresses: Vec<_> = uplinks.iter().map(|proxy| Some(proxy.address())).collect();
        if let Some(proxy) = &answers {
            addresses[0] = Some(proxy.address());
        }
        let brokers = Kafka::start_cluster(dir, &addresses).await?;
        for (proxy, broker) in uplinks.iter().zip(&brokers) {
            proxy.forward_to(broker.client_listener());
            set(proxy, Link { latency: case.latency, ..Link::default() });
        }
        if let Some(proxy) = &answers {
            proxy.forward_to(brokers[0].client_listener());
        }
        let (posts, guests, deleted) = (Vec::new(), Vec::new(), Vec::new());
        let mut site = Self { case, brokers, uplinks, answers, posts, guests, has_spool, deleted };
        for class in CLASSES {
            site.create_topic(&topic_of(class)).await?;
        }
        let kafka: Vec<_> = site.brokers.iter().map(Kafka::bootstrap).collect();
        for number in 1..=case.gateways {
            let post = Post::open((dir, number), &kafka.join(","), &case, seed, has_spool).await?;
            site.posts.push(post);
        }
        Ok(site)
    }

    /// Makes a topic as the case wants it.
    pub(super) async fn create_topic(&self, topic: &str) -> Result<()> {
        match self.case.brokers {
            1 => self.brokers[0].create_topic(topic, self.case.partitions).await,
            _ if topic == topic_of(ALONE) => self.brokers[0].create_placed_topic(topic, &ON_ONE).await,
            _ => self.brokers[0].create_placed_topic(topic, &ON_ALL).await,
        }
    }

    /// Waits until the only broker answers for all partitions of a topic.
    pub(super) async fn serves(&self, topic: &str) -> Result<()> {
        self.brokers[0].serves(topic, self.case.partitions).await
    }

    /// Returns the first gateway's post.
    pub(super) fn post(&mut self) -> &mut Post {
        &mut self.posts[0]
    }

    /// Changes both directions of all uplinks.
    pub(super) fn set_uplinks(&self, link: Link) {
        for proxy in &self.uplinks {
            set(proxy, link);
        }
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.posts.iter().map(Post::acknowledged).sum()
    }

    /// Waits until devices publish and are acknowledged.
    pub(super) async fn flows(&self) -> Result<()> {
        for post in &self.posts {
            post.acknowledges(FLOWS, FLOWS_WITHIN).await?;
        }
        Ok(())
    }

    /// Lets other devices come to the first gateway with `each` messages. They leave when all are acknowledged, or the time
    /// is over.
    pub(super) async fn receive(&mut self, devices: u32, each: u32, stay: Duration) -> Result<Report> {
        let mut plan = Plan::new(Load::count(devices, each), 1);
        plan.prefix = format!("guest-{}", self.guests.len());
        plan.deadline = stay;
        let guests = Fleet::new(plan);
        self.guests.push(guests.clone());
        guests.run(self.posts[0].door.address(), ()).await
    }

    /// Lets an outage of Kafka last, which has just begun, and looks at the devices meanwhile. With a spool they are
    /// acknowledged as before, once the gateway has noticed; without one, none of them is: that would be a lie.
    pub(super) async fn endure(&self, outage: Duration) -> Result<()> {
        let until = clock::monotonic() + outage;
        let looks_from = if self.has_spool { NOTICED_WITHIN } else { LAST_ANSWERS };
        tokio::time::sleep(looks_from).await;
        let before = self.acknowledged();
        let rest = until.since(clock::monotonic());
        ensure!(rest > Duration::ZERO, "an outage of {outage:?} is over before it is looked at");
        tokio::time::sleep(rest).await;
        let during = self.acknowledged() - before;
        if self.has_spool {
            // Half: the machine may be busy, and the disk slow.
            let offered = self.case.offered(rest);
            ensure!(during >= offered / 2, "of {offered} messages in {rest:?} {during} were acknowledged");
        } else {
            ensure!(during == 0, "{during} messages were acknowledged by nobody");
        }
        Ok(())
    }

    /// Waits until nothing moves any more, stops the gateways in good order, and compares Kafka with what devices know.
    pub(super) async fn settle(&mut self) -> Result<Settled> {
        let (mut acknowledged, mut resent) = (0, 0);
        self.posts.iter().for_each(Post::quiet);
        for post in &mut self.posts {
            let report = post.settled().await?;
            acknowledged += report.acknowledged;
            resent += report.resent;
        }
        acknowledged += self.guests.iter().map(Fleet::acknowledged).sum::<u64>();
        // A spool may have acknowledged what Kafka has yet to get. Bounded by the time.
        let begin = clock::monotonic();
        while self.look().await?.lost.count > 0 && clock::monotonic().since(begin) < DRAINS_WITHIN {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for post in &mut self.posts {
            post.ensure_healthy()?;
            post.stop().await?;
        }
        Ok(Settled { verdict: self.look().await?, acknowledged, resent })
    }

    /// Compares what is in Kafka now with what devices know now.
    pub(super) async fn look(&self) -> Result<Verdict> {
        let mut ledger = Ledger::default();
        self.fleets().for_each(|fleet| fleet.account(&mut ledger));
        let mut check = Check::new(ledger);
        for record in self.deleted.iter().chain(&self.read().await?) {
            check.record(record);
        }
        Ok(check.finish())
    }

    fn fleets(&self) -> impl Iterator<Item = &Fleet> {
        self.posts.iter().map(|post| &post.fleet).chain(&self.guests)
    }

    /// Keeps what is in Kafka, for topics that are about to vanish. Nobody may write meanwhile.
    pub(super) async fn remember(&mut self) -> Result<()> {
        let read = self.read().await?;
        ensure!(read.len() == self.read().await?.len(), "somebody writes to topics that are to be deleted");
        self.deleted = read;
        Ok(())
    }

    /// Deletes a topic, of which [`remember`](Self::remember) has kept what was in it.
    pub(super) async fn delete_topic(&mut self, topic: &str) -> Result<()> {
        self.deleted.retain(|record| record.topic == topic);
        self.brokers[0].delete_topic(topic).await
    }

    /// Reads everything, past the proxies; again, while leaders still move.
    async fn read(&self) -> Result<Vec<Seen>> {
        let begin = clock::monotonic();
        loop {
            match self.read_once().await {
                Err(_) if clock::monotonic().since(begin) < READ_WITHIN => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn read_once(&self) -> Result<Vec<Seen>> {
        let direct: Vec<_> = self.brokers.iter().map(Kafka::direct).collect();
        let fleets: Vec<_> = self.fleets().cloned().collect();
        let read = move || -> Result<Vec<Seen>> {
            let decode = |topic: &str, key: &[u8], payload: &[u8]| {
                fleets.iter().find_map(|fleet| fleet.decode(topic, key, payload))
            };
            let topics = CLASSES.map(topic_of);
            let topics: Vec<_> = topics.iter().map(String::as_str).collect();
            let mut records = Vec::new();
            reader::read(&direct.join(","), &topics, &decode, &mut |record| records.push(record.clone()))?;
            Ok(records)
        };
        tokio::task::spawn_blocking(read).await?.context("read what is in kafka")
    }

    /// Says how the site is, for whoever reads of a failure.
    pub(super) async fn describe(&self) -> String {
        let mut said = Vec::new();
        for post in &self.posts {
            said.push(post.describe().await);
        }
        said.join("\n")
    }
}

/// Returns the topic of a class, as the default routes have it.
pub(super) fn topic_of(class: &str) -> String {
    format!("telemetry-{class}")
}

/// Changes both directions of a proxy.
pub(super) fn set(proxy: &Proxy, link: Link) {
    proxy.set(Direction::ToServer, link);
    proxy.set(Direction::ToClient, link);
}

/// A link that swallows everything.
pub(super) const BLACK_HOLE: Link =
    Link { latency: Duration::ZERO, bytes_per_sec: None, flow: Flow::BlackHole };
