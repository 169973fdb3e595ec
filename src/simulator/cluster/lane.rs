//! What waits in front of Kafka: one class at one gateway.
//!
//! Messages over the budget go to the spool as far as the class may use it, then devices are paced (their messages wait
//! in hold queues), and who has been paced for a minute without one message getting in is refused with an
//! appointment and comes back. Order within the lane is kept but for those who come back.

use std::collections::VecDeque;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::group::Step;
use crate::num::{real, whole_u32};

/// Messages of one class that wait since one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Step in which devices first sent them.
    pub(super) born: Step,
    /// Step in which they came (again).
    entered: Step,
    pub(super) messages: u32,
}

/// Limits of a lane, in messages and steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneLimits {
    /// Messages that the class may have in the spool.
    pub(super) spool: u64,
    /// Steps that a device is held before it is refused.
    pub(super) patience: Step,
    /// Longest wait of an appointment.
    pub(super) appointment: Step,
}

/// One class at one gateway.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    limits: LaneLimits,
    /// Rate that the budget allows, in messages per step; `None`: no budget.
    pub(super) per_step: Option<f64>,
    credit: f64,
    spool: VecDeque<Waiting>,
    spooled: u64,
    hold: VecDeque<Waiting>,
    held: u64,
    /// Refused ones and when they come back, soonest first.
    away: VecDeque<(Step, Waiting)>,
    absent: u64,
    /// Messages refused so far, each time counted.
    pub(super) refused: u64,
}

impl Lane {
    pub(super) fn new(limits: LaneLimits) -> Self {
        Self {
            limits,
            per_step: None,
            credit: 0.0,
            spool: VecDeque::new(),
            spooled: 0,
            hold: VecDeque::new(),
            held: 0,
            away: VecDeque::new(),
            absent: 0,
            refused: 0,
        }
    }

    pub(super) fn spooled(&self) -> u64 {
        self.spooled
    }

    pub(super) fn held(&self) -> u64 {
        self.held + self.absent
    }

    pub(super) fn waiting(&self) -> u64 {
        self.spooled + self.held + self.absent
    }

    /// A step begins: the budget grows.
    pub(super) fn refill(&mut self) {
        if let Some(per_step) = self.per_step {
            // Two steps of the rate, so that chance does not hold up what fits. Never less than one message, or a small
            // share would never add up to one.
            self.credit = (self.credit + per_step).min((2.0 * per_step).max(1.0));
        }
    }

    /// Returns whether `arriving` messages need not wait.
    pub(super) fn passes(&self, arriving: u32) -> bool {
        self.waiting() == 0 && (self.per_step.is_none() || self.credit >= f64::from(arriving))
    }

    /// Takes the budget of messages that do not wait.
    pub(super) fn pass(&mut self, arriving: u32) {
        self.credit = (self.credit - f64::from(arriving)).max(0.0);
    }

    /// Lets `arriving` messages wait, and as many go on as the budget has: those that waited longest first.
    pub(super) fn queue(
        &mut self,
        arriving: u32,
        now: Step,
        rng: &mut StdRng,
        mut admit: impl FnMut(Step, u32),
    ) {
        self.enter(Waiting { born: now, entered: now, messages: arriving });
        while self.away.front().is_some_and(|(back, _)| *back <= now)
            && let Some((_, waiting)) = self.away.pop_front()
        {
            self.absent -= u64::from(waiting.messages);
            self.enter(Waiting { entered: now, ..waiting });
        }
        let mut left = if self.per_step.is_none() { u32::MAX } else { whole_u32(self.credit) };
        while left > 0
            && let Some(first) = self.spool.front_mut().or(self.hold.front_mut())
        {
            let taken = first.messages.min(left);
            let (born, emptied) = (first.born, taken == first.messages);
            first.messages -= taken;
            left -= taken;
            if self.spool.is_empty() {
                self.held -= u64::from(taken);
                emptied.then(|| self.hold.pop_front());
            } else {
                self.spooled -= u64::from(taken);
                emptied.then(|| self.spool.pop_front());
            }
            if self.per_step.is_some() {
                self.credit -= f64::from(taken);
            }
            admit(born, taken);
        }
        self.refill_spool();
        self.refuse(now, rng);
    }

    fn enter(&mut self, waiting: Waiting) {
        if waiting.messages > 0 {
            self.held += u64::from(waiting.messages);
            self.hold.push_back(waiting);
            self.refill_spool();
        }
    }

