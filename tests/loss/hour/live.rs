//! Whether each of many devices gets on while something else is under way: counted in what that does meanwhile, not in time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_fleet::{Acknowledged, Observer};

/// The acknowledgements of devices, each with how far the other thing had come.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    amount: AtomicU64,
    /// Device and amount; bounded by the devices' messages.
    acknowledged: Mutex<Vec<(u32, u64)>>,
}

impl Beside {
    /// Notes how far the other thing has come; it does not go back.
    pub(super) fn has_come_to(&self, amount: u64) {
        self.0.amount.fetch_max(amount, Relaxed);
    }

    /// Returns how many acknowledgements there were.
    pub(super) fn count(&self) -> usize {
        self.0.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns the device that waited longest, and what was done meanwhile of the other thing, which came to `end`.
    pub(super) fn longest_wait(&self, devices: u32, end: u64) -> Option<(u32, u64)> {
        longest_wait(&self.0.acknowledged.lock().unwrap_or_else(PoisonError::into_inner), devices, end)
    }
}

impl Observer for Beside {
    fn acknowledged(&self, what: Acknowledged) {
        let amount = self.0.amount.load(Relaxed);
        self.0.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push((what.device, amount));
    }
}

fn longest_wait(acknowledged: &[(u32, u64)], devices: u32, end: u64) -> Option<(u32, u64)> {
    let waits = |device| {
        let amounts =
            acknowledged.iter().filter(move |(other, _)| *other == device).map(|(_, amount)| *amount);
        let mut last = 0;
        let between = amounts.chain([end]).map(|amount| amount - std::mem::replace(&mut last, amount));
        (device, between.max().unwrap_or(end))
    };
    (0..devices).map(waits).max_by_key(|(_, wait)| *wait)
}

#[test]
fn who_waits_longest_is_found_wherever_it_waits() {
    let acknowledged = |list: &[(u32, u64)]| longest_wait(list, 2, 10);
    assert_eq!(acknowledged(&[(0, 2), (1, 3), (1, 5), (0, 9), (1, 9)]), Some((0, 7)), "in the middle");
    assert_eq!(acknowledged(&[(0, 3), (0, 6), (1, 6), (0, 9)]), Some((1, 6)), "at the beginning");
    assert_eq!(acknowledged(&[(0, 2), (1, 2), (0, 5), (0, 9)]), Some((1, 8)), "at the end");
    assert_eq!(acknowledged(&[(0, 5)]), Some((1, 10)), "never acknowledged");
    assert_eq!(longest_wait(&[], 0, 10), None);
}
