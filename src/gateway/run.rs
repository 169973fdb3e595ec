//! Starts a gateway from its settings and ends it in order.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use socket2::{SockRef, TcpKeepalive};
use tidegate_core::time::{Clock, UnixMillis};
use tidegate_kafka::delivery::{self, Delivery, LaneId, Wake};
use tidegate_kafka::topics;
use tidegate_runtime::admin::{self, Readiness};
use tidegate_runtime::metrics::Registry;
use tidegate_runtime::report::{Key, Reporter};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ceiling::Ceiling;
use crate::config::Settings;
use crate::metrics::Source;
use crate::route::{Destination, Router, Rule, StreamId};
use crate::shared::{Identity, Places, Shared, sockets_for};
use crate::stats::{Counters, Figures, Stats};
use crate::worker::{self, Bell, Seed};
use crate::{Error, Metrics, reporter, silence};

/// Kernel receive buffer of a connection: what a device sends beyond its limit waits on the device.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// Finds peers that vanished without a word, for clients that asked for no keep-alive.
const TCP_KEEPALIVE: Duration = Duration::from_mins(2);
/// Arrivals that may wait at a worker; more is a worker that does not keep up, and the client is told to come back.
const INBOX_ARRIVALS: usize = 1024;
/// Descriptors that are not devices': Kafka, admin, logs, the runtimes.
const RESERVED_DESCRIPTORS: u64 = 256;
/// Waits between two attempts to learn the partitions from Kafka, doubling from the first to the last.
const KAFKA_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What a gateway is given.
pub struct Resources {
    /// Checked settings.
    pub settings: Settings,
    /// Where devices connect, bound by the caller.
    pub listener: TcpListener,
    /// Where the admin HTTP listens, bound by the caller; none: no admin HTTP.
    pub admin: Option<TcpListener>,
    /// Where the metrics go.
    pub registry: Registry,
    /// Live figures for whoever holds a clone.
    pub stats: Stats,
    /// The monotonic clock.
    pub clock: Clock,
    /// The wall clock, for record timestamps.
    pub unix_clock: fn() -> UnixMillis,
}

/// What a gateway did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Totals at the end.
    pub figures: Figures,
    /// Records without a report at the deadline: not acknowledged, though Kafka may have them.
    pub unconfirmed: u64,
}

