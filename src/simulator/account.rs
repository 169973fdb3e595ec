//! What counts: which messages were late, by class; how long they took; what was never delivered.
//!
//! Late is more than the promise from the first send at the device to processed. Time in hold queues, in the spool and
//! between a refusal and the next try counts. What is not delivered when a run ends is late, and counted on its own.

use serde::Serialize;

use crate::cluster::{Cohort, Step};
use crate::fleet::{CLASSES, PerClass};
use crate::num::{index, real, real_len};
use crate::series::PARTS;

/// Delays are counted by the step up to this many; longer ones are in the last slot. Four hours of seconds.
const DELAY_STEPS_MAX: usize = 14_400;

/// Messages of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// First sent in the window.
    pub sent: u64,
    /// Of these: processed after the promise, or never.
    pub late: u64,
    /// Of these: not processed when the run ended.
    pub never: u64,
}

impl Tally {
    /// Returns the share that was late, 0 to 1.
    #[must_use]
    pub fn late_share(self) -> f64 {
        if self.sent == 0 { 0.0 } else { real(self.late) / real(self.sent) }
    }

    fn add(self, other: Self) -> Self {
        Self { sent: self.sent + other.sent, late: self.late + other.late, never: self.never + other.never }
    }
}

/// The books of one run.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    slo_steps: Step,
    window: std::ops::Range<Step>,
    tallies: PerClass<Tally>,
    delays: Vec<u64>,
    /// Sent and late by part of the window, for plots.
    parts: Vec<(u64, u64)>,
}

impl Account {
    pub(crate) fn new(slo_steps: Step, window: std::ops::Range<Step>) -> Self {
        Self {
            slo_steps,
            window,
            tallies: PerClass::default(),
            delays: Vec::new(),
            parts: vec![(0, 0); PARTS],
        }
    }

    fn part(&self, born: Step) -> usize {
        let into = u64::from(born - self.window.start) * PARTS as u64;
        usize::try_from(into / u64::from(self.window.end - self.window.start)).unwrap_or(0).min(PARTS - 1)
    }

    pub(crate) fn sent(&mut self, now: Step, messages: &PerClass<u32>) {
        if self.window.contains(&now) {
            for (tally, messages) in self.tallies.iter_mut().zip(messages) {
                tally.sent += u64::from(*messages);
            }
            let part = self.part(now);
            self.parts[part].0 += messages.iter().map(|n| u64::from(*n)).sum::<u64>();
        }
    }

    /// A cohort was processed in step `now`.
    pub(crate) fn processed(&mut self, cohort: &Cohort, now: Step) {
        if !self.window.contains(&cohort.born) {
            return;
        }
        let delay = now - cohort.born;
        if delay > self.slo_steps {
            for (tally, messages) in self.tallies.iter_mut().zip(cohort.counts) {
                tally.late += u64::from(messages);
            }
            let part = self.part(cohort.born);
            self.parts[part].1 += u64::from(cohort.total());
        }
        let slot = (delay as usize).min(DELAY_STEPS_MAX);
        if self.delays.len() <= slot {
            self.delays.resize(slot + 1, 0);
        }
        self.delays[slot] += u64::from(cohort.total());
    }

    /// A cohort is left over at the end.
    pub(crate) fn never(&mut self, born: Step, messages: &PerClass<u32>) {
        if self.window.contains(&born) {
            for (tally, messages) in self.tallies.iter_mut().zip(messages) {
                tally.late += u64::from(*messages);
                tally.never += u64::from(*messages);
            }
            let part = self.part(born);
            self.parts[part].1 += messages.iter().map(|n| u64::from(*n)).sum::<u64>();
        }
    }

    /// Returns the share that was late, by part of the window in which messages were first sent.
    pub(crate) fn late_by_part(&self) -> impl Iterator<Item = f64> {
        self.parts.iter().map(|(sent, late)| if *sent == 0 { 0.0 } else { real(*late) / real(*sent) })
    }

    pub(crate) fn tallies(&self) -> PerClass<Tally> {
        self.tallies
    }

    pub(crate) fn total(&self) -> Tally {
        (0..CLASSES).fold(Tally::default(), |sum, class| sum.add(self.tallies[class]))
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delays.iter().sum()
    }

    /// Returns the delay in seconds that the part `q` of all messages stays within; those never delivered are beyond all
    /// others. `None` if that many were not delivered, or none were sent.
    pub(crate) fn delay_quantile(&self, q: f64, step_secs: f64) -> Option<f64> {
        let wanted = (q * real(self.total().sent)).ceil();
        let mut passed = 0;
        for (steps, messages) in self.delays.iter().enumerate() {
            passed += messages;
            if *messages > 0 && real(passed) >= wanted {
                return Some(real_len(steps) * step_secs);
            }
        }
        None
    }
}

/// Returns `secs` in steps: how many whole steps a message may take.
pub(crate) fn slo_steps(secs: f64, step_secs: f64) -> Step {
    u32::try_from(index((secs / step_secs).floor())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort(born: Step, sensors: u32) -> Cohort {
        Cohort { born, counts: [1, 0, sensors] }
    }

    #[test]
    fn only_the_window_counts_and_late_is_more_than_the_promise() {
        let mut account = Account::new(slo_steps(10.0, 0.5), 100..200);
        account.sent(99, &[9, 9, 9]);
        for born in [100, 150, 199] {
            account.sent(born, &[1, 0, 4]);
        }
        account.processed(&cohort(99, 4), 300);
        account.processed(&cohort(100, 4), 120);
        account.processed(&cohort(150, 4), 171);
        account.never(199, &[1, 0, 4]);
        account.never(200, &[1, 0, 4]);
        let [alarm, gateway, sensor] = account.tallies();
        assert_eq!(alarm, Tally { sent: 3, late: 2, never: 1 });
        assert_eq!(gateway, Tally::default());
        assert_eq!(sensor, Tally { sent: 12, late: 8, never: 4 });
        assert!((account.total().late_share() - 10.0 / 15.0).abs() < 1e-9);
        assert_eq!(account.delay_quantile(0.3, 0.5), Some(10.0));
        assert_eq!(account.delay_quantile(0.6, 0.5), Some(10.5));
        assert_eq!(account.delay_quantile(0.99, 0.5), None, "a third was never delivered");
    }
}
