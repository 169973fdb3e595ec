//! Which successes prove that Kafka has the record.
//!
//! librdkafka reports some records as delivered that Kafka has not named an offset for: those before a later success
//! with offset -1001 each, and a batch that met a duplicate sequence error numbered upwards from the -1 of the error
//! response. So "the offset is not negative" is not enough: the second record of such a batch has offset 0. A batch is
//! reported as one run within one event, so what continues an unproven run is unproven too.

/// The offset of the last report if it was unproven: what the next one must not continue.
#[derive(Debug, Default)]
pub(super) struct Proof {
    run: Option<(usize, i32, i64)>,
}

impl Proof {
    /// Returns whether a success with this offset is proven. `topic` only tells topics apart. Reports come in the
    /// order of their event; a new event starts with a new `Proof`.
    pub(super) fn judge(&mut self, topic: usize, partition: i32, offset: i64) -> bool {
        let continues = self.run == Some((topic, partition, offset.wrapping_sub(1)));
        let proven = offset >= 0 && !continues;
        self.run = (!proven).then_some((topic, partition, offset));
        proven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(offsets: impl IntoIterator<Item = i64>) -> Vec<bool> {
        let mut proof = Proof::default();
        offsets.into_iter().map(|offset| proof.judge(1, 0, offset)).collect()
    }

    #[test]
    fn offsets_of_a_real_batch_are_proven_from_the_first_on() {
        assert_eq!(judge(0..3), [true; 3]);
        assert_eq!(judge(70..73), [true; 3]);
    }

    #[test]
    fn a_batch_numbered_from_minus_one_proves_nothing_though_it_reaches_zero() {
        assert_eq!(judge(-1..200), vec![false; 201]);
    }

    #[test]
    fn records_acknowledged_by_a_later_success_prove_nothing() {
        assert_eq!(judge([-1001; 3]), [false; 3]);
    }

    #[test]
    fn a_real_batch_after_an_unproven_one_is_proven() {
        assert_eq!(judge([-1, 0, 500, 501]), [false, false, true, true]);
    }

    #[test]
    fn another_partition_does_not_continue_the_run() {
        let mut proof = Proof::default();
        assert!(!proof.judge(1, 0, -1));
        assert!(proof.judge(1, 1, 0));
        assert!(!proof.judge(1, 0, -1));
        assert!(proof.judge(2, 0, 0));
    }
}