/// Runs a gateway until `shutdown`, then stops taking in, waits within `settings.drain` for Kafka's reports, lets out
/// the PUBACKs that they release, and closes.
///
/// # Errors
/// What kept it from starting, or made it stop: see [`Error`]. Nothing unconfirmed was acknowledged then.
pub async fn run(resources: Resources, shutdown: CancellationToken) -> Result<Summary, Error> {
    let metrics = Metrics::new(&resources.registry)?;
    let readiness = Readiness::new(&["kafka", "listener"]);
    let reporter = resources.settings.report.as_ref().map(open_reporter).transpose()?;
    let late = CancellationToken::new();
    let _end_admin = late.clone().drop_guard();
    let mut watched = JoinSet::new();
    if let Some(listener) = resources.admin {
        listener.set_nonblocking(true).map_err(Error::system("admin listener"))?;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(Error::system("admin listener"))?;
        let serving = admin::serve(
            listener,
            resources.registry.clone(),
            readiness.clone(),
            axum::Router::new(),
            late.clone(),
        );
        watched.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "admin HTTP ended");
            }
            "the admin HTTP"
        });
    }
    prepare_listener(&resources.listener)?;
    let settings = resources.settings;
    let stop = shutdown.child_token();
    let Some(partitions) = partitions(&settings, &readiness, &stop).await else {
        return Ok(Summary { figures: Figures::default(), unconfirmed: 0 });
    };
    let workers = settings
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
        .min(64);
    let bells: Vec<Bell> = (0..workers).map(|_| Bell::default()).collect();
    let kafka = kafka_settings(&settings, workers);
    let wakes = bells.iter().cloned().map(|bell| Arc::new(move || bell.ring()) as Wake).collect();
    let (delivery, ports) = delivery::start(&kafka, wakes)?;
    let (router, topic_names) = router(&settings, &delivery, &partitions)?;
    let run: u64 = rand::rng().random();
    let (doors, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(INBOX_ARRIVALS)).unzip();
    let max_connections = within_descriptors(settings.max_connections);
    let shared = Arc::new(Shared {
        limits: settings.mqtt,
        connect_time: settings.connect_time,
        drain: settings.drain,
        max_record_bytes: (kafka.max_record_bytes - delivery::RECORD_OVERHEAD_BYTES) as usize,
        router,
        topic_names,
        identity: Identity::new(&settings.name, run, &settings.classes),
        classes: settings.classes,
        queue_ceiling: Ceiling::new(settings.queue_bytes),
        hold_ceiling: Ceiling::new(settings.hold_bytes),
        delivery: Arc::clone(&delivery),
        embedded: settings.kafka.embedded,
        inboxes: doors,
        accept_numbers: AtomicU64::new(0),
        sockets: Places::new(sockets_for(max_connections)),
        connections: Places::new(max_connections),
        clock: resources.clock,
        unix_clock: resources.unix_clock,
        stop: stop.clone(),
        failure: Mutex::new(None),
    });
    let counters: Vec<Arc<Counters>> =
        (0..workers).map(|_| Counters::new(shared.topic_names.len())).collect();
    resources.stats.begin(&counters);
    metrics.begin(Source { shared: Arc::clone(&shared), workers: counters.clone() });
    let kits = ports.into_iter().zip(bells).zip(inboxes).zip(&counters).enumerate();
    let mut seeds = Vec::new();
    for (index, (((port, bell), inbox), counters)) in kits {
        let listener = resources.listener.try_clone().map_err(Error::system("listener"))?;
        let (shared, counters) = (Arc::clone(&shared), Arc::clone(counters));
        seeds.push(Seed { index, shared, counters, port, bell, inbox, listener });
    }
    drop(resources.listener);
    if let Some(reporter) = reporter {
        let reporting = reporter::report(reporter, settings.name, run, Arc::clone(&shared), counters);
        watched.spawn(async move {
            reporting.await;
            "the reporter"
        });
    }
    let watching = silence::watch(Arc::clone(&shared), readiness.clone());
    watched.spawn(async move {
        watching.await;
        "the watch on kafka"
    });
    readiness.set("listener", Ok(()));
    tracing::info!(listen = %settings.listen, workers, max_connections, "gateway takes connections");
    let unconfirmed = work(seeds, &shared, &mut watched, &readiness).await;
    let ending = Arc::clone(&delivery);
    // It blocks; whatever it flushes now has no worker to acknowledge it any more.
    let _ = tokio::task::spawn_blocking(move || ending.stop(Duration::ZERO)).await;
    let unconfirmed = unconfirmed?;
    let figures = resources.stats.figures();
    tracing::info!(?figures, unconfirmed, "gateway stopped");
    Ok(Summary { figures, unconfirmed })
}

/// Runs the workers and watches everything beside them; returns how many records were left unconfirmed.
async fn work(
    seeds: Vec<Seed>,
    shared: &Arc<Shared>,
    watched: &mut JoinSet<&'static str>,
    readiness: &Readiness,
) -> Result<u64, Error> {
    let mut threads = Vec::new();
    let mut ends = JoinSet::new();
    for seed in seeds {
        let (thread, ended) = worker::spawn(seed).inspect_err(|_| shared.stop.cancel())?;
        threads.push(thread);
        ends.spawn(async move { ended.await.unwrap_or(Err(Error::Died("a worker"))) });
    }
    let mut unconfirmed = 0;
    let mut stopping = false;
    while !ends.is_empty() {
        tokio::select! {
            ended = ends.join_next() => match ended {
                Some(Ok(Ok(given_up))) => unconfirmed += given_up,
                Some(Ok(Err(error))) => shared.fail(error),
                Some(Err(_)) | None => shared.fail(Error::Died("a worker")),
            },
            Some(ended) = watched.join_next(), if !watched.is_empty() => {
                shared.fail(Error::Died(ended.unwrap_or("a task")));
            }
            () = shared.stop.cancelled(), if !stopping => {
                stopping = true;
                readiness.set("listener", Err("stopping".to_owned()));
            }
        }
    }
    // All have ended; joining only frees them.
    for thread in threads {
        let _ = thread.join();
    }
    watched.detach_all();
    match shared.take_failure() {
        Some(error) => Err(error),
        None => Ok(unconfirmed),
    }
}

