//! What `tidegate up` starts: Kafka, the controller with its consumers, the gateway.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use humantime::format_duration;
use tempfile::TempDir;
use tidegate_controller::config::RawProcesses;
use tidegate_controller::{GroupSettings, View};
use tidegate_core::scaling::Policy;
use tidegate_gateway::config as gateway;
use tidegate_gateway::{Door, Resources, Stats};
use tidegate_kafka::consumer::WORK_MAX;
use tidegate_runtime::clock;
use tidegate_runtime::metrics::Registry;
use tidegate_runtime::report::Key;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use super::scenario::{COMMIT_INTERVAL, DOWN_AFTER, PARTITIONS, SLO, Scenario, TICK};
use crate::exit::Usage;

/// Consumer group of the built-in consumers.
const GROUP: &str = "tidegate-up";
/// Part of its nominal rate that a sleeping consumer really does: a sleep ends late, by the timer's grain.
const SLEEP_YIELD: f64 = 0.95;
/// What `--work` may be: below, a consumer would do more than a capacity may say; above, it would miss Kafka's poll interval.
const WORK: RangeInclusive<Duration> = Duration::from_micros(1)..=WORK_MAX;
/// Time that a consumer has to leave its group.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What the command line asks for.
pub(super) struct Wanted {
    pub(super) kafka: Option<String>,
    pub(super) listen: SocketAddr,
    pub(super) work: Duration,
}

impl Wanted {
    fn check(&self) -> Result<(), Usage> {
        if !WORK.contains(&self.work) {
            let allowed = format!("{:?} to {:?}", WORK.start(), WORK.end());
            return Err(Usage::new("--work", format_duration(self.work), allowed));
        }
        if !self.listen.ip().is_loopback() {
            let allowed =
                "a loopback address: nobody is authenticated here (tidegate gateway has allow_anonymous)";
            return Err(Usage::new("--listen", self.listen, allowed));
        }
        Ok(())
    }
}

/// The running parts.
pub(super) struct Parts {
    pub(super) broker: Arc<Broker>,
    pub(super) topics: Vec<String>,
    pub(super) group: String,
    pub(super) gateway_address: SocketAddr,
    pub(super) gateway_stats: Stats,
    pub(super) view: watch::Receiver<View>,
    pub(super) fewest: u32,
    controller_address: SocketAddr,
    stop_gateway: CancellationToken,
    stop_controller: CancellationToken,
    gateway: JoinSet<anyhow::Result<()>>,
    controller: JoinSet<anyhow::Result<()>>,
    _files: TempDir,
}

impl Parts {
    /// Starts them in the order in which they need one another.
    ///
    /// # Errors
    /// What kept one of them from starting.
    pub(super) async fn start(wanted: &Wanted) -> anyhow::Result<Self> {
        wanted.check()?;
        let files = tempfile::tempdir().context("a temporary directory")?;
        let key_file = files.path().join("key");
        let key = Key::generate();
        key.write(&key_file).context("the key of this run")?;

        let listener = TcpListener::bind(wanted.listen).map_err(|error| {
            Usage::new("--listen", wanted.listen, format!("an address that can be bound ({error})"))
        })?;
        let gateway_address = listener.local_addr()?;
        let reports = TcpListener::bind((gateway_address.ip(), 0)).context("a port for reports")?;
        let controller_address = reports.local_addr()?;

        // The embedded Kafka wants its topics before it has an address.
        let topics = gateway::Settings::minimal("localhost:9092").kafka_topics();
        let broker = Arc::new(Broker::start(wanted.kafka.as_deref(), &topics).await?);
        let kafka = broker.bootstrap_servers();
        let mut settings = gateway_settings(&kafka, gateway_address, controller_address, &key_file)?;
        settings.kafka.embedded = broker.is_embedded();
        let consumers = Consumers {
            kafka: &kafka,
            topics: &topics,
            work: wanted.work,
            overrides: broker.consumer_overrides(),
        };
        let (scaling, processes) = consumers.settings(controller_address, &key_file, files.path())?;
        let fewest = scaling.policy.min;

        let registry = Registry::new();
        let (sender, view) = watch::channel(View::default());
        let (stop_gateway, stop_controller) = (CancellationToken::new(), CancellationToken::new());
        let site = crate::controller::site(reports, key, registry.clone(), TICK)?;
        let group = crate::controller::group(scaling, processes, sender)?;
        let mut controller = JoinSet::new();
        let stop = stop_controller.clone();
        controller.spawn(async move {
            tidegate_controller::run(site, group, stop).await.context("the controller")
        });

        let gateway_stats = Stats::default();
        let resources = Resources {
            settings,
            door: Door::Open(listener),
            admin: None,
            registry,
            stats: gateway_stats.clone(),
            clock: clock::monotonic,
            unix_clock: clock::unix_millis,
            synchronisation: clock::synchronisation,
        };
        let mut gateway = JoinSet::new();
        let stop = stop_gateway.clone();
        gateway.spawn(async move {
            tidegate_gateway::run(resources, stop).await.map(drop).context("the gateway")
        });
        Ok(Self {
            broker,
            topics,
            group: GROUP.to_owned(),
            gateway_address,
            gateway_stats,
            view,
            fewest,
            controller_address,
            stop_gateway,
            stop_controller,
            gateway,
            controller,
            _files: files,
        })
    }

