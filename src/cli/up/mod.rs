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

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tidegate_controller::View;
use tidegate_fleet::{Clocks, Ledger, Plan, Progress, Report};
use tidegate_runtime::clock;
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
    runtime.block_on(up(args))
}

async fn up(args: &Args) -> anyhow::Result<()> {
    let asked = stop::on_signal();
    let wanted = Wanted { kafka: args.kafka.clone(), listen: args.listen, work: args.work.into() };
    let mut parts = Parts::start(&wanted).await?;
    parts.introduce(args.burst, &wanted);

    let progress = Arc::new(Progress::default());
    let mut screen = Screen::new(Arc::clone(&progress), parts.gateway_stats.clone());
    let mut fleet = args.burst.map(|scenario| Fleet::start(scenario, &parts, progress));
    let outcome = watch(&mut parts, &mut screen, fleet.as_mut(), args.once, &asked).await;
    // Devices first, so that their last messages are acknowledged; then the gateway, then the consumers.
    let report = match fleet {
        Some(fleet) => Some(fleet.stop().await?),
        None => None,
    };
    let audited = match (&outcome, &report) {
        (Ok(()), Some((report, ledger, run))) => Some(Summary::take(&parts, report, ledger, *run).await?),
        _ => None,
    };
    parts.stop().await?;
    outcome?;
    match audited {
        Some(summary) => summary.print(&screen, args.once),
        None => Ok(()),
    }
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
        screen.show(at, &view);
        if done_at.is_none() && fleet.as_mut().is_some_and(|fleet| fleet.is_done()) {
            println!("     -- the devices are done");
            done_at = Some(at);
        }
        let Some(done_at) = done_at.filter(|_| once) else { continue };
        let back = view.want == parts.fewest && view.have == parts.fewest && view.backlog < 1.0;
        if back {
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

    /// Lets the devices see their last acknowledgements and returns what they did.
    async fn stop(self) -> anyhow::Result<(Report, Arc<Ledger>, u64)> {
        self.stop.cancel();
        let report = self.running.await.context("the devices")??;
        Ok((report, self.ledger, self.run))
    }
}
