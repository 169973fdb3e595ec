//! What every controller is: work on one or many groups, and an HTTP server beside it.

use tidegate_core::time::{Clock, UnixMillis};
use tidegate_runtime::admin::{self, Readiness};
use tidegate_runtime::metrics::Registry;
use tidegate_runtime::report::Key;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Record;
use crate::error::Error;
use crate::http;
use crate::observe::Observe;
use crate::operator::{self, Cluster};
use crate::scaler::{GroupSettings, Scaler, Shared};
use crate::target::Target;
use crate::view::View;

/// Names in `/readyz` of a controller of one group.
const READINESS: [&str; 2] = [KAFKA, TARGET];
const KAFKA: &str = "kafka";
const TARGET: &str = "target";

/// What every controller is given.
#[derive(Debug)]
pub struct Site {
    /// Bound to the settings' `listen`.
    pub listener: TcpListener,
    /// What reports must present.
    pub key: Key,
    /// For `/metrics`.
    pub registry: Registry,
    /// The monotonic clock.
    pub clock: Clock,
    /// The wall clock, for what is written about objects.
    pub unix_clock: fn() -> UnixMillis,
    /// Time between two looks at a group.
    pub tick: std::time::Duration,
    /// Where records are kept; `None`: nowhere.
    pub record: Option<Record>,
}

impl Site {
    fn shared(&self) -> Result<Shared, Error> {
        Shared::new(&self.registry, self.clock)?.recording(self.record.as_ref(), self.unix_clock)
    }
}

/// The one group of a controller without Kubernetes.
#[derive(Debug)]
pub struct Group<O, T> {
    /// Checked settings.
    pub settings: GroupSettings,
    /// Looks at the group; [`crate::KafkaGroup`] in production.
    pub observe: O,
    /// Runs the replicas.
    pub target: T,
    /// Gets a view after each tick.
    pub view: watch::Sender<View>,
}

/// Scales one group until `shutdown`, then stops what the target must not leave behind.
///
/// # Errors
/// If metrics are registered twice, there is no thread for records, or a task or the HTTP server ends by itself. Kafka or a
/// target that fails is no error: the group is held and both are tried again.
pub async fn run<O: Observe, T: Target>(
    site: Site,
    group: Group<O, T>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Group { settings, observe, target, view } = group;
    let shared = site.shared()?;
    let readiness = Readiness::new(&READINESS);
    let name = settings.consumer_group.clone();
    // Nobody changes them; the sender lives as long as the scaler may ask.
    let (_settings, told) = watch::channel(settings);
    let seen = view.subscribe();
    let scaler = Scaler::new(&name, told, site.tick, observe, target, shared.clone(), view);
    let show = readiness.clone();
    let work = async move |stop: CancellationToken| {
        let showing = stop.child_token();
        let (_end_showing, token) = (showing.clone().drop_guard(), showing);
        tokio::join!(
            async {
                scaler.run(stop).await;
                token.cancel();
            },
            token.run_until_cancelled(show_readiness(seen, show)),
        );
    };
    beside_http(site, shared, readiness, work, shutdown).await
}

/// Scales what the IngestScalers of a namespace ask for, until `shutdown`. The replicas stay as they are.
///
/// # Errors
/// If metrics are registered twice, or a task or the HTTP server ends by itself. An API server or a Kafka that is away is
/// no error.
pub async fn run_on_kubernetes(
    site: Site,
    cluster: Cluster,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let shared = site.shared()?;
    let readiness = Readiness::new(&[operator::KUBERNETES]);
    let operator = cluster.operator(shared.clone(), site.tick, site.unix_clock, readiness.clone());
    // Boxed: it holds the keepers of all objects, and would make the future that holds it as large.
    let work = async move |stop| Box::pin(operator.run(stop)).await;
    beside_http(site, shared, readiness, work, shutdown).await
}

/// Runs `work` and the HTTP server; the end of one is the end of the other.
async fn beside_http(
    site: Site,
    shared: Shared,
    readiness: Readiness,
    work: impl AsyncFnOnce(CancellationToken),
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let records = shared.records.clone();
    let routes = http::router(site.key, shared);
    // Served until the work has ended, so that its end can be watched.
    let stop_http = CancellationToken::new();
    let _end_with_us = stop_http.clone().drop_guard();
    let stop_work = shutdown.child_token();
    let mut serving =
        tokio::spawn(admin::serve(site.listener, site.registry, readiness, routes, stop_http.clone()));
    let mut early = None;
    {
        let mut work = std::pin::pin!(work(stop_work.clone()));
        tokio::select! {
            () = &mut work => {}
            ended = &mut serving => {
                early = Some(ended);
                stop_work.cancel();
                work.await;
            }
        }
    }
    records.finish().await;
    stop_http.cancel();
    let ended = match early {
        Some(ended) => ended,
        None => serving.await,
    };
    ended.map_err(Error::Died)?.map_err(Error::Http)?;
    if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(Error::Http(std::io::Error::other("it stopped without being asked to")))
    }
}

/// Keeps `/readyz` as the scaler's last view says.
async fn show_readiness(mut seen: watch::Receiver<View>, readiness: Readiness) {
    while seen.changed().await.is_ok() {
        let (kafka, target) = {
            let view = seen.borrow_and_update();
            let kafka = if view.kafka_blind { view.kafka_problem.clone() } else { None };
            (kafka, view.target_problem.as_ref().map(ToString::to_string))
        };
        readiness.set(KAFKA, kafka.map_or(Ok(()), Err));
        readiness.set(TARGET, target.map_or(Ok(()), Err));
    }
}

#[cfg(test)]
mod tests;
