//! `tidegate check`: says what is wrong with a settings file, and opens nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use tidegate_runtime::config;

/// Which settings to check.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose settings the file holds.
    kind: Kind,
    /// Settings file (TOML).
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

/// A process that has settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// `tidegate gateway`.
    Gateway,
    /// `tidegate controller`.
    Controller,
}

/// Checks a file, with the overrides of the environment.
///
/// # Errors
/// The first wrong setting.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let file: Option<&Path> = Some(&args.config);
    let environment = &mut std::env::vars();
    match args.kind {
        Kind::Gateway => {
            config::load::<tidegate_gateway::config::RawSettings, tidegate_gateway::config::Settings>(
                file,
                environment,
            )?;
        }
        Kind::Controller => {
            config::load::<tidegate_controller::config::Raw, tidegate_controller::Settings>(
                file,
                environment,
            )?;
        }
    }
    writeln!(std::io::stdout(), "{}: all settings are allowed", args.config.display())?;
    Ok(())
}
