//! Starts a gateway from its settings and ends it in order.

use std::net::TcpListener;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use socket2::{SockRef, TcpKeepalive};
use tidegate_core::admission::ClassId;
use tidegate_core::time::{Clock, UnixMillis};
use tidegate_kafka::delivery::{self, Delivery, Port, Wake};
use tidegate_runtime::admin::{self, Readiness};
use tidegate_runtime::clock::Synchronisation;
use tidegate_runtime::metrics::Registry;
use tidegate_runtime::report::{Key, Reporter};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ceiling::Ceiling;
use crate::config::{Settings, SpoolSettings};
use crate::emptying::{self, Emptying};
use crate::metrics::Source;
use crate::shared::{Identity, Places, Shared, sockets_for};
use crate::spool::{Opened, Resumed, Store, View, retention};
use crate::stats::{Counters, Figures, Stats};
use crate::topics::{learn, router};
use crate::wall::{self, Wall};
use crate::worker::{self, Arrival, Bell, Seed};
use crate::{Error, Metrics, reporter, silence};

/// Kernel receive buffer of a connection: what a device sends beyond its limit waits on the device.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// Finds peers that vanished without a word, for clients that asked for no keep-alive.
const TCP_KEEPALIVE: Duration = Duration::from_mins(2);
/// Arrivals that may wait at a worker; more is a worker that does not keep up, and the client is told to come back.
const INBOX_ARRIVALS: usize = 1024;
/// Descriptors that are not devices': Kafka, admin, logs, the runtimes.
const RESERVED_DESCRIPTORS: u64 = 256;
/// How long the log may take to end: one cursor, and the footers of what is open.
const SPOOL_END: Duration = Duration::from_secs(5);

/// What a gateway is given.
pub struct Resources {
    /// Checked settings.
    pub settings: Settings,
    /// Whether devices come in.
    pub door: Door,
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
    /// What the kernel says of the wall clock.
    pub synchronisation: fn() -> Synchronisation,
}

/// Whether devices come in.
#[derive(Debug)]
pub enum Door {
    /// They connect here, bound by the caller.
    Open(TcpListener),
    /// Nobody does: Kafka gets what an earlier run has left in the spool, and then the gateway ends. Records of topics and
    /// partitions that Kafka does not have stay.
    Closed {
        /// Only the log of this class; none: all of them.
        only: Option<ClassId>,
        /// How long Kafka may take nothing before what is left stays; none: for ever.
        wait: Option<Duration>,
    },
}

/// What a gateway did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Totals at the end.
    pub figures: Figures,
    /// Records that neither Kafka nor the disk had confirmed at the deadline: not acknowledged, though Kafka may have them.
    pub unconfirmed: u64,
    /// Records that Kafka has, proven.
    pub delivered: u64,
    /// Places of the spool that could not be read: what stood there has not gone to Kafka.
    pub damaged: u64,
}

