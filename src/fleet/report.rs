//! What a run did, in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest acknowledgement that the histogram tells from longer ones.
const MAX_LATENCY: Duration = Duration::from_mins(10);

/// Result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Messages that were sent, resends not counted.
    pub published: u64,
    /// Messages whose PUBACK came with success. Always 0 with QoS 0.
    pub acknowledged: u64,
    /// PUBLISH packets with DUP, sent after a connection was lost.
    pub resent: u64,
    /// Messages of the plan that were neither acknowledged nor refused (QoS 0: not sent) when the run ended.
    pub unfinished: u64,
    /// What the server refused, by packet and reason: `connack server busy`, `puback quota exceeded`, `disconnect ...`.
    pub refused: BTreeMap<String, u64>,
    /// Connections that failed or ended without DISCONNECT of either side: unreachable, cut, silent, or against the
    /// protocol.
    pub lost_connections: u64,
    /// Connections accepted by CONNACK beyond each device's first.
    pub reconnects: u64,
    /// PUBACKs that belong to no unacknowledged message.
    pub stray_acks: u64,
    /// Time from first sending a message to reading its PUBACK, in microseconds.
    pub ack_micros: Histogram<u64>,
    /// Length of the run.
    pub elapsed: Duration,
}

/// What one device counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    pub(crate) acknowledged: u64,
    pub(crate) resent: u64,
    pub(crate) unfinished: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) lost_connections: u64,
    pub(crate) connects: u64,
    pub(crate) stray_acks: u64,
}

impl Tally {
    pub(crate) fn refuse(&mut self, packet: &str, reason: tidegate_mqtt::ReasonCode) {
        *self.refused.entry(format!("{packet} {}", reason.as_str())).or_default() += 1;
    }
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            published: 0,
            acknowledged: 0,
            resent: 0,
            unfinished: 0,
            refused: BTreeMap::new(),
            lost_connections: 0,
            reconnects: 0,
            stray_acks: 0,
            ack_micros: new_histogram(),
            elapsed: Duration::ZERO,
        }
    }

    pub(crate) fn add(&mut self, device: Tally) {
        self.published += device.published;
        self.acknowledged += device.acknowledged;
        self.resent += device.resent;
        self.unfinished += device.unfinished;
        self.lost_connections += device.lost_connections;
        self.stray_acks += device.stray_acks;
        self.reconnects += device.connects.saturating_sub(1);
        for (reason, count) in device.refused {
            *self.refused.entry(reason).or_default() += count;
        }
    }
}

/// Two significant digits: 1 % is finer than what a run repeats.
pub(crate) fn new_histogram() -> Histogram<u64> {
    let most = u64::try_from(MAX_LATENCY.as_micros()).unwrap_or(u64::MAX);
    Histogram::new_with_max(most, 2).expect("two digits between 1 us and ten minutes are a valid range")
}
