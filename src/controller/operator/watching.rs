//! The operator's loop: what the watch tells becomes tasks.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use tidegate_runtime::admin::Readiness;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::api::{ScalerApi, listing_problem, watch_problem};
use super::index::Index;
use super::keepers::{Keepers, Parts};

/// Name of the API server in `/readyz`.
pub(crate) const KUBERNETES: &str = "kubernetes";
/// How often an API server that failed is asked whether it is back: a watch that goes on says nothing by itself.
const BACK_EVERY: Duration = Duration::from_secs(5);
/// Time after which the API server ends a watch and is asked to go on: a connection that died silently is noticed so.
const WATCH_SECS: u32 = 60;
/// Time for the tasks to end. They wait for nothing but the answer to a request.
const SHUT_DOWN_MAX: Duration = Duration::from_secs(5);

/// Keeps the tasks of `keepers` equal to the objects that `api` lists, until `stop`.
///
/// Without the API server everything goes on as it was; the watch is tried again for ever, with backoff.
pub(super) async fn watching<P: Parts>(
    api: ScalerApi,
    mut keepers: Keepers<P>,
    readiness: Readiness,
    stop: CancellationToken,
) {
    let mut index = Index::default();
    let mut objects =
        pin!(watcher(api.objects(), watcher::Config::default().timeout(WATCH_SECS)).default_backoff());
    let mut back: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
    loop {
        let changed = tokio::select! {
            () = stop.cancelled() => break,
            Some(event) = objects.next() => match event {
                Ok(event) => {
                    // Only a complete list or a change proves that it answers.
                    if !matches!(event, watcher::Event::Init) {
                        back = None;
                        readiness.set(KUBERNETES, Ok(()));
                    }
                    index.take(event)
                }
                Err(error) => {
                    if let Some(problem) = watch_problem(error, api.namespace()) {
                        readiness.set(KUBERNETES, Err(problem));
                        back.get_or_insert_with(|| Box::pin(until_back(api.clone(), readiness.clone())));
                    }
                    false
                }
            },
            () = keepers.changed(index.entries()) => true,
            () = async { back.as_mut().expect("checked by the branch").await }, if back.is_some() => {
                back = None;
                readiness.set(KUBERNETES, Ok(()));
                false
            }
        };
        if changed && let Some(entries) = index.entries() {
            keepers.apply(entries);
        }
    }
    keepers.shut_down(SHUT_DOWN_MAX).await;
}

/// Returns once the objects can be listed and watched; until then says what is in the way.
async fn until_back(api: ScalerApi, readiness: Readiness) {
    loop {
        sleep(BACK_EVERY).await;
        match api.probe().await {
            Ok(()) => return,
            Err(failure) => readiness.set(KUBERNETES, Err(listing_problem(&failure, api.namespace()))),
        }
    }
}
