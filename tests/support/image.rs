//! Container images without a registry: `tools/image`, the recipe of `make image`, packs a program of this machine.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::cluster::{output, script};
use super::process::tidegate_binary;

/// Name of the image of the project's own binary, as pods give it.
pub const TIDEGATE: &str = "tidegate.dev/tidegate:test";

/// Name of an image that is in every cluster and does nothing; `tools/parts.d/kubernetes.sh` packs it.
pub const PAUSE: &str = "tidegate.dev/pause:1.34.2";

/// Packs the project's own binary as [`TIDEGATE`] and returns the archive, which is in `dir`.
///
/// # Errors
/// The binary is not built or older than its sources; those of [`pack`].
pub async fn tidegate(dir: &Path) -> Result<PathBuf> {
    pack(&tidegate_binary()?, TIDEGATE, dir).await
}

/// Packs `program` with the libraries it needs as the image `name`, and returns the archive, which is in `dir`.
///
/// # Errors
/// A tool is missing or fails; shows its words.
pub async fn pack(program: &Path, name: &str, dir: &Path) -> Result<PathBuf> {
    let archive = dir.join(format!("{}.tar", name.replace(['/', ':'], "-")));
    let mut command = tokio::process::Command::new(script("image"));
    command.args(["--name", name, "--output"]).arg(&archive).arg(program);
    output(command, "").await?;
    Ok(archive)
}
