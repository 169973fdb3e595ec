//! `tidegate controller`: the controller as a process, over local consumer processes.

use anyhow::Context as _;
use tidegate_controller::config::Raw;
use tidegate_controller::target::LocalProcesses;
use tidegate_controller::{KafkaGroup, READINESS, Resources, Settings, View};
use tidegate_core::time::Clock;
use tidegate_runtime::admin::Readiness;
use tidegate_runtime::clock;
use tidegate_runtime::config::Problem;
use tidegate_runtime::metrics::Registry;
use tidegate_runtime::report::Key;
use tokio::sync::watch;

use crate::{settings, stop};

/// What the controller of this build runs with: Kafka over its wire protocol, consumers as local processes.
pub(crate) type Local = Resources<KafkaGroup, LocalProcesses>;

/// Runs a controller until SIGTERM or SIGINT, then stops its consumers.
///
/// # Errors
/// Wrong settings (a port in use among them), or what stopped the controller.
pub(crate) fn run(args: &settings::Args) -> anyhow::Result<()> {
    let Some((loaded, settings)) = settings::load::<Raw, Settings>(args)? else { return Ok(()) };
    let key = Key::from_file(&settings.key_file).map_err(|error| {
        let allowed = format!("a file with a key ({error})");
        loaded.wrong(Problem::new("key_file", format!("\"{}\"", settings.key_file.display()), allowed))
    })?;
    let listener = settings::bind(&loaded, "listen", settings.listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stop::on_signal(async |stop| {
        let (view, _) = watch::channel(View::default());
        let resources = resources(settings, listener, key, Registry::new(), view, clock::monotonic)?;
        tidegate_controller::run(resources, stop).await.context("the controller")
    }))
}

/// Puts together what a controller of local processes needs.
///
/// # Errors
/// If the settings name no Kafka, or the listener cannot be used.
pub(crate) fn resources(
    settings: Settings,
    listener: std::net::TcpListener,
    key: Key,
    registry: Registry,
    view: watch::Sender<View>,
    clock: Clock,
) -> anyhow::Result<Local> {
    listener.set_nonblocking(true)?;
    Ok(Resources {
        observe: KafkaGroup::new(&settings, u64::from(std::process::id()))?,
        target: LocalProcesses::new(settings.processes.clone(), &settings.consumer_group),
        listener: tokio::net::TcpListener::from_std(listener)?,
        readiness: Readiness::new(&READINESS),
        settings,
        key,
        registry,
        clock,
        view,
    })
}
