//! Conversions between counts and real numbers, in one place so that each rounding is deliberate.

/// Returns `count` as a real number. Counts of messages and steps stay far below 2^53, where this is exact.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53, where f64 is exact")]
pub(crate) const fn real(count: u64) -> f64 {
    count as f64
}

/// Returns a collection's size, or an index into it, as a real number.
pub(crate) const fn real_len(len: usize) -> f64 {
    real(len as u64)
}

/// Returns the whole part of `value`; zero of what is negative or no number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and NaN becomes zero: both are wanted"
)]
pub(crate) const fn whole(value: f64) -> u64 {
    value as u64
}

/// Returns the whole part of `value` as an index.
pub(crate) fn index(value: f64) -> usize {
    usize::try_from(whole(value)).unwrap_or(usize::MAX)
}

/// Returns the whole part of `value`, at most `u32::MAX`.
pub(crate) fn whole_u32(value: f64) -> u32 {
    u32::try_from(whole(value)).unwrap_or(u32::MAX)
}

/// Returns a collection's size as the number of replicas or partitions it stands for.
pub(crate) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Returns the value below which the part `q` of `values` lies (nearest rank); `None` of nothing.
pub(crate) fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q.clamp(0.0, 1.0) * real_len(sorted.len())).ceil();
    sorted.get(index(rank).saturating_sub(1).min(sorted.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 0.5), Some(3.0));
        assert_eq!(quantile(&values, 0.999), Some(5.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn what_is_no_count_is_zero() {
        assert_eq!((whole(-3.0), whole(f64::NAN), whole(2.9)), (0, 0, 2));
    }
}