    /// Prints what runs where, and under which policy.
    ///
    /// # Errors
    /// If nobody reads it.
    pub(super) fn introduce(&self, scenario: Option<Scenario>, wanted: &Wanted) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "tidegate {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "  gateway     mqtt://{}", self.gateway_address)?;
        writeln!(out, "  controller  http://{}/v1/decision (metrics: /metrics)", self.controller_address)?;
        writeln!(out, "  kafka       {}", self.broker.bootstrap_servers())?;
        if self.broker.is_embedded() {
            writeln!(
                out,
                "              embedded: at most 5 MiB or 100 000 records a partition, and nothing of it survives:"
            )?;
            writeln!(out, "              what is acknowledged here is lost when this process ends")?;
        }
        writeln!(
            out,
            "  policy      slo {SLO:?}, 1 to {PARTITIONS} consumers, per replica {:.0}/s from --work {:?}, down after {DOWN_AFTER:?}",
            per_replica(wanted.work),
            wanted.work,
        )?;
        match scenario {
            Some(scenario) => writeln!(out, "  devices     {}\n", scenario.describe()),
            None => writeln!(
                out,
                "  devices     yours: mosquitto_pub -p {} -q 1 -t sensors/1 -m hello\n",
                self.gateway_address.port()
            ),
        }
    }

    /// Returns when a part ends that nobody asked to end.
    ///
    /// # Errors
    /// What ended it.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        let (name, ended) = tokio::select! {
            Some(ended) = self.gateway.join_next() => ("the gateway", ended),
            Some(ended) = self.controller.join_next() => ("the controller", ended),
        };
        ended.with_context(|| format!("{name} died"))??;
        anyhow::bail!("{name} ended by itself")
    }

    /// Stops the gateway, then the controller with its consumers.
    ///
    /// # Errors
    /// What did not end well.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop_gateway.cancel();
        let mut outcome = Ok(());
        while let Some(ended) = self.gateway.join_next().await {
            outcome = outcome.and(ended.context("the gateway died").flatten());
        }
        self.stop_controller.cancel();
        while let Some(ended) = self.controller.join_next().await {
            outcome = outcome.and(ended.context("the controller died").flatten());
        }
        outcome
    }
}

fn gateway_settings(
    kafka: &str,
    listen: SocketAddr,
    controller: SocketAddr,
    key_file: &Path,
) -> anyhow::Result<gateway::Settings> {
    let raw = gateway::RawSettings {
        name: Some("up".into()),
        listen: Some(listen.to_string()),
        kafka: gateway::RawKafka { bootstrap_servers: Some(kafka.to_owned()), ..Default::default() },
        // One machine, one clock: whoever looks at times here has the same.
        clock: gateway::RawClock { trust: Some("always".into()) },
        report: gateway::RawReport {
            url: Some(format!("http://{controller}")),
            key_file: Some(key_file.to_owned()),
        },
        ..Default::default()
    };
    gateway::Settings::try_from(raw).map_err(|problem| {
        anyhow::anyhow!("--listen: {} = {}: allowed is {}", problem.key, problem.value, problem.allowed)
    })
}

/// Messages per second of one consumer that sleeps for each.
fn per_replica(work: Duration) -> f64 {
    SLEEP_YIELD / work.as_secs_f64()
}

/// The consumers that are scaled: this program, as `tidegate consume`.
struct Consumers<'a> {
    kafka: &'a str,
    topics: &'a [String],
    work: Duration,
    overrides: &'static [(&'static str, &'static str)],
}

impl Consumers<'_> {
    /// Returns what is promised for them, and how they are started.
    fn settings(
        &self,
        listen: SocketAddr,
        key_file: &Path,
        files: &Path,
    ) -> anyhow::Result<(GroupSettings, RawProcesses)> {
        let policy = Policy {
            capacity_per_replica: Some(per_replica(self.work)),
            commit_interval: COMMIT_INTERVAL,
            down_after: DOWN_AFTER,
            down_max_step: PARTITIONS,
            ..Policy::new(SLO, 1, PARTITIONS)
        };
        let group = GroupSettings {
            bootstrap_servers: self.kafka.to_owned(),
            consumer_group: GROUP.to_owned(),
            topics: self.topics.to_vec(),
            policy,
        };
        let group = group.looked_at_every(TICK).checked().map_err(|problem| {
            anyhow::anyhow!("{} = {}: allowed is {}", problem.key, problem.value, problem.allowed)
        })?;
        let processes = RawProcesses {
            command: std::env::current_exe().context("this program's path")?,
            args: self.args(&format!("http://{listen}"), key_file),
            env: std::collections::BTreeMap::default(),
            stop_timeout: STOP_TIMEOUT,
            log_file: Some(files.join("consumers.log")),
        };
        Ok((group, processes))
    }

    fn args(&self, report_to: &str, key_file: &Path) -> Vec<String> {
        let mut args: Vec<String> =
            ["consume", "--stop-on-stdin-eof", "--client-id", "{member}", "--group", GROUP]
                .map(str::to_owned)
                .into();
        let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
        option("--kafka", self.kafka.to_owned());
        option("--work", format_duration(self.work).to_string());
        option("--commit-interval", format_duration(COMMIT_INTERVAL).to_string());
        option("--report-to", report_to.to_owned());
        option("--key-file", key_file.display().to_string());
        for topic in self.topics {
            option("--topic", topic.clone());
        }
        for (key, value) in self.overrides {
            option("--set", format!("{key}={value}"));
        }
        args
    }
}