/// Runs a gateway until `shutdown`, then stops taking in, waits within `settings.drain` for Kafka's reports, lets out
/// the PUBACKs that they release, and closes.
///
/// # Errors
/// What kept it from starting, or made it stop: see [`Error`]. Nothing unconfirmed was acknowledged then.
pub async fn run(resources: Resources, shutdown: CancellationToken) -> Result<Summary, Error> {
    let metrics = Metrics::new(&resources.registry)?;
    let with_spool = resources.settings.spool.is_some();
    let readiness =
        Readiness::new(if with_spool { &["kafka", "listener", "spool"] } else { &["kafka", "listener"] });
    let view = View::default();
    let reporter = resources.settings.report.as_ref().map(open_reporter).transpose()?;
    let late = CancellationToken::new();
    let _end_admin = late.clone().drop_guard();
    let mut watched = JoinSet::new();
    if let Some(listener) = resources.admin {
        let routes = if with_spool { view.router() } else { axum::Router::new() };
        serve_admin(listener, &resources.registry, &readiness, routes, &late, &mut watched)?;
    }
    let (settings, door) = (resources.settings, resources.door);
    let listener = door.listener()?;
    let stop = shutdown.child_token();
    let mut opened = match &settings.spool {
        Some(spool) => Some(open_spool(spool, &settings, (resources.unix_clock)(), &readiness).await?),
        None => None,
    };
    let Some(topics) = learn(&settings, &door, opened.as_mut(), &readiness, &stop).await else {
        return Ok(Summary::default());
    };
    let workers = workers(&settings);
    let bells: Vec<Bell> = (0..workers).map(|_| Bell::default()).collect();
    let kafka = kafka_settings(&settings, workers);
    let wakes = bells.iter().cloned().map(|bell| Arc::new(move || bell.ring()) as Wake).collect();
    let (delivery, ports) = delivery::start(&kafka, wakes)?;
    let in_log = opened.as_ref().map(Opened::in_log).unwrap_or_default();
    let (router, topic_names) = router(&settings, &delivery, &topics, &in_log)?;
    let run: u64 = rand::rng().random();
    let identity = Identity::new(&settings.name, run, opened.as_ref().map(Opened::who), &settings.classes);
    let mut max_record_bytes = (kafka.max_record_bytes - delivery::RECORD_OVERHEAD_BYTES) as usize;
    let (mut store, mut resumed) = (None, bells.iter().map(|_| Vec::new()).collect());
    if let Some(opened) = opened {
        max_record_bytes =
            max_record_bytes.min(usize::try_from(opened.max_record_bytes()).unwrap_or(usize::MAX));
        let classes = router.destinations.iter().map(|destination| destination.class.index());
        let streams: Vec<_> = classes.zip(topic_names.iter().cloned()).collect();
        let (started, left) = opened.start(&streams, topics, &settings.kafka_topics(), &bells)?;
        (store, resumed) = (Some(Arc::new(started)), left);
    }
    let (doors, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(INBOX_ARRIVALS)).unzip();
    let max_connections = within_descriptors(settings.max_connections);
    let shared = Arc::new(Shared {
        limits: settings.mqtt,
        connect_time: settings.connect_time,
        drain: settings.drain,
        max_record_bytes,
        router,
        topic_names,
        identity,
        classes: settings.classes,
        queue_ceiling: Ceiling::new(settings.queue_bytes),
        hold_ceiling: Ceiling::new(settings.hold_bytes),
        delivery: Arc::clone(&delivery),
        store: store.clone(),
        embedded: settings.kafka.embedded,
        inboxes: doors,
        accept_numbers: AtomicU64::new(0),
        sockets: Places::new(sockets_for(max_connections)),
        connections: Places::new(max_connections),
        clock: resources.clock,
        unix_clock: resources.unix_clock,
        wall: Wall::new(settings.clock_trust, resources.synchronisation),
        emptying: door.emptying(),
        stop: stop.clone(),
        failure: Mutex::new(None),
    });
    let counters: Vec<Arc<Counters>> =
        (0..workers).map(|_| Counters::new(shared.topic_names.len())).collect();
    resources.stats.begin(&counters);
    view.begin(&shared, &counters);
    metrics.begin(Source { shared: Arc::clone(&shared), workers: counters.clone() });
    let seeds = seeds(&shared, &counters, listener, (ports, bells, inboxes, resumed))?;
    let is_open = listener.is_some();
    // The workers have theirs, and the door closes with the last of these.
    drop(door);
    if let Some(reporter) = reporter {
        let reporting = reporter::report(reporter, settings.name, run, Arc::clone(&shared), counters.clone());
        watched.spawn(named(reporting, "the reporter"));
    }
    watch(&mut watched, &shared, &readiness, counters);
    if is_open {
        readiness.set("listener", Ok(()));
        tracing::info!(listen = %settings.listen, workers, max_connections, "gateway takes connections");
    }
    let unconfirmed = work(seeds, &shared, &mut watched, &readiness).await;
    end(store.clone(), Arc::clone(&delivery)).await;
    let unconfirmed = unconfirmed?;
    let figures = resources.stats.figures();
    let delivered = delivery.stats((resources.clock)()).delivered;
    let damaged = store.map_or(0, |store| store.damaged());
    if is_open {
        tracing::info!(?figures, unconfirmed, "gateway stopped");
    }
    Ok(Summary { figures, unconfirmed, delivered, damaged })
}

