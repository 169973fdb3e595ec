//! Records on their way to Kafka: handed over by workers, reported back to them.
//!
//! Owns one idempotent librdkafka producer per lane, the windows and temperature of every partition, and the way of a
//! report to the worker that waits for it. librdkafka is not taken at its word: only a success with an offset that a
//! broker named is [`Outcome::Delivered`], and an instance that failed is replaced as a whole. Does not know devices, acknowledgements or the spool; what was refused or
//! unproven stays with the caller.
//!
//! A worker's loop: wait for its [`Wake`], [`Port::completions`], then [`Port::hand_over`] what waits.

mod doorbell;
mod error;
mod gate;
mod load;
#[cfg(test)]
mod loom_models;
mod opaque;
mod pool;
mod port;
mod proof;
mod reporter;
mod retire;
mod settings;
mod shared;
mod stats;
mod sync;
#[cfg(feature = "embedded")]
#[cfg(test)]
mod tests;
mod types;
mod waiters;
mod window;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::time::Timestamp;

pub use error::{Error, FatalError};
pub use gate::COLD_AFTER;
pub use port::Port;
pub use settings::{
    LANE_PARTITIONS_MAX, MAX_RECORD_BYTES, RECORD_OVERHEAD_BYTES, SHARED_WINDOW_BYTES, Settings, TOPICS_MAX,
};
pub use stats::Stats;
pub use types::{Completion, Generation, LaneId, Outcome, Record, Refusal, TopicId, Wake};
pub use window::{
    MAX_BYTES as WINDOW_MAX_BYTES, START_BYTES as WINDOW_START_BYTES, START_RECORDS as WINDOW_START_RECORDS,
};

use reporter::Reporter;
use shared::{Lane, Shared, Worker};

/// All producers of the process; shared by whoever opens topics or reads figures.
pub struct Delivery {
    shared: Arc<Shared>,
    reporters: Mutex<Vec<Reporter>>,
}

/// Starts one producer per lane, and returns a port for each worker, in the order of `wakes`.
///
/// Connects in the background: a Kafka that is away is no error.
///
/// # Errors
/// [`Error::Setting`] before anything is started; otherwise what kept a producer or its thread from starting.
///
/// # Panics
/// If there is not one wake per worker.
pub fn start(settings: &Settings, wakes: Vec<Wake>) -> Result<(Arc<Delivery>, Vec<Port>), Error> {
    settings.check()?;
    assert_eq!(wakes.len(), settings.workers, "one wake per worker");
    let lanes = settings.lanes.iter().map(|name| open_lane(settings, name)).collect::<Result<_, _>>()?;
    let credits = settings.credits_per_worker;
    let workers = wakes.into_iter().map(|wake| Worker::new(credits, wake)).collect();
    let shared = Arc::new(Shared::new(workers, lanes, settings.lent_bytes()));
    let ports = (0..settings.workers)
        .map(|worker| Port::new(Arc::clone(&shared), worker, credits, settings.max_record_bytes))
        .collect();
    let delivery = Delivery { shared, reporters: Mutex::new(Vec::with_capacity(settings.lanes.len())) };
    for lane in 0..settings.lanes.len() {
        let reporter = Reporter::start(&delivery.shared, lane)?;
        delivery.reporters.lock().unwrap_or_else(PoisonError::into_inner).push(reporter);
    }
    Ok((Arc::new(delivery), ports))
}

fn open_lane(settings: &Settings, name: &str) -> Result<Lane, Error> {
    Lane::open(name, settings.client_config(name)?, settings.retire_failed)
}

impl Delivery {
    /// Opens a topic for a lane; the same lane, name and count return the same id.
    ///
    /// `partitions` is latched: a topic that grew is opened anew by a later process.
    ///
    /// # Errors
    /// [`Error::Topic`] if the lane does not exist, the name is refused, the count differs from the one latched, or
    /// [`TOPICS_MAX`] or [`LANE_PARTITIONS_MAX`] is exceeded.
    pub fn open_topic(&self, lane: LaneId, name: &str, partitions: u32) -> Result<TopicId, Error> {
        self.shared.open_topic(lane, name, partitions)
    }

    /// Returns the first fatal error of any lane; all workers are woken when it occurs.
    #[must_use]
    pub fn fatal(&self) -> Option<FatalError> {
        self.shared.lanes.iter().find_map(|lane| lane.fatal.get().cloned())
    }

    /// Returns totals since the start and what is outstanding at `now`.
    #[must_use]
    pub fn stats(&self, now: Timestamp) -> Stats {
        self.shared.stats(now)
    }

    /// Ends hand-over, waits up to `timeout` for the reports of what is outstanding, gives up the rest and ends the
    /// report threads. Reports are in the ports' rings afterwards: drain them once more. A hand-over that another
    /// thread is in the middle of may get none, and so no acknowledgement: stop the workers before.
    ///
    /// Blocks: not for a worker. Returns false if records were given up; Kafka may have them nevertheless. The producers
    /// end with the last [`Port`].
    pub fn stop(&self, timeout: Duration) -> bool {
        // Before the lanes close: a new instance looks here after it has opened its lane.
        self.shared.stopping.store(true, Ordering::SeqCst);
        for lane in &self.shared.lanes {
            lane.closed.store(true, Ordering::SeqCst);
        }
        let reporters = std::mem::take(&mut *self.reporters.lock().unwrap_or_else(PoisonError::into_inner));
        if reporters.is_empty() {
            return true;
        }
        // All lanes at once: the time is for them together.
        let complete = std::thread::scope(|scope| {
            let flushes: Vec<_> = self
                .shared
                .lanes
                .iter()
                .map(|lane| scope.spawn(|| lane.instance().producer.flush(timeout)))
                .collect();
            flushes.into_iter().all(|flush| flush.join().unwrap_or(false))
        });
        for lane in &self.shared.lanes {
            let producer = lane.instance().producer;
            producer.purge();
            producer.flush(PURGE_TIMEOUT);
        }
        for reporter in reporters {
            reporter.stop(&self.shared);
        }
        complete
    }
}

/// A purged record is reported at once; one on the wire when librdkafka's own threads get to it.
const PURGE_TIMEOUT: Duration = Duration::from_millis(500);

impl Drop for Delivery {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}
