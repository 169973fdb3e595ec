//! Whether what waits on the disk is older than Kafka keeps it.
//!
//! Retention goes by a record's time. What an outage longer than that has left is written, acknowledged, and deleted with the
//! segment that it comes into, perhaps before anybody has read it. Owns who is told before that; nothing is held back
//! for it, since only people can say what such records are worth.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Topic;
use crate::shared::Shared;
use crate::stats::Counters;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Returns the topics in use, each with whether records for it wait that are older than it keeps them, as far as
/// times and retention are known.
pub(crate) fn past(shared: &Shared, workers: &[Arc<Counters>]) -> Vec<(String, bool)> {
    let Some(store) = &shared.store else { return Vec::new() };
    let now = shared.wall.is_sure().then(|| (shared.unix_clock)().0);
    let is_past = |name: &String, topic: &Topic| {
        let streams = shared.topic_names.iter().zip(0..).filter(|(of, _)| *of == name);
        let oldest = |stream: usize| {
            let of_workers = workers.iter().map(|counters| counters.streams[stream].oldest_behind_ms.get());
            of_workers.filter(|time| *time > 0).min()
        };
        let oldest = streams.filter_map(|(_, stream)| oldest(stream)).min();
        now.zip(oldest).is_some_and(|(now, oldest)| is_older(oldest, now, topic.retention))
    };
    store.known.iter().map(|(name, topic)| (name.clone(), is_past(name, topic))).collect()
}

fn is_older(oldest_ms: u64, now_ms: i64, retention: Option<Duration>) -> bool {
    let age_ms = u64::try_from(now_ms).unwrap_or(0).saturating_sub(oldest_ms);
    retention.is_some_and(|retention| Duration::from_millis(age_ms) > retention)
}

/// Warns once per topic; watches until it is dropped.
pub(crate) async fn watch(shared: Arc<Shared>, workers: Vec<Arc<Counters>>) {
    let mut said = BTreeSet::new();
    loop {
        for (topic, is_past) in past(&shared, &workers) {
            if is_past && said.insert(topic.clone()) {
                tracing::warn!(
                    topic,
                    "records wait that are older than the topic's retention: kafka may delete them as soon as it has \
                     them; raise retention.ms before they are sent, if they are worth something"
                );
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_too_old_if_its_age_is_above_a_retention_that_is_known() {
        let day = Some(Duration::from_hours(24));
        let (now, day_ms) = (200_000_000, 86_400_000);
        assert!(is_older(now - day_ms - 1, 200_000_000, day));
        assert!(!is_older(now - day_ms, 200_000_000, day));
        assert!(!is_older(1, 200_000_000, None));
        assert!(!is_older(now, 5, day), "the clock was set back");
    }
}
