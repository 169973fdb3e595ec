//! Starts one of the servers as a process of its own and stops it by pid.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::metrics;

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
    /// The product without a disk.
    Gateway,
    /// The product with a spool that it does not need: Kafka acknowledges.
    Direct,
    /// The product with everything on the disk first: each message goes to the log and from there, or from memory, to Kafka.
    Behind,
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    kind: Kind,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    _settings: TempDir,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(crate) fn start(kind: Kind, gateway: &Path, kafka: &str, workers: u32) -> anyhow::Result<Self> {
        match kind {
            Kind::BareLoop | Kind::BareLoopWithHeaders => Self::bare_loop(kind, kafka),
            Kind::Gateway | Kind::Direct | Kind::Behind => Self::gateway(kind, gateway, kafka, workers),
        }
    }

    fn bare_loop(kind: Kind, kafka: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare-loop", "--kafka", kafka, "--topic", "telemetry-sensor"])
            .args((kind == Kind::BareLoopWithHeaders).then_some("--headers"))
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the bare loop")?;
        let mut line = String::new();
        let out = child.stdout.take().context("its output is piped")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the bare loop said {line:?}"))?;
        Ok(Self { child, kind, address, admin: None, _settings: tempfile::tempdir()? })
    }

    /// The bare loop has no admission, so the gateway's buckets are set where they never say no: they are
    /// asked for every message all the same.
    fn gateway(kind: Kind, binary: &Path, kafka: &str, workers: u32) -> anyhow::Result<Self> {
        // Beside the binary, because that is on a disk; what is for temporary files may be memory.
        let settings = tempfile::tempdir_in(binary.parent().context("the binary is in a folder")?)?;
        let ports = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [address, admin] = [ports[0].local_addr()?, ports[1].local_addr()?];
        drop(ports);
        let spool = |ack: &str| {
            format!("[spool]\ndir = \"{}\"\nack = \"{ack}\"\n", settings.path().join("spool").display())
        };
        let spool = match kind {
            Kind::Direct => spool("first"),
            Kind::Behind => spool("disk"),
            Kind::BareLoop | Kind::BareLoopWithHeaders | Kind::Gateway => String::new(),
        };
        let file = settings.path().join("gateway.toml");
        let text = format!(
            "listen = \"{address}\"\nadmin_listen = \"{admin}\"\nworkers = {workers}\n{spool}\
             [clock]\ntrust = \"always\"\n\
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
        let mut server = Self { child, kind, address, admin: Some(admin), _settings: settings };
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

    /// Fails if its `messages` did not take the way to Kafka that is to be measured.
    ///
    /// # Errors
    /// Also if that cannot be found out.
    pub(crate) fn ensure_way(&self, messages: u64) -> anyhow::Result<()> {
        let Some(admin) = self.admin else { return Ok(()) };
        let stored = || metrics::read(admin, "tidegate_spool_stored_records_total");
        match self.kind {
            Kind::Direct => ensure!(stored()? == 0, "{} messages went to the disk", stored()?),
            Kind::Behind => {
                // What Kafka has before its turn comes is not written.
                ensure!(
                    stored()? >= messages / 10 * 9,
                    "of {messages} messages {} went to the disk",
                    stored()?
                );
            }
            Kind::BareLoop | Kind::BareLoopWithHeaders | Kind::Gateway => {}
        }
        Ok(())
    }

    /// Returns where it shows its metrics, if it does.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        self.admin
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
