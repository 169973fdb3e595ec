//! One measured run: a fleet against one server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::ensure;
use tidegate_core::time::Timestamp;
use tidegate_fleet::{Acknowledged, Clocks, Observer, Phase, Plan, Versions};
use tidegate_mqtt::Version;
use tokio_util::sync::CancellationToken;

use super::server::Server;
use crate::{cpu, metrics};

/// Bytes of every payload.
pub(crate) const PAYLOAD_BYTES: usize = 200;
/// Share of a run's messages before the measured span: connecting, cold partitions and page faults are in it.
const WARM_SHARE: u64 = 5;
/// From the first of these to the first measured message: what has gathered is in Kafka by then, or the run does not count.
const WARM_TIME: Duration = Duration::from_secs(4);
/// All that is measured is due at once; a load has no time of zero.
const AT_ONCE: Duration = Duration::from_millis(1);
/// A run that takes longer has failed.
const LONGEST_RUN: Duration = Duration::from_mins(3);
/// How often and how long to ask whether Kafka has what was acknowledged.
const ASK_EVERY: Duration = Duration::from_millis(10);
const ASKS: u32 = 6_000;
const DELIVERED: &str = "tidegate_gateway_kafka_delivered_records_total";

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
    /// Messages per second that reached Kafka.
    pub(crate) per_sec: f64,
}

/// The server's CPU account, and when it was read.
type Reading = anyhow::Result<(Duration, Timestamp)>;

/// Reads the server's CPU account twice: before the first measured message, and once Kafka has the last one.
///
/// Both happen on the fleet's only thread, so nothing is sent meanwhile.
struct Span {
    pid: u32,
    /// Where a gateway says what Kafka has; whoever has none acknowledges nothing before.
    admin: Option<SocketAddr>,
    warm_each: u32,
    warm: u64,
    all: u64,
    acknowledged: AtomicU64,
    begin: OnceLock<Reading>,
    end: OnceLock<Reading>,
}

impl Span {
    fn begin(&self) -> Reading {
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        ensure!(
            acknowledged == self.warm,
            "only {acknowledged} messages were acknowledged after {WARM_TIME:?}"
        );
        if let Some(admin) = self.admin {
            let delivered = metrics::read(admin, DELIVERED)?;
            ensure!(delivered >= self.warm, "only {delivered} messages were in Kafka after {WARM_TIME:?}");
        }
        self.read()
    }

    fn end(&self) -> Reading {
        if let Some(admin) = self.admin {
            let mut asks = 0;
            while metrics::read(admin, DELIVERED)? < self.all {
                asks += 1;
                ensure!(asks < ASKS, "Kafka does not get what was acknowledged");
                std::thread::sleep(ASK_EVERY);
            }
        }
        self.read()
    }

    fn read(&self) -> Reading {
        Ok((cpu::used_by(self.pid)?, tidegate_runtime::clock::monotonic()))
    }
}

impl Observer for Span {
    fn sent(&self, _device: u32, seq: u32, _resend: bool) {
        if seq == self.warm_each {
            self.begin.get_or_init(|| self.begin());
        }
    }

    fn acknowledged(&self, _what: Acknowledged) {
        if self.acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == self.all {
            self.end.get_or_init(|| self.end());
        }
    }
}

impl Load {
    /// Drives `server` and returns what the measured span cost it.
    pub(crate) fn run(self, server: &Server) -> anyhow::Result<Measured> {
        let connections = u64::from(self.connections);
        let each = self.messages.div_ceil(connections);
        let warm_each = u32::try_from((each / WARM_SHARE).max(1))?;
        let (warm, measured) = (u64::from(warm_each) * connections, each * connections);
        let mut plan = Plan::new(shape(self.connections, warm_each, u32::try_from(each)?), 1);
        plan.versions = Versions::Only(Version::V311);
        plan.payload_bytes = PAYLOAD_BYTES;
        plan.user_names = false;
        plan.deadline = LONGEST_RUN;
        let span = Arc::new(Span {
            pid: server.pid(),
            admin: server.admin(),
            warm_each,
            warm,
            all: warm + measured,
            acknowledged: AtomicU64::new(0),
            begin: OnceLock::new(),
            end: OnceLock::new(),
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
        server.ensure_way(warm + measured)?;
        let taken = |reading: &OnceLock<Reading>| match reading.get() {
            Some(Ok(reading)) => Ok(*reading),
            Some(Err(error)) => Err(anyhow::anyhow!("{error:#}")),
            None => Err(anyhow::anyhow!("the measured span has no beginning or no end")),
        };
        let (cpu_begin, at_begin) = taken(&span.begin)?;
        let (cpu_end, at_end) = taken(&span.end)?;
        #[allow(clippy::cast_precision_loss, reason = "a run has far fewer messages than 2^52")]
        let messages = measured as f64;
        Ok(Measured {
            micros: cpu_end.saturating_sub(cpu_begin).as_secs_f64() * 1e6 / messages,
            per_sec: messages / at_end.since(at_begin).as_secs_f64(),
        })
    }
}

/// `warm_each` messages of each device, silence, and then `each` as fast as they are acknowledged.
fn shape(connections: u32, warm_each: u32, each: u32) -> tidegate_fleet::Load {
    let mut load = tidegate_fleet::Load::count(connections, warm_each);
    load.phases = vec![
        Phase { lasts: WARM_TIME, rate: 0.0 },
        Phase { lasts: AT_ONCE, rate: f64::from(each) / AT_ONCE.as_secs_f64() },
    ];
    load
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_silence_all_that_is_measured_is_due_at_once() {
        let load = shape(100, 400, 2_000);
        for phase in [0.0, 0.3, 0.999] {
            assert_eq!(load.messages_of(phase), 2_400);
            assert_eq!(load.due(phase, 399), Some(Duration::ZERO));
            let due = |seq| load.due(phase, seq).unwrap();
            assert!(due(400) >= WARM_TIME && due(2_399) <= WARM_TIME + AT_ONCE, "{:?}", due(2_399));
        }
    }
}
