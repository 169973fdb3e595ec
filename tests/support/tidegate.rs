//! The project's own processes, each with a settings file of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidegate_runtime::report::Key;
use tokio::net::TcpStream;
use toml::{Table, Value};

use super::deadline::eventually;
use super::disk::Disk;
use super::ports;
use super::process::{Process, tidegate_binary};

/// Starting takes well under a second; beside a build it can be some.
const START_WITHIN: Duration = Duration::from_secs(30);
/// A port can be taken between asking and binding.
const ATTEMPTS: u32 = 3;

/// A running `tidegate gateway`.
#[derive(Debug)]
pub struct Gateway {
    /// Its process.
    pub process: Process,
    /// Where devices connect.
    pub address: SocketAddr,
    admin: SocketAddr,
}

impl Gateway {
    /// Starts a gateway in front of `kafka` and waits until devices can connect. `settings` is TOML; addresses are
    /// added. Settings file and output are in `dir`.
    ///
    /// # Errors
    /// It does not start; shows its last output.
    pub async fn start(dir: &Path, kafka: &str, settings: &str) -> Result<Self> {
        let settings = toml::from_str(settings).context("settings of the test")?;
        Self::start_as(("gateway", dir), kafka, settings, None).await
    }

    /// As [`start`](Self::start), with files of this name, and on a disk of its own. One that is started again under the
    /// same name continues its log.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_as(
        (name, dir): (&str, &Path),
        kafka: &str,
        mut settings: Table,
        disk: Option<&Disk>,
    ) -> Result<Self> {
        table(&mut settings, "kafka")?.insert("bootstrap_servers".to_owned(), kafka.into());
        // What is tested does not depend on whether somebody keeps this machine's clock.
        table(&mut settings, "clock")?.entry("trust").or_insert_with(|| "always".into());
        for _ in 0..ATTEMPTS {
            let [address, admin] = ports::free()?;
            settings.insert("listen".to_owned(), address.to_string().into());
            settings.insert("admin_listen".to_owned(), admin.to_string().into());
            let mut process = start_on(disk, "gateway", name, dir, &settings)?;
            if opens(&mut process, address).await? {
                return Ok(Self { process, address, admin });
            }
            if !process.stderr().contains("in use") {
                bail!("the gateway does not start\n{}", process.tail());
            }
        }
        bail!("no port stayed free in {ATTEMPTS} attempts")
    }

    /// Asks the admin HTTP, such as `/metrics`.
    ///
    /// # Errors
    /// It does not answer, or not with success.
    pub async fn ask(&self, path: &str) -> Result<String> {
        let answer = reqwest::get(format!("http://{}{path}", self.admin)).await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Returns the value of a metric, given with its labels as `/metrics` writes them; `None` if there is no such sample.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn sample(&self, sample: &str) -> Result<Option<u64>> {
        let text = self.ask("/metrics").await?;
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.map(|value| value.parse().with_context(|| format!("{sample} is {value}"))).transpose()
    }

    /// As [`sample`](Self::sample), of one that has to be there.
    ///
    /// # Errors
    /// It does not answer, or there is no such sample.
    pub async fn metric(&self, sample: &str) -> Result<u64> {
        self.sample(sample).await?.with_context(|| format!("/metrics has no {sample}"))
    }

    /// Returns whether it is ready, and what `/readyz` says.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn readyz(&self) -> Result<(bool, String)> {
        readyz(&format!("http://{}", self.admin)).await
    }
}

/// A running `tidegate controller`, which starts and stops consumers of its own.
#[derive(Debug)]
pub struct Controller {
    /// Its process, the parent of the consumers.
    pub process: Process,
    /// Where reports go.
    pub url: String,
    /// File with the reports' key.
    pub key_file: PathBuf,
}

impl Controller {
    /// Starts a controller that scales `tidegate consume` on `kafka`, and waits until it takes reports.
    ///
    /// `settings` is TOML; addresses, files, group, topic and the consumers' command are added, with `consume_args`
    /// (such as `--work 2ms`) at its end.
    ///
    /// # Errors
    /// It does not start; shows its last output.
    pub async fn start(
        dir: &Path,
        (kafka, group, topic): (&str, &str, &str),
        settings: &str,
        consume_args: &[&str],
    ) -> Result<Self> {
        let key_file = dir.join("reports.key");
        Key::generate().write(&key_file)?;
        let mut settings: Table = toml::from_str(settings).context("settings of the test")?;
        settings.insert("key_file".to_owned(), text(&key_file)?.into());
        let kafka_table = table(&mut settings, "kafka")?;
        kafka_table.insert("bootstrap_servers".to_owned(), kafka.into());
        kafka_table.insert("consumer_group".to_owned(), group.into());
        kafka_table.insert("topics".to_owned(), vec![topic].into());
        let binary = tidegate_binary()?;
        for _ in 0..ATTEMPTS {
            let [address] = ports::free()?;
            let url = format!("http://{address}");
            settings.insert("listen".to_owned(), address.to_string().into());
            let common =
                ["consume", "--kafka", kafka, "--group", group, "--topic", topic, "--client-id", "{member}"];
            let reports = ["--report-to", &url, "--key-file", text(&key_file)?, "--stop-on-stdin-eof"];
            let args = [&common[..], &reports[..], consume_args].concat();
            let processes = table(table(&mut settings, "target")?, "processes")?;
            processes.insert("command".to_owned(), text(&binary)?.into());
            processes.insert("args".to_owned(), args.into());
            processes.insert("log_file".to_owned(), text(&dir.join("consumers.err"))?.into());
            let mut process = start("controller", dir, &settings)?;
            if opens(&mut process, address).await? {
                return Ok(Self { process, url, key_file });
            }
            if !process.stderr().contains("in use") {
                bail!("the controller does not start\n{}", process.tail());
            }
        }
        bail!("no port stayed free in {ATTEMPTS} attempts")
    }
}

