//! One partition: a queue of cohorts, and the offsets that Kafka would tell.
//!
//! Messages first sent in one step are one cohort, so the exact distribution of delays costs a few bytes a step instead
//! of some a message.

use std::collections::VecDeque;

use crate::fleet::PerClass;

/// Messages that were first sent in the same step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cohort {
    /// The step.
    pub(crate) born: u32,
    pub(crate) counts: PerClass<u32>,
}

impl Cohort {
    pub(crate) fn total(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// Takes `wanted` messages out, from each class in proportion; all if there are not more.
    pub(crate) fn split_off(&mut self, wanted: u32) -> Self {
        let total = self.total();
        if wanted >= total {
            return Self { counts: std::mem::take(&mut self.counts), ..*self };
        }
        let mut left = wanted;
        let mut taken = self.counts.map(|messages| {
            let share = u64::from(messages) * u64::from(wanted) / u64::from(total.max(1));
            u32::try_from(share).unwrap_or(u32::MAX)
        });
        left -= taken.iter().sum::<u32>();
        for (count, taken) in self.counts.iter_mut().zip(&mut taken) {
            // What rounding left: one or two messages.
            let more = left.min(*count - *taken);
            *taken += more;
            left -= more;
            *count -= *taken;
        }
        Self { born: self.born, counts: taken }
    }
}

/// A partition's records, from the group's position to the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    waiting: VecDeque<Cohort>,
    /// Offset after the newest record.
    pub(super) end: i64,
    /// Offset of the next record to be processed.
    pub(super) position: i64,
    /// Offset that the group committed.
    pub(super) committed: i64,
}

impl Log {
    pub(super) fn backlog(&self) -> u32 {
        u32::try_from(self.end - self.position).unwrap_or(u32::MAX)
    }

    pub(super) fn append(&mut self, cohort: Cohort) {
        let total = cohort.total();
        if total == 0 {
            return;
        }
        self.end += i64::from(total);
        match self.waiting.back_mut() {
            Some(last) if last.born == cohort.born => {
                for (sum, more) in last.counts.iter_mut().zip(cohort.counts) {
                    *sum += more;
                }
            }
            _ => self.waiting.push_back(cohort),
        }
    }

    /// Processes up to `messages` in order and tells `done` of each cohort, or part of one.
    pub(super) fn process(&mut self, messages: u32, mut done: impl FnMut(&Cohort)) {
        let mut left = messages.min(self.backlog());
        self.position += i64::from(left);
        while left > 0
            && let Some(first) = self.waiting.front_mut()
        {
            let part = first.split_off(left);
            left -= part.total();
            if first.total() == 0 {
                self.waiting.pop_front();
            }
            done(&part);
        }
    }

    /// What has not been processed.
    pub(super) fn rest(&self) -> impl Iterator<Item = &Cohort> {
        self.waiting.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort(born: u32, counts: PerClass<u32>) -> Cohort {
        Cohort { born, counts }
    }

    #[test]
    fn records_are_processed_in_order_and_none_twice() {
        let mut log = Log::default();
        log.append(cohort(1, [1, 2, 3]));
        log.append(cohort(1, [0, 0, 1]));
        log.append(cohort(2, [5, 0, 5]));
        log.append(cohort(3, [0, 0, 0]));
        let mut seen: Vec<(u32, u32)> = Vec::new();
        for _ in 0..9 {
            log.process(2, |part| seen.push((part.born, part.total())));
        }
        assert_eq!(seen.iter().map(|(_, n)| n).sum::<u32>(), 17);
        assert!(seen.is_sorted_by_key(|(born, _)| *born), "{seen:?}");
        assert_eq!((log.backlog(), log.end, log.position), (0, 17, 17));
        assert_eq!(log.rest().count(), 0);
    }

    #[test]
    fn a_part_of_a_cohort_has_its_classes_in_proportion() {
        let mut all = cohort(1, [10, 30, 60]);
        let part = all.split_off(50);
        assert_eq!((part.counts, all.counts), ([5, 15, 30], [5, 15, 30]));
        let part = all.split_off(7);
        assert_eq!((part.total(), all.total()), (7, 43));
        assert_eq!(all.split_off(1000).total(), 43);
    }
}
