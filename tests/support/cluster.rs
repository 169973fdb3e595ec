//! A real Kubernetes of one node: `tools/cluster` starts and stops it, the same script that people use.
//!
//! The script stays as long as its standard input is open. The pipe's other end is held here, so the cluster is gone
//! with this process, however that ends. Pods are real; they use the machine's network (`hostNetwork: true`) and
//! images from [`image`] (`imagePullPolicy: Never`). RBAC is on.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidegate_runtime::clock;
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

use super::deadline::eventually;
use super::{image, parts};

/// Starting takes 8 s on an idle reference machine; each wait inside the script is bounded by a minute.
const START_WITHIN: Duration = Duration::from_mins(4);
/// Stopping kills; only the kernel's work on namespaces and cgroups takes time (0.6 s).
const STOP_WITHIN: Duration = Duration::from_mins(1);
/// A pod that does not listen to SIGTERM takes 30 s.
const PODS_GONE_WITHIN: &str = "--timeout=90s";

/// A running cluster. Dropping it stops it.
#[derive(Debug)]
pub struct Cluster {
    supervisor: Child,
    dir: PathBuf,
    kubectl: PathBuf,
}

impl Cluster {
    /// Starts a cluster of the test's own, with everything of it in `dir`/cluster, and waits until it takes pods. For
    /// tests that break it; others take turns on [`shared`](Self::shared).
    ///
    /// # Errors
    /// A part is missing, this is not root, or a server does not start; shows the script's words.
    pub async fn start(dir: &Path) -> Result<Self> {
        Self::run(dir.join("cluster"), &[]).await
    }

