//! What a caller can see of a running fleet, message by message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tidegate_core::time::Timestamp;

use crate::identity::Identity;
use crate::plan::Plan;

/// One message that the gateway took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Number of the device.
    pub device: u32,
    /// Number of the message.
    pub seq: u32,
    /// When it was first sent.
    pub sent: Timestamp,
    /// When its PUBACK was read.
    pub at: Timestamp,
}

/// Is told what happens, on the devices' own threads: it must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// A message goes out; `resend` if it went out before.
    fn sent(&self, _device: u32, _seq: u32, _resend: bool) {}
    /// A PUBACK with a success code came, the first one of the message.
    fn acknowledged(&self, _what: Acknowledged) {}
    /// A PUBACK with a failure code came: the device must not send the message again [MQTT-4.4.0-2].
    fn refused(&self, _device: u32, _seq: u32) {}
}

/// Nobody looks.
impl Observer for () {}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn sent(&self, device: u32, seq: u32, resend: bool) {
        self.0.sent(device, seq, resend);
        self.1.sent(device, seq, resend);
    }

    fn acknowledged(&self, what: Acknowledged) {
        self.0.acknowledged(what);
        self.1.acknowledged(what);
    }

    fn refused(&self, device: u32, seq: u32) {
        self.0.refused(device, seq);
        self.1.refused(device, seq);
    }
}

impl<T: Observer> Observer for Arc<T> {
    fn sent(&self, device: u32, seq: u32, resend: bool) {
        (**self).sent(device, seq, resend);
    }

    fn acknowledged(&self, what: Acknowledged) {
        (**self).acknowledged(what);
    }

    fn refused(&self, device: u32, seq: u32) {
        (**self).refused(device, seq);
    }
}

/// Counts for a live display.
#[derive(Debug, Default)]
pub struct Progress {
    published: AtomicU64,
    acknowledged: AtomicU64,
}

impl Progress {
    /// Returns how many messages were sent, resends not counted.
    pub fn messages_published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// Returns how many messages were acknowledged.
    pub fn messages_acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }
}

impl Observer for Progress {
    fn sent(&self, _device: u32, _seq: u32, resend: bool) {
        self.published.fetch_add(u64::from(!resend), Relaxed);
    }

    fn acknowledged(&self, _what: Acknowledged) {
        self.acknowledged.fetch_add(1, Relaxed);
    }
}

/// Remembers which messages were acknowledged: one bit each.
#[derive(Debug)]
pub struct Ledger {
    devices: Vec<Box<[AtomicU64]>>,
}

impl Ledger {
    /// Has room for every message of the plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let words = |device| {
            let identity = Identity::draw(plan.seed, device, plan.versions);
            (0..plan.load.messages_of(identity.phase).div_ceil(64)).map(|_| AtomicU64::new(0)).collect()
        };
        Self { devices: (0..plan.load.devices).map(words).collect() }
    }

    /// Returns true if the message was acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self, device: u32, seq: u32) -> bool {
        self.word(device, seq).is_some_and(|word| word.load(Relaxed) & bit(seq) != 0)
    }

    /// Returns how many messages were acknowledged.
    #[must_use]
    pub fn count(&self) -> u64 {
        let words = self.devices.iter().flat_map(|words| words.iter());
        words.map(|word| u64::from(word.load(Relaxed).count_ones())).sum()
    }

    /// Returns device and sequence number of every acknowledged message, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0_u32..).zip(&self.devices).flat_map(move |(device, words)| {
            let last = u32::try_from(words.len() * 64).unwrap_or(u32::MAX);
            (0..last).filter(move |seq| self.is_acknowledged(device, *seq)).map(move |seq| (device, seq))
        })
    }

    fn word(&self, device: u32, seq: u32) -> Option<&AtomicU64> {
        self.devices.get(device as usize)?.get(seq as usize / 64)
    }
}

impl Observer for Ledger {
    fn acknowledged(&self, what: Acknowledged) {
        if let Some(word) = self.word(what.device, what.seq) {
            word.fetch_or(bit(what.seq), Relaxed);
        }
    }
}

const fn bit(seq: u32) -> u64 {
    1 << (seq % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;

    #[test]
    fn a_ledger_holds_exactly_what_was_acknowledged() {
        let ledger = Ledger::new(&Plan::new(Load::count(3, 70), 1));
        let all = [(0, 0), (1, 63), (1, 64), (2, 69)];
        for (device, seq) in all {
            let what = Acknowledged { device, seq, sent: Timestamp::ZERO, at: Timestamp::ZERO };
            ledger.acknowledged(what);
            ledger.acknowledged(what);
        }
        assert_eq!(ledger.iter().collect::<Vec<_>>(), all);
        assert_eq!(ledger.count(), 4);
        assert!(
            ledger.is_acknowledged(1, 64) && !ledger.is_acknowledged(0, 64) && !ledger.is_acknowledged(9, 0)
        );
    }
}