    /// The spool takes what it may from the hold queues, in order.
    fn refill_spool(&mut self) {
        while self.spooled < self.limits.spool
            && let Some(first) = self.hold.front_mut()
        {
            let room = u32::try_from(self.limits.spool - self.spooled).unwrap_or(u32::MAX);
            let taken = first.messages.min(room);
            let moved = Waiting { messages: taken, ..*first };
            first.messages -= taken;
            if first.messages == 0 {
                self.hold.pop_front();
            }
            self.held -= u64::from(taken);
            self.spooled += u64::from(taken);
            self.spool.push_back(moved);
        }
    }

    fn refuse(&mut self, now: Step, rng: &mut StdRng) {
        while self.hold.front().is_some_and(|first| now - first.entered > self.limits.patience)
            && let Some(gone) = self.hold.pop_front()
        {
            self.held -= u64::from(gone.messages);
            self.absent += u64::from(gone.messages);
            self.refused += u64::from(gone.messages);
            let back = now + rng.random_range(1..=self.limits.appointment.max(1));
            let place = self.away.partition_point(|(other, _)| *other <= back);
            self.away.insert(place, (back, gone));
        }
    }

    /// What is still here when the run ends.
    pub(super) fn rest(&self) -> impl Iterator<Item = &Waiting> {
        self.spool.iter().chain(&self.hold).chain(self.away.iter().map(|(_, waiting)| waiting))
    }

    /// Returns messages refused by the part `share` of this lane's devices being unreadable: none are, unless held.
    pub(super) fn hidden_share(&self, hold_capacity: u64) -> f64 {
        let held = self.held();
        if held <= hold_capacity { 0.0 } else { 1.0 - real(hold_capacity) / real(held) }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn lane(spool: u64) -> Lane {
        Lane::new(LaneLimits { spool, patience: 120, appointment: 20 })
    }

    /// Runs the lane, and returns what was admitted, with its birth.
    fn run(lane: &mut Lane, steps: std::ops::Range<Step>, arriving: u32) -> Vec<(Step, u32)> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut admitted = Vec::new();
        for now in steps {
            lane.refill();
            if lane.passes(arriving) {
                lane.pass(arriving);
                admitted.push((now, arriving));
            } else {
                lane.queue(arriving, now, &mut rng, |born, messages| admitted.push((born, messages)));
            }
        }
        admitted
    }

    fn sum(admitted: &[(Step, u32)]) -> u32 {
        admitted.iter().map(|(_, messages)| messages).sum()
    }

    #[test]
    fn without_a_budget_nothing_waits() {
        let mut lane = lane(0);
        assert_eq!(sum(&run(&mut lane, 0..10, 7)), 70);
        assert_eq!(lane.waiting(), 0);
    }

    #[test]
    fn what_is_over_the_budget_is_spooled_then_held_and_goes_on_in_order() {
        let mut lane = lane(30);
        lane.per_step = Some(5.0);
        let admitted = run(&mut lane, 0..20, 10);
        assert!((100..=105).contains(&sum(&admitted)), "{admitted:?}");
        assert_eq!(lane.spooled(), 30);
        assert!((65..=70).contains(&lane.held()), "{}", lane.held());
        let rest = run(&mut lane, 20..60, 0);
        assert_eq!(sum(&admitted) + sum(&rest), 200);
        assert!(admitted.is_sorted_by_key(|(born, _)| *born) && rest.is_sorted_by_key(|(born, _)| *born));
        assert_eq!((lane.waiting(), lane.refused), (0, 0));
    }

    #[test]
    fn who_was_held_for_too_long_is_refused_and_comes_back_without_loss() {
        let mut lane = lane(0);
        lane.per_step = Some(0.0);
        let admitted = run(&mut lane, 0..200, 3);
        assert!(admitted.is_empty() && lane.refused > 0, "{}", lane.refused);
        assert_eq!(lane.waiting(), 600);
        assert_eq!(lane.rest().map(|waiting| u64::from(waiting.messages)).sum::<u64>(), 600);
        lane.per_step = Some(50.0);
        assert_eq!(sum(&run(&mut lane, 200..300, 0)), 600);
    }

    #[test]
    fn a_share_below_one_message_a_step_adds_up() {
        let mut lane = lane(100);
        lane.per_step = Some(0.25);
        assert_eq!(sum(&run(&mut lane, 0..40, 1)), 10);
    }
}
