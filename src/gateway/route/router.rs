//! Which Kafka topic a message goes to, under which key, as which class.
//!
//! Owns the rules in their order: the first filter that matches decides. Immutable after the start and shared
//! by all workers; a connection remembers the answer for its last topic.

use tidegate_core::admission::ClassId;
use tidegate_kafka::delivery::TopicId;
use tidegate_mqtt::topic::Filter;

/// A pair of class and Kafka topic; counters and routes are kept per stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) u16);

impl StreamId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one rule does with the messages of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TargetId {
    rule: u16,
    class: ClassId,
}

/// What becomes the Kafka key, and so decides the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRule {
    ClientId,
    Topic,
    /// A level of the topic, the first is 0; the client id if the topic has fewer.
    TopicLevel(u16),
}

impl KeyRule {
    /// Returns where the key lies, as start and length in client id and topic one after the other.
    pub(crate) fn range(self, client_id: &str, topic: &str) -> (usize, usize) {
        let level = match self {
            Self::ClientId => None,
            Self::Topic => return (client_id.len(), topic.len()),
            Self::TopicLevel(number) => topic.split('/').nth(usize::from(number)),
        };
        let Some(level) = level else {
            return (0, client_id.len());
        };
        let start = level.as_ptr().addr() - topic.as_ptr().addr();
        (client_id.len() + start, level.len())
    }
}

/// Kafka headers of a record beside the four that identify it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderSet(u8);

impl HeaderSet {
    /// `mqtt-topic`: the MQTT topic.
    pub(crate) const TOPIC: Self = Self(1);
    /// `mqtt-client-id`: the client id.
    pub(crate) const CLIENT_ID: Self = Self(2);
    /// `tg-dup`: the device had set DUP.
    pub(crate) const DUP: Self = Self(4);
    /// `tg-retain`: the device had set RETAIN.
    pub(crate) const RETAIN: Self = Self(8);
    /// `tg-clock`: the wall clock was not synchronised when the record was received.
    pub(crate) const CLOCK_UNSURE: Self = Self(16);

    /// Returns the set with `other` in it if `wanted`.
    #[must_use]
    pub(crate) const fn with(self, other: Self, wanted: bool) -> Self {
        if wanted { Self(self.0 | other.0) } else { self }
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One rule: what happens to messages whose topic the filter matches.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) filter: Filter,
    pub(crate) key: KeyRule,
    pub(crate) headers: HeaderSet,
    /// By class.
    pub(crate) streams: Vec<StreamId>,
}

/// A Kafka topic as the records of one class reach it.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) class: ClassId,
    pub(crate) topic: TopicId,
    pub(crate) partitions: u32,
}

/// All rules, in order.
#[derive(Debug)]
pub(crate) struct Router {
    /// Filters that decide a message's class, the most urgent class first.
    pub(crate) classes: Vec<(Filter, ClassId)>,
    pub(crate) rules: Vec<Rule>,
    /// By stream.
    pub(crate) destinations: Vec<Destination>,
}

impl Router {
    /// Returns the class of a message on `topic` by a connection of class `connected`, and where it goes.
    pub(crate) fn find(&self, topic: &str, connected: ClassId) -> (ClassId, Option<TargetId>) {
        let class = self.class(topic, connected);
        let rule = self.rules.iter().position(|rule| rule.filter.matches(topic));
        let target =
            rule.map(|rule| TargetId { rule: u16::try_from(rule).expect("rules are bounded"), class });
        (class, target)
    }

    /// Returns the class of a message on `topic` by a connection of class `connected`.
    pub(crate) fn class(&self, topic: &str, connected: ClassId) -> ClassId {
        let by_topic = self.classes.iter().find(|(filter, _)| filter.matches(topic));
        by_topic.map_or(connected, |(_, class)| *class)
    }

    pub(crate) fn rule(&self, target: TargetId) -> &Rule {
        &self.rules[usize::from(target.rule)]
    }

    pub(crate) fn stream(&self, target: TargetId) -> StreamId {
        self.rule(target).streams[target.class.index()]
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = StreamId> + use<> {
        (0..u16::try_from(self.destinations.len()).expect("topics are few")).map(StreamId)
    }

    pub(crate) fn destination(&self, stream: StreamId) -> &Destination {
        &self.destinations[stream.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(rule: KeyRule, topic: &str) -> String {
        let (start, len) = rule.range("dev", topic);
        format!("dev{topic}")[start..start + len].to_owned()
    }

    #[test]
    fn a_key_is_the_client_id_the_topic_or_a_level_of_it() {
        assert_eq!(key(KeyRule::ClientId, "site/7/temp"), "dev");
        assert_eq!(key(KeyRule::Topic, "site/7/temp"), "site/7/temp");
        assert_eq!(key(KeyRule::TopicLevel(0), "site/7/temp"), "site");
        assert_eq!(key(KeyRule::TopicLevel(1), "site/7/temp"), "7");
        assert_eq!(key(KeyRule::TopicLevel(2), "site/7/temp"), "temp");
        assert_eq!(key(KeyRule::TopicLevel(3), "site/7/temp"), "dev");
        assert_eq!(key(KeyRule::TopicLevel(1), "site//temp"), "");
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_a_filter_can_decide_the_class() {
        let table = crate::config::Settings::minimal("127.0.0.1:1").classes;
        let (alarm, sensor) = (table.by_name("alarm").unwrap(), table.by_name("sensor").unwrap());
        let rule = |filter: &str, first: u16| Rule {
            filter: Filter::parse(filter).unwrap(),
            key: KeyRule::ClientId,
            headers: HeaderSet::default(),
            streams: (first..first + 3).map(StreamId).collect(),
        };
        let router = Router {
            classes: vec![(Filter::parse("+/alarm").unwrap(), alarm)],
            rules: vec![rule("a/#", 0), rule("+/temp", 3)],
            destinations: Vec::new(),
        };
        let stream = |topic| {
            let (class, target) = router.find(topic, sensor);
            (class, target.map(|target| router.stream(target).0))
        };
        assert_eq!(stream("a/temp"), (sensor, Some(2)));
        assert_eq!(stream("b/temp"), (sensor, Some(5)));
        assert_eq!(stream("a/alarm"), (alarm, Some(0)));
        assert_eq!(stream("b/alarm"), (alarm, None));
    }
}
