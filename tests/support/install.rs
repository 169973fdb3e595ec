//! Tidegate on a cluster as its manifests install it, in the test's namespace, on the test's image and ports.
//!
//! The manifests are those of `charts/manifests`; what differs here is written as a kustomization, as a person would do it.
//! The node has no network of its own, so all pods use the machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_runtime::report::Key;
use tokio::net::TcpStream;

use super::cluster::{Cluster, script};
use super::deadline::eventually;
use super::{image, ports};

/// A pod starts in two seconds; beside a build it can be more.
const START_WITHIN: Duration = Duration::from_mins(1);
/// Files of the manifests that install the controller.
const MANIFESTS: [&str; 3] = ["crd.yaml", "rbac.yaml", "controller.yaml"];

/// An installed controller.
#[derive(Debug)]
pub struct Installed {
    /// Where reports go.
    pub url: String,
    /// File with the reports' key.
    pub key_file: PathBuf,
}

/// Installs the controller in `namespace` and waits until it is ready. `settings` is TOML beside `listen`, `key_file` and
/// `[kubernetes]`.
///
/// # Errors
/// What the API server refuses, or a controller that does not become ready.
pub async fn install(cluster: &Cluster, namespace: &str, dir: &Path, settings: &str) -> Result<Installed> {
    let dir = dir.join("install");
    fs::create_dir_all(&dir)?;
    let key_file = dir.join("key");
    Key::generate().write(&key_file)?;
    for manifest in MANIFESTS {
        fs::copy(manifests().join(manifest), dir.join(manifest)).with_context(|| manifest.to_owned())?;
    }
    let [address] = ports::free()?;
    fs::write(
        dir.join("controller.toml"),
        format!("listen = '{address}'\nkey_file = '/run/tidegate/key'\n{settings}\n[kubernetes]\n"),
    )?;
    fs::write(dir.join("kustomization.yaml"), kustomization(namespace, address.port()))?;
    let folder = dir.to_str().context("a path in UTF-8")?;
    cluster.kubectl(["apply", "-k", folder]).await?;
    let crd = ["wait", "--for=condition=Established", "crd/ingestscalers.tidegate.dev", "--timeout=30s"];
    cluster.kubectl(crd).await?;
    let rollout = ["rollout", "status", "deployment/tidegate-controller", "--timeout=60s", "-n", namespace];
    cluster.kubectl(rollout).await?;
    let open = async || Ok(TcpStream::connect(address).await.is_ok().then_some(()));
    eventually("the controller takes reports", START_WITHIN, open).await?;
    Ok(Installed { url: format!("http://{address}"), key_file })
}

/// Returns the folder of the manifests.
#[must_use]
pub fn manifests() -> PathBuf {
    script("../charts/manifests")
}

fn kustomization(namespace: &str, port: u16) -> String {
    format!(
        "namespace: {namespace}
resources: [{}]
images:
- {{name: tidegate, newName: {}, newTag: {}}}
generatorOptions: {{disableNameSuffixHash: true}}
configMapGenerator:
- {{name: tidegate-controller, namespace: ingest, behavior: replace, files: [controller.toml]}}
secretGenerator:
- {{name: tidegate-report-key, namespace: ingest, files: [key]}}
patches:
- target: {{kind: Deployment, name: tidegate-controller}}
  patch: |
    - {{op: add, path: /spec/template/spec/hostNetwork, value: true}}
    - {{op: add, path: /spec/template/spec/containers/0/imagePullPolicy, value: Never}}
    - {{op: add, path: /spec/template/spec/containers/0/livenessProbe/httpGet/host, value: 127.0.0.1}}
    - {{op: add, path: /spec/template/spec/containers/0/readinessProbe/httpGet/host, value: 127.0.0.1}}
    - {{op: replace, path: /spec/template/spec/containers/0/ports/0/containerPort, value: {port}}}
",
        MANIFESTS.join(", "),
        image::TIDEGATE.split(':').next().unwrap_or_default(),
        image::TIDEGATE.split(':').nth(1).unwrap_or_default(),
    )
}
