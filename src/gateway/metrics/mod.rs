//! The gateway's metrics: sums of the workers' counters, made when somebody asks.
//!
//! Owns names, help and labels. Labels come from closed sets: reasons, and the classes and Kafka topics of the
//! settings; never a device.

mod spool;

use std::sync::{Arc, OnceLock};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use tidegate_core::admission::ShedReason;
use tidegate_kafka::delivery;
use tidegate_mqtt::ViolationReason;
use tidegate_runtime::metrics::Registry;

use crate::reason::{CloseReason, RefuseReason};
use crate::shared::Shared;
use crate::stats::{Counter, Counters, StreamCounters};

/// The gateway's metrics in a registry; without samples until a gateway runs.
pub struct Metrics {
    source: Arc<OnceLock<Source>>,
}

/// What the metrics are read from.
pub(crate) struct Source {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Vec<Arc<Counters>>,
}

impl Metrics {
    /// Registers all metrics of a gateway.
    ///
    /// # Errors
    /// If one of their names is taken.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let source = Arc::default();
        let descs = families()
            .map(|family| {
                let labels = family.labels.iter().map(|&label| label.to_owned()).collect();
                Desc::new(
                    family.name.to_owned(),
                    family.help.to_owned(),
                    labels,
                    std::collections::HashMap::new(),
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        registry.register(Box::new(Sums { source: Arc::clone(&source), descs }))?;
        Ok(Self { source })
    }

    /// Gives the metrics their samples.
    pub(crate) fn begin(&self, source: Source) {
        let _ = self.source.set(source);
    }
}

struct Sums {
    source: Arc<OnceLock<Source>>,
    descs: Vec<Desc>,
}

impl Collector for Sums {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(source) = self.source.get() else {
            return Vec::new();
        };
        families().flat_map(|family| family.collect(source)).collect()
    }
}

type Sample<'a> = dyn FnMut(&[&str], u64) + 'a;

struct Family {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&Source, &mut Sample<'_>),
}

impl Family {
    fn collect(&self, source: &Source) -> Vec<MetricFamily> {
        let opts = Opts::new(self.name, self.help);
        if self.name.ends_with("_total") {
            let counters =
                IntCounterVec::new(opts, self.labels).expect("the names were checked when registered");
            (self.read)(source, &mut |labels, value| counters.with_label_values(labels).inc_by(value));
            counters.collect()
        } else {
            let gauges = IntGaugeVec::new(opts, self.labels).expect("the names were checked when registered");
            (self.read)(source, &mut |labels, value| {
                gauges.with_label_values(labels).set(i64::try_from(value).unwrap_or(i64::MAX));
            });
            gauges.collect()
        }
    }
}

impl Source {
    fn sum(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.workers.iter().map(|counters| counter(counters)).sum()
    }

    fn per_stream(&self, sample: &mut Sample<'_>, counter: impl Fn(&StreamCounters) -> &Counter) {
        for (index, (destination, topic)) in
            self.shared.router.destinations.iter().zip(&self.shared.topic_names).enumerate()
        {
            let class = self.shared.classes.get(destination.class).name.as_str();
            sample(&[class, topic], self.sum(|counters| counter(&counters.streams[index]).get()));
        }
    }

    fn delivery(&self) -> delivery::Stats {
        self.shared.delivery.stats((self.shared.clock)())
    }
}

/// A family without labels that is a sum over the workers.
macro_rules! plain {
    ($name:literal, $help:literal, $read:expr) => {
        Family {
            name: $name,
            help: $help,
            labels: &[],
            read: |source, sample| sample(&[], source.sum($read)),
        }
    };
}

/// A family per class and Kafka topic.
macro_rules! stream {
    ($name:literal, $help:literal, $field:ident) => {
        Family {
            name: $name,
            help: $help,
            labels: &["class", "topic"],
            read: |source, sample| source.per_stream(sample, |stream| &stream.$field),
        }
    };
}

/// A family of the process as a whole.
macro_rules! process {
    ($name:literal, $help:literal, $read:expr) => {
        Family { name: $name, help: $help, labels: &[], read: |source, sample| sample(&[], $read(source)) }
    };
}

fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().chain(spool::FAMILIES)
}

