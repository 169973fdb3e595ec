//! The reference consumer: a well-behaved member of a group, with work that can be chosen.
//!
//! Owns the order fetch, process, store, commit: a record is committed only after it was processed, so a crash repeats
//! records and never skips one. Leaves its group when told to stop, so that its partitions move at once rather than
//! after the session timeout. Does not know who reports its figures.

mod error;
mod settings;
mod stats;
#[cfg(feature = "embedded")]
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode;
use tidegate_core::time::{Clock, Timestamp, UnixMillis};

pub use error::Error;
pub use settings::{COMMIT_INTERVAL, Settings, WORK_MAX, Work};
pub use stats::{Snapshot, Stats};

use crate::native;
use crate::rebootstrap::Rebootstrap;

/// A stop is seen after this long at most, and then after the record in work.
const POLL: Duration = Duration::from_millis(100);
/// Last commit and leaving the group take a round trip each; without a coordinator they would not end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// rdkafka's `poll` waits its whole time for a record, and none comes any more.
const CLOSE_POLL: Duration = Duration::from_millis(10);

/// One record, valid while it is processed.
pub struct Received<'a>(pub(crate) &'a BorrowedMessage<'a>);

impl Received<'_> {
    /// Topic it came from.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    /// Partition it came from.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.0.partition().cast_unsigned()
    }

    /// Its offset there.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// Its time, if it has one.
    #[must_use]
    pub fn timestamp(&self) -> Option<UnixMillis> {
        self.0.timestamp().to_millis().map(UnixMillis)
    }

    /// Its key; empty if it has none.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.0.key().unwrap_or_default()
    }

    /// Its value; empty if it has none.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.0.payload().unwrap_or_default()
    }

    /// Value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.headers()?.iter().find(|header| header.key == name)?.value
    }
}

/// A consumer on a thread of its own.
pub struct Running {
    stats: Arc<Stats>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Returns its figures, which stay readable after its end.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Tells it to finish the record in work, commit, leave the group and end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// True once it has ended, by itself or told to.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end. Blocks: not for a worker.
    ///
    /// # Errors
    /// What ended it, if it was not [`Self::stop`].
    pub fn join(self) -> Result<(), Error> {
        self.thread.join().unwrap_or(Err(Error::Panicked))
    }
}

/// Starts a consumer; `sink` sees each record as part of its processing. `started` is when the process began, for the
/// time to the first record.
///
/// # Errors
/// [`Error::Setting`], [`Error::Client`] or [`Error::Thread`], before it joins the group.
pub fn spawn(
    settings: &Settings,
    clock: Clock,
    started: Timestamp,
    sink: impl FnMut(&Received<'_>) + Send + 'static,
) -> Result<Running, Error> {
    let (stats, stop) = (Arc::new(Stats::default()), Arc::new(AtomicBool::new(false)));
    let consumer = subscribe(settings, Arc::clone(&stats))?;
    let worker = Worker {
        consumer,
        servers: settings.bootstrap_servers.clone(),
        work: settings.work,
        clock,
        started,
        stats: Arc::clone(&stats),
        sink,
    };
    let flag = Arc::clone(&stop);
    let thread = std::thread::Builder::new()
        .name("consumer".to_owned())
        .spawn(move || worker.run(&flag))
        .map_err(|error| Error::Thread(error.to_string()))?;
    Ok(Running { stats, stop, thread })
}

fn subscribe(settings: &Settings, stats: Arc<Stats>) -> Result<BaseConsumer<Context>, Error> {
    let client = |error: KafkaError| Error::Client(error.to_string());
    let consumer: BaseConsumer<Context> =
        settings.client_config()?.create_with_context(Context { stats }).map_err(client)?;
    let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(client)?;
    Ok(consumer)
}

struct Worker<S> {
    consumer: BaseConsumer<Context>,
    servers: String,
    work: Work,
    clock: Clock,
    started: Timestamp,
    stats: Arc<Stats>,
    sink: S,
}

impl<S: FnMut(&Received<'_>)> Worker<S> {
    fn run(self, stop: &AtomicBool) -> Result<(), Error> {
        let Self { consumer, servers, work, clock, started, stats, mut sink } = self;
        let mut result = Ok(());
        let (mut first, mut rebootstrap) = (true, Rebootstrap::default());
        while result.is_ok() && !stop.load(Ordering::Acquire) {
            match consumer.poll(POLL) {
                None => {
                    if rebootstrap.waited(POLL) && native::rebootstrap(consumer.client(), &servers) {
                        rebootstrap.answered();
                    }
                }
                Some(Ok(message)) => {
                    rebootstrap.answered();
                    let begin = clock();
                    if std::mem::take(&mut first) {
                        stats.fetched_after(begin.since(started));
                    }
                    sink(&Received(&message));
                    perform(work, begin, clock);
                    stats.processed(clock().since(begin));
                    if let Err(error) = consumer.store_offset_from_message(&message) {
                        // The partition was lost meanwhile: its new owner processes the record again.
                        tracing::debug!(%error, "offset not stored");
                    }
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    result = Err(Error::Fatal(code.to_string()));
                }
                // A broker or a topic is away: librdkafka tries again by itself.
                Some(Err(error)) => {
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
                        rebootstrap.brokers_down();
                    }
                    tracing::warn!(%error, "consumer error");
                }
            }
        }
        close(consumer, clock);
        result
    }
}

fn perform(work: Work, begin: Timestamp, clock: Clock) {
    match work {
        Work::None => {}
        Work::Sleep(duration) => std::thread::sleep(duration),
        Work::Burn(duration) => {
            while clock().since(begin) < duration {
                std::hint::spin_loop();
            }
        }
    }
}

/// Commits what was processed and leaves the group, within [`CLOSE_TIMEOUT`].
fn close(consumer: BaseConsumer<Context>, clock: Clock) {
    let deadline = clock() + CLOSE_TIMEOUT;
    if let Err(error) = consumer.close_queue() {
        tracing::warn!(%error, "group not left; the session timeout will tell");
        return;
    }
    while !consumer.closed() {
        if clock() >= deadline {
            tracing::warn!("no answer from the group coordinator; the session timeout will tell");
            // Dropping it would wait for that answer without a bound.
            std::mem::forget(consumer);
            return;
        }
        // Serves the last rebalance and commit.
        drop(consumer.poll(CLOSE_POLL));
    }
}

/// Hears of rebalances and commits, on the consumer's own thread.
struct Context {
    stats: Arc<Stats>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        native::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Comes back from `poll` too, where it is acted on.
        tracing::debug!(%error, reason, "librdkafka error");
    }
}

impl ConsumerContext for Context {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let partitions = consumer.assignment().map_or(0, |list| list.count());
        self.stats.assigned(partitions);
        tracing::info!(partitions, change = change(rebalance), "assignment");
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            // Nothing was processed since the last commit.
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                self.stats.commit_failed();
                tracing::warn!(%error, "commit failed");
            }
        }
    }
}

fn change(rebalance: &Rebalance<'_>) -> String {
    match rebalance {
        Rebalance::Assign(list) => format!("+{}", list.count()),
        Rebalance::Revoke(list) => format!("-{}", list.count()),
        Rebalance::Error(error) => error.to_string(),
    }
}
