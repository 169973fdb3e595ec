//! Writes to `/scale` as a watcher sees them, with the time at which each arrived.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_core::time::Timestamp;
use tidegate_runtime::clock;
use tidegate_tests::support::cluster::Cluster;
use tidegate_tests::support::parts;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// The watch begins with what there is.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);

/// A running `kubectl get --watch` on one Deployment.
pub(super) struct Writes {
    lines: Lines<BufReader<ChildStdout>>,
    replicas: u32,
    _kubectl: Child,
}

impl Writes {
    /// Starts to watch.
    pub(super) async fn watch(cluster: &Cluster, namespace: &str, deployment: &str) -> Result<Self> {
        let mut kubectl = Command::new(parts::kubernetes()?.join("kubectl"))
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .args(["get", "deployment", deployment, "--namespace", namespace])
            .args(["--watch", "-o", "jsonpath={.spec.replicas}{'\\n'}"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start kubectl")?;
        let stdout = kubectl.stdout.take().context("standard output is a pipe")?;
        let mut writes = Self { lines: BufReader::new(stdout).lines(), replicas: 0, _kubectl: kubectl };
        writes.next(BEGINS_WITHIN).await?.context("kubectl watches nothing")?;
        Ok(writes)
    }

    /// Returns when the number of replicas changed next, and what it is; `None` if that takes longer than `within`.
    pub(super) async fn next(&mut self, within: Duration) -> Result<Option<(Timestamp, u32)>> {
        let end = clock::monotonic() + within;
        loop {
            let left = end.since(clock::monotonic());
            let Ok(line) = timeout(left, self.lines.next_line()).await else { return Ok(None) };
            let at = clock::monotonic();
            let replicas = line?.context("kubectl ended")?.parse().context("a number of replicas")?;
            // A line comes for every change of the object.
            if replicas != self.replicas {
                self.replicas = replicas;
                return Ok(Some((at, replicas)));
            }
        }
    }

    /// Returns all changes of the time to come, as [`next`](Self::next) does.
    pub(super) async fn collect(&mut self, within: Duration) -> Result<Vec<(Timestamp, u32)>> {
        let end = clock::monotonic() + within;
        let mut seen = Vec::new();
        while let Some(change) = self.next(end.since(clock::monotonic())).await? {
            seen.push(change);
        }
        Ok(seen)
    }
}
