//! A plain idempotent producer that sends numbered lines and keeps its delivery reports.
//!
//! It stands for what librdkafka does by itself; the product's own producer is under test elsewhere.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rdkafka::client::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, Message};

use super::verifier::{Ledger, Lines, Stream};

/// Class that the lines belong to.
const CLASS: &str = "sensor";

/// Sends lines of one publisher to one topic.
pub struct PlainProducer {
    producer: ThreadedProducer<Reports>,
    reports: Reports,
    topic: String,
    name: String,
}

impl PlainProducer {
    /// Makes a producer for `topic`; every record goes out at once and alone.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn new(bootstrap: &str, topic: &str, name: &str) -> Result<Self> {
        let reports = Reports::default();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .create_with_context(reports.clone())?;
        Ok(Self { producer, reports, topic: topic.to_owned(), name: name.to_owned() })
    }

    /// Hands over line `seq`.
    ///
    /// # Errors
    /// librdkafka's, e.g. a full queue.
    pub fn send(&self, seq: u64) -> Result<()> {
        let line = Lines::line(&self.name, seq);
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(seq)).key(&self.name).payload(&line);
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(())
    }

    /// Returns number and offset of the lines that librdkafka has reported as delivered.
    #[must_use]
    pub fn delivered(&self) -> Vec<(u64, i64)> {
        self.reports.lock().clone()
    }

    /// Returns a ledger in which what was reported as delivered counts as acknowledged.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        let delivered = self.delivered();
        ledger.acknowledged(&Stream::new(&self.name, CLASS), delivered.iter().map(|(seq, _)| *seq));
        ledger
    }

    /// Returns what turns the lines back into messages.
    #[must_use]
    pub fn decode() -> Lines {
        Lines { class: CLASS.to_owned() }
    }
}

#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<(u64, i64)>>>);

impl Reports {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, seq: Box<u64>) {
        if let Ok(message) = result {
            self.lock().push((*seq, message.offset()));
        }
    }
}
