//! The consumer group: who is a member, who owns what, what stands still during a rebalance, and the work itself.

use std::time::Duration;

use super::assign::{Owners, range, sticky};
use super::log::{Cohort, Log};
use crate::num::{index, real, whole_u32};
use crate::site::Assignor;

/// A step of virtual time, counted from the beginning of a run.
pub(crate) type Step = u32;

/// One consumer.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: u32,
    /// Messages that it could have processed by now; less than one is carried over.
    credit: f64,
    next_commit: Step,
    /// Partitions assigned to it.
    pub(super) partitions: Vec<usize>,
    /// Records and seconds of work since the last report.
    pub(super) records: u64,
    pub(super) busy_secs: f64,
}

/// What the group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Stable,
    /// Members join; at the end partitions are assigned.
    Joining {
        until: Step,
    },
    /// Cooperative only: what was revoked is handed to its new owner.
    Handing {
        until: Step,
    },
}

/// Times in steps, and what one member does in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) assignor: Assignor,
    pub(super) rebalance: Step,
    pub(super) commit: Step,
    pub(super) per_step: f64,
    pub(super) mu: f64,
}

/// The group and its assignment.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pace: Pace,
    phase: Phase,
    /// Members came or went since the last assignment.
    changed: bool,
    pub(super) members: Vec<Member>,
    owners: Owners,
    /// Step until which a partition is not read.
    paused_until: Vec<Step>,
    scratch: Vec<usize>,
}

impl Group {
    pub(super) fn new(pace: Pace, partitions: usize) -> Self {
        Self {
            pace,
            phase: Phase::Stable,
            changed: false,
            members: Vec::new(),
            owners: vec![None; partitions],
            paused_until: vec![0; partitions],
            scratch: Vec::new(),
        }
    }

    pub(super) fn is_stable(&self) -> bool {
        self.phase == Phase::Stable && !self.changed
    }

    /// Returns whether `id` has been given what it will read.
    pub(super) fn reads(&self, id: u32, now: Step) -> bool {
        self.members.iter().any(|member| {
            member.id == id && member.partitions.iter().any(|partition| self.paused_until[*partition] <= now)
        })
    }

    /// Lets a member in; it gets partitions with the next assignment.
    pub(super) fn join(&mut self, id: u32, now: Step) {
        // Commits of a group are spread over the interval: each member counts from its own beginning.
        let phase = id.wrapping_mul(2_654_435_761) % self.pace.commit.max(1);
        let (records, busy_secs) = (0, 0.0);
        let next_commit = now + phase + 1;
        self.members.push(Member {
            id,
            credit: 0.0,
            next_commit,
            partitions: Vec::new(),
            records,
            busy_secs,
        });
        self.changed = true;
    }

    /// A member leaves in good order: it commits, and what it had waits for the next assignment.
    pub(super) fn leave(&mut self, id: u32, logs: &mut [Log]) {
        let Some(place) = self.members.iter().position(|member| member.id == id) else { return };
        for partition in self.members.remove(place).partitions {
            commit(&mut logs[partition]);
            self.owners[partition] = None;
        }
        self.changed = true;
    }

    /// Assigns at once and without a pause: how a run begins.
    pub(super) fn settle(&mut self) {
        self.assign();
        self.changed = false;
    }

    /// Moves a rebalance on.
    pub(super) fn advance(&mut self, logs: &mut [Log], now: Step) {
        match self.phase {
            Phase::Stable if self.changed => {
                self.phase = Phase::Joining { until: now + self.pace.rebalance };
                self.changed = false;
                if self.pace.assignor == Assignor::Eager {
                    // Everybody gives up everything before joining again.
                    logs.iter_mut().for_each(commit);
                    self.paused_until.fill(now + self.pace.rebalance);
                }
            }
            Phase::Joining { until } if until <= now => {
                // Whoever came while the others joined is part of it.
                self.changed = false;
                let before = self.owners.clone();
                self.assign();
                self.phase = Phase::Stable;
                if self.pace.assignor == Assignor::Cooperative {
                    for (partition, owner) in before.iter().enumerate() {
                        if owner.is_some() && *owner != self.owners[partition] {
                            commit(&mut logs[partition]);
                            self.paused_until[partition] = now + self.pace.rebalance;
                            self.phase = Phase::Handing { until: now + self.pace.rebalance };
                        }
                    }
                }
            }
            Phase::Handing { until } if until <= now => self.phase = Phase::Stable,
            Phase::Stable | Phase::Joining { .. } | Phase::Handing { .. } => {}
        }
    }

    fn assign(&mut self) {
        let mut ids: Vec<u32> = self.members.iter().map(|member| member.id).collect();
        ids.sort_unstable();
        self.owners = match self.pace.assignor {
            Assignor::Eager => range(self.owners.len(), &ids),
            Assignor::Cooperative => sticky(&self.owners, &ids),
        };
        for member in &mut self.members {
            member.partitions.clear();
            let own = self.owners.iter().enumerate().filter(|(_, owner)| **owner == Some(member.id));
            member.partitions.extend(own.map(|(partition, _)| partition));
        }
    }

