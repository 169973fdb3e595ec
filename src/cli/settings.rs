//! Settings of a process: where the command line says they are, and what to do with them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_runtime::config::{self, Loaded, Problem};

/// Where the settings are.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Settings file (TOML). The environment can override every key, see docs/configuration.md.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings that result, without secrets, and end.
    #[arg(long)]
    print_config: bool,
}

/// Reads and checks settings. Returns none if they were only to be printed.
///
/// # Errors
/// A [`config::ConfigError`] that names the first wrong setting.
pub(crate) fn load<R, C>(args: &Args) -> anyhow::Result<Option<(Loaded<R>, C)>>
where
    R: DeserializeOwned + Serialize + Clone,
    C: TryFrom<R, Error = Problem>,
{
    let loaded = config::load_raw::<R>(args.config.as_deref(), &mut std::env::vars())?;
    let checked = loaded.check()?;
    if args.print_config {
        std::io::stdout().write_all(config::print_redacted(loaded.raw()).as_bytes())?;
        return Ok(None);
    }
    Ok(Some((loaded, checked)))
}

/// Binds the address of `key`; one that cannot be had is a wrong setting.
///
/// # Errors
/// A `ConfigError` that names the key.
pub(crate) fn bind<R>(loaded: &Loaded<R>, key: &str, at: SocketAddr) -> anyhow::Result<TcpListener> {
    Ok(TcpListener::bind(at).map_err(|error| {
        loaded.wrong(Problem::new(
            key,
            format!("\"{at}\""),
            format!("an address that can be bound ({error})"),
        ))
    })?)
}
