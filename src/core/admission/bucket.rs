//! The rate limit of one device: a bucket of eight bytes whose limit is an argument.
//!
//! Formula: the generic cell rate algorithm GCRA(T, tau) in its virtual-scheduling form, ITU-T
//! Recommendation I.371, annex A (the same as ATM Forum Traffic Management 4.0, section 4.4.2), with
//! T = 1 / rate and tau = (burst - 1) x T. A message conforms at `now` if its theoretical arrival time
//! TAT <= now + tau; then TAT becomes max(TAT, now) + T. Any window of `t` seconds, both ends included,
//! therefore admits at most burst + rate x t messages.

use std::time::Duration;

use crate::time::Timestamp;

/// A rate and a burst, as the bucket needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// T: time that one message costs, rounded up so that the rate is never exceeded.
    interval_nanos: u64,
    burst: u32,
}

impl Limit {
    /// Lowest rate: one message in 1000 s.
    pub const MIN_PER_SEC: f64 = 0.001;
    /// Highest rate; beyond it the interval in nanoseconds would be too coarse to keep.
    pub const MAX_PER_SEC: f64 = 1_000_000.0;
    /// Largest burst; with the lowest rate, tau stays below 2^64 ns.
    pub const MAX_BURST: u32 = 1_000_000;

    /// Returns the limit of `per_sec` messages per second after `burst` at once; `None` if either is out of
    /// its range (`MIN_PER_SEC..=MAX_PER_SEC`, `1..=MAX_BURST`) or the rate is not a number.
    #[must_use]
    pub fn new(per_sec: f64, burst: u32) -> Option<Self> {
        let in_range = (Self::MIN_PER_SEC..=Self::MAX_PER_SEC).contains(&per_sec);
        if !in_range || !(1..=Self::MAX_BURST).contains(&burst) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range above keeps the interval within 1e3..=1e12"
        )]
        let interval_nanos = (1e9 / per_sec).ceil() as u64;
        Some(Self { interval_nanos, burst })
    }

    /// Returns the rate in messages per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an interval is at most 1e12 and so exact in an f64")]
    pub fn per_sec(self) -> f64 {
        1e9 / self.interval_nanos as f64
    }

    /// Returns how many messages may come at once.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// Returns T, the time that one message costs.
    #[must_use]
    pub const fn interval(self) -> Duration {
        Duration::from_nanos(self.interval_nanos)
    }

    /// Returns tau, how far the theoretical arrival time may run ahead.
    const fn tolerance(self) -> Duration {
        Duration::from_nanos(self.interval_nanos.saturating_mul(self.burst as u64 - 1))
    }
}

/// What one device has used of its limit: the theoretical arrival time of its next message.
///
/// A new bucket, and one whose time has passed, is full. Messages of several classes may share a bucket: each
/// costs the interval of its own class. A `now` that goes back can only refuse what it would have admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    theoretical_arrival: Timestamp,
}

impl Bucket {
    /// Takes one message's worth and returns true, or leaves the bucket as it is and returns false.
    pub fn try_take(&mut self, limit: Limit, now: Timestamp) -> bool {
        if self.ready_at(limit) > now {
            return false;
        }
        self.theoretical_arrival = self.theoretical_arrival.max(now) + limit.interval();
        true
    }

    /// Returns the earliest time at which a message conforms; it may have passed.
    #[must_use]
    pub fn ready_at(&self, limit: Limit) -> Timestamp {
        self.theoretical_arrival - limit.tolerance()
    }