    /// Everybody works for one step and commits what is due; `done` is told of each cohort processed.
    pub(super) fn work(&mut self, logs: &mut [Log], now: Step, mut done: impl FnMut(&Cohort)) {
        let pace = self.pace;
        for member in &mut self.members {
            let mine = &mut self.scratch;
            mine.clear();
            mine.extend(member.partitions.iter().filter(|partition| self.paused_until[**partition] <= now));
            let waiting: u64 = mine.iter().map(|partition| u64::from(logs[*partition].backlog())).sum();
            member.credit += pace.per_step;
            let possible = u64::from(whole_u32(member.credit));
            let worked = waiting.min(possible);
            if waiting <= possible {
                for partition in mine.iter() {
                    logs[*partition].process(u32::MAX, &mut done);
                }
                // Idle time cannot be saved up.
                member.credit = (member.credit - real(worked)).min(1.0);
            } else {
                share(logs, mine, possible, &mut done);
                member.credit -= real(worked);
            }
            member.records += worked;
            member.busy_secs += real(worked) / pace.mu;
            if member.next_commit <= now {
                member.next_commit = now + pace.commit.max(1);
                for partition in &member.partitions {
                    commit(&mut logs[*partition]);
                }
            }
        }
    }

    /// Returns members with the ids that the coordinator shows.
    pub(super) fn member_names(&self) -> impl Iterator<Item = (String, &Member)> {
        self.members.iter().map(|member| (format!("member-{}", member.id), member))
    }
}

/// Fair among a member's partitions: what a short one leaves over goes to the longer ones.
fn share(logs: &mut [Log], mine: &mut [usize], possible: u64, done: &mut impl FnMut(&Cohort)) {
    mine.sort_by_key(|partition| logs[*partition].backlog());
    let mut left = possible;
    for (place, partition) in mine.iter().enumerate() {
        let part = left / (mine.len() - place) as u64;
        let taken = u64::from(logs[*partition].backlog()).min(part);
        logs[*partition].process(u32::try_from(taken).unwrap_or(u32::MAX), &mut *done);
        left -= taken;
    }
}

fn commit(log: &mut Log) {
    log.committed = log.position;
}

/// Returns `time` in steps, rounded up.
pub(super) fn steps(time: Duration, step_secs: f64) -> Step {
    u32::try_from(index((time.as_secs_f64() / step_secs).ceil())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace =
        Pace { assignor: Assignor::Cooperative, rebalance: 6, commit: 10, per_step: 50.0, mu: 100.0 };

    fn fill(logs: &mut [Log], each: u32) {
        for log in logs {
            log.append(Cohort { born: 0, counts: [0, 0, each] });
        }
    }

    fn run(group: &mut Group, logs: &mut [Log], steps: std::ops::Range<Step>) -> u64 {
        let mut processed = 0;
        for now in steps {
            group.advance(logs, now);
            group.work(logs, now, |cohort| processed += u64::from(cohort.total()));
        }
        processed
    }

    fn group(pace: Pace, members: u32) -> (Group, Vec<Log>) {
        let (mut group, logs) = (Group::new(pace, 8), vec![Log::default(); 8]);
        (0..members).for_each(|id| group.join(id, 0));
        group.settle();
        (group, logs)
    }

    #[test]
    fn a_member_does_its_rate_and_saves_nothing_up() {
        let (mut group, mut logs) = group(PACE, 2);
        assert_eq!(run(&mut group, &mut logs, 0..100), 0);
        fill(&mut logs, 1000);
        let done = run(&mut group, &mut logs, 100..110);
        assert!((1000..=1002).contains(&done), "2 members, 10 steps, 50 a step: {done}");
        let mut slow = self::group(Pace { per_step: 0.25, ..PACE }, 1);
        fill(&mut slow.1, 1000);
        assert_eq!(run(&mut slow.0, &mut slow.1, 0..40), 10);
    }

    #[test]
    fn a_cooperative_rebalance_goes_on_with_what_stays_and_an_eager_one_stops_all() {
        for (assignor, least, most) in [(Assignor::Cooperative, 300, 302), (Assignor::Eager, 0, 0)] {
            let (mut group, mut logs) = group(Pace { assignor, ..PACE }, 1);
            fill(&mut logs, 1000);
            group.join(1, 0);
            let done = run(&mut group, &mut logs, 0..6);
            assert!((least..=most).contains(&done), "{assignor:?}: {done}");
            assert!(!group.is_stable());
            let done = run(&mut group, &mut logs, 6..30);
            assert!(group.is_stable() && group.reads(1, 30));
            // Both work; the cooperative newcomer waits for the hand-over.
            assert!((2000..=2450).contains(&done), "{assignor:?}: {done}");
        }
    }

    #[test]
    fn members_that_come_together_share_one_rebalance() {
        let (mut group, mut logs) = group(Pace { assignor: Assignor::Eager, ..PACE }, 1);
        group.join(1, 0);
        run(&mut group, &mut logs, 0..3);
        group.join(2, 3);
        run(&mut group, &mut logs, 3..7);
        assert!(group.is_stable() && group.reads(1, 7) && group.reads(2, 7));
    }

    #[test]
    fn a_leaver_commits_and_its_partitions_are_read_by_others() {
        let (mut group, mut logs) = group(PACE, 2);
        fill(&mut logs, 100);
        run(&mut group, &mut logs, 0..2);
        group.leave(0, &mut logs);
        let of_leaver: i64 = logs.iter().map(|log| log.committed).sum();
        assert!(of_leaver > 0);
        run(&mut group, &mut logs, 2..60);
        assert!(logs.iter().all(|log| log.backlog() == 0 && log.committed == log.end), "{logs:?}");
    }

    #[test]
    fn a_short_partition_does_not_wait_for_the_long_ones() {
        let (mut group, mut logs) = group(PACE, 1);
        fill(&mut logs, 10_000);
        logs[3] = Log::default();
        logs[3].append(Cohort { born: 0, counts: [5, 0, 0] });
        run(&mut group, &mut logs, 0..1);
        assert_eq!(logs[3].backlog(), 0);
    }
}
