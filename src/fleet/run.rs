//! Plays a plan: one task per device, all on the caller's runtime.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;
use tidegate_core::time::{Clock, Timestamp, UnixMillis};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connection;
use crate::observer::Observer;
use crate::plan::{Plan, PlanError};
use crate::report::{Report, new_histogram};

/// The process's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Measures latency and paces the load.
    pub monotonic: Clock,
    /// Dates the payloads. Read once, when the run starts; from there the monotonic clock goes on.
    pub unix_millis: fn() -> UnixMillis,
}

/// What all devices of a run share.
pub(crate) struct Fleet<O> {
    pub(crate) plan: Plan,
    pub(crate) gateway: SocketAddr,
    pub(crate) clock: Clock,
    /// Begin of the run.
    pub(crate) start: Timestamp,
    start_unix_micros: u64,
    pub(crate) observer: O,
    /// Locked once for all acknowledgements that one read brings.
    pub(crate) ack_micros: Mutex<Histogram<u64>>,
    pub(crate) shutdown: CancellationToken,
}

impl<O> Fleet<O> {
    /// Returns the wall-clock time of a point, in microseconds since 1970.
    pub(crate) fn unix_micros(&self, at: Timestamp) -> u64 {
        let since = u64::try_from(at.since(self.start).as_micros()).unwrap_or(u64::MAX);
        self.start_unix_micros.saturating_add(since)
    }
}

/// Runs the fleet against the server at `gateway` until every message is settled and the load's time is over, or
/// until the plan's deadline. After `shutdown` nothing new is sent, and devices have the plan's
/// grace to see the rest acknowledged.
///
/// Dropping the future ends all devices at once.
///
/// # Errors
/// If the plan is out of bounds; nothing was sent then. What goes wrong on the way is in the [`Report`].
pub async fn run<O: Observer>(
    plan: Plan,
    gateway: SocketAddr,
    clocks: Clocks,
    observer: O,
    shutdown: CancellationToken,
) -> Result<Report, PlanError> {
    plan.check()?;
    let start = (clocks.monotonic)();
    let start_unix_micros = u64::try_from((clocks.unix_millis)().0).unwrap_or_default().saturating_mul(1000);
    let fleet = Arc::new(Fleet {
        plan,
        gateway,
        clock: clocks.monotonic,
        start,
        start_unix_micros,
        observer,
        ack_micros: Mutex::new(new_histogram()),
        shutdown,
    });
    let mut devices = JoinSet::new();
    for number in 0..fleet.plan.load.devices {
        devices.spawn(connection::run(Arc::clone(&fleet), number));
    }
    let mut report = Report::new();
    while let Some(ended) = devices.join_next().await {
        match ended {
            Ok(tally) => report.add(tally),
            // Only a panic ends a device's task early: nobody aborts it while this function runs.
            Err(problem) => resume_unwind(problem.into_panic()),
        }
    }
    report.ack_micros.clone_from(&fleet.ack_micros.lock().unwrap_or_else(PoisonError::into_inner));
    report.elapsed = (fleet.clock)().since(start);
    Ok(report)
}

#[cfg(test)]
mod tests;
