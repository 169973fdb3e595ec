//! Which sessions outlive their connection: what `session present` in CONNACK says.
//!
//! Owns a bounded registry of expiry times by hash of the client id, in memory. A session of a gateway holds
//! nothing but its existence: QoS 1 needs no state of a receiver, and nothing is ever delivered. Yet a client that
//! reads `session present = 0` throws away what it has not seen acknowledged, so the answer must be true.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_core::time::Timestamp;

/// Longest life of a session without its connection; CONNACK says so where a client asked for more.
pub(crate) const MAX_SESSION: Duration = Duration::from_hours(24);
/// Sessions remembered per worker: 16 bytes and the tree around them each.
const CAPACITY: usize = 100_000;
/// Time between two sweeps of a full registry.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Sessions without a connection.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    expiry: BTreeMap<u64, Timestamp>,
    next_sweep: Timestamp,
    forgotten: u64,
}

impl Sessions {
    /// Remembers a session whose connection ended; forgets it, and counts that, if there are too many.
    pub(crate) fn park(&mut self, client: u64, keep: Duration, now: Timestamp) {
        if keep.is_zero() {
            return;
        }
        if self.expiry.len() >= CAPACITY && now >= self.next_sweep {
            self.next_sweep = now + SWEEP_EVERY;
            self.expiry.retain(|_, expiry| *expiry > now);
        }
        if self.expiry.len() >= CAPACITY {
            self.forgotten += 1;
            return;
        }
        self.expiry.insert(client, now + keep.min(MAX_SESSION));
    }

    /// Returns true if the client's session is still there; it belongs to its new connection from then on.
    pub(crate) fn resume(&mut self, client: u64, now: Timestamp) -> bool {
        self.expiry.remove(&client).is_some_and(|expiry| expiry > now)
    }

    pub(crate) const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_present_until_it_expires_and_once_only() {
        let (mut sessions, now) = (Sessions::default(), Timestamp::from_millis(1_000));
        sessions.park(1, Duration::from_secs(5), now);
        sessions.park(2, Duration::from_secs(5), now);
        sessions.park(3, Duration::ZERO, now);
        assert!(sessions.resume(1, now + Duration::from_secs(4)));
        assert!(!sessions.resume(1, now + Duration::from_secs(4)));
        assert!(!sessions.resume(2, now + Duration::from_secs(5)));
        assert!(!sessions.resume(3, now));
    }

    #[test]
    fn no_session_is_kept_for_longer_than_a_day() {
        let (mut sessions, now) = (Sessions::default(), Timestamp::from_millis(1_000));
        sessions.park(1, Duration::MAX, now);
        assert!(!sessions.resume(1, now + MAX_SESSION));
    }

    #[test]
    fn a_full_registry_drops_what_has_expired_before_it_forgets() {
        let (mut sessions, now) = (Sessions::default(), Timestamp::from_secs_f64(100.0));
        for client in 0..CAPACITY as u64 {
            sessions.park(client, Duration::from_secs(1), now);
        }
        sessions.park(u64::MAX, Duration::from_secs(1), now);
        assert_eq!(sessions.forgotten(), 1);
        sessions.park(u64::MAX, Duration::from_mins(1), now + SWEEP_EVERY);
        assert_eq!((sessions.forgotten(), sessions.expiry.len()), (1, 1));
    }
}
