//! How long Kafka's slow reports take: the 99th percentile of the last minute.

use std::time::Duration;

use crate::time::Timestamp;

/// Width of a bucket: three times the percentile are off by 150 ms at most, far below the second that is the least that counts.
const STEP: Duration = Duration::from_millis(50);
/// Buckets: from 3.35 s on, three times the percentile are above the cap anyway.
const BUCKETS: usize = 68;
/// The last minute, forgotten ten seconds at a time.
const SLICES: usize = 6;
const SLICE: Duration = Duration::from_secs(10);

/// Delays of reports in the last minute.
#[derive(Clone, Debug)]
pub struct Delays {
    slices: [[u32; BUCKETS]; SLICES],
    /// The slice being filled, counted since the clock's origin.
    slice: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Self { slices: [[0; BUCKETS]; SLICES], slice: 0 }
    }
}

impl Delays {
    /// Takes one report.
    pub fn add(&mut self, delay: Duration, now: Timestamp) {
        self.turn_to(now);
        let bucket = usize::try_from(delay.as_millis() / STEP.as_millis()).unwrap_or(usize::MAX);
        let count = &mut self.slices[place(self.slice)][bucket.min(BUCKETS - 1)];
        *count = count.saturating_add(1);
    }

    /// Returns the delay that one report in a hundred exceeds, rounded up to 50 ms and at most 3.4 s; `None` if there was no
    /// report.
    pub fn p99(&mut self, now: Timestamp) -> Option<Duration> {
        self.turn_to(now);
        let of = |bucket: usize| self.slices.iter().map(|slice| u64::from(slice[bucket])).sum::<u64>();
        let all: u64 = (0..BUCKETS).map(of).sum();
        let mut below = 0;
        let bucket = (0..BUCKETS).find(|bucket| {
            below += of(*bucket);
            below * 100 >= all * 99
        })?;
        let upper = u32::try_from(bucket + 1).map_or(Duration::MAX, |edge| STEP * edge);
        (all > 0).then_some(upper)
    }

    fn turn_to(&mut self, now: Timestamp) {
        let slice = now.as_nanos() / u64::try_from(SLICE.as_nanos()).expect("ten seconds fit");
        // One turn forgets everything; more turns change nothing.
        for passed in self.slice + 1..=slice.min(self.slice + SLICES as u64) {
            self.slices[place(passed)] = [0; BUCKETS];
        }
        self.slice = self.slice.max(slice);
    }
}

fn place(slice: u64) -> usize {
    usize::try_from(slice % SLICES as u64).expect("below six")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_percentile_is_that_of_the_last_minute() {
        let mut delays = Delays::default();
        let start = Timestamp::from_millis(100_000);
        assert_eq!(delays.p99(start), None);
        for _ in 0..99 {
            delays.add(ms(40), start);
        }
        delays.add(ms(2_000), start);
        assert_eq!(delays.p99(start), Some(ms(50)), "one in a hundred may be slower");
        delays.add(ms(2_000), start);
        assert_eq!(delays.p99(start), Some(ms(2_050)), "two of a hundred and one were");
        for _ in 0..1_000 {
            delays.add(ms(900), start + ms(30_000));
        }
        assert_eq!(delays.p99(start + ms(30_000)), Some(ms(950)));
        assert_eq!(delays.p99(start + ms(69_000)), Some(ms(950)), "the first are forgotten");
        assert_eq!(delays.p99(start + ms(1_000_000)), None);
    }

    #[test]
    fn what_is_beyond_all_buckets_counts_in_the_last() {
        let mut delays = Delays::default();
        delays.add(Duration::MAX, Timestamp::ZERO);
        assert_eq!(delays.p99(Timestamp::ZERO), Some(ms(3_400)));
    }
}
