//! Buckets of devices that are away: a reconnect does not refill a bucket.
//!
//! Owns the memory of used-up limits, bounded in time (a bucket is forgotten once it is full again, after at
//! most burst / rate seconds) and in number. Live buckets are with their connections.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bucket::Bucket;
use crate::time::Timestamp;

/// Time between two sweeps: a full registry is then walked at most once a second.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Buckets of disconnected devices, by hash of the client id.
///
/// Two devices whose hashes are equal would share one bucket; with 64 bits that is not worth storing ids for.
#[derive(Debug)]
pub struct DeviceBuckets {
    parked: BTreeMap<u64, Bucket>,
    capacity: usize,
    next_sweep: Timestamp,
    forgotten: u64,
}

impl DeviceBuckets {
    /// Returns an empty registry of at most `capacity` buckets.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { parked: BTreeMap::new(), capacity, next_sweep: Timestamp::ZERO, forgotten: 0 }
    }

    /// Keeps the bucket of a device that goes away until it is full again.
    ///
    /// When the registry is full of buckets that still matter, this one is forgotten and counted: that device
    /// gets its burst back, once.
    pub fn park(&mut self, device: u64, bucket: Bucket, now: Timestamp) {
        if bucket.full_at() <= now {
            self.parked.remove(&device);
            return;
        }
        if self.parked.len() >= self.capacity && !self.parked.contains_key(&device) {
            self.sweep(now);
            if self.parked.len() >= self.capacity {
                self.forgotten += 1;
                return;
            }
        }
        self.parked.insert(device, bucket);
    }

    /// Returns the bucket of a device that comes, as it was left; a full one if it is not known.
    pub fn take(&mut self, device: u64) -> Bucket {
        self.parked.remove(&device).unwrap_or_default()
    }

    /// Drops what is full again; does nothing within a second of the last sweep.
    pub fn sweep(&mut self, now: Timestamp) {
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_EVERY;
            self.parked.retain(|_, bucket| bucket.full_at() > now);
        }
    }

    /// Returns how many buckets are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Returns true if no bucket is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// Returns how many buckets were forgotten because the registry was full.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Limit;

    fn used(messages: u32, now: Timestamp) -> (Limit, Bucket) {
        let limit = Limit::new(10.0, 50).unwrap();
        let mut bucket = Bucket::default();
        for _ in 0..messages {
            assert!(bucket.try_take(limit, now));
        }
        (limit, bucket)
    }

    #[test]
    fn a_reconnect_does_not_refill_the_bucket() {
        let now = Timestamp::from_millis(1_000);
        let (limit, bucket) = used(50, now);
        let mut devices = DeviceBuckets::new(10);
        devices.park(7, bucket, now);
        assert!(!devices.take(7).try_take(limit, now));
        assert!(devices.take(7).try_take(limit, now), "taken buckets are not kept twice");
    }

    #[test]
    fn a_bucket_is_kept_until_it_is_full_again_and_no_longer() {
        let now = Timestamp::from_millis(1_000);
        let (_, bucket) = used(50, now);
        let mut devices = DeviceBuckets::new(10);
        devices.park(7, bucket, now);
        devices.sweep(now + Duration::from_millis(4_999));
        assert_eq!(devices.len(), 1);
        devices.sweep(now + Duration::from_secs(6));
        assert!(devices.is_empty());
        devices.park(7, bucket, now + Duration::from_mins(1));
        assert!(devices.is_empty(), "a full bucket is not worth keeping");
    }

    #[test]
    fn a_full_registry_makes_room_from_what_has_passed_and_then_counts_what_it_forgets() {
        let now = Timestamp::from_millis(1_000);
        let (_, bucket) = used(50, now);
        let mut devices = DeviceBuckets::new(2);
        for device in 0..3 {
            devices.park(device, bucket, now);
        }
        assert_eq!((devices.len(), devices.forgotten()), (2, 1));
        let later = now + Duration::from_secs(10);
        devices.park(3, used(1, later).1, later);
        assert_eq!((devices.len(), devices.forgotten()), (1, 1));
    }
}
