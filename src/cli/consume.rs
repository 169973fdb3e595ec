//! `tidegate consume`: the reference consumer as a process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tidegate_core::wire::{CONSUMER_REPORT_PATH, ConsumerReport};
use tidegate_kafka::consumer::{self, Error, Running, Settings, Snapshot, Work};
use tidegate_runtime::report::{Key, Reporter};
use tidegate_runtime::{clock, shutdown};
use tokio::time::MissedTickBehavior;

use crate::exit::Usage;
use crate::value;

/// Time between two reports to the controller.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How often to look whether the consumer's thread has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Settings of a consumer.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kafka bootstrap servers, HOST:PORT separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// Consumer group.
    #[arg(long)]
    group: String,
    /// Topic to read; may be given more than once.
    #[arg(long = "topic", value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Kafka client id, unique in the group. Default: consume-PID.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Sleep this long for each record, e.g. 5ms.
    #[arg(long, value_name = "TIME", value_parser = value::duration, conflicts_with = "burn")]
    work: Option<Duration>,
    /// Keep a processor busy this long for each record, e.g. 200us.
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    burn: Option<Duration>,
    /// Time between two commits of what was processed.
    #[arg(long, value_name = "TIME", value_parser = value::duration, default_value = "5s")]
    commit_interval: Duration,
    /// Controller to report busy seconds to, http://HOST:PORT.
    #[arg(long, value_name = "URL", requires = "key_file")]
    report_to: Option<String>,
    /// File with the key that the controller shares with its reporters.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Another setting of librdkafka's consumer, e.g. session.timeout.ms=30000; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = value::setting)]
    overrides: Vec<(String, String)>,
    /// Leave the group when standard input ends: with its pipe held open, a parent that dies takes its consumers along.
    #[arg(long)]
    stop_on_stdin_eof: bool,
}

/// Consumes until SIGTERM or SIGINT, then commits and leaves the group.
///
/// # Errors
/// Wrong settings, or what ended the consumer.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let started = clock::monotonic();
    if args.work.is_some_and(|work| work.is_zero()) {
        return Err(Usage::new("--work", "0s", "more than nothing").into());
    }
    let reporter = match (args.report_to, args.key_file) {
        (Some(url), Some(file)) => Some(reporter(url, &file)?),
        _ => None,
    };
    let client_id = args.client_id.unwrap_or_else(|| format!("consume-{}", std::process::id()));
    let settings = Settings {
        topics: args.topics,
        work: match (args.work, args.burn) {
            (Some(work), _) => Work::Sleep(work),
            (None, Some(burn)) => Work::Burn(burn),
            (None, None) => Work::None,
        },
        commit_interval: args.commit_interval,
        overrides: args.overrides.into_iter().collect(),
        ..Settings::new(args.kafka, args.group, "", client_id)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let running = consumer::spawn(&settings, clock::monotonic, started, |_| ()).map_err(cannot_start)?;
        let mut reports = Reports::new(reporter, &settings);
        tokio::select! {
            () = shutdown::signal() => (),
            () = end_of_stdin(), if args.stop_on_stdin_eof => tracing::info!("standard input ended"),
            () = end_of(&running) => (),
            () = reports.send_every_second(&running) => (),
        }
        running.stop();
        reports.send(running.stats().snapshot(), true).await;
        tokio::task::spawn_blocking(|| running.join()).await?.context("the consumer")
    })
}

fn reporter(url: String, key_file: &Path) -> Result<Reporter, Usage> {
    let key = Key::from_file(key_file).map_err(|error| {
        Usage::new("--key-file", key_file.display(), format!("a file with a key ({error})"))
    })?;
    Reporter::new(url.clone(), &key)
        .map_err(|error| Usage::new("--report-to", url, format!("http://HOST:PORT ({error})")))
}

/// A setting that librdkafka refuses came from the command line.
fn cannot_start(error: Error) -> anyhow::Error {
    match error {
        Error::Setting(wrong) => Usage::new(&format!("{} =", wrong.key), wrong.value, wrong.allowed).into(),
        other => anyhow::Error::new(other).context("the consumer"),
    }
}

/// Returns when standard input is at its end, or cannot be read.
async fn end_of_stdin() {
    let (ended, end) = tokio::sync::oneshot::channel();
    // A thread of its own, never waited for: tokio's stdin would keep the process alive until its read returns.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}

/// Returns when the consumer's thread has ended by itself.
async fn end_of(running: &Running) {
    while !running.is_finished() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Turns the consumer's totals into reports of what happened since the last one.
struct Reports {
    reporter: Option<Reporter>,
    report: ConsumerReport,
    last: Snapshot,
    last_at: tidegate_core::time::Timestamp,
    was_refused: bool,
}

impl Reports {
    fn new(reporter: Option<Reporter>, settings: &Settings) -> Self {
        let report = ConsumerReport {
            group: settings.group.clone(),
            member: settings.client_id.clone(),
            run: u64::from(std::process::id()) << 32 | clock::unix_millis().0.cast_unsigned() & 0xFFFF_FFFF,
            ..ConsumerReport::default()
        };
        Self { reporter, report, last: Snapshot::default(), last_at: clock::monotonic(), was_refused: false }
    }

    /// Reports every second, whether the last report was delivered or not, until it is dropped.
    async fn send_every_second(&mut self, running: &Running) {
        let mut due = tokio::time::interval(REPORT_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Its first tick is now; there is nothing to tell yet.
        due.tick().await;
        loop {
            due.tick().await;
            self.send(running.stats().snapshot(), false).await;
        }
    }

    /// Sends one report. A controller that is away costs nothing but its line in the log: the next report has
    /// what this one had, since only a delivered report moves the begin of the span.
    async fn send(&mut self, now: Snapshot, leaving: bool) {
        let Some(reporter) = &self.reporter else { return };
        let at = clock::monotonic();
        self.report.seq += 1;
        self.report.interval_ms = u32::try_from(at.since(self.last_at).as_millis()).unwrap_or(u32::MAX);
        self.report.records = now.records - self.last.records;
        self.report.busy_seconds = now.busy.saturating_sub(self.last.busy).as_secs_f64();
        self.report.partitions = now.partitions;
        self.report.first_fetch_ms =
            now.first_fetch.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1));
        self.report.leaving = leaving;
        match reporter.post(CONSUMER_REPORT_PATH, &self.report).await {
            Ok(_) => {
                (self.last, self.last_at, self.was_refused) = (now, at, false);
            }
            Err(error) if !self.was_refused => {
                tracing::warn!(%error, "report not delivered");
                self.was_refused = true;
            }
            Err(_) => (),
        }
    }
}
