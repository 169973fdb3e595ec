//! A set of sequence numbers that are mostly consecutive.

use std::collections::BTreeMap;

/// Set of `u64` below `u64::MAX`, kept as ranges: a device that sent ten thousand messages costs one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeqSet {
    /// First number of each range -> the first number after it. Ranges neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl SeqSet {
    /// Adds a number; returns false if it was there.
    ///
    /// # Panics
    /// If `seq` is `u64::MAX`, which no device reaches.
    pub fn insert(&mut self, seq: u64) -> bool {
        let next = seq.checked_add(1).expect("no device counts to u64::MAX");
        let before = self.ranges.range(..=seq).next_back().map(|(&start, &end)| (start, end));
        if before.is_some_and(|(_, end)| seq < end) {
            return false;
        }
        let start = before.filter(|&(_, end)| end == seq).map_or(seq, |(start, _)| start);
        let end = self.ranges.remove(&next).unwrap_or(next);
        self.ranges.insert(start, end);
        self.len += 1;
        true
    }

    /// Returns true if the number is in the set.
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        self.ranges.range(..=seq).next_back().is_some_and(|(_, &end)| seq < end)
    }

    /// Returns how many numbers there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns true if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the numbers, upwards.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.ranges.iter().flat_map(|(&start, &end)| start..end)
    }
}

impl FromIterator<u64> for SeqSet {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut set = Self::default();
        for seq in numbers {
            set.insert(seq);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_holds(numbers in prop::collection::vec(0_u64..60, 0..200)) {
            let mut plain = BTreeSet::new();
            let mut set = SeqSet::default();
            for seq in numbers {
                prop_assert_eq!(set.insert(seq), plain.insert(seq));
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len(), plain.len() as u64);
            for seq in 0..60 {
                prop_assert_eq!(set.contains(seq), plain.contains(&seq));
            }
        }
    }

    #[test]
    fn consecutive_numbers_in_any_order_cost_one_range() {
        let set: SeqSet = [3, 1, 0, 2, 5, 4].into_iter().collect();
        assert_eq!(set.ranges.len(), 1);
    }
}
