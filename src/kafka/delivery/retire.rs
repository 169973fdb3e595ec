//! Replaces a producer instance that failed by a new one.
//!
//! An instance that had one failed report may go on behind the gap, or be dead: so nothing of it is trusted but its proven
//! successes. Its records are purged, so that each has its report and its worker hands it over again from the oldest
//! unproven one; the next instance begins with every partition COLD. All of this is on a thread of its own: purging and
//! dropping a producer blocks. What each instance writes is a gapless run that begins at or below what Kafka has, so
//! first occurrences stay in order.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use super::reporter::Watch;
use super::shared::{Instance, Lane, Shared};
use crate::native;

/// Pause before a new instance, doubling while none proves a delivery.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How often a waiting thread looks whether delivery stops.
const LOOK: Duration = Duration::from_millis(50);
/// How long one wait for the reports of what was purged lasts, and how many there are. They come at once; without them
/// records would stay outstanding for ever.
const PURGE_WAIT: Duration = Duration::from_secs(1);
const PURGE_WAITS: u32 = 30;

/// Ends hand-over to instance `number` of a lane, and begins to replace it. Does nothing if that is under way, or done.
pub(super) fn retire(shared: &Arc<Shared>, lane: usize, number: u32, reason: &str) {
    let this = &shared.lanes[lane];
    if this.number() != number || this.closed.swap(true, Ordering::SeqCst) {
        return;
    }
    shared.retired.fetch_add(1, Ordering::Relaxed);
    let pause = next_pause(this);
    tracing::error!(lane = this.name, reason, ?pause, "the producer failed and is replaced");
    let replacing = {
        let shared = Arc::clone(shared);
        thread::Builder::new().name(format!("retire-{}", this.name)).spawn(move || {
            let watch = Watch { shared: &shared, lane, died: "the thread that replaces the producer ended" };
            replace(&shared, lane, pause);
            std::mem::forget(watch);
        })
    };
    if let Err(error) = replacing {
        this.fail(None, format!("no thread to replace the producer: {error}"));
    }
}

fn next_pause(lane: &Lane) -> Duration {
    let mut backoff = lane.backoff.lock().unwrap_or_else(PoisonError::into_inner);
    let proven = lane.has_proven.swap(false, Ordering::Relaxed);
    *backoff = if proven { BACKOFF.0 } else { (*backoff * 2).clamp(BACKOFF.0, BACKOFF.1) };
    *backoff
}

fn replace(shared: &Arc<Shared>, index: usize, pause: Duration) {
    let lane = &shared.lanes[index];
    let topics = || shared.topics().filter(|topic| topic.lane == index);
    // Whoever was in the middle of a hand-over has ended it now, and nobody begins another: the lane is closed.
    topics().for_each(|topic| drop(topic.native.write()));
    let Instance { number, producer: old } = lane.instance();
    old.purge();
    let mut waits = 0;
    while !old.flush(PURGE_WAIT) {
        waits += 1;
        if waits >= PURGE_WAITS {
            lane.fail(None, "records of a failed producer have no report".to_owned());
            shared.ring(u64::MAX);
        }
        if waits >= PURGE_WAITS || is_stopping(shared) {
            return;
        }
    }
    let Some(new) = make(shared, lane, pause) else { return };
    for topic in topics() {
        match native::Topic::open(&new, &topic.name) {
            Ok(native) => topic.hand_to(number + 1, native),
            Err(reason) => {
                lane.fail(None, format!("topic {}: {reason}", topic.name));
                shared.ring(u64::MAX);
                return;
            }
        }
    }
    lane.set_instance(Instance { number: number + 1, producer: new });
    lane.closed.store(false, Ordering::SeqCst);
    if is_stopping(shared) {
        lane.closed.store(true, Ordering::SeqCst);
    }
    tracing::info!(lane = lane.name, instance = number + 1, "a new producer takes over");
    shared.ring(u64::MAX);
    // Its only word about that may have come before the lane was open, when nobody could be retired.
    if let Some((code, reason)) = lane.instance().producer.fatal() {
        retire(shared, index, number + 1, &format!("{code:?}: {reason}"));
    }
    // The report thread lets go of it at its next event: dropping it must not keep that thread.
    while Arc::strong_count(&old) > 1 && !is_stopping(shared) {
        old.interrupt();
        thread::sleep(LOOK);
    }
}

/// Makes a producer after a pause; `None` if delivery stops.
fn make(shared: &Shared, lane: &Lane, pause: Duration) -> Option<Arc<native::Producer>> {
    let mut pause = pause;
    loop {
        let mut waited = Duration::ZERO;
        while waited < pause {
            if is_stopping(shared) {
                return None;
            }
            thread::sleep(LOOK);
            waited += LOOK;
        }
        match native::Producer::new(&lane.config) {
            Ok(producer) => return Some(Arc::new(producer)),
            Err(reason) => tracing::error!(lane = lane.name, reason, "no new producer"),
        }
        pause = BACKOFF.1;
    }
}

fn is_stopping(shared: &Shared) -> bool {
    shared.stopping.load(Ordering::SeqCst)
}
