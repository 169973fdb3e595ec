//! How long a broker that failed is left alone.

use std::time::Duration;

/// Wait after the first failure; a restarting broker is back within seconds.
const FIRST: Duration = Duration::from_millis(250);
/// Longest wait: two ticks of the controller, so that a returned broker is soon seen.
const LONGEST: Duration = Duration::from_secs(10);

/// Returns the wait after `failures` failures in a row: doubled each time up to ten seconds, then spread evenly over
/// its upper half by `seed`, so that observers that lost a broker together do not come back together.
pub(super) fn delay(failures: u32, seed: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let nominal = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    // 24 bits of a well mixed seed are exact in an f64 and far finer than a timer.
    let spread =
        f64::from(u32::try_from(mix(seed ^ u64::from(failures)) >> 40).unwrap_or(0)) / f64::from(1 << 24);
    nominal.mul_f64(0.5 + 0.5 * spread)
}

/// One step of splitmix64 (Steele, Lea, Flood 2014): every input bit moves every output bit.
const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        for failures in 1..100 {
            let nominal = FIRST.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST);
            for seed in 0..50 {
                let wait = delay(failures, seed);
                assert!(wait >= nominal / 2 && wait <= nominal, "{failures} {seed}: {wait:?}");
            }
        }
    }

    #[test]
    fn seeds_spread_the_wait_and_a_seed_repeats_it() {
        let waits: std::collections::BTreeSet<_> = (0..100).map(|seed| delay(10, seed)).collect();
        assert!(waits.len() > 95, "{} of 100 differ", waits.len());
        assert_eq!(delay(3, 42), delay(3, 42));
    }
}
