//! The frame of every test over real parts.

use std::path::Path;

use anyhow::Result;
use tokio::sync::RwLock;

use super::cluster::Cluster;
use super::dir::TestDir;
use super::parts;
use super::say::say;

/// One test at a time starts real servers: several Kafkas on two cores would be tested for the cores' patience. Tests
/// that start none share a turn.
static TURN: RwLock<()> = RwLock::const_new(());

/// Runs `body` with a directory of its own, when no other test uses real parts.
///
/// If the run was asked to do without them, names the `promise` that goes unchecked and returns. If the body fails,
/// by an error or a panic, the directory stays for a look.
///
/// # Errors
/// The body's.
pub async fn on_real_parts(promise: &str, body: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    if parts::skipped(promise) {
        return Ok(());
    }
    let _turn = TURN.write().await;
    in_dir(body).await
}

async fn in_dir(body: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut dir = TestDir::new("test")?;
    let result = body(dir.path()).await;
    if result.is_err() {
        dir.keep();
    }
    result
}

/// As [`on_real_parts`], with the cluster that the tests share and a new namespace in it, which is empty afterwards. If
/// the body fails, what explains it is in the directory too.
///
/// # Errors
/// The body's, or the cluster's.
pub async fn on_kubernetes(
    promise: &str,
    namespace: &str,
    body: impl AsyncFnOnce(&Path, &'static Cluster) -> Result<()>,
) -> Result<()> {
    on_real_parts(promise, async |dir| in_namespace(namespace, dir, body).await).await
}

/// As [`on_kubernetes`], at the same time as others of its kind: for tests that wait more than they work and start no
/// server of their own.
///
/// # Errors
/// The body's, or the cluster's.
pub async fn beside_others_on_kubernetes(
    promise: &str,
    namespace: &str,
    body: impl AsyncFnOnce(&Path, &'static Cluster) -> Result<()>,
) -> Result<()> {
    if parts::skipped(promise) {
        return Ok(());
    }
    let _turn = TURN.read().await;
    in_dir(async |dir| in_namespace(namespace, dir, body).await).await
}

async fn in_namespace(
    namespace: &str,
    dir: &Path,
    body: impl AsyncFnOnce(&Path, &'static Cluster) -> Result<()>,
) -> Result<()> {
    let cluster = Cluster::shared().await?;
    cluster.create_namespace(namespace).await?;
    let result = body(dir, cluster).await;
    if result.is_err()
        && let Err(error) = cluster.keep_traces(namespace, dir).await
    {
        say(format_args!("the cluster's traces are not kept: {error:#}"));
    }
    // A test that panics leaves its namespace to the end of the cluster: names are not used twice.
    let emptied = cluster.remove_namespace(namespace).await;
    result.and(emptied)
}