fn open_reporter(settings: &crate::config::ReportSettings) -> Result<Reporter, Error> {
    let key = Key::from_file(&settings.key_file).map_err(|error| Error::Report(error.to_string()))?;
    Reporter::new(settings.url.clone(), &key).map_err(|error| Error::Report(error.to_string()))
}

/// Sets what accepted sockets inherit, so that no connection costs a system call for it.
fn prepare_listener(listener: &TcpListener) -> Result<(), Error> {
    let socket = SockRef::from(listener);
    socket
        .set_recv_buffer_size(RECEIVE_BUFFER_BYTES)
        .and_then(|()| socket.set_tcp_nodelay(true))
        .and_then(|()| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE)))
        .and_then(|()| listener.set_nonblocking(true))
        .map_err(Error::system("listener"))
}

/// Returns as many connections as the settings and the descriptor limit allow.
fn within_descriptors(wanted: u32) -> u32 {
    let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current else {
        return wanted;
    };
    let room = limit.saturating_sub(RESERVED_DESCRIPTORS + u64::from(sockets_for(0))).max(1);
    let allowed = wanted.min(u32::try_from(room).unwrap_or(u32::MAX));
    if allowed < wanted {
        tracing::warn!(
            wanted,
            allowed,
            descriptors = limit,
            "max_connections is more than the descriptor limit allows"
        );
    }
    allowed
}

/// Returns what delivery is told.
pub(crate) fn kafka_settings(settings: &Settings, workers: usize) -> delivery::Settings {
    let lanes = settings.classes.iter().map(|(_, class)| class.name.clone()).collect();
    let mut kafka = delivery::Settings::new(&settings.kafka.bootstrap_servers, &settings.name, lanes);
    kafka.workers = workers;
    kafka.overrides.clone_from(&settings.kafka.overrides);
    kafka.shared_window_bytes = (settings.queue_bytes / 2) as u64;
    kafka
}

/// Asks Kafka how many partitions each topic has, until it answers; `None` if the gateway is to stop before.
async fn partitions(
    settings: &Settings,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Option<BTreeMap<String, u32>> {
    let names = settings.kafka_topics();
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut wait = KAFKA_RETRY.0;
    loop {
        let asked = topics::partition_counts(&settings.kafka.bootstrap_servers, &wanted);
        let reason = tokio::select! {
            () = stop.cancelled() => return None,
            answer = asked => match answer {
                Ok(counts) => match names.iter().find(|name| counts.get(*name).is_none_or(|count| *count == 0)) {
                    None => {
                        readiness.set("kafka", Ok(()));
                        return Some(counts);
                    }
                    Some(missing) => format!("topic {missing} does not exist"),
                },
                Err(error) => error.to_string(),
            }
        };
        // Logged by the readiness whenever it changes.
        readiness.set("kafka", Err(reason));
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(KAFKA_RETRY.1),
        }
    }
}

fn router(
    settings: &Settings,
    delivery: &Delivery,
    partitions: &BTreeMap<String, u32>,
) -> Result<(Router, Vec<String>), Error> {
    let mut destinations = Vec::new();
    let mut topic_names: Vec<String> = Vec::new();
    let mut known = BTreeMap::new();
    let mut rules = Vec::new();
    for route in &settings.routes {
        let mut streams = Vec::new();
        for ((class, _), topic) in settings.classes.iter().zip(&route.topics) {
            let stream = if let Some(stream) = known.get(&(class, topic)) {
                *stream
            } else {
                let count = partitions.get(topic).copied().unwrap_or(1);
                let lane = LaneId(u8::try_from(class.index()).expect("classes are few"));
                let opened = delivery.open_topic(lane, topic, count)?;
                let stream = StreamId(u16::try_from(destinations.len()).expect("topics are few"));
                destinations.push(Destination { class, topic: opened, partitions: count });
                topic_names.push(topic.clone());
                known.insert((class, topic), stream);
                stream
            };
            streams.push(stream);
        }
        rules.push(Rule { filter: route.filter.clone(), key: route.key, headers: route.headers, streams });
    }
    Ok((Router { classes: settings.class_filters.clone(), rules, destinations }, topic_names))
}
