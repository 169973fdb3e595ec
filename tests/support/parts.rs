//! Finds the real servers that `make parts` fetched.
//!
//! A test whose part is missing fails and says which command fetches it. Only an explicit
//! `TIDEGATE_SKIP_PARTS=1` skips, and then each skipped promise is named.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::say::say;

/// Version of Apache Kafka; `tools/parts.d/kafka.sh` names the same one.
const KAFKA: &str = "kafka-4.1.0";
/// Version of Kubernetes; `tools/parts.d/common` names the same one.
const KUBERNETES: &str = "kubernetes-1.34.2";

/// Returns true, and names the promise that goes unchecked, if the run was asked to do without real parts.
#[must_use]
pub fn skipped(promise: &str) -> bool {
    let skip = env::var_os("TIDEGATE_SKIP_PARTS").is_some_and(|value| value == "1");
    if skip {
        say(format_args!("NOT CHECKED (TIDEGATE_SKIP_PARTS=1): {promise}"));
    }
    skip
}

/// Returns the folder with Kafka's jars.
///
/// # Errors
/// It is not there; says how to fetch it.
pub fn kafka_libs() -> Result<PathBuf> {
    let libs = cache()?.join(KAFKA).join("libs");
    ensure!(libs.is_dir(), "{} is missing: run `tools/parts kafka` (or `make parts`)", libs.display());
    Ok(libs)
}

/// Returns the folder with Kubernetes' commands.
///
/// # Errors
/// It is not there; says how to make it.
pub fn kubernetes() -> Result<PathBuf> {
    let commands = cache()?.join(KUBERNETES);
    ensure!(
        commands.is_dir(),
        "{} is missing: run `tools/parts kubernetes node` (or `make parts`)",
        commands.display()
    );
    Ok(commands)
}

/// Returns the path of a program from the part `part`.
///
/// # Errors
/// It is not on the `PATH`; says how to install it.
pub fn program(name: &str, part: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is missing: run `tools/parts {part}` (or `make parts`)"))
}

/// Returns the folder of the parts, as `tools/parts` finds it.
fn cache() -> Result<PathBuf> {
    if let Some(given) = env::var_os("TIDEGATE_PARTS") {
        return Ok(given.into());
    }
    let home = env::var_os("HOME").context("neither TIDEGATE_PARTS nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/tidegate/parts"))
}
