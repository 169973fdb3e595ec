//! Opens the log, and makes of what it holds the routes that go on where the last run ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::Rng;
use tidegate_core::time::UnixMillis;
use tidegate_spool::disk::RealDisk;
use tidegate_spool::{Boot, Finding, LaneId, Open, OpenError, Position, SHARDS, Who};

use super::copies::settle_ack;
use super::inlets::Tap;
use super::{Inlets, Store, Topic, log_clock, partitions};
use crate::Error;
use crate::config::SpoolSettings;
use crate::route::{RouteKey, StreamId};
use crate::shard::{self, worker_of};
use crate::worker::Bell;

// A frame on the disk carries its shard, so both sides mean the same by it.
const _: () = assert!(SHARDS == shard::SHARDS);

/// A log that is open and not yet at work.
pub(crate) struct Opened {
    open: Open<RealDisk>,
    settings: SpoolSettings,
    classes: u8,
    /// The topics, as the last run knew them.
    pub(crate) kept: BTreeMap<String, Topic>,
    /// How what is in the log was routed, if that is known.
    kept_routing: Option<String>,
    /// How this run's settings route.
    routing: String,
}

/// A topic of one class that the log has records for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InLog {
    /// Index of the class.
    pub(crate) class: usize,
    pub(crate) topic: String,
    /// One more than the highest partition among its records.
    pub(crate) partitions: u32,
}

/// A route with records in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resumed {
    pub(crate) key: RouteKey,
    pub(crate) done: Position,
    pub(crate) last: Position,
}

impl Opened {
    /// Opens the log, whatever has happened to it. Blocks on the disk.
    pub(crate) fn open(
        settings: SpoolSettings,
        classes: u8,
        routing: String,
        now: UnixMillis,
    ) -> Result<Self, OpenError> {
        let disk = RealDisk::open(&settings.dir)?;
        let boot = Boot { random: rand::rng().random(), machine_boot: machine_boot(), now_unix_ms: now.0 };
        let partitions::Kept { topics: kept, routing: kept_routing } = partitions::load(&settings.dir);
        let open = tidegate_spool::open(disk, settings.log.clone(), &boot)?;
        Ok(Self { open, settings, classes, kept, kept_routing, routing })
    }

    pub(crate) fn who(&self) -> Who {
        self.open.report().who
    }

    pub(crate) const fn max_record_bytes(&self) -> u64 {
        self.settings.max_record_bytes
    }

    /// Returns the topics that the log has records for which may have to be sent.
    pub(crate) fn in_log(&self) -> Vec<InLog> {
        let mut found: BTreeMap<(usize, String), u32> = BTreeMap::new();
        for lane in (0..self.classes).map(LaneId) {
            // What is replayed goes to its old partition, and so must be known of before it is decided how many there are.
            let waiting =
                if self.has_rebooted() { self.open.unsafe_backlog(lane) } else { self.open.backlog(lane) };
            for backlog in waiting {
                let Some(topic) = self.open.topic_name(backlog.route.topic) else { continue };
                let partitions = found.entry((lane.index(), (*topic).to_owned())).or_default();
                *partitions = (*partitions).max(backlog.route.partition + 1);
            }
        }
        let entries = found.into_iter();
        entries.map(|((class, topic), partitions)| InLog { class, topic, partitions }).collect()
    }

    /// Returns true if the machine was started again since the last run: a broker on it has lost what it had in memory only.
    fn has_rebooted(&self) -> bool {
        self.open.report().findings.contains(&Finding::MachineRebooted)
    }

    /// Returns true if the log has records that other settings have routed.
    fn is_routed_otherwise(&self) -> bool {
        self.kept_routing.as_ref().is_some_and(|kept| *kept != self.routing) && !self.in_log().is_empty()
    }