/// Begins what goes on beside the workers.
fn watch(
    watched: &mut JoinSet<&'static str>,
    shared: &Arc<Shared>,
    readiness: &Readiness,
    counters: Vec<Arc<Counters>>,
) {
    let draining = emptying::watch(Arc::clone(shared), readiness.clone(), counters.clone());
    watched.spawn(named(draining, "the watch on the drain"));
    watched.spawn(named(silence::watch(Arc::clone(shared), readiness.clone()), "the watch on kafka"));
    watched.spawn(named(retention::watch(Arc::clone(shared), counters), "the watch on retention"));
    watched.spawn(named(wall::watch(Arc::clone(shared)), "the watch on the clock"));
}

impl Door {
    /// Returns where devices connect, if they do.
    fn listener(&self) -> Result<Option<&TcpListener>, Error> {
        let Self::Open(listener) = self else { return Ok(None) };
        prepare_listener(listener)?;
        Ok(Some(listener))
    }

    fn emptying(&self) -> Emptying {
        match self {
            Self::Open(_) => Emptying::default(),
            Self::Closed { wait, .. } => Emptying::of_left_over(*wait),
        }
    }
}

fn workers(settings: &Settings) -> usize {
    settings.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).min(64)
}

/// Runs a task that should not end, and says whose end it was.
async fn named(task: impl Future<Output = ()>, name: &'static str) -> &'static str {
    task.await;
    name
}

/// Serves the admin HTTP until `late`.
fn serve_admin(
    listener: TcpListener,
    registry: &Registry,
    readiness: &Readiness,
    routes: axum::Router,
    late: &CancellationToken,
    watched: &mut JoinSet<&'static str>,
) -> Result<(), Error> {
    listener.set_nonblocking(true).map_err(Error::system("admin listener"))?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(Error::system("admin listener"))?;
    let serving = admin::serve(listener, registry.clone(), readiness.clone(), routes, late.clone());
    watched.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "admin HTTP ended");
        }
        "the admin HTTP"
    });
    Ok(())
}

/// What each worker gets one of.
type Kits = (Vec<Port>, Vec<Bell>, Vec<mpsc::Receiver<Arrival>>, Vec<Vec<Resumed>>);

fn seeds(
    shared: &Arc<Shared>,
    counters: &[Arc<Counters>],
    listener: Option<&TcpListener>,
    (ports, bells, inboxes, resumed): Kits,
) -> Result<Vec<Seed>, Error> {
    let kits = ports.into_iter().zip(bells).zip(inboxes).zip(counters).zip(resumed).enumerate();
    kits.map(|(index, ((((port, bell), inbox), counters), resumed))| {
        let listener = listener.map(TcpListener::try_clone).transpose().map_err(Error::system("listener"))?;
        let (shared, counters) = (Arc::clone(shared), Arc::clone(counters));
        Ok(Seed { index, shared, counters, port, bell, inbox, listener, resumed })
    })
    .collect()
}

/// Ends the log and delivery. Both block; what Kafka still confirms has no worker to acknowledge it any more.
async fn end(store: Option<Arc<Store>>, delivery: Arc<Delivery>) {
    let ended = tokio::task::spawn_blocking(move || {
        let in_order = store.is_none_or(|store| store.spool.finish(SPOOL_END));
        delivery.stop(Duration::ZERO);
        in_order
    });
    if !ended.await.unwrap_or(false) {
        tracing::error!("the spool did not end in order: the next start reads what is there");
    }
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
                if !shared.emptying.is_asked() {
                    readiness.set("listener", Err("stopping".to_owned()));
                }
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
    // Without a disk the queue dies with the process either way, and the devices still own every message.
    kafka.retire_failed = settings.spool.is_some();
    kafka
}

/// Opens the log on a thread where it may block.
async fn open_spool(
    spool: &SpoolSettings,
    settings: &Settings,
    now: UnixMillis,
    readiness: &Readiness,
) -> Result<Opened, Error> {
    readiness.set("spool", Err("it is being opened".to_owned()));
    let (spool, classes) =
        (spool.clone(), u8::try_from(settings.classes.iter().count()).expect("classes are few"));
    let routing = settings.routing();
    let opening = tokio::task::spawn_blocking(move || Opened::open(spool, classes, routing, now));
    let opened = opening.await.map_err(|_| Error::Died("the opening of the spool"))??;
    readiness.set("spool", Ok(()));
    Ok(opened)
}
