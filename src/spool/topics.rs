//! Kafka topics as small numbers, for as long as the process runs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::TopicId;

/// Topics a spool may know: routes come from settings, and segment headers list them all.
const MAX_TOPICS: usize = 1024;
/// Longest name that Kafka allows (org.apache.kafka.common.internals.Topic).
const MAX_NAME_BYTES: usize = 249;

/// Names by number and numbers by name; only ever grows.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, TopicId>,
}

impl Topics {
    /// Returns the number of `name`, a new one if need be; `None` if it is no topic's name, or there are too many.
    pub(crate) fn intern(&mut self, name: &str) -> Option<TopicId> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        if self.names.len() >= MAX_TOPICS || name.is_empty() || name.len() > MAX_NAME_BYTES {
            return None;
        }
        let id = TopicId(u16::try_from(self.names.len()).ok()?);
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        Some(id)
    }

    pub(crate) fn name(&self, id: TopicId) -> Option<&Arc<str>> {
        self.names.get(usize::from(id.0))
    }

    /// All names, each at the index that is its number.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.iter().map(|name| (**name).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_numbers_are_bounded() {
        let mut topics = Topics::default();
        let first = topics.intern("t0");
        assert_eq!(topics.intern("t0"), first);
        assert_eq!(topics.intern(""), None);
        assert_eq!(topics.intern(&"x".repeat(250)), None);
        for number in 1..MAX_TOPICS {
            assert!(topics.intern(&format!("t{number}")).is_some());
        }
        assert_eq!(topics.intern("one too many"), None);
        assert_eq!(topics.intern("t0"), first);
    }
}
