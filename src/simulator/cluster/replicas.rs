//! Replicas as nodes run them: ordered, pending while there is no room, starting, and part of the group at last.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::group::{Group, Step};
use super::log::Log;
use crate::num::{count, real_len, whole_u32};
use crate::site::START_JITTER;

/// One replica.
#[derive(Clone, Copy, Debug)]
struct Replica {
    id: u32,
    ordered_at: Step,
    /// When it joins; `None` while no node has room.
    joins_at: Option<Step>,
    joined: bool,
    /// It has read from a partition.
    reads: bool,
}

/// All replicas, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Replicas {
    all: Vec<Replica>,
    next_id: u32,
    placed: u32,
    ready: u32,
    room: usize,
    start_steps: f64,
    step: Duration,
    /// Order to first fetch of those that began to read since the last look.
    started: Vec<Duration>,
}

impl Replicas {
    pub(super) fn new(room: Option<u32>, start: Duration, step: Duration) -> Self {
        let room = room.map_or(usize::MAX, |room| room as usize);
        let start_steps = start.as_secs_f64() / step.as_secs_f64();
        Self {
            all: Vec::new(),
            next_id: 0,
            placed: 0,
            ready: 0,
            room,
            start_steps,
            step,
            started: Vec::new(),
        }
    }

    /// Begins with `replicas` that have always been there.
    pub(super) fn settle(&mut self, replicas: u32, group: &mut Group) {
        for _ in 0..replicas.min(count(self.room)) {
            let id = self.new_id();
            self.all.push(Replica { id, ordered_at: 0, joins_at: Some(0), joined: true, reads: true });
            group.join(id, 0);
        }
        group.settle();
        self.count();
    }

    fn new_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn ordered(&self) -> u32 {
        count(self.all.len())
    }

    /// Replicas that a node runs.
    pub(super) const fn placed(&self) -> u32 {
        self.placed
    }

    pub(super) const fn ready(&self) -> u32 {
        self.ready
    }

    /// Counts anew; whatever changes a replica ends with it. The counts are asked for in every step, and change rarely.
    fn count(&mut self) {
        self.placed = count(self.all.iter().filter(|replica| replica.joins_at.is_some()).count());
        self.ready = count(self.all.iter().filter(|replica| replica.reads).count());
    }

    /// For each replica that is not ready yet: time since its order, and whether a node runs it.
    pub(super) fn starting(&self, now: Step) -> impl Iterator<Item = (Duration, bool)> {
        self.all
            .iter()
            .filter(|replica| !replica.reads)
            .map(move |replica| (self.step * (now - replica.ordered_at), replica.joins_at.is_some()))
    }

    pub(super) fn take_started(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.started)
    }

    /// Orders `wanted` replicas. Fewer: the youngest go first, so those that are pending or starting before any that work,
    /// as a `ReplicaSet` picks its victims.
    pub(super) fn scale(&mut self, wanted: u32, group: &mut Group, logs: &mut [Log], now: Step) {
        while self.all.len() > wanted as usize
            && let Some(gone) = self.all.pop()
        {
            if gone.joined {
                group.leave(gone.id, logs);
            }
        }
        while self.all.len() < wanted as usize {
            let id = self.new_id();
            self.all.push(Replica { id, ordered_at: now, joins_at: None, joined: false, reads: false });
        }
        self.count();
    }

    /// Places what is pending, and lets join what has started.
    pub(super) fn advance(&mut self, group: &mut Group, now: Step, rng: &mut StdRng) {
        if self.ready == count(self.all.len()) {
            return;
        }
        let mut room = self.room.saturating_sub(self.placed as usize);
        for replica in &mut self.all {
            match replica.joins_at {
                None if room > 0 => {
                    room -= 1;
                    let jitter = 1.0 + rng.random_range(-START_JITTER..=START_JITTER);
                    replica.joins_at = Some(now + whole_u32((self.start_steps * jitter).round()));
                }
                Some(at) if at <= now && !replica.joined => {
                    replica.joined = true;
                    group.join(replica.id, now);
                }
                Some(_) if replica.joined && !replica.reads && group.reads(replica.id, now) => {
                    replica.reads = true;
                    self.started.push(self.step * (now - replica.ordered_at));
                }
                None | Some(_) => {}
            }
        }
        self.count();
    }

    /// Returns replica-seconds of one step.
    pub(super) fn cost_secs(&self) -> f64 {
        real_len(self.placed() as usize) * self.step.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::super::group::Pace;
    use super::*;
    use crate::site::Assignor;

    fn parts(room: Option<u32>) -> (Replicas, Group, Vec<Log>, StdRng) {
        let pace =
            Pace { assignor: Assignor::Cooperative, rebalance: 2, commit: 10, per_step: 5.0, mu: 10.0 };
        let replicas = Replicas::new(room, Duration::from_secs(20), Duration::from_millis(500));
        (replicas, Group::new(pace, 8), vec![Log::default(); 8], StdRng::seed_from_u64(1))
    }

    #[test]
    fn a_replica_is_ready_once_it_started_and_was_given_partitions() {
        let (mut replicas, mut group, mut logs, mut rng) = parts(None);
        replicas.settle(1, &mut group);
        replicas.scale(3, &mut group, &mut logs, 10);
        let mut ready_at = None;
        for now in 10..100 {
            replicas.advance(&mut group, now, &mut rng);
            group.advance(&mut logs, now);
            if replicas.ready() == 3 {
                ready_at = ready_at.or(Some(now));
            }
        }
        // 40 steps more or less 15 %, and two rebalance phases.
        assert!((10 + 34..=10 + 46 + 12).contains(&ready_at.unwrap()), "{ready_at:?}");
        let started = replicas.take_started();
        assert_eq!(started.len(), 2);
        assert!(started.iter().all(|start| (17..30).contains(&start.as_secs())), "{started:?}");
        assert_eq!(replicas.starting(100).count(), 0);
    }

    #[test]
    fn what_has_no_room_is_pending_until_there_is_some() {
        let (mut replicas, mut group, mut logs, mut rng) = parts(Some(2));
        replicas.settle(1, &mut group);
        replicas.scale(5, &mut group, &mut logs, 0);
        for now in 0..200 {
            replicas.advance(&mut group, now, &mut rng);
            group.advance(&mut logs, now);
        }
        assert_eq!((replicas.ordered(), replicas.placed(), replicas.ready()), (5, 2, 2));
        assert_eq!(replicas.starting(200).filter(|(_, placed)| !placed).count(), 3);
        replicas.scale(2, &mut group, &mut logs, 200);
        assert_eq!((replicas.ordered(), replicas.ready()), (2, 2), "the pending ones go first");
    }
}
