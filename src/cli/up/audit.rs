//! Reads back what is in Kafka and compares it with what the devices were told and what the group committed.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::Context as _;
use tidegate_fleet::{Ledger, Payload};
use tidegate_kafka::observe::{Commit, GroupTopics, Isolation, Observer, Settings};
use tidegate_kafka::reader;
use tidegate_runtime::clock;

/// Patience with the reading; a demo's topics take a second.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Next offset of the group, per topic and partition.
pub(super) type Commits = BTreeMap<(String, u32), i64>;

/// What the comparison showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    /// Messages of this run in Kafka, each counted once.
    pub(super) stored: u64,
    /// Of these, the ones that the group has processed and committed.
    pub(super) consumed: u64,
    /// Acknowledged messages that are not in Kafka.
    pub(super) lost: u64,
    /// Records that repeat a message.
    pub(super) repeated: u64,
}

/// Returns what the group has committed.
///
/// # Errors
/// If Kafka does not answer.
pub(super) async fn commits(kafka: &str, group: &str, topics: &[String]) -> anyhow::Result<Commits> {
    let mut observer = Observer::new(Settings {
        bootstrap_servers: kafka.to_owned(),
        client_id: "tidegate-up".to_owned(),
        isolation: Isolation::default(),
        request_timeout: Settings::REQUEST_TIMEOUT,
        seed: 0,
    })?;
    let wanted = [GroupTopics { group: group.to_owned(), topics: topics.to_vec() }];
    let groups =
        observer.observe(&wanted, clock::monotonic()).await.context("what the group has committed")?;
    let partitions = groups.into_iter().flat_map(|group| group.partitions);
    Ok(partitions
        .filter_map(|seen| match seen.committed {
            Some(Commit::At(offset)) => Some(((seen.topic, seen.partition), offset)),
            Some(Commit::Never) | None => None,
        })
        .collect())
}

/// Reads `topics` and compares the records of `run` with the ledger and with `commits`. Blocks.
///
/// # Errors
/// If Kafka cannot be read.
pub(super) fn audit(
    kafka: &str,
    topics: &[String],
    run: u64,
    acknowledged: &Ledger,
    commits: &Commits,
) -> anyhow::Result<Audit> {
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut found = HashSet::new();
    let mut audit = Audit::default();
    reader::read_all(kafka, &topics, READ_WITHIN, clock::monotonic, &mut |record| {
        // What others wrote to a shared Kafka is none of this run.
        let Some(payload) = Payload::decode(record.payload()).ok().filter(|payload| payload.run == run)
        else {
            return;
        };
        if !found.insert((payload.device, payload.seq)) {
            audit.repeated += 1;
            return;
        }
        audit.stored += 1;
        let place = (record.topic().to_owned(), record.partition());
        audit.consumed += u64::from(commits.get(&place).is_some_and(|next| record.offset() < *next));
    })
    .context("reading back what is in Kafka")?;
    audit.lost = acknowledged.iter().filter(|message| !found.contains(message)).count() as u64;
    Ok(audit)
}
