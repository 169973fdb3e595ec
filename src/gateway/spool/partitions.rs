//! What is known of each topic, beside the log: so that a gateway can start while Kafka is away.
//!
//! The partition count decides which partition a key goes to, and so what is in order with what. It stays as it is while
//! records made with it wait in the log. Whether the topic is replicated is what Kafka said last.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_spool::COMPANION;

use super::copies::Topic;

/// A topic in the file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Kept {
    /// Of a version that did not ask for more.
    Partitions(u32),
    Topic {
        partitions: u32,
        replicated: bool,
    },
}

/// Returns what was kept; nothing if there is nothing that can be read: then Kafka is asked.
pub(super) fn load(dir: &Path) -> BTreeMap<String, Topic> {
    let kept: BTreeMap<String, Kept> = fs::read(dir.join(COMPANION))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let topics = kept.into_iter().map(|(name, kept)| {
        let topic = match kept {
            Kept::Partitions(partitions) => Topic::kept(partitions, None),
            Kept::Topic { partitions, replicated } => Topic::kept(partitions, Some(replicated)),
        };
        (name, topic)
    });
    topics.filter(|(_, topic)| topic.partitions > 0).collect()
}

/// Keeps what is known, wholly or not at all.
pub(super) fn save(dir: &Path, topics: &BTreeMap<String, Topic>) -> io::Result<()> {
    let kept = |topic: &Topic| Kept::Topic { partitions: topic.partitions, replicated: topic.replicated };
    let kept: BTreeMap<&String, Kept> = topics.iter().map(|(name, topic)| (name, kept(topic))).collect();
    // The log removes what ends like this when it opens: it is left by a crash.
    let unfinished = dir.join(format!("{COMPANION}.tmp"));
    let mut file = File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec(&kept)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(COMPANION))?;
    File::open(dir)?.sync_all()
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
        let topic = |partitions, replicated| Topic::kept(partitions, Some(replicated));
        some.iter()
            .map(|(name, count, replicated)| ((*name).to_owned(), topic(*count, *replicated)))
            .collect()
    }

    #[test]
    fn what_is_kept_comes_back_and_damage_is_nothing_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()), topics(&[]));
        let kept = topics(&[("a", 4, true), ("b", 12, false)]);
        save(folder.path(), &kept).unwrap();
        assert_eq!(load(folder.path()), kept);
        fs::write(folder.path().join(COMPANION), b"{\"a\": 4").unwrap();
        assert_eq!(load(folder.path()), topics(&[]));
    }

    #[test]
    fn counts_that_an_earlier_version_kept_are_read_and_say_nothing_of_copies() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(COMPANION), br#"{"a": 4, "b": {"partitions": 2, "replicated": true}}"#)
            .unwrap();
        let loaded = load(folder.path());
        assert_eq!(loaded["a"], Topic::kept(4, None));
        assert_eq!(loaded["b"], Topic::kept(2, Some(true)));
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