const FAMILIES: &[Family] = &[
    plain!("tidegate_gateway_accepted_connections_total", "Connections that the system accepted.", |c| c
        .accepted
        .get()),
    plain!("tidegate_gateway_opened_sessions_total", "Connections answered with CONNACK success.", |c| c
        .opened
        .get()),
    plain!("tidegate_gateway_connections", "Sessions connected now.", Counters::connections),
    Family {
        name: "tidegate_gateway_refused_connections_total",
        help: "Connections that ended before CONNACK success.",
        labels: &["reason"],
        read: |source, sample| {
            for reason in RefuseReason::ALL {
                sample(&[reason.as_str()], source.sum(|c| c.refused_count(reason)));
            }
        },
    },
    Family {
        name: "tidegate_gateway_closed_connections_total",
        help: "Sessions whose connection ended.",
        labels: &["reason"],
        read: |source, sample| {
            for reason in CloseReason::ALL {
                sample(&[reason.as_str()], source.sum(|c| c.closed_count(reason)));
            }
        },
    },
    Family {
        name: "tidegate_gateway_protocol_violations_total",
        help: "Packets that broke the MQTT standard, each of which ended its connection.",
        labels: &["reason"],
        read: |source, sample| {
            for &reason in ViolationReason::ALL {
                sample(&[reason.as_str()], source.sum(|c| c.violation_count(reason)));
            }
        },
    },
    plain!("tidegate_gateway_received_messages_total", "PUBLISH packets decoded.", |c| c.received.get()),
    stream!("tidegate_gateway_admitted_messages_total", "Messages queued for Kafka.", admitted),
    plain!("tidegate_gateway_acknowledged_messages_total", "PUBACKs written.", |c| c.acknowledged.get()),
    plain!(
        "tidegate_gateway_orphaned_acknowledgements_total",
        "Records that Kafka confirmed after their device had gone.",
        |c| c.ack_orphans.get()
    ),
    plain!("tidegate_gateway_held_messages_total", "Messages that waited in a hold queue.", |c| c.held.get()),
    plain!(
        "tidegate_gateway_class_inversions_total",
        "Messages that waited in a hold queue behind one of a less urgent class.",
        |c| c.class_inversions.get()
    ),
    plain!("tidegate_gateway_hold_queue_messages", "Messages in hold queues now.", |c| c.held_now.get()),
    Family {
        name: "tidegate_gateway_shed_messages_total",
        help: "Messages dropped or refused.",
        labels: &["class", "reason"],
        read: |source, sample| {
            for (id, class) in source.shared.classes.iter() {
                for reason in ShedReason::ALL {
                    sample(&[&class.name, reason.as_str()], source.sum(|c| c.shed_count(id, reason)));
                }
            }
        },
    },
    stream!(
        "tidegate_gateway_handed_again_messages_total",
        "Records handed over again after a report that proved nothing.",
        handed_again
    ),
    stream!(
        "tidegate_gateway_expired_messages_total",
        "Messages not handed over to Kafka, since their expiry interval had passed.",
        expired
    ),
    process!(
        "tidegate_gateway_clock_unsure_state",
        "1 while the wall clock is not known to be synchronised: what is received has header tg-clock.",
        |source: &Source| u64::from(!source.shared.wall.is_sure())
    ),
    stream!("tidegate_gateway_constrained_devices", "Devices held back now.", constrained),
    stream!("tidegate_gateway_unread_bytes", "Bytes read from sockets and not decoded now.", unread_bytes),
    process!(
        "tidegate_gateway_hold_bytes",
        "Memory of held and half-read packets, of limits.hold_bytes.",
        |source: &Source| source.shared.hold_ceiling.used_bytes() as u64
    ),
    process!(
        "tidegate_gateway_queue_bytes",
        "Memory of the queues towards Kafka, of limits.queue_bytes.",
        |source: &Source| source.shared.queue_ceiling.used_bytes() as u64
    ),
    plain!(
        "tidegate_gateway_queue_messages",
        "Records in memory that neither Kafka nor the disk has confirmed.",
        |c| c.queued_records.get()
    ),
    plain!("tidegate_gateway_routes", "Routes in memory.", |c| c.routes.get()),
    plain!("tidegate_gateway_routes_behind", "Routes whose records also go to the disk.", |c| c
        .routes_behind
        .get()),
    Family {
        name: "tidegate_gateway_route_turns_total",
        help: "Times that a route went to the disk too, and came back from it.",
        labels: &["to"],
        read: |source, sample| {
            sample(&["behind"], source.sum(|c| c.routes_to_behind.get()));
            sample(&["direct"], source.sum(|c| c.routes_to_direct.get()));
        },
    },
    plain!(
        "tidegate_gateway_forgotten_buckets_total",
        "Used-up device buckets forgotten for want of room.",
        |c| c.forgotten_buckets.get()
    ),
    plain!(
        "tidegate_gateway_forgotten_sessions_total",
        "Sessions forgotten for want of room before they expired.",
        |c| c.forgotten_sessions.get()
    ),
    process!(
        "tidegate_gateway_kafka_handed_over_records_total",
        "Records that librdkafka took.",
        |source: &Source| { source.delivery().handed_over }
    ),
    process!(
        "tidegate_gateway_kafka_delivered_records_total",
        "Records proven to be in Kafka.",
        |source: &Source| { source.delivery().delivered }
    ),
    process!(
        "tidegate_gateway_kafka_unproven_reports_total",
        "Successes without an offset.",
        |source: &Source| { source.delivery().unproven }
    ),
    process!(
        "tidegate_gateway_kafka_failed_records_total",
        "Records reported as failed.",
        |source: &Source| { source.delivery().failed() }
    ),
    process!(
        "tidegate_gateway_kafka_queue_full_total",
        "Hand-overs refused by librdkafka's own limit: a defect.",
        |source: &Source| source.delivery().refused_queue_full
    ),
    plain!(
        "tidegate_gateway_dead_letters_total",
        "Records that Kafka refuses for good, put aside on the disk.",
        |c| { c.dead_letters.get() }
    ),
    process!(
        "tidegate_gateway_kafka_retired_producers_total",
        "Producers that failed and were replaced.",
        |source: &Source| { source.delivery().instances_retired }
    ),
    process!(
        "tidegate_gateway_kafka_embedded",
        "1 if Kafka is the embedded one: what is acknowledged is lost with the process.",
        |source: &Source| u64::from(source.shared.embedded)
    ),
    process!(
        "tidegate_gateway_kafka_cold_partitions",
        "Partitions without a recent proven report.",
        |source: &Source| { source.delivery().partitions_cold }
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_follows_the_naming_rule_and_is_in_the_catalog() {
        let registry = Registry::new();
        let _metrics = Metrics::new(&registry).unwrap();
        let catalog = registry.catalog();
        assert_eq!(catalog.len(), families().count());
        for doc in catalog {
            let component =
                ["tidegate_gateway_", "tidegate_spool_"].iter().any(|start| doc.name.starts_with(start));
            assert!(component, "{}", doc.name);
            assert_eq!(doc.kind == "counter", doc.name.ends_with("_total"), "{}", doc.name);
        }
    }
}
