//! Whether Kafka's acknowledgement is worth a device's: how many brokers have a record by then.
//!
//! A broker acknowledges from its page cache. Two brokers do not lose power at the same moment, or so one builds a site; with
//! one, what it has acknowledged may be gone. So where a topic is not known to have two copies the disk acknowledges,
//! unless the settings say otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_kafka::topics;

use crate::config::AckAt;

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) partitions: u32,
    /// Kafka acknowledges only what two brokers have. False, too, if that is not known.
    pub(crate) replicated: bool,
    /// What that was concluded from, for people.
    pub(crate) found: String,
    /// How old a record may become before Kafka deletes it, if that is known and ever.
    pub(crate) retention: Option<Duration>,
}

impl Topic {
    /// Returns what an earlier run knew; `replicated` is `None` if it did not ask.
    pub(super) fn kept(partitions: u32, replicated: Option<bool>, retention: Option<Duration>) -> Self {
        let found = match replicated {
            Some(true) => "an earlier run found two copies or more",
            Some(false) => "an earlier run did not find two copies",
            None => "nobody has asked yet",
        };
        Self { partitions, replicated: replicated == Some(true), found: found.to_owned(), retention }
    }
}

impl From<topics::Topic> for Topic {
    fn from(topic: topics::Topic) -> Self {
        let replicated = topic.is_replicated();
        let topics::Topic { partitions, replicas, min_in_sync, retention } = topic;
        let min_in_sync =
            min_in_sync.map_or_else(|why| format!("is not known ({why})"), |brokers| format!("is {brokers}"));
        let found = format!("replication is {replicas}, min.insync.replicas {min_in_sync}");
        Self { partitions, replicated, found, retention }
    }
}

/// Returns when messages are acknowledged. `set`: what the settings say; `replicated`: whether each topic in use is known to
/// have two copies.
///
/// Not known counts as not replicated, also where only `min.insync.replicas` is not: Kafka's default for it is 1. The
/// price is a write for each message, which a person sees and can end; the other error shows only when power fails.
pub(super) fn ack(set: Option<AckAt>, mut replicated: impl Iterator<Item = bool>) -> AckAt {
    match set {
        Some(at) => at,
        None if replicated.all(|replicated| replicated) => AckAt::First,
        None => AckAt::Disk,
    }
}

/// As [`ack`], for the topics that messages may go to, and says what was found if it is not what one would wish.
pub(super) fn settle_ack(set: Option<AckAt>, in_use: &[String], topics: &BTreeMap<String, Topic>) -> AckAt {
    let known = || in_use.iter().map(|name| (name, topics.get(name)));
    let is_replicated = |topic: Option<&Topic>| topic.is_some_and(|topic| topic.replicated);
    let at = ack(set, known().map(|(_, topic)| is_replicated(topic)));
    let mut single = known().filter(|(_, topic)| !is_replicated(*topic));
    if let Some((topic, known)) = single.next() {
        let found = known.map_or("nothing is known", |known| known.found.as_str());
        let (others, ack) = (single.count(), at.as_str());
        let follows = if set.is_some() {
            "kafka may acknowledge what one broker has in memory only; spool.ack is set and holds, and the spool keeps \
             records of such topics for a minute more"
        } else {
            "kafka may acknowledge what one broker has in memory only, so messages are acknowledged once the disk has \
             them; to change that, give the topic replication and min.insync.replicas of 2 or more, or set spool.ack"
        };
        tracing::warn!(topic, found, others, ack, "{follows}");
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(replicas: u32, min_in_sync: Result<u32, &str>) -> Topic {
        let min_in_sync = min_in_sync.map_err(str::to_owned);
        topics::Topic { partitions: 4, replicas, min_in_sync, retention: None }.into()
    }

    #[test]
    fn one_topic_with_one_copy_makes_the_disk_acknowledge_unless_the_settings_say_otherwise() {
        let ack = |set, replicated: &[bool]| ack(set, replicated.iter().copied());
        assert_eq!(ack(None, &[true, true]), AckAt::First);
        assert_eq!(ack(None, &[true, false]), AckAt::Disk);
        for set in [AckAt::First, AckAt::Kafka, AckAt::Disk] {
            assert_eq!((ack(Some(set), &[false]), ack(Some(set), &[true])), (set, set));
        }
    }

    #[test]
    fn a_topic_of_which_nothing_is_known_counts_as_one_copy() {
        let in_use = ["a".to_owned(), "b".to_owned()];
        let both = BTreeMap::from([("a".to_owned(), found(3, Ok(2))), ("b".to_owned(), found(2, Ok(2)))]);
        assert_eq!(settle_ack(None, &in_use, &both), AckAt::First);
        let one = BTreeMap::from([("a".to_owned(), found(3, Ok(2)))]);
        assert_eq!(settle_ack(None, &in_use, &one), AckAt::Disk);
        assert_eq!(settle_ack(None, &in_use[..1], &one), AckAt::First, "what is not in use does not matter");
        let kept = |replicated| Topic::kept(4, replicated, None);
        for careful in [found(3, Err("refused")), kept(None), kept(Some(false))] {
            assert!(!careful.replicated, "{careful:?}");
        }
        assert!(kept(Some(true)).replicated);
    }

    #[test]
    fn what_was_found_is_said_in_words() {
        assert_eq!(found(1, Ok(1)).found, "replication is 1, min.insync.replicas is 1");
        let refused = found(3, Err("not authorized")).found;
        assert_eq!(refused, "replication is 3, min.insync.replicas is not known (not authorized)");
    }
}
