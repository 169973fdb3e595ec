//! `tidegate controller`: the controller as a process, over local consumer processes or over what Kubernetes runs.

use std::time::Duration;

use anyhow::Context as _;
use tidegate_controller::config::{Raw, RawProcesses, Work};
use tidegate_controller::target::LocalProcesses;
use tidegate_controller::{Cluster, Group, GroupSettings, KafkaGroup, Settings, Site, View};
use tidegate_core::time::Timestamp;
use tidegate_runtime::clock;
use tidegate_runtime::config::Problem;
use tidegate_runtime::metrics::Registry;
use tidegate_runtime::report::Key;
use tokio::sync::watch;

use crate::{settings, stop};

/// A group whose consumers are processes of this machine.
pub(crate) type Local = Group<KafkaGroup, LocalProcesses>;

/// Runs a controller until SIGTERM or SIGINT. Its consumers end with it if they are processes; what Kubernetes runs stays.
///
/// # Errors
/// Wrong settings (a port in use among them), or what stopped the controller.
pub(crate) fn run(args: &settings::Args) -> anyhow::Result<()> {
    let Some((loaded, settings)) = settings::load::<Raw, Settings>(args)? else { return Ok(()) };
    let key = Key::from_file(&settings.key_file).map_err(|error| {
        let allowed = format!("a file with a key ({error})");
        loaded.wrong(Problem::new("key_file", format!("\"{}\"", settings.key_file.display()), allowed))
    })?;
    if let Some(record) = &settings.record {
        record.make_folder().map_err(|problem| loaded.wrong(problem))?;
    }
    let listener = settings::bind(&loaded, "listen", settings.listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stop::on_signal(async |stop| {
        let site = site(listener, key, Registry::new(), settings.tick)?;
        let site = Site { record: settings.record, clock: clock_that_the_past_fits_in, ..site };
        match settings.work {
            Work::Processes(scaling, processes) => {
                let group = group(*scaling, processes, watch::Sender::new(View::default()))?;
                tidegate_controller::run(site, group, stop).await.context("the controller")
            }
            Work::Kubernetes(kubernetes) => {
                let cluster = Cluster::connect(&kubernetes).await.map_err(|problem| loaded.wrong(problem))?;
                tidegate_controller::run_on_kubernetes(site, cluster, stop).await.context("the controller")
            }
        }
    }))
}

/// Reads the monotonic clock, counted from 30 days before this process: pods, and what was learned, are older than their
/// controller, and their times must not pile up at the clock's origin, where every start would look as if it had taken no
/// time.
fn clock_that_the_past_fits_in() -> Timestamp {
    clock::monotonic() + Duration::from_hours(30 * 24)
}

/// Puts together what every controller needs; it keeps no records.
///
/// # Errors
/// If the listener cannot be used.
pub(crate) fn site(
    listener: std::net::TcpListener,
    key: Key,
    registry: Registry,
    tick: Duration,
) -> anyhow::Result<Site> {
    listener.set_nonblocking(true)?;
    Ok(Site {
        listener: tokio::net::TcpListener::from_std(listener)?,
        key,
        registry,
        clock: clock::monotonic,
        unix_clock: clock::unix_millis,
        tick,
        record: None,
    })
}

/// Puts together what a group of local consumers needs.
///
/// # Errors
/// If the settings name no Kafka.
pub(crate) fn group(
    settings: GroupSettings,
    processes: RawProcesses,
    view: watch::Sender<View>,
) -> anyhow::Result<Local> {
    Ok(Group {
        observe: KafkaGroup::new(&settings, u64::from(std::process::id()))?,
        target: LocalProcesses::new(processes, &settings.consumer_group),
        settings,
        view,
    })
}
