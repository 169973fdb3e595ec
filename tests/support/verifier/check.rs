//! The check itself: records in, verdict out.

use std::collections::HashMap;
use std::fmt;

use super::ledger::{Ledger, Message, Stream};
use super::seq_set::SeqSet;
use super::verdict::Verdict;

/// One record in Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The message it is; `None` if its payload is not one of ours.
    pub message: Option<Message>,
    /// What its `tg-` headers say, if they are there.
    pub origin: Option<Origin>,
}

/// Identity that Tidegate gives to a record: headers `tg-gw`, `tg-src`, `tg-epoch`, `tg-seq`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Gateway.
    pub gateway: String,
    /// Source within the gateway: shard and lane.
    pub source: String,
    /// Boot of the gateway.
    pub epoch: u64,
    /// Number within the epoch, per source and partition.
    pub seq: u64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{message}")?,
            None => f.write_str("an unknown payload")?,
        }
        write!(f, " at {}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// A running check. Feed it the records of each partition in order of offset.
#[derive(Debug)]
pub struct Check {
    ledger: Ledger,
    streams: HashMap<Stream, Progress>,
    /// Highest (epoch, seq) per topic, partition, gateway and source.
    origins: HashMap<(String, i32, String, String), (u64, u64)>,
    verdict: Verdict,
}

/// How far a stream has been seen.
#[derive(Debug)]
struct Progress {
    /// By a consumer that takes everything.
    all: View,
    /// By one that drops what the headers call a duplicate.
    kept: View,
    topic: String,
    partition: i32,
}

#[derive(Debug, Default)]
struct View {
    seen: SeqSet,
    highest: u64,
}

/// What a record is to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occurrence {
    First { in_order: bool },
    Again,
}

impl View {
    fn take(&mut self, seq: u64) -> Occurrence {
        if !self.seen.insert(seq) {
            return Occurrence::Again;
        }
        let in_order = seq >= self.highest;
        self.highest = seq.max(self.highest);
        Occurrence::First { in_order }
    }
}

impl Check {
    /// Starts a check against `ledger`.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, streams: HashMap::new(), origins: HashMap::new(), verdict: Verdict::default() }
    }

    /// Takes the next record.
    pub fn record(&mut self, record: &Seen) {
        self.verdict.records += 1;
        let repeats_headers = self.repeats_headers(record);
        let Some(message) = record.message.as_ref().filter(|message| self.ledger.was_published(message))
        else {
            self.verdict.foreign.add(record);
            return;
        };
        let progress = self.streams.entry(message.stream.clone()).or_insert_with(|| Progress {
            all: View::default(),
            kept: View::default(),
            topic: record.topic.clone(),
            partition: record.partition,
        });
        let highest = progress.all.highest;
        let all = progress.all.take(message.seq);
        let is_kept = repeats_headers != Some(true);
        let kept = if is_kept { progress.kept.take(message.seq) } else { Occurrence::Again };
        if all == Occurrence::Again {
            match repeats_headers {
                Some(true) => self.verdict.duplicates.ours += 1,
                Some(false) => self.verdict.duplicates.resent += 1,
                None => self.verdict.duplicates.unmarked += 1,
            }
        } else {
            self.verdict.messages += 1;
        }
        let out_of_order = Occurrence::First { in_order: false };
        // Order between partitions is nobody's to see.
        if (&progress.topic, progress.partition) != (&record.topic, record.partition) {
            if all != Occurrence::Again {
                let Progress { topic, partition, .. } = progress;
                self.verdict
                    .scattered
                    .add(format_args!("{record}, its stream began in {topic}[{partition}]"));
            }
        } else if all == out_of_order {
            self.verdict.out_of_order.add(format_args!("{record}, after #{highest}"));
        } else if kept == out_of_order {
            self.verdict.out_of_order.add(format_args!("{record}, to those who drop duplicates"));
        }
    }

    /// Compares with the ledger what has been seen.
    #[must_use]
    pub fn finish(mut self) -> Verdict {
        self.verdict.acknowledged = self.ledger.acknowledged_count();
        for (stream, account) in self.ledger.streams() {
            let progress = self.streams.get(stream);
            for seq in account.acknowledged.iter() {
                let message = || Message { stream: stream.clone(), seq };
                if !progress.is_some_and(|progress| progress.all.seen.contains(seq)) {
                    self.verdict.lost.add(message());
                } else if !progress.is_some_and(|progress| progress.kept.seen.contains(seq)) {
                    self.verdict.masked.add(message());
                }
            }
        }
        self.verdict
    }

    /// Applies the rule that consumers are given: per partition, gateway and source, a record is a duplicate if its
    /// (epoch, seq) is not above the highest seen. `None` without headers.
    fn repeats_headers(&mut self, record: &Seen) -> Option<bool> {
        let Origin { gateway, source, epoch, seq } = record.origin.as_ref()?;
        let from = (record.topic.clone(), record.partition, gateway.clone(), source.clone());
        let number = (*epoch, *seq);
        let highest = self.origins.get(&from).copied();
        if highest.is_some_and(|highest| number <= highest) {
            return Some(true);
        }
        self.origins.insert(from, number);
        Some(false)
    }
}

#[cfg(test)]
mod tests;
