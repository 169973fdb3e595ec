//! What devices publish: a simulated fleet, and real clients beside it.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tidegate_tests::support::parts;
use tidegate_tests::support::process::{Process, ensure_clean};
use tidegate_tests::support::tidegate::Gateway;
use tidegate_tests::support::verifier::{Ledger, Lines, Stream};

use super::DEFAULT_CLASS;

/// Just within the burst of the smallest class, 50: what holds messages back is Kafka and the gateway's speed.
pub(super) const MESSAGES_EACH: u32 = 49;
pub(super) const DEVICES: u32 = 1000;
const PUBLISHERS: usize = 10;
const LINES_EACH: u64 = 100;

/// Ten `mosquitto_pub -l`, each with a file of lines on its standard input.
pub(super) struct Publishers(Vec<(String, Process)>);

impl Publishers {
    pub(super) fn start(dir: &Path, gateway: &Gateway) -> Result<Self> {
        let program = parts::program("mosquitto_pub", "mqtt-clients")?;
        let start = |number: usize| {
            let name = format!("lines-{number}");
            let file = dir.join(format!("{name}.txt"));
            let lines: Vec<String> = (0..LINES_EACH).map(|seq| Lines::line(&name, seq) + "\n").collect();
            fs::write(&file, lines.concat())?;
            let port = gateway.address.port().to_string();
            let to = ["-h", "127.0.0.1", "-p", &port, "-q", "1", "-i", &name, "-t", &name, "-l"];
            let process = Process::start_with(&name, dir, &program, to, File::open(&file)?.into())?;
            Ok((name, process))
        };
        (0..PUBLISHERS).map(start).collect::<Result<_>>().map(Self)
    }

    /// Returns whether all have ended.
    pub(super) fn ended(&mut self) -> Result<bool> {
        let mut all = true;
        for (_, process) in &mut self.0 {
            all &= process.ended()?.is_some();
        }
        Ok(all)
    }

    /// Writes what they published and were acknowledged into `ledger`.
    pub(super) async fn account(&mut self, ledger: &mut Ledger) -> Result<()> {
        for (name, publisher) in &mut self.0 {
            let status = publisher.end(Duration::ZERO).await?;
            // It ends with success only once its last line is acknowledged, and acknowledgements come in order.
            ensure_clean(publisher, status)?;
            ledger.acknowledged(&Stream::new(name.clone(), DEFAULT_CLASS), 0..LINES_EACH);
        }
        Ok(())
    }
}
