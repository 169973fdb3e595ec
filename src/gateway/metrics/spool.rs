//! The spool's metrics; without samples where there is no spool.

use tidegate_spool::{Finding, LaneId, Stats};

use super::{Family, Sample, Source};
use crate::spool::{Store, health_name, retention};

/// A family per lane.
macro_rules! lane {
    ($name:literal, $help:literal, $read:expr) => {
        Family {
            name: $name,
            help: $help,
            labels: &["lane"],
            read: |source, sample| per_lane(source, sample, $read),
        }
    };
}

/// A family of the log as a whole.
macro_rules! log {
    ($name:literal, $help:literal, $read:expr) => {
        Family {
            name: $name,
            help: $help,
            labels: &[],
            read: |source, sample| {
                if let Some(store) = &source.shared.store {
                    let read: fn(&Stats) -> u64 = $read;
                    sample(&[], read(&store.spool.stats()));
                }
            },
        }
    };
}

fn per_lane(source: &Source, sample: &mut Sample<'_>, read: fn(&Store, LaneId) -> u64) {
    if let Some(store) = &source.shared.store {
        for (id, lane) in (0u8..).map(LaneId).zip(&store.report.lanes) {
            sample(&[&lane.name], read(store, id));
        }
    }
}

pub(super) const FAMILIES: &[Family] = &[
    lane!("tidegate_spool_used_bytes", "Bytes that a lane takes on the disk.", |store, lane| {
        store.spool.level(lane).used_bytes
    }),
    lane!("tidegate_spool_full_bytes", "Bytes from which on a lane counts as full.", |store, lane| {
        store.spool.level(lane).full_bytes()
    }),
    lane!(
        "tidegate_spool_full_state",
        "1 while a lane takes nothing more: it is full, or the file system is.",
        |store, lane| u64::from(store.spool.level(lane).is_full())
    ),
    lane!("tidegate_spool_backlog_bytes", "Bytes on the disk that Kafka does not have.", |store, lane| {
        store.spool.backlog(lane).iter().map(|backlog| backlog.bytes).sum()
    }),
    lane!(
        "tidegate_spool_backlog_routes",
        "Routes with records on the disk that Kafka does not have.",
        |store, lane| { store.spool.backlog(lane).len() as u64 }
    ),
    Family {
        name: "tidegate_spool_refusals_total",
        help: "What a full lane did: answers to wait, and messages shed, rejected or dropped.",
        labels: &["lane", "reason"],
        read: |source, sample| {
            let Some(store) = &source.shared.store else { return };
            for (id, lane) in (0u8..).map(LaneId).zip(&store.report.lanes) {
                let counters = store.spool.counters(id);
                for (reason, count) in [
                    ("waited", counters.waited),
                    ("shed_qos0", counters.shed_qos0),
                    ("rejected", counters.rejected),
                    ("dropped_qos0", counters.dropped_qos0),
                    ("dropped_acknowledged", counters.dropped_acknowledged),
                ] {
                    sample(&[&lane.name, reason], count);
                }
            }
        },
    },
    Family {
        name: "tidegate_spool_health_state",
        help: "1 at the state that a lane is in.",
        labels: &["lane", "state"],
        read: |source, sample| {
            let Some(store) = &source.shared.store else { return };
            for (id, lane) in (0u8..).map(LaneId).zip(&store.report.lanes) {
                sample(&[&lane.name, health_name(store.spool.health(id))], 1);
            }
        },
    },
    Family {
        name: "tidegate_spool_single_copy_state",
        help: "1 if Kafka may acknowledge what one broker of a topic has, or if that is not known.",
        labels: &["topic"],
        read: |source, sample| {
            for (name, topic) in source.shared.store.iter().flat_map(|store| &store.known) {
                sample(&[name], u64::from(!topic.replicated));
            }
        },
    },
    Family {
        name: "tidegate_spool_past_retention_state",
        help: "1 while records wait that are older than their topic keeps them: Kafka may delete them at once.",
        labels: &["topic"],
        read: |source, sample| {
            for (name, is_past) in retention::past(&source.shared, &source.workers) {
                sample(&[&name], u64::from(is_past));
            }
        },
    },
    Family {
        name: "tidegate_spool_acknowledgement_state",
        help: "1 at when messages are acknowledged: first (Kafka or the disk), kafka, or disk.",
        labels: &["at"],
        read: |source, sample| {
            if let Some(store) = &source.shared.store {
                sample(&[store.ack.as_str()], 1);
            }
        },
    },
    Family {
        name: "tidegate_spool_parked_routes",
        help: "Routes that the reader of the log comes back for.",
        labels: &[],
        read: |source, sample| {
            if let Some(store) = &source.shared.store {
                sample(&[], store.spool.parked() as u64);
            }
        },
    },
    Family {
        name: "tidegate_spool_boot_findings",
        help: "What the start found: loss of stored records, repetition, or something harmless.",
        labels: &["kind"],
        read: |source, sample| {
            let Some(store) = &source.shared.store else { return };
            let findings = &store.report.findings;
            let count =
                |is: fn(&Finding) -> bool| findings.iter().filter(|finding| is(finding)).count() as u64;
            let (loss, repetition) = (count(Finding::is_loss), count(Finding::is_repetition));
            let all = findings.len() as u64 + store.report.more_findings;
            sample(&["loss"], loss);
            sample(&["repetition"], repetition);
            sample(&["harmless"], all - loss - repetition);
        },
    },
    log!("tidegate_spool_commits_total", "Commits, each with one fsync.", |stats| stats.commits),
    log!("tidegate_spool_stored_records_total", "Records made durable.", |stats| stats.records),
    log!("tidegate_spool_stored_bytes_total", "Bytes of these.", |stats| stats.record_bytes),
    log!(
        "tidegate_spool_spared_records_total",
        "Records that Kafka had before they were written.",
        |stats| { stats.spared_records }
    ),
    log!("tidegate_spool_faults_total", "Writes and fsyncs that failed.", |stats| stats.faults),
    log!("tidegate_spool_failed_reads_total", "Reads of the log that failed.", |stats| stats.failed_reads),
    log!("tidegate_spool_holes_total", "Places where the log was damaged when it was read.", |stats| stats
        .holes),
    log!(
        "tidegate_spool_freed_segments_total",
        "Segments that went, since Kafka has all of them.",
        |stats| { stats.freed_segments }
    ),
    log!("tidegate_spool_rewritten_segments_total", "Segments rewritten to what is still needed.", |stats| {
        stats.rewritten_segments
    }),
    log!(
        "tidegate_spool_written_bytes_total",
        "Bytes that reached the disk, in whole pages: its wear.",
        |stats| { stats.wear.total_bytes() }
    ),
];
