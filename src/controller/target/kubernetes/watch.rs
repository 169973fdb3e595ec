//! One watch of one kind in the namespace, shared by all targets.
//!
//! Owns what is known of the objects, and whether that is current: while the watch is broken nobody is told anything.
//! Kept of an object is what its [`Fact`] says, so memory is bounded by how many objects the API server lists and not
//! by how large they are. A watch that fails starts anew with a list: one that merely goes on says nothing by itself.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tidegate_core::time::{Clock, Timestamp, UnixMillis};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::refusal::unwatched;
use crate::target::{TargetError, TargetErrorKind};

/// Time after which the API server ends a watch and is asked to go on: a connection that died silently is noticed so.
const WATCH_SECS: u32 = 60;
/// First pause after a failure; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: a right that was granted, or an API server that is back, is noticed within half a minute.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often it is asked whether an API that nobody has to install is there by now.
const ABSENT_PAUSE: Duration = Duration::from_mins(5);

/// What is kept of an object.
pub(super) trait Fact: Clone + Debug + Send + 'static {
    /// The object, as the API server sends it.
    type Object: Resource + Clone + Debug + DeserializeOwned + Send + 'static;

    /// Returns what is kept of `object`, of which `before` was kept until now.
    fn read(object: &Self::Object, before: Option<&Self>, seen: Seen) -> Self;
}

/// When an object was seen, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at: Timestamp,
    pub(super) wall: UnixMillis,
    /// In a list: then it may be as it is for a long time. Otherwise it became so just now.
    pub(super) listed: bool,
}

/// What is watched.
pub(super) struct Watching<K> {
    pub(super) api: Api<K>,
    /// `pods`, `horizontalpodautoscalers.autoscaling`.
    pub(super) resource: String,
    pub(super) namespace: String,
    /// Nobody has to install it: an API server without it has no such objects.
    pub(super) optional: bool,
    pub(super) clock: Clock,
    pub(super) wall: fn() -> UnixMillis,
}

#[derive(Clone, Debug)]
enum Health {
    Starting,
    Live,
    Failed(TargetError),
}

/// A running watch. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watched<F> {
    facts: Facts<F>,
    health: watch::Receiver<Health>,
    _task: JoinSet<()>,
}

type Facts<F> = Arc<Mutex<BTreeMap<String, F>>>;

impl<F: Fact> Watched<F> {
    /// Starts to watch.
    pub(super) fn start(watching: Watching<F::Object>) -> Self {
        let facts = Facts::default();
        let (health, told) = watch::channel(Health::Starting);
        let mut task = JoinSet::new();
        task.spawn(watching.run(facts.clone(), health));
        Self { facts, health: told, _task: task }
    }

    /// Returns whether its task has died, so that it will never tell anything again.
    pub(super) fn is_dead(&self) -> bool {
        self.health.has_changed().is_err()
    }

    /// Returns what `read` makes of the objects, by name. Waits, without a limit, until they were listed.
    ///
    /// # Errors
    /// Why they are not known at present.
    pub(super) async fn look<T>(
        &self,
        read: impl FnOnce(&BTreeMap<String, F>) -> T,
    ) -> Result<T, TargetError> {
        let mut health = self.health.clone();
        let settled = health.wait_for(|health| !matches!(health, Health::Starting)).await;
        match settled.as_deref() {
            Ok(Health::Live) => Ok(read(&lock(&self.facts))),
            Ok(Health::Failed(error)) => Err(error.clone()),
            Ok(Health::Starting) | Err(_) => Err(TargetError::new(
                TargetErrorKind::Unavailable,
                "a watch ended by itself and starts again",
            )),
        }
    }
}

impl<K: Resource + Clone + Debug + DeserializeOwned + Send + 'static> Watching<K> {
    async fn run<F: Fact<Object = K>>(self, facts: Facts<F>, health: watch::Sender<Health>) {
        let mut pause = PAUSE;
        loop {
            let mut live_since = None;
            let failure = self.until_failure(&facts, || {
                live_since.get_or_insert_with(|| (self.clock)());
                // Not a word while nothing changes: it wakes whoever waits.
                health.send_if_modified(|health| {
                    let was_live = matches!(health, Health::Live);
                    *health = Health::Live;
                    !was_live
                });
            });
            let failure = failure.await;
            // A list that succeeds proves little: without the right to watch, one would follow the other every second.
            if live_since.is_some_and(|since| (self.clock)().since(since) > PAUSE_MAX) {
                pause = PAUSE;
            }
            if self.optional && failure.kind == TargetErrorKind::NotFound {
                lock(&facts).clear();
                health.send_replace(Health::Live);
                sleep(ABSENT_PAUSE).await;
                continue;
            }
            health.send_replace(Health::Failed(failure));
            sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    /// Lists and watches. Returns why it cannot go on.
    async fn until_failure<F: Fact<Object = K>>(
        &self,
        facts: &Facts<F>,
        mut live: impl FnMut(),
    ) -> TargetError {
        let mut listing = BTreeMap::new();
        let mut events = pin!(watcher(self.api.clone(), watcher::Config::default().timeout(WATCH_SECS)));
        while let Some(event) = events.next().await {
            let seen = |listed| Seen { at: (self.clock)(), wall: (self.wall)(), listed };
            match event {
                Ok(watcher::Event::Init) => listing.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    let name = object.name_any();
                    let fact = F::read(&object, lock(facts).get(&name), seen(true));
                    listing.insert(name, fact);
                }
                Ok(watcher::Event::InitDone) => {
                    *lock(facts) = std::mem::take(&mut listing);
                    live();
                }
                Ok(watcher::Event::Apply(object)) => {
                    let mut facts = lock(facts);
                    let name = object.name_any();
                    let fact = F::read(&object, facts.get(&name), seen(false));
                    facts.insert(name, fact);
                }
                Ok(watcher::Event::Delete(object)) => {
                    lock(facts).remove(&object.name_any());
                }
                Err(error) => {
                    if let Some(failure) = unwatched(&self.resource, &self.namespace, error) {
                        return failure;
                    }
                }
            }
        }
        TargetError::new(TargetErrorKind::Unavailable, "the watch ended")
    }
}

fn lock<F>(facts: &Mutex<BTreeMap<String, F>>) -> std::sync::MutexGuard<'_, BTreeMap<String, F>> {
    facts.lock().unwrap_or_else(PoisonError::into_inner)
}
