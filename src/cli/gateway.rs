//! `tidegate gateway`: the MQTT gateway as a process.

use tidegate_gateway::config::{RawSettings, Settings};
use tidegate_gateway::{Door, Resources, Stats};
use tidegate_runtime::clock;
use tidegate_runtime::metrics::Registry;

use crate::{settings, stop};

/// Runs a gateway until SIGTERM or SIGINT.
///
/// # Errors
/// Wrong settings (a port in use among them), or what stopped the gateway.
pub(crate) fn run(args: &settings::Args) -> anyhow::Result<()> {
    let Some((loaded, settings)) = settings::load::<RawSettings, Settings>(args)? else { return Ok(()) };
    let resources = Resources {
        door: Door::Open(settings::bind(&loaded, "listen", settings.listen)?),
        admin: settings.admin_listen.map(|at| settings::bind(&loaded, "admin_listen", at)).transpose()?,
        settings,
        registry: Registry::new(),
        stats: Stats::default(),
        clock: clock::monotonic,
        unix_clock: clock::unix_millis,
        synchronisation: clock::synchronisation,
    };
    // The workers bring their own threads and runtimes; this one accepts signals, reports and admin requests.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stop::on_signal(async |stop| {
        tidegate_gateway::run(resources, stop).await?;
        Ok(())
    }))
}
