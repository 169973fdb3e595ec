//! `tidegate up`: gateway, controller, consumers and Kafka in one command.
//!
//! Owns the order of starting and stopping, and what the caller reads. The parts are the same as those of the
//! single commands; only the consumers are processes of their own, since they are what is scaled.

mod audit;
mod broker;
mod parts;
mod scenario;
mod screen;
mod summary;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tidegate_controller::View;
use tidegate_fleet::{Clocks, Ledger, Plan, Progress, Report};
use tidegate_runtime::clock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::stop;
use parts::{Parts, Wanted};
use scenario::Scenario;
use screen::Screen;
use summary::Summary;

/// `--once` gives up when the consumers are not back this long after the devices are done.
const SETTLE_WITHIN: Duration = Duration::from_mins(2);
/// Time for blocking work to end once it is cut off.
const CUT_OFF: Duration = Duration::from_secs(1);
/// Lines on the screen.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Settings of `up`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Let simulated devices publish.
    #[arg(long, value_enum, value_name = "SCENARIO")]
    burst: Option<Scenario>,
    /// End when the devices are done and the consumers are stopped again, with a summary.
    #[arg(long, requires = "burst")]
    once: bool,
    /// A Kafka of yours instead of the embedded one. Missing topics are made.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Where devices connect. Port 0: any free port.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1883")]
    listen: std::net::SocketAddr,
    /// Time that a consumer takes for one record.
    #[arg(long, value_name = "TIME", default_value = scenario::WORK)]
    work: humantime::Duration,
}

/// Runs everything until Ctrl-C, or with `--once` until the scenario is over.
///
/// # Errors
/// What kept a part from starting, or stopped it; with `--once` also a lost message or consumers that did not stop.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(stop::on_signal(async |asked| {
        // A terminal that closes has asked as well.
        let mut closed = signal(SignalKind::hangup())?;
        let hang_up = async {
            closed.recv().await;
            asked.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = up(args, &asked) => ended,
            () = hang_up => Ok(()),
        }
    }));
    // What still blocks was cut off by a second Ctrl-C: it is not waited for.
    runtime.shutdown_timeout(CUT_OFF);
    outcome
}

async fn up(args: &Args, asked: &CancellationToken) -> anyhow::Result<()> {
    let wanted = Wanted { kafka: args.kafka.clone(), listen: args.listen, work: args.work.into() };
    let mut parts = tokio::select! {
        parts = Parts::start(&wanted) => parts?,
        () = asked.cancelled() => return Ok(()),
    };
    let progress = Arc::new(Progress::default());
    let mut screen = Screen::new(Arc::clone(&progress), parts.gateway_stats.clone());
    let mut fleet = args.burst.map(|scenario| Fleet::start(scenario, &parts, progress));
    let outcome = match parts.introduce(args.burst, &wanted) {
        Ok(()) => watch(&mut parts, &mut screen, fleet.as_mut(), args.once, asked).await,
        Err(unread) => Err(unread.into()),
    };
    // Devices first, so that their last messages are acknowledged; then the gateway, then the consumers, whatever
    // became of those before.
    let summary = match fleet {
        Some(fleet) => fleet.account(&parts, outcome).await.map(Some),
        None => outcome.map(|()| None),
    };
    let stopped = parts.stop().await;
    let summary = summary?;
    stopped?;
    summary.map_or(Ok(()), |summary| summary.print(&screen, args.once && !asked.is_cancelled()))
}

/// Shows what happens until it is over.
async fn watch(
    parts: &mut Parts,
    screen: &mut Screen,
    mut fleet: Option<&mut Fleet>,
    once: bool,
    asked: &CancellationToken,
) -> anyhow::Result<()> {
    let start = clock::monotonic();
    let mut lines = interval(SHOW_EVERY);
    lines.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut done_at = None;
    loop {
        tokio::select! {
            () = asked.cancelled() => return Ok(()),
            ended = parts.ended() => return ended,
            _ = lines.tick() => (),
        }
        let at = clock::monotonic().since(start);
        let view: View = parts.view.borrow().clone();
        screen.show(at, &view)?;
        if done_at.is_none() && fleet.as_mut().is_some_and(|fleet| fleet.is_done()) {
            writeln!(io::stdout(), "     -- the devices are done")?;
            done_at = Some(at);
        }
        let Some(done_at) = done_at.filter(|_| once) else { continue };
        if is_back(&view, parts.fewest) {
            return Ok(());
        }
        if at > done_at + SETTLE_WITHIN {
            bail!(
                "consumers are not back at {} {SETTLE_WITHIN:?} after the last message: {}",
                parts.fewest,
                view.sentence
            );
        }
    }
}

/// Returns whether everything is committed and the consumers are back at `fewest`.
fn is_back(view: &View, fewest: u32) -> bool {
    // As committed, and of all partitions: what a correction takes off, the audit would find unread.
    let drained = view.decision.as_ref().is_some_and(|decision| {
        decision.terms.partitions > 0
            && decision.terms.partitions_unknown == 0
            && decision.terms.lag_read == 0
    });
    view.want == fewest && view.have == fewest && drained
}

/// The simulated devices.
struct Fleet {
    running: JoinHandle<Result<Report, tidegate_fleet::PlanError>>,
    ledger: Arc<Ledger>,
    run: u64,
    stop: CancellationToken,
}

impl Fleet {
    fn start(scenario: Scenario, parts: &Parts, progress: Arc<Progress>) -> Self {
        let run = clock::unix_millis().0.cast_unsigned();
        let plan: Plan = scenario.plan(run);
        let ledger = Arc::new(Ledger::new(&plan));
        let stop = CancellationToken::new();
        let clocks = Clocks { monotonic: clock::monotonic, unix_millis: clock::unix_millis };
        let observer = (progress, Arc::clone(&ledger));
        let running =
            tokio::spawn(tidegate_fleet::run(plan, parts.gateway_address, clocks, observer, stop.clone()));
        Self { running, ledger, run, stop }
    }

    fn is_done(&self) -> bool {
        self.running.is_finished()
    }

    /// Lets the devices see their last acknowledgements and, if all went well so far, says what the run came to.
    async fn account(self, parts: &Parts, outcome: anyhow::Result<()>) -> anyhow::Result<Summary> {
        self.stop.cancel();
        let report = self.running.await;
        outcome?;
        let report = report.context("the devices")??;
        Summary::take(parts, &report, &self.ledger, self.run).await
    }
}
