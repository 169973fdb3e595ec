//! A site on virtual time: gateways, partitions, a consumer group, and the nodes that run its members.
//!
//! Owns what happens in each step and what can be seen of it. It does not know who decides how many replicas there
//! are: it is told.

mod assign;
mod gateways;
mod group;
mod lane;
mod log;
mod look;
mod replicas;

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use gateways::Gateways;
pub(crate) use gateways::InFront;
pub use gateways::Shares;
pub(crate) use group::Step;
use group::{Group, Pace, steps};
pub(crate) use log::Cohort;
use log::Log;
use look::Looks;
pub(crate) use look::ORIGIN;
use replicas::Replicas;

use crate::account::Account;
use crate::arrivals::Batch;
use crate::fleet::{Fleet, PerClass};
use crate::site::{STEP, Site};

/// The state of a site.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) now: Step,
    site: Site,
    logs: Vec<Log>,
    group: Group,
    replicas: Replicas,
    gateways: Gateways,
    looks: Looks,
    rng: StdRng,
}

impl Cluster {
    /// Returns a site on which `replicas` consumers have settled and nothing waits.
    #[must_use]
    pub fn new(site: &Site, replicas: u32) -> Self {
        let step_secs = STEP.as_secs_f64();
        let pace = Pace {
            assignor: site.assignor,
            rebalance: steps(site.rebalance, step_secs),
            commit: steps(site.commit_interval, step_secs),
            per_step: site.mu * step_secs,
            mu: site.mu,
        };
        let mut group = Group::new(pace, site.partitions as usize);
        let mut all = Replicas::new(site.room, site.start, STEP);
        all.settle(replicas, &mut group);
        Self {
            now: 0,
            logs: vec![Log::default(); site.partitions as usize],
            group,
            replicas: all,
            gateways: Gateways::new(site),
            looks: Looks::new(site),
            rng: StdRng::seed_from_u64(site.seed ^ 0xC1A5_7E40),
            site: site.clone(),
        }
    }

    /// Returns the site it was made from.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Lets one step pass in which devices send `batch`.
    pub(crate) fn step(&mut self, batch: &Batch, fleet: &Fleet, account: &mut Account) {
        let now = self.now;
        account.sent(now, &batch.total);
        self.gateways.take(batch, fleet, &mut self.logs, now, &mut self.rng);
        self.replicas.advance(&mut self.group, now, &mut self.rng);
        self.group.advance(&mut self.logs, now);
        self.group.work(&mut self.logs, now, |cohort| account.processed(cohort, now));
        self.now += 1;
        if self.now.is_multiple_of(steps(Duration::from_secs(1), STEP.as_secs_f64())) {
            self.gateways.turn_second();
            self.looks.keep(self.now, &self.logs, &self.group, &self.gateways);
        }
    }

    /// Orders this many replicas.
    pub fn scale(&mut self, replicas: u32) {
        self.replicas.scale(replicas, &mut self.group, &mut self.logs, self.now);
    }

    /// Sets what each gateway may let into Kafka, in messages per second; `None` lifts all limits.
    pub fn set_shares(&mut self, shares: Option<&Shares>) {
        self.gateways.set_shares(shares);
    }

    /// Returns what each gateway was offered in the last full second and what waits there, by class.
    pub(crate) fn offered_and_waiting(&self) -> impl Iterator<Item = (PerClass<f64>, PerClass<f64>)> {
        self.gateways.offered_by_class().zip(self.gateways.waiting())
    }

    /// Returns whether a gateway reports a burst, so that the controller would look at once.
    pub(crate) fn bursts(&self) -> bool {
        self.gateways.bursts()
    }

    /// Returns messages in Kafka that are not processed.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.logs.iter().map(|log| u64::from(log.backlog())).sum()
    }

    pub(crate) fn in_front(&self) -> InFront {
        self.gateways.in_front()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.gateways.refused()
    }

    /// Returns replicas ordered, run by a node, and ready.
    #[must_use]
    pub fn counts(&self) -> (u32, u32, u32) {
        (self.replicas.ordered(), self.replicas.placed(), self.replicas.ready())
    }

    pub(crate) fn cost_secs(&self) -> f64 {
        self.replicas.cost_secs()
    }

    /// The run ends: whatever is not processed never was.
    pub(crate) fn close(&self, account: &mut Account) {
        for cohort in self.logs.iter().flat_map(Log::rest) {
            account.never(cohort.born, &cohort.counts);
        }
        for (class, born, messages) in self.gateways.rest() {
            let mut counts = PerClass::default();
            counts[class] = messages;
            account.never(born, &counts);
        }
    }
}
