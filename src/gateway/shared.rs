//! What all workers of a gateway share: settings, routes, ceilings, limits, and the way to fail.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::admission::ClassTable;
use tidegate_core::time::{Clock, UnixMillis};
use tidegate_kafka::delivery::Delivery;
use tidegate_mqtt::Limits;
use tidegate_spool::{GatewayId, Who};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::ceiling::Ceiling;
use crate::emptying::Emptying;
use crate::route::Router;
use crate::shard::SHARDS;
use crate::spool::Store;
use crate::wall::Wall;
use crate::worker::Arrival;

/// Sockets beyond the connection limit that may be open, so that a CONNECT over the limit can be read and answered.
const SOCKETS_TO_REFUSE: u32 = 64;
/// `tg-epoch` of a run: without a spool every run has a random `tg-gw` of its own, and needs but one epoch.
pub(crate) const EPOCH_WITHOUT_SPOOL: u32 = 1;

pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) connect_time: Duration,
    pub(crate) drain: Duration,
    pub(crate) max_record_bytes: usize,
    pub(crate) classes: ClassTable,
    pub(crate) router: Router,
    /// Kafka topics by stream, for messages to people.
    pub(crate) topic_names: Vec<String>,
    pub(crate) identity: Identity,
    pub(crate) queue_ceiling: Arc<Ceiling>,
    pub(crate) hold_ceiling: Arc<Ceiling>,
    pub(crate) delivery: Arc<Delivery>,
    /// The durable log, if there is a spool.
    pub(crate) store: Option<Arc<Store>>,
    /// True if Kafka is the embedded one.
    pub(crate) embedded: bool,
    /// One inbox per worker.
    pub(crate) inboxes: Vec<mpsc::Sender<Arrival>>,
    pub(crate) accept_numbers: AtomicU64,
    pub(crate) sockets: Places,
    pub(crate) connections: Places,
    pub(crate) clock: Clock,
    pub(crate) unix_clock: fn() -> UnixMillis,
    /// Whether that may be believed.
    pub(crate) wall: Wall,
    /// Whether it is to end once Kafka has everything.
    pub(crate) emptying: Emptying,
    /// Cancelled when the gateway is to stop, whatever the reason.
    pub(crate) stop: CancellationToken,
    pub(crate) failure: Mutex<Option<Error>>,
}

impl Shared {
    /// Ends the gateway with an error; the first one is reported.
    pub(crate) fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // One refusal by Kafka fails every record behind it, and each comes by here.
        if failure.is_none() {
            tracing::error!(%error, "gateway stops");
            *failure = Some(error);
        }
        drop(failure);
        self.stop.cancel();
    }

    /// Returns true if nobody is let in any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.stop.is_cancelled() || self.emptying.is_asked()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Returns the number of sockets that may be open for `connections` sessions.
pub(crate) const fn sockets_for(connections: u32) -> u32 {
    connections.saturating_add(SOCKETS_TO_REFUSE)
}

/// Header values that tell whose record it is, ready to be copied.
pub(crate) struct Identity {
    name: Box<str>,
    /// `tg-gw`.
    pub(crate) gateway: Box<str>,
    /// `tg-epoch`.
    pub(crate) epoch: Box<str>,
    /// A name that no other run has.
    pub(crate) run: Box<str>,
    /// The half of `tg-gw` that the spool decides.
    of_spool: Option<GatewayId>,
    /// `shard.class` for `tg-src`, by shard and class.
    sources: Vec<Box<str>>,
    classes: usize,
}

impl Identity {
    /// Returns the identity of a run. `run` is a random number of its own; `who` is what the spool says, if there is one.
    pub(crate) fn new(name: &str, run: u64, who: Option<Who>, classes: &ClassTable) -> Self {
        let of_shard = |shard| classes.iter().map(move |(_, class)| format!("{shard}.{}", class.name).into());
        let gateway = who.map_or_else(|| format!("{name}-{run:016x}"), |who| format!("{name}-{}", who.run));
        Self {
            name: name.into(),
            run: who.map_or_else(|| gateway.clone(), |who| format!("{gateway}-{}", who.epoch)).into(),
            gateway: gateway.into(),
            epoch: who.map_or(EPOCH_WITHOUT_SPOOL, |who| who.epoch).to_string().into(),
            of_spool: who.map(|who| who.run),
            sources: (0..SHARDS).flat_map(of_shard).collect(),
            classes: classes.iter().count(),
        }
    }

    /// Returns `tg-gw` of a record that the log gave back.
    pub(crate) fn of(&self, gateway: GatewayId) -> Cow<'_, str> {
        if self.is_own(gateway) {
            Cow::Borrowed(&self.gateway)
        } else {
            // Of a run that could not write its epoch down.
            Cow::Owned(format!("{}-{gateway}", self.name))
        }
    }

    /// Returns whether a record that the log gave back is of this spool's own runs, and not of one that could not write its
    /// epoch down.
    pub(crate) fn is_own(&self, gateway: GatewayId) -> bool {
        self.of_spool == Some(gateway)
    }

    pub(crate) fn source(&self, shard: u8, class: usize) -> &str {
        &self.sources[usize::from(shard) * self.classes + class]
    }
}

/// A bounded number of places.
pub(crate) struct Places {
    limit: u32,
    taken: Arc<AtomicU32>,
}

/// One taken place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicU32>);

impl Places {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, taken: Arc::new(AtomicU32::new(0)) }
    }

    pub(crate) fn take(&self) -> Option<Place> {
        let free = |taken: u32| (taken < self.limit).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free);
        taken.ok().map(|_| Place(Arc::clone(&self.taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let places = Places::new(1);
        let place = places.take().unwrap();
        assert!(places.take().is_none());
        drop(place);
        assert!(places.take().is_some());
    }
}
