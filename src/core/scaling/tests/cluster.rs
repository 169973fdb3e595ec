//! A consumer group on virtual time: Poisson arrivals, consumers that do mu each, commits every five seconds,
//! starts and rebalances that take time; and the controller's loop around it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::scaling::{
    Busy, Decision, Group, History, Member, Membership, Observation, Offered, PartitionId, PartitionOffsets,
    Policy, Replicas, decide,
};
use crate::time::Timestamp;

const COMMIT_SECS: f64 = 5.0;

/// What the group tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    Nothing,
    Members,
    BusySeconds,
}

#[derive(Clone, Debug)]
struct Log {
    id: PartitionId,
    end: f64,
    position: f64,
    committed: f64,
}

pub(super) struct Cluster {
    pub(super) rate: f64,
    pub(super) mu: f64,
    pub(super) start_secs: f64,
    pub(super) rebalance_secs: f64,
    pub(super) tells: Tells,
    pub(super) offered: Option<Offered>,
    now: f64,
    /// Resolution of arrivals and work, in seconds.
    pub(super) step: f64,
    logs: Vec<Log>,
    ready: u32,
    /// Order times of replicas that are starting.
    starting: Vec<f64>,
    started: Vec<Duration>,
    /// Until when the group rebalances.
    paused_until: f64,
    /// Next commit of each ready member.
    commits: Vec<f64>,
    busy: BTreeMap<u32, (f64, f64)>,
    rng: StdRng,
}

impl Cluster {
    pub(super) fn new(partitions: u32, replicas: u32, mu: f64, rate: f64, seed: u64) -> Self {
        let topic: Arc<str> = Arc::from("telemetry");
        let log = |partition| Log {
            id: PartitionId { topic: topic.clone(), partition },
            end: 0.0,
            position: 0.0,
            committed: 0.0,
        };
        let mut cluster = Self {
            rate,
            mu,
            start_secs: 4.0,
            rebalance_secs: 1.0,
            tells: Tells::Members,
            offered: None,
            now: 0.0,
            step: 1.0,
            logs: (0..partitions).map(log).collect(),
            ready: replicas,
            starting: Vec::new(),
            started: Vec::new(),
            paused_until: 0.0,
            commits: Vec::new(),
            busy: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
        };
        cluster.spread_commits();
        cluster
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_secs_f64(self.now)
    }

    /// Lets time pass in which nothing happens.
    pub(super) fn wait_until(&mut self, secs: f64) {
        self.now = secs;
        self.spread_commits();
    }

    pub(super) fn replicas(&self) -> u32 {
        self.ready + u32::try_from(self.starting.len()).unwrap()
    }

    pub(super) fn backlog(&self) -> f64 {
        self.logs.iter().map(|log| log.end - log.position).sum()
    }

    /// Adds messages evenly, as if they had arrived at once.
    pub(super) fn pour(&mut self, messages: f64) {
        let each = (messages / self.logs.len() as f64).round();
        self.logs.iter_mut().for_each(|log| log.end += each);
    }

    fn spread_commits(&mut self) {
        self.commits = (0..self.ready).map(|_| self.now + self.rng.random_range(0.0..COMMIT_SECS)).collect();
    }

    fn members(&self) -> usize {
        (self.ready as usize).min(self.logs.len()).max(1)
    }

    pub(super) fn scale(&mut self, replicas: u32) {
        if replicas > self.replicas() {
            let now = self.now;
            self.starting.extend((self.replicas()..replicas).map(|_| now));
        } else if replicas < self.replicas() {
            while self.replicas() > replicas && self.starting.pop().is_some() {}
            if self.ready > replicas {
                self.ready = replicas;
                self.rebalance();
            }
        }
    }

    fn rebalance(&mut self) {
        self.paused_until = self.now + self.rebalance_secs;
        self.logs.iter_mut().for_each(|log| log.committed = log.position);
        self.spread_commits();
    }

    /// Lets `secs` pass.
    pub(super) fn run(&mut self, secs: f64) {
        let until = self.now + secs;
        while self.now < until - 1e-9 {
            self.now += self.step;
            self.start_replicas();
            let rate = self.rate * self.step / self.logs.len() as f64;
            for index in 0..self.logs.len() {
                self.logs[index].end += poisson(&mut self.rng, rate);
            }
            if self.now > self.paused_until {
                self.consume();
            }
        }
    }

    fn start_replicas(&mut self) {
        let due = self.starting.iter().filter(|at| self.now - **at >= self.start_secs).count();
        if due > 0 {
            for at in self.starting.drain(..due) {
                self.started.push(Duration::from_secs_f64(self.now - at));
            }
            self.ready += u32::try_from(due).unwrap();
            self.rebalance();
        }
    }