    /// Remembers all topics for a start without Kafka, and how what is in the log was routed.
    pub(crate) fn keep(&self, topics: &BTreeMap<String, Topic>) {
        // Until a start finds an empty log, some of it may be of the earlier settings.
        let routing =
            if self.is_routed_otherwise() { self.kept_routing.clone() } else { Some(self.routing.clone()) };
        let is_news = routing != self.kept_routing || !partitions::is_same(topics, &self.kept);
        let kept = partitions::Kept { topics: topics.clone(), routing };
        if is_news && let Err(error) = partitions::save(&self.settings.dir, &kept) {
            tracing::warn!(%error, "what is known of the topics cannot be kept: a start without Kafka will wait for it");
        }
    }

    /// Sets the log to work. `streams`: class and topic of each; `known`: all topics; `in_use`: those that messages may
    /// go to. Returns what each worker goes on with.
    pub(crate) fn start(
        self,
        streams: &[(usize, String)],
        known: BTreeMap<String, Topic>,
        in_use: &[String],
        bells: &[Bell],
    ) -> Result<(Store, Vec<Vec<Resumed>>), Error> {
        let lanes = || (0..self.classes).map(LaneId);
        let number = |name: &String| self.open.topic(name).ok_or_else(|| Error::SpoolTopics(name.clone()));
        let topics = streams.iter().map(|(_, topic)| number(topic)).collect::<Result<Vec<_>, _>>()?;
        let (report, has_rebooted) = (self.open.report().clone(), self.has_rebooted());
        let routed_otherwise = self.is_routed_otherwise();
        let inlets = Arc::new(Inlets::new(bells));
        for lane in lanes() {
            for backlog in self.open.backlog(lane) {
                inlets.open(lane, backlog.route, None, backlog.done);
            }
        }
        let workers = bells.to_vec();
        let settled = move |_, shard| workers[worker_of(shard, workers.len())].ring();
        let spool = self
            .open
            .start(log_clock, Tap(Arc::clone(&inlets)), settled)
            .map_err(Error::system("starting the spool"))?;
        for (topic, (_, name)) in topics.iter().zip(streams) {
            spool.set_replicated(*topic, is_replicated(&known, name));
        }
        if has_rebooted {
            // A broker without a second copy may have had in memory what it acknowledged a moment before. What there are
            // copies of now may have been acknowledged when there were none.
            let single = |(_, (_, name)): &(_, &(usize, String))| {
                !is_replicated(&self.kept, name) || !is_replicated(&known, name)
            };
            for (topic, _) in topics.iter().zip(streams).filter(single) {
                for (lane, route, position) in spool.replay_from_safe(*topic, None) {
                    inlets.open(lane, route, None, position);
                    spool.rewind(lane, route);
                }
            }
        }
        let mut resumed: Vec<Vec<Resumed>> = bells.iter().map(|_| Vec::new()).collect();
        for (lane, backlog) in (0..self.classes)
            .map(LaneId)
            .flat_map(|lane| spool.backlog(lane).into_iter().map(move |b| (lane, b)))
        {
            let stream = streams
                .iter()
                .zip(&topics)
                .position(|((class, _), topic)| *class == lane.index() && *topic == backlog.route.topic);
            // Each topic of the log is a stream: see `InLog`.
            let Some(stream) = stream.and_then(|index| u16::try_from(index).ok()) else { continue };
            let route = backlog.route;
            let key = RouteKey { shard: route.shard, stream: StreamId(stream), partition: route.partition };
            resumed[worker_of(route.shard, bells.len())].push(Resumed {
                key,
                done: backlog.done,
                last: backlog.last,
            });
        }
        let ack = settle_ack(self.settings.ack, in_use, &known);
        let dead_letters = self.settings.log.dead_letter();
        Ok((Store { spool, inlets, ack, known, report, routed_otherwise, dead_letters, topics }, resumed))
    }
}

fn is_replicated(topics: &BTreeMap<String, Topic>, name: &str) -> bool {
    topics.get(name).is_some_and(|topic| topic.replicated)
}

/// Returns the machine's boot id, zeros where there is none.
fn machine_boot() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
}