/// A running `tidegate controller` beside a cluster, which works on the IngestScalers of a namespace.
#[derive(Debug)]
pub struct Operator {
    /// Its process.
    pub process: Process,
    url: String,
}

impl Operator {
    /// Starts a controller with this access to the cluster, and waits until it answers over HTTP. `settings` is TOML beside
    /// addresses, files and `[kubernetes]`. Settings file and output are `dir`/`name`.*; one that is started again under
    /// the same name continues its log.
    ///
    /// # Errors
    /// It does not start; shows its last output.
    pub async fn start(
        (dir, name): (&Path, &str),
        kubeconfig: &Path,
        namespace: &str,
        settings: &str,
    ) -> Result<Self> {
        let key_file = dir.join(format!("{name}.key"));
        if !key_file.exists() {
            Key::generate().write(&key_file)?;
        }
        let mut settings: Table = toml::from_str(settings).context("settings of the test")?;
        settings.insert("key_file".to_owned(), text(&key_file)?.into());
        let kubernetes = table(&mut settings, "kubernetes")?;
        kubernetes.insert("kubeconfig".to_owned(), text(kubeconfig)?.into());
        kubernetes.insert("namespace".to_owned(), namespace.into());
        for _ in 0..ATTEMPTS {
            let [address] = ports::free()?;
            settings.insert("listen".to_owned(), address.to_string().into());
            let mut process = start_as("controller", name, dir, &settings)?;
            if opens(&mut process, address).await? {
                return Ok(Self { process, url: format!("http://{address}") });
            }
            if !process.stderr().contains("in use") {
                bail!("the controller does not start\n{}", process.tail());
            }
        }
        bail!("no port stayed free in {ATTEMPTS} attempts")
    }

    /// Returns whether it is ready, and what `/readyz` says.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn readyz(&self) -> Result<(bool, String)> {
        readyz(&self.url).await
    }
}

async fn readyz(url: &str) -> Result<(bool, String)> {
    let answer = reqwest::get(format!("{url}/readyz")).await?;
    Ok((answer.status().is_success(), answer.text().await?))
}

/// Returns the table of this name, made if need be.
fn table<'a>(of: &'a mut Table, name: &str) -> Result<&'a mut Table> {
    let found = of.entry(name).or_insert_with(|| Value::Table(Table::new()));
    found.as_table_mut().with_context(|| format!("{name} is a table"))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// Starts `tidegate COMMAND -c DIR/COMMAND.toml` with these settings.
fn start(command: &str, dir: &Path, settings: &Table) -> Result<Process> {
    start_as(command, command, dir, settings)
}

/// As [`start`], with files of another name.
fn start_as(command: &str, name: &str, dir: &Path, settings: &Table) -> Result<Process> {
    start_on(None, command, name, dir, settings)
}

/// As [`start_as`], on a disk of its own.
fn start_on(disk: Option<&Disk>, command: &str, name: &str, dir: &Path, settings: &Table) -> Result<Process> {
    let file = dir.join(format!("{name}.toml"));
    fs::write(&file, toml::to_string(settings)?)?;
    let args = [command, "-c", text(&file)?];
    match disk {
        None => Process::tidegate(name, dir, args),
        Some(disk) => {
            Process::start(name, dir, Path::new("unshare"), disk.arguments(&tidegate_binary()?, args))
        }
    }
}

/// Waits until the address accepts connections; false if the process ended before.
async fn opens(process: &mut Process, address: SocketAddr) -> Result<bool> {
    let open = eventually("the port opens", START_WITHIN, async || {
        if process.ended()?.is_some() {
            return Ok(Some(false));
        }
        Ok(TcpStream::connect(address).await.is_ok().then_some(true))
    });
    let open = open.await;
    open.with_context(|| process.tail())
}