    /// Returns the time from which the bucket is full again, that is, as good as new.
    #[must_use]
    pub const fn full_at(&self) -> Timestamp {
        self.theoretical_arrival
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(per_sec: f64, burst: u32) -> Limit {
        Limit::new(per_sec, burst).unwrap()
    }

    #[test]
    fn a_bucket_is_eight_bytes() {
        assert_eq!(size_of::<Bucket>(), 8);
    }

    #[test]
    fn limits_outside_their_range_are_refused() {
        for (rate, burst) in [(0.0, 1), (-5.0, 1), (f64::NAN, 1), (1e7, 1), (10.0, 0), (10.0, 1_000_001)] {
            assert_eq!(Limit::new(rate, burst), None, "{rate}/s burst {burst}");
        }
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_one_per_interval() {
        let (sensor, mut bucket) = (limit(10.0, 50), Bucket::default());
        let now = Timestamp::from_millis(5_000);
        assert_eq!((0..100).filter(|_| bucket.try_take(sensor, now)).count(), 50);
        assert_eq!(bucket.ready_at(sensor), now + Duration::from_millis(100));
        assert!(!bucket.try_take(sensor, now + Duration::from_millis(99)));
        assert!(bucket.try_take(sensor, now + Duration::from_millis(100)));
        assert!(!bucket.try_take(sensor, now + Duration::from_millis(100)));
    }

    #[test]
    fn an_idle_bucket_saves_no_more_than_its_burst() {
        let (sensor, mut bucket) = (limit(10.0, 3), Bucket::default());
        assert!(bucket.try_take(sensor, Timestamp::ZERO));
        let later = Timestamp::from_millis(3_600_000);
        assert_eq!((0..10).filter(|_| bucket.try_take(sensor, later)).count(), 3);
    }

    proptest! {
        #[test]
        fn no_window_admits_more_than_burst_plus_rate_times_time(
            per_sec in 0.01f64..10_000.0,
            burst in 1u32..200,
            gaps_micros in prop::collection::vec(0u64..200_000, 1..400),
        ) {
            let (limit, mut bucket, mut now) = (limit(per_sec, burst), Bucket::default(), Timestamp::from_millis(7));
            let mut admitted = Vec::new();
            for gap in gaps_micros {
                now = now + Duration::from_micros(gap);
                if bucket.try_take(limit, now) {
                    admitted.push(now);
                }
            }
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let allowed = f64::from(burst) + limit.per_sec() * to.since(*from).as_secs_f64();
                    let count = u32::try_from(last - first + 1).unwrap();
                    prop_assert!(f64::from(count) <= allowed + 1e-6, "{count} in {:?}", to.since(*from));
                }
            }
        }

        #[test]
        fn time_that_goes_back_admits_nothing_more(
            burst in 1u32..50,
            steps_millis in prop::collection::vec(-400i64..500, 1..200),
        ) {
            // Admissions under a jumping clock fit into what the span it covered allows.
            let (limit, mut bucket) = (limit(10.0, burst), Bucket::default());
            let (mut now, mut low, mut high, mut admitted) = (100_000i64, 100_000i64, 100_000i64, 0u32);
            for step in steps_millis {
                now += step;
                (low, high) = (low.min(now), high.max(now));
                admitted += u32::from(bucket.try_take(limit, Timestamp::from_millis(now.unsigned_abs())));
            }
            let span_millis = u32::try_from(high - low).unwrap();
            let allowed = f64::from(burst) + limit.per_sec() * f64::from(span_millis) / 1000.0;
            prop_assert!(f64::from(admitted) <= allowed + 1e-6, "{admitted} > {allowed}");
        }

        #[test]
        fn what_was_said_to_be_ready_is_admitted_then_and_not_before(
            per_sec in 0.1f64..1_000.0,
            burst in 1u32..50,
            takes in 1usize..100,
        ) {
            let (limit, mut bucket, now) = (limit(per_sec, burst), Bucket::default(), Timestamp::from_millis(60_000));
            for _ in 0..takes {
                bucket.try_take(limit, now);
            }
            let ready = bucket.ready_at(limit);
            if ready > now {
                prop_assert!(!bucket.clone().try_take(limit, ready - Duration::from_nanos(1)));
            }
            prop_assert!(bucket.try_take(limit, ready.max(now)));
        }
    }
}
