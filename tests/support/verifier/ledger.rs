//! What devices published and what was acknowledged to them.

use std::collections::BTreeMap;
use std::fmt;

use super::seq_set::SeqSet;

/// The messages among which order is promised: one key, one class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// Who published: what the Kafka key is made of, usually the client id.
    pub key: String,
    /// Class of the messages.
    pub class: String,
}

impl Stream {
    /// Returns the stream of a key and a class.
    #[must_use]
    pub fn new(key: impl Into<String>, class: impl Into<String>) -> Self {
        Self { key: key.into(), class: class.into() }
    }
}

/// One message, by the number that its publisher gave it: upwards in publish order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// Its stream.
    pub stream: Stream,
    /// Its number in the stream.
    pub seq: u64,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.stream.class, self.stream.key, self.seq)
    }
}

/// The account of one run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    streams: BTreeMap<Stream, Account>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) published: SeqSet,
    pub(super) acknowledged: SeqSet,
}

impl Ledger {
    /// Notes messages that were sent, or may have been.
    pub fn published(&mut self, stream: &Stream, numbers: impl IntoIterator<Item = u64>) {
        let account = self.account(stream);
        for seq in numbers {
            account.published.insert(seq);
        }
    }

    /// Notes messages whose PUBACK has come; they count as published.
    pub fn acknowledged(&mut self, stream: &Stream, numbers: impl IntoIterator<Item = u64>) {
        let account = self.account(stream);
        for seq in numbers {
            account.published.insert(seq);
            account.acknowledged.insert(seq);
        }
    }

    /// Returns how many messages were acknowledged.
    #[must_use]
    pub fn acknowledged_count(&self) -> u64 {
        self.streams.values().map(|account| account.acknowledged.len()).sum()
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = (&Stream, &Account)> {
        self.streams.iter()
    }

    pub(super) fn was_published(&self, message: &Message) -> bool {
        self.streams.get(&message.stream).is_some_and(|account| account.published.contains(message.seq))
    }

    fn account(&mut self, stream: &Stream) -> &mut Account {
        // Cloned only the first time: a run has few streams and many messages.
        if !self.streams.contains_key(stream) {
            self.streams.insert(stream.clone(), Account::default());
        }
        self.streams.get_mut(stream).expect("just inserted")
    }
}
