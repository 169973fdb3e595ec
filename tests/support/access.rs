//! Kubeconfigs of the tests: as whom, and on which way, a process outside the cluster reaches it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::cluster::Cluster;

/// Writes the kubeconfig `dir`/`name`.kubeconfig of a service account and returns its path. The API server is reached
/// through `proxy`, if there is one: its certificate is good for 127.0.0.1, too.
///
/// # Errors
/// There is no such account; shows kubectl's words.
pub async fn of_account(
    cluster: &Cluster,
    (namespace, account): (&str, &str),
    proxy: Option<SocketAddr>,
    (dir, name): (&Path, &str),
) -> Result<PathBuf> {
    let token = cluster.kubectl(["create", "token", account, "--namespace", namespace]).await?;
    let mut config: Value = serde_saphyr::from_str(&fs::read_to_string(cluster.kubeconfig())?)?;
    config["users"][0]["user"] = json!({ "token": token.trim() });
    if let Some(proxy) = proxy {
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://{proxy}"));
    }
    let file = dir.join(format!("{name}.kubeconfig"));
    // JSON is YAML.
    fs::write(&file, config.to_string())?;
    Ok(file)
}
