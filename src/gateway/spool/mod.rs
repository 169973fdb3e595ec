//! The gateway's durable log: opened before the listener, fed by the workers, and read for them.
//!
//! Owns the log's names for what the gateway calls streams and routes, what the boot found, and the page that an operator
//! reads. What goes to the log and when is the pipeline's business; the log itself is `tidegate_spool`.

mod copies;
mod inlets;
mod open;
pub(crate) mod partitions;
mod reach;
pub(crate) mod retention;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::admission::ClassId;
use tidegate_core::time::Timestamp;
use tidegate_runtime::clock;
use tidegate_spool::disk::RealDisk;
use tidegate_spool::{Backlog, LaneId, Report, RouteId as LogRoute, Spool, TopicId};

use crate::config::AckAt;
use crate::route::{Owned, RouteKey};
pub(crate) use copies::Topic;
pub(crate) use inlets::Inlets;
pub(crate) use open::{InLog, Opened, Resumed};
pub(crate) use reach::Reach;
pub(crate) use view::{View, health_name};

/// An open log at work.
pub(crate) struct Store {
    pub(crate) spool: Spool<RealDisk, Owned>,
    pub(crate) inlets: Arc<Inlets>,
    /// When a message is acknowledged: as set, or as the topics' copies want it.
    pub(crate) ack: AckAt,
    /// What is known of the topics that messages may go to or wait for, by name.
    pub(crate) known: BTreeMap<String, Topic>,
    pub(crate) report: Report,
    /// The log has records that other settings have routed: they go before what ends where they do.
    pub(crate) routed_otherwise: bool,
    /// Where records go that Kafka refuses for good.
    pub(crate) dead_letters: LaneId,
    /// The log's topics, by stream.
    topics: Vec<TopicId>,
    reach: Reach,
}

impl Store {
    /// Returns the log of a class.
    pub(crate) fn lane(class: ClassId) -> LaneId {
        LaneId(u8::try_from(class.index()).expect("classes are few"))
    }

    /// Returns the logs of the first `classes` classes: all but that of dead letters, which nobody sends on.
    pub(crate) fn lanes(classes: usize) -> impl Iterator<Item = LaneId> {
        (0u8..).map(LaneId).take(classes)
    }

    /// Returns the routes of a lane with records that wait and that this run brings to Kafka.
    pub(crate) fn backlog(&self, lane: LaneId) -> impl Iterator<Item = Backlog> {
        self.spool.backlog(lane).into_iter().filter(move |backlog| self.reach.has(lane, backlog.route))
    }

    /// Returns in how many places the log could not be read: what stood there has not gone to Kafka.
    pub(crate) fn damaged(&self) -> u64 {
        let hidden = self.report.findings.iter().filter(|finding| finding.hides_records());
        self.spool.stats().holes + hidden.count() as u64
    }

    /// Returns the log's name of a route.
    pub(crate) fn route(&self, key: RouteKey) -> LogRoute {
        LogRoute { shard: key.shard, topic: self.topics[key.stream.index()], partition: key.partition }
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.report.who.epoch
    }
}

/// Reads the clock that the log and its reader go by: the process's, which is no part of a test's time.
pub(crate) fn log_clock() -> Duration {
    clock::monotonic().since(Timestamp::ZERO)
}