    /// Returns the cluster that the tests of this process share, with the image of `tidegate` in it. The first call
    /// starts it; it ends with the process. A test keeps to a namespace of its own: see
    /// [`on_kubernetes`](super::scenario::on_kubernetes).
    ///
    /// # Errors
    /// As [`start`](Self::start), and those of [`image::tidegate`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        let start = async || {
            // The script removes it: this process has no last moment in which it could.
            let dir = tempfile::Builder::new().prefix("tidegate-cluster-").tempdir()?.keep();
            let cluster = Self::run(dir.clone(), &["--forget"]).await?;
            cluster.import(&image::tidegate(&dir).await?).await?;
            Ok(cluster)
        };
        SHARED.get_or_try_init(start).await
    }

    async fn run(dir: PathBuf, options: &[&str]) -> Result<Self> {
        let kubectl = parts::kubernetes()?.join("kubectl");
        fs::create_dir_all(&dir)?;
        // A file without a name: a pipe would have to be read, and would break under the script when this process ends.
        let said = tempfile::tempfile()?;
        // Not a `Process`: that one ends with the thread of the test that started it.
        let supervisor = Command::new(script("cluster"))
            .args(["run", "--stop-on-stdin-eof"])
            .args(options)
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(said.try_clone()?)
            .stderr(said.try_clone()?)
            .spawn()
            .context("start tools/cluster")?;
        let mut cluster = Self { supervisor, dir, kubectl };
        eventually("the cluster is ready", START_WITHIN, async || {
            if let Some(status) = cluster.supervisor.try_wait()? {
                (&said).rewind()?;
                bail!("tools/cluster ended ({status}):\n{}", io::read_to_string(&said)?);
            }
            Ok(cluster.dir.join("ready").exists().then_some(()))
        })
        .await?;
        Ok(cluster)
    }

    /// Returns the path of the administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// Returns the address that the API server and the node have.
    ///
    /// # Errors
    /// The cluster is gone.
    pub fn address(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.join("address"))?.trim().to_owned())
    }

    /// Returns the process id of the script, of which everything in the cluster descends.
    #[must_use]
    pub fn supervisor(&self) -> u32 {
        self.supervisor.id()
    }

    /// Returns the process id of a server: `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`. If
    /// one ends, the cluster does: to have it away, freeze it, or put a proxy before it.
    ///
    /// # Errors
    /// There is no server of this name.
    pub fn server(&self, name: &str) -> Result<u32> {
        let text =
            fs::read_to_string(self.dir.join("pid").join(name)).with_context(|| format!("pid of {name}"))?;
        Ok(text.trim().parse()?)
    }

    /// Runs `kubectl` as administrator and returns what it prints.
    ///
    /// # Errors
    /// It fails; shows its words.
    pub async fn kubectl<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        self.kubectl_with(args, "").await
    }

    /// Applies manifests (YAML).
    ///
    /// # Errors
    /// As [`kubectl`](Self::kubectl).
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        self.kubectl_with(["apply", "-f", "-"], manifests).await.map(drop)
    }

    /// Loads an image from an archive that `tools/image` made.
    ///
    /// # Errors
    /// containerd's.
    pub async fn import(&self, archive: &Path) -> Result<()> {
        let mut command = tokio::process::Command::new(script("cluster"));
        command.arg("import").arg(archive).env("TIDEGATE_CLUSTER", &self.dir);
        output(command, "").await.map(drop)
    }

    /// Makes a namespace and waits until pods can be made in it.
    ///
    /// # Errors
    /// As [`kubectl`](Self::kubectl); one of this name may be there.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(["create", "namespace", name]).await?;
        let account =
            ["wait", "--for=create", "serviceaccount/default", "--timeout=30s", "--namespace", name];
        self.kubectl(account).await.map(drop)
    }

    /// Waits until every workload and pod in a namespace is gone, and leaves the rest of it to Kubernetes, which takes
    /// some seconds more.
    ///
    /// # Errors
    /// As [`kubectl`](Self::kubectl).
    pub async fn remove_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(["delete", "all", "--all", "--namespace", name, "--wait", PODS_GONE_WITHIN]).await?;
        self.kubectl(["delete", "namespace", name, "--wait=false"]).await.map(drop)
    }

    /// Writes what explains a failure into `dir`: the objects and events of a namespace, the logs of its pods and of
    /// the servers.
    ///
    /// # Errors
    /// The file system's.
    pub async fn keep_traces(&self, namespace: &str, dir: &Path) -> Result<()> {
        let in_namespace = |args: &str| -> Vec<String> {
            args.split(' ').chain(["--namespace", namespace]).map(str::to_owned).collect()
        };
        for (file, args) in [
            ("objects.yaml", "get all,serviceaccounts,roles,rolebindings -o yaml"),
            ("events.txt", "get events --sort-by=.metadata.creationTimestamp"),
            ("pods.txt", "describe pods"),
        ] {
            // What cannot be asked any more is said in the place of the answer.
            let said = self.kubectl(in_namespace(args)).await.unwrap_or_else(|error| format!("{error:#}"));
            fs::write(dir.join(file), said)?;
        }
        for (from, to) in [("log", "servers"), ("node/log/pods", "pods")] {
            let copy = Command::new("cp").arg("-rL").arg(self.dir.join(from)).arg(dir.join(to)).status()?;
            ensure!(copy.success(), "cp of the cluster's {from}: {copy}");
        }
        Ok(())
    }

    /// Stops it and waits until nothing of it is left but logs.
    ///
    /// # Errors
    /// The script fails, or does not end.
    pub fn stop(&mut self) -> Result<()> {
        drop(self.supervisor.stdin.take());
        let start = clock::monotonic();
        loop {
            if let Some(status) = self.supervisor.try_wait()? {
                ensure!(status.success(), "tools/cluster ended: {status}");
                return Ok(());
            }
            ensure!(clock::monotonic().since(start) < STOP_WITHIN, "tools/cluster does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn kubectl_with<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Result<String> {
        let mut command = tokio::process::Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(args);
        output(command, input).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.stop().is_err() {
            // Its children have asked the kernel to die with it.
            let _ = self.supervisor.kill();
            let _ = self.supervisor.wait();
        }
    }
}

/// Returns the path of a script of the tools folder.
pub(super) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools").join(name)
}

/// Runs a command with `input` and returns what it prints.
///
/// # Errors
/// It cannot be started, or fails; shows the command and its words.
pub(super) async fn output(mut command: tokio::process::Command, input: &str) -> Result<String> {
    let shown = format!("{:?}", command.as_std());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| shown.clone())?;
    let mut stdin = child.stdin.take().context("standard input is a pipe")?;
    // One that does not read its input says why, in its own words.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    ensure!(output.status.success(), "{shown}: {}\n{stderr}", output.status);
    Ok(stdout)
}