    fn consume(&mut self) {
        if self.ready == 0 {
            return;
        }
        let members = self.members();
        for member in 0..members {
            let mut room = self.mu * self.step;
            let mut mine: Vec<&mut Log> = self.logs.iter_mut().skip(member).step_by(members).collect();
            let overloaded = mine.iter().map(|log| log.end - log.position).sum::<f64>() > room;
            if overloaded {
                // Fair among the member's partitions: what a short one leaves over goes to the longer ones.
                mine.sort_by(|a, b| (a.end - a.position).total_cmp(&(b.end - b.position)));
            }
            let total = mine.len();
            for (done, log) in mine.into_iter().enumerate() {
                let share = if overloaded { room / (total - done) as f64 } else { room };
                let taken = (log.end - log.position).min(share);
                log.position += taken;
                room -= taken;
            }
            let busy = self.mu * self.step - room;
            let work = self.busy.entry(u32::try_from(member).unwrap()).or_default();
            work.0 += busy;
            work.1 += busy / self.mu;
            if self.commits[member] <= self.now {
                self.commits[member] += COMMIT_SECS;
                for index in (member..self.logs.len()).step_by(members) {
                    self.logs[index].committed = self.logs[index].position.floor();
                }
            }
        }
    }

    pub(super) fn observe(&mut self) -> Observation {
        let members = self.members();
        let assignment = |member: usize| Member {
            id: format!("member-{member}"),
            partitions: self.logs.iter().skip(member).step_by(members).map(|log| log.id.clone()).collect(),
        };
        let group = Group {
            stable: self.now > self.paused_until,
            cooperative: true,
            members: (0..members).map(assignment).collect(),
            ..Group::default()
        };
        let busy = std::mem::take(&mut self.busy);
        let rng = &mut self.rng;
        let report = |(member, (records, seconds)): (u32, (f64, f64))| Busy {
            member: format!("consumer-{member}"),
            records: records.round() as u64,
            seconds: seconds * rng.random_range(0.97..1.03),
        };
        let reports = busy.into_iter().map(report).collect();
        Observation {
            at: Timestamp::from_secs_f64(self.now),
            offsets: Some(
                self.logs
                    .iter()
                    .map(|log| PartitionOffsets {
                        id: log.id.clone(),
                        begin: 0,
                        end: Some(log.end as i64),
                        committed: Some(log.committed as i64),
                    })
                    .collect(),
            ),
            membership: if self.tells == Tells::Members {
                Membership::Known(group)
            } else {
                Membership::Unknown
            },
            replicas: Replicas {
                ordered: self.replicas(),
                ready: self.ready,
                starting: self.starting.iter().map(|at| Duration::from_secs_f64(self.now - at)).collect(),
            },
            offered: self.offered,
            busy: if self.tells == Tells::BusySeconds { reports } else { Vec::new() },
            started: std::mem::take(&mut self.started),
            ..Observation::default()
        }
    }
}

/// Draws from the Poisson distribution; above 60 its normal approximation, whose error is far below what a tick sees.
pub(in crate::scaling) fn poisson(rng: &mut StdRng, mean: f64) -> f64 {
    if mean > 60.0 {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        return (mean + mean.sqrt() * normal).round().max(0.0);
    }
    let limit = (-mean).exp();
    let (mut count, mut product) = (0.0, rng.random::<f64>());
    while product > limit {
        count += 1.0;
        product *= rng.random::<f64>();
    }
    count
}

/// The controller's loop around a cluster.
pub(super) struct Site {
    pub(super) policy: Policy,
    pub(super) cluster: Cluster,
    pub(super) history: History,
    /// Every decision that changed the group, and when.
    pub(super) changes: Vec<(f64, Decision)>,
    pub(super) tick_secs: f64,
}

impl Site {
    pub(super) fn new(policy: Policy, cluster: Cluster) -> Self {
        policy.check().unwrap();
        Self { policy, cluster, history: History::default(), changes: Vec::new(), tick_secs: 5.0 }
    }

    pub(super) fn tick(&mut self) -> Decision {
        let seen = self.cluster.observe();
        let now = self.cluster.now();
        self.history.record(&self.policy, &seen);
        let decision = decide(&self.policy, &seen, &self.history, now);
        self.history.record_decision(&self.policy, &decision, now);
        if decision.changes() {
            self.cluster.scale(decision.replicas);
            self.changes.push((now.as_secs_f64(), decision.clone()));
        }
        decision
    }

    pub(super) fn run(&mut self, secs: f64) {
        let until = self.cluster.now + secs;
        while self.cluster.now < until {
            self.cluster.run(self.tick_secs);
            self.tick();
        }
    }

    pub(super) fn told(&self) -> String {
        self.changes
            .iter()
            .fold(String::new(), |told, (at, decision)| format!("{told}\n  {at:6.0} s {decision}"))
    }
}
