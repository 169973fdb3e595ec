//! What an autoscaler can see of the site, in the words of `core::scaling`, as old as the site's metrics are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::scaling::{
    Assignor as Deals, Busy, Group as Seen, Member, Membership, Observation, Offered, PartitionId,
    PartitionOffsets, Replicas as Counts, Room,
};
use tidegate_core::time::Timestamp;

use super::Cluster;
use super::gateways::Gateways;
use super::group::{Group, Step, steps};
use super::log::Log;
use crate::num::real;
use crate::site::{Assignor, STEP, Site};

/// When a run begins on the clock of observations: later than the past that a scaler is primed with.
pub(crate) const ORIGIN: Timestamp = Timestamp::from_millis(7 * 24 * 3600 * 1000);

/// The past as long as the metrics are delayed.
#[derive(Clone, Debug)]
pub(super) struct Looks {
    delay: Step,
    ids: Vec<PartitionId>,
    assignor: Assignor,
    kept: VecDeque<(Step, Look)>,
}

#[derive(Clone, Debug)]
struct Look {
    offsets: Vec<PartitionOffsets>,
    membership: Membership,
    offered: Offered,
}

impl Looks {
    pub(super) fn new(site: &Site) -> Self {
        let topic: Arc<str> = Arc::from("telemetry");
        Self {
            delay: steps(site.metric_delay, STEP.as_secs_f64()),
            ids: (0..site.partitions)
                .map(|partition| PartitionId { topic: topic.clone(), partition })
                .collect(),
            assignor: site.assignor,
            kept: VecDeque::new(),
        }
    }

    /// Keeps what is to be seen now for those who see it later.
    pub(super) fn keep(&mut self, now: Step, logs: &[Log], group: &Group, gateways: &Gateways) {
        if self.delay == 0 {
            return;
        }
        let look = self.look(logs, group, gateways);
        self.kept.push_back((now, look));
        while self.kept.get(1).is_some_and(|(at, _)| *at + self.delay <= now) {
            self.kept.pop_front();
        }
    }

    fn look(&self, logs: &[Log], group: &Group, gateways: &Gateways) -> Look {
        let offsets = self.ids.iter().zip(logs).map(|(id, log)| PartitionOffsets {
            id: id.clone(),
            begin: 0,
            end: Some(log.end),
            committed: Some(log.committed),
        });
        let members = group.member_names().map(|(id, member)| Member {
            id,
            partitions: member.partitions.iter().map(|partition| self.ids[*partition].clone()).collect(),
        });
        let members = members.collect();
        let (cooperative, assignor) = match self.assignor {
            Assignor::Eager => (false, Deals::Range),
            Assignor::Cooperative => (true, Deals::Sticky),
        };
        let seen = Seen { stable: group.is_stable(), cooperative, members, assignor };
        Look { offsets: offsets.collect(), membership: Membership::Known(seen), offered: gateways.offered() }
    }
}

impl Cluster {
    /// Returns now on the clock of observations.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        ORIGIN + STEP * self.now
    }

    /// Returns what an autoscaler sees now: everything as old as the site's metrics, but the replicas, which the target
    /// itself tells. Work reports are handed out once.
    pub fn observe(&mut self) -> Observation {
        let past = self.looks.kept.front().map(|(_, look)| look.clone());
        let look = past.unwrap_or_else(|| self.looks.look(&self.logs, &self.group, &self.gateways));
        let replicas = Counts {
            ordered: self.replicas.ordered(),
            ready: self.replicas.ready(),
            starting: self.replicas.starting(self.now).map(|(age, _)| age).collect(),
        };
        let busy = if self.site.busy_reports { self.take_busy() } else { Vec::new() };
        Observation {
            at: self.time(),
            offsets: Some(look.offsets),
            membership: look.membership,
            replicas,
            offered: Some(look.offered),
            busy,
            started: self.replicas.take_started(),
            held: real(self.gateways.in_front().total()),
            room: self.room(),
            ..Observation::default()
        }
    }

    fn room(&self) -> Option<Room> {
        let places = self.site.room?;
        let scheduled = self.replicas.placed();
        let pending = self.replicas.starting(self.now).filter(|(_, placed)| !placed);
        Some(Room {
            scheduled,
            room: places.saturating_sub(scheduled),
            unschedulable_for: pending.map(|(age, _)| age).max(),
            node_event: false,
        })
    }

    /// Returns and resets what members did since the last time.
    pub(crate) fn take_busy(&mut self) -> Vec<Busy> {
        let take = |member: &mut super::group::Member| Busy {
            member: format!("member-{}", member.id),
            records: std::mem::take(&mut member.records),
            seconds: std::mem::take(&mut member.busy_secs),
        };
        self.group.members.iter_mut().map(take).collect()
    }

    /// Returns the lag as committed and the partitions, as old as the site's metrics: what lag-based autoscalers see.
    pub(crate) fn lag(&self) -> (u64, u32) {
        let lag = |end: i64, committed: i64| u64::try_from(end - committed).unwrap_or(0);
        let sum = match self.looks.kept.front() {
            Some((_, look)) => look.offsets.iter().filter_map(PartitionOffsets::lag).sum(),
            None => self.logs.iter().map(|log| lag(log.end, log.committed)).sum(),
        };
        (sum, self.site.partitions)
    }

    /// Returns ages of replicas that are not ready.
    pub(crate) fn starting(&self) -> Vec<Duration> {
        self.replicas.starting(self.now).map(|(age, _)| age).collect()
    }
}
