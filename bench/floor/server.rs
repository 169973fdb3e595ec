//! Starts one of the two servers as a process of its own and stops it by pid.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// How often and how long to look for the gateway's port.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS: u32 = 400;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The yardstick.
    BareLoop,
    /// The yardstick with the headers that identify a record.
    BareLoopWithHeaders,
    /// The product.
    Gateway,
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    _settings: TempDir,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(crate) fn start(kind: Kind, gateway: &Path, kafka: &str, workers: u32) -> anyhow::Result<Self> {
        let settings = tempfile::tempdir()?;
        match kind {
            Kind::BareLoop => Self::bare_loop(kafka, false, settings),
            Kind::BareLoopWithHeaders => Self::bare_loop(kafka, true, settings),
            Kind::Gateway => Self::gateway(gateway, kafka, workers, settings),
        }
    }

    fn bare_loop(kafka: &str, headers: bool, settings: TempDir) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare-loop", "--kafka", kafka, "--topic", "telemetry-sensor"])
            .args(headers.then_some("--headers"))
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the bare loop")?;
        let mut line = String::new();
        let out = child.stdout.take().context("its output is piped")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the bare loop said {line:?}"))?;
        Ok(Self { child, address, _settings: settings })
    }

    /// The bare loop has no admission, so the gateway's buckets are set where they never say no: they are
    /// asked for every message all the same.
    fn gateway(binary: &Path, kafka: &str, workers: u32, settings: TempDir) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = settings.path().join("gateway.toml");
        let text = format!(
            "listen = \"{address}\"\nworkers = {workers}\n\
             [kafka]\nbootstrap_servers = \"{kafka}\"\n\
             [[routes]]\nfilter = \"#\"\ntopic = \"telemetry-sensor\"\nheaders = []\n\
             [classes.sensor]\nrate = 1000000\nburst = 1000000\n\
             [classes.gateway]\ntopic_filters = []\nrate = 1000000\nburst = 1000000\n\
             [classes.alarm]\ntopic_filters = []\nrate = 1000000\nburst = 1000000\n"
        );
        std::fs::write(&file, text)?;
        let child = Command::new(binary)
            .arg("gateway")
            .arg("-c")
            .arg(&file)
            .env("TIDEGATE_LOG", "warn")
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut server = Self { child, address, _settings: settings };
        server.wait_for_port()?;
        Ok(server)
    }

    fn wait_for_port(&mut self) -> anyhow::Result<()> {
        for _ in 0..LOOKS {
            if std::net::TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the gateway ended by itself: {status}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("the gateway does not listen on {}", self.address)
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
