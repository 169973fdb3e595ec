//! What is known of each topic, beside the log: so that a gateway can start while Kafka is away. And how the records in the
//! log were routed.
//!
//! The partition count decides which partition a key goes to, and so what is in order with what. It stays as it is while
//! records made with it wait in the log. Whether the topic is replicated, and how long it keeps a record, is what Kafka said
//! last.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_spool::COMPANION;

use super::copies::Topic;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// By name.
    pub(crate) topics: BTreeMap<String, Topic>,
    /// [`crate::config::Settings::routing`] of the settings that have routed what is in the log; none: not known.
    pub(crate) routing: Option<String>,
}

/// The file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Page {
    Whole {
        routing: Option<String>,
        topics: BTreeMap<String, KeptTopic>,
    },
    /// Of a version that kept topics only.
    Topics(BTreeMap<String, KeptTopic>),
}

/// A topic in the file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum KeptTopic {
    /// Of a version that did not ask for more.
    Partitions(u32),
    Topic {
        partitions: u32,
        replicated: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retention_ms: Option<u64>,
    },
}

/// Returns what was kept; nothing if there is nothing that can be read: then Kafka is asked.
pub(super) fn load(dir: &Path) -> Kept {
    let page = fs::read(dir.join(COMPANION)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let (routing, topics) = match page {
        Some(Page::Whole { routing, topics }) => (routing, topics),
        Some(Page::Topics(topics)) => (None, topics),
        None => return Kept::default(),
    };
    let topics = topics.into_iter().map(|(name, kept)| {
        let topic = match kept {
            KeptTopic::Partitions(partitions) => Topic::kept(partitions, None, None),
            KeptTopic::Topic { partitions, replicated, retention_ms } => {
                Topic::kept(partitions, Some(replicated), retention_ms.map(Duration::from_millis))
            }
        };
        (name, topic)
    });
    Kept { topics: topics.filter(|(_, topic)| topic.partitions > 0).collect(), routing }
}

/// Keeps what is known, wholly or not at all.
pub(super) fn save(dir: &Path, kept: &Kept) -> io::Result<()> {
    let topic = |topic: &Topic| KeptTopic::Topic {
        partitions: topic.partitions,
        replicated: topic.replicated,
        retention_ms: topic.retention.and_then(|time| u64::try_from(time.as_millis()).ok()),
    };
    let topics = kept.topics.iter().map(|(name, kept)| (name.clone(), topic(kept))).collect();
    let page = Page::Whole { routing: kept.routing.clone(), topics };
    // The log removes what ends like this when it opens: it is left by a crash.
    let unfinished = dir.join(format!("{COMPANION}.tmp"));
    let mut file = File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec(&page)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(COMPANION))?;
    File::open(dir)?.sync_all()
}

/// Returns whether the file would be the same: what people read is not in it.
pub(super) fn is_same(some: &BTreeMap<String, Topic>, others: &BTreeMap<String, Topic>) -> bool {
    let entry = |(name, topic): (&String, &Topic)| {
        (name.clone(), topic.partitions, topic.replicated, topic.retention)
    };
    some.iter().map(entry).eq(others.iter().map(entry))
}

/// Returns the topics to go on with. `asked`: what Kafka said, if it did. A topic with records in the log keeps the count
/// that they were made with; what nobody knows is missing.
pub(crate) fn decide(
    asked: Option<&BTreeMap<String, Topic>>,
    kept: &BTreeMap<String, Topic>,
    waits_in_log: impl Fn(&str) -> bool,
) -> BTreeMap<String, Topic> {
    let mut topics = kept.clone();
    for (name, asked) in asked.into_iter().flatten() {
        let mut asked = asked.clone();
        if let Some(kept) = kept.get(name).filter(|_| waits_in_log(name)) {
            if kept.partitions != asked.partitions {
                tracing::warn!(
                    topic = name,
                    kept = kept.partitions,
                    count = asked.partitions,
                    "the new partition count is taken once the spool is empty"
                );
            }
            asked.partitions = kept.partitions;
        }
        topics.insert(name.clone(), asked);
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(some: &[(&str, u32, bool)]) -> BTreeMap<String, Topic> {
        let topic = |partitions, replicated| Topic::kept(partitions, Some(replicated), None);
        some.iter()
            .map(|(name, count, replicated)| ((*name).to_owned(), topic(*count, *replicated)))
            .collect()
    }

    #[test]
    fn what_is_kept_comes_back_and_damage_is_nothing_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()), Kept::default());
        let mut topics = topics(&[("a", 4, true), ("b", 12, false)]);
        topics.get_mut("a").unwrap().retention = Some(Duration::from_hours(168));
        let kept = Kept { topics, routing: Some("0123".to_owned()) };
        save(folder.path(), &kept).unwrap();
        assert_eq!(load(folder.path()), kept);
        fs::write(folder.path().join(COMPANION), b"{\"a\": 4").unwrap();
        assert_eq!(load(folder.path()), Kept::default());
    }

    #[test]
    fn counts_that_an_earlier_version_kept_are_read_and_say_nothing_of_copies() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(COMPANION), br#"{"a": 4, "b": {"partitions": 2, "replicated": true}}"#)
            .unwrap();
        let Kept { topics, routing } = load(folder.path());
        assert_eq!((&topics["a"], routing), (&Topic::kept(4, None, None), None));
        assert_eq!(topics["b"], Topic::kept(2, Some(true), None));
    }

    #[test]
    fn a_topic_that_grew_is_taken_as_it_is_unless_its_records_wait() {
        let asked = topics(&[("a", 8, true), ("b", 8, true), ("c", 8, true)]);
        let kept = topics(&[("a", 4, false), ("b", 4, false), ("d", 1, true)]);
        let decided = decide(Some(&asked), &kept, |topic| topic == "a");
        let wanted = topics(&[("a", 4, true), ("b", 8, true), ("c", 8, true), ("d", 1, true)]);
        assert_eq!(decided, wanted, "its copies are news for all of its records");
        assert_eq!(decide(None, &kept, |_| false), kept);
    }
}
