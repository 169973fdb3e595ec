//! Conversions between counts and real numbers, in one place so that each rounding is deliberate.

/// Returns `count` as a real number. Counts of messages stay far below 2^53, where this is exact.
#[expect(clippy::cast_precision_loss, reason = "message counts stay below 2^53, where f64 is exact")]
pub(super) const fn real(count: u64) -> f64 {
    count as f64
}

/// Returns the messages between two offsets as a real number; zero if `to` is not after `from`.
pub(super) fn messages(from: i64, to: i64) -> f64 {
    real(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

/// Returns a collection's size as the number of replicas or partitions it stands for.
pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Returns the median; `None` of nothing. The lower of the two middle values, so that an even group leans to caution.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_group_is_the_lower_middle() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn offsets_that_went_backwards_are_no_messages() {
        assert!(messages(10, 4).abs() < f64::EPSILON);
        assert!((messages(4, 10) - 6.0).abs() < f64::EPSILON);
    }
}
