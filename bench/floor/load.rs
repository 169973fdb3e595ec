//! One measured run: a fleet against one server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tidegate_core::time::Timestamp;
use tidegate_fleet::{Acknowledged, Clocks, Observer, Plan, Versions};
use tidegate_mqtt::Version;
use tokio_util::sync::CancellationToken;

use super::server::Server;
use crate::cpu;

/// Bytes of every payload.
pub(crate) const PAYLOAD_BYTES: usize = 200;
/// Share of a run's messages before the measured span: connecting, cold partitions and page faults are in it.
const WARM_SHARE: u64 = 5;
/// A run that takes longer has failed.
const LONGEST_RUN: Duration = Duration::from_mins(3);

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Devices, each with one connection.
    pub(crate) connections: u32,
    /// Messages in the measured span.
    pub(crate) messages: u64,
}

/// What one run showed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Measured {
    /// CPU time of the server per message, in microseconds.
    pub(crate) micros: f64,
    /// Messages acknowledged per second.
    pub(crate) per_sec: f64,
}

/// Reads the server's CPU account at two counts of acknowledgements.
struct Span {
    pid: u32,
    begin: u64,
    end: u64,
    acknowledged: AtomicU64,
    readings: [OnceLock<(Duration, Timestamp)>; 2],
}

impl Observer for Span {
    fn acknowledged(&self, what: Acknowledged) {
        let count = self.acknowledged.fetch_add(1, Ordering::Relaxed) + 1;
        for (at, reading) in [self.begin, self.end].into_iter().zip(&self.readings) {
            if count == at
                && let Ok(used) = cpu::used_by(self.pid)
            {
                // Filled once: every count is reached once.
                let _ = reading.set((used, what.at));
            }
        }
    }
}

impl Load {
    /// Drives `server` and returns what the measured span cost it.
    pub(crate) fn run(self, server: &Server) -> anyhow::Result<Measured> {
        let warm = self.messages / WARM_SHARE;
        let each = (self.messages + warm).div_ceil(u64::from(self.connections));
        let mut plan = Plan::new(tidegate_fleet::Load::count(self.connections, u32::try_from(each)?), 1);
        plan.versions = Versions::Only(Version::V311);
        plan.payload_bytes = PAYLOAD_BYTES;
        plan.user_names = false;
        plan.deadline = LONGEST_RUN;
        let span = Arc::new(Span {
            pid: server.pid(),
            begin: warm,
            end: warm + self.messages,
            acknowledged: AtomicU64::new(0),
            readings: Default::default(),
        });
        let clocks = Clocks {
            monotonic: tidegate_runtime::clock::monotonic,
            unix_millis: tidegate_runtime::clock::unix_millis,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(tidegate_fleet::run(
            plan,
            server.address(),
            clocks,
            Arc::clone(&span),
            CancellationToken::new(),
        ))?;
        ensure!(
            report.unfinished == 0,
            "{} messages were not acknowledged: {:?}",
            report.unfinished,
            report.refused
        );
        let [begin, end] = &span.readings;
        let (cpu_begin, at_begin) = begin.get().context("the server's CPU account could not be read")?;
        let (cpu_end, at_end) = end.get().context("the server's CPU account could not be read")?;
        #[allow(clippy::cast_precision_loss, reason = "a run has far fewer messages than 2^52")]
        let messages = self.messages as f64;
        Ok(Measured {
            micros: cpu_end.saturating_sub(*cpu_begin).as_secs_f64() * 1e6 / messages,
            per_sec: messages / at_end.since(*at_begin).as_secs_f64(),
        })
    }
}
