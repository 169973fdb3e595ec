//! `tidegate explain`: a decision as arithmetic that a person can follow, of a running controller or out of a recording.

mod at;
mod live;
mod recorded;

use std::path::PathBuf;

use tidegate_controller::config::DEFAULT_LISTEN;

/// Which decision.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where a controller listens, to show its last decision.
    #[arg(long, value_name = "http://HOST:PORT", default_value_t = format!("http://{DEFAULT_LISTEN}"))]
    url: String,
    /// The scaler: an `IngestScaler`'s name, without Kubernetes the consumer group; need not be said if there is only one.
    #[arg(long, value_name = "NAME")]
    scaler: Option<String>,
    /// A recording, or a folder with its parts, to show a decision of.
    #[arg(long, value_name = "FILE|FOLDER", conflicts_with_all = ["url", "scaler"])]
    recording: Option<PathBuf>,
    /// Which decision of it: its number, counted from 1, the time since the first (5m 30s), or the time of day
    /// (2026-11-25T17:05:00Z). Default: the last.
    #[arg(long, value_name = "N|TIME", requires = "recording")]
    at: Option<String>,
}

/// Shows the decision.
///
/// # Errors
/// An option that cannot be used, or a controller that does not answer.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(recording) = &args.recording {
        return recorded::run(recording, args.at.as_deref());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(live::run(&args.url, args.scaler.as_deref()))
}
