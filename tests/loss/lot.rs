//! What is left to chance in a run, and follows from its seed.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Draws from a seed. The product's threads draw, too: a seed repeats what the test does, not what it meets.
pub(super) struct Lot(StdRng);

impl Lot {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(super) fn number(&mut self, range: Range<u32>) -> u32 {
        self.0.random_range(range)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.0.random()
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        list.shuffle(&mut self.0);
    }

    /// Lets a time pass: a fault comes, or lasts, as long as it likes. Synchronises nothing.
    pub(super) async fn pause(&mut self, millis: Range<u32>) {
        let millis = self.number(millis);
        tokio::time::sleep(Duration::from_millis(millis.into())).await;
    }
}
