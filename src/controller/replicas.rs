//! Which replicas consume and which are still starting: what the target ran, seen beside what members reported.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_core::scaling::Replicas;
use tidegate_core::time::Timestamp;

use crate::reports::MemberState;
use crate::target::Running;

/// Time after which a replica that never reported is taken to consume: it may be a consumer that does not report.
const SILENT_READY: Duration = Duration::from_secs(30);

/// Remembers which starts were already measured.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    measured: BTreeSet<String>,
}

impl Starts {
    /// Returns the replicas as `core::scaling` counts them, and the start times that became known: order to first fetch.
    pub(crate) fn look(
        &mut self,
        ordered: u32,
        running: &[Running],
        members: &BTreeMap<String, MemberState>,
        now: Timestamp,
    ) -> (Replicas, Vec<Duration>) {
        let mut replicas = Replicas { ordered, ..Replicas::default() };
        let mut started = Vec::new();
        for replica in running {
            let age = now.since(replica.ordered_at);
            let Some(spawned_at) = replica.spawned_at else {
                replicas.starting.push(age);
                continue;
            };
            let state = members.get(&replica.member);
            let consumes = match state {
                Some(state) => state.consumes,
                // One that reported and fell silent hangs; that it never reports is no explanation for it.
                None => !self.measured.contains(&replica.member) && now.since(spawned_at) >= SILENT_READY,
            };
            if consumes {
                replicas.ready += 1;
            } else {
                replicas.starting.push(age);
            }
            // One that consumes before it has fetched found nothing waiting: its first fetch, an hour later perhaps, will say
            // when devices woke up, and not how long a start takes.
            if let Some(state) = state.filter(|state| state.consumes)
                && self.measured.insert(replica.member.clone())
                && let Some(first_fetch) = state.first_fetch
            {
                started.push(spawned_at.since(replica.ordered_at) + first_fetch);
            }
        }
        // As many entries as replicas: members are named anew with each start.
        self.measured.retain(|member| running.iter().any(|replica| replica.member == *member));
        (replicas, started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn a_replica_starts_until_its_member_consumes_and_its_start_is_measured_once() {
        let running =
            |member: &str, spawned_at| Running { member: member.to_owned(), ordered_at: at(10), spawned_at };
        let replicas = [running("a", Some(at(11))), running("b", Some(at(11))), running("c", None)];
        let consumes = MemberState { consumes: true, first_fetch: Some(Duration::from_secs(4)) };
        let members = BTreeMap::from([("a".to_owned(), consumes), ("b".to_owned(), MemberState::default())]);
        let mut starts = Starts::default();
        let (seen, started) = starts.look(3, &replicas, &members, at(20));
        assert_eq!(seen, Replicas { ordered: 3, ready: 1, starting: vec![Duration::from_secs(10); 2] });
        assert_eq!(started, [Duration::from_secs(5)]);
        assert!(starts.look(3, &replicas, &members, at(21)).1.is_empty());
    }

    #[test]
    fn a_first_fetch_that_had_to_wait_for_a_record_is_no_start_time() {
        let replica = [Running { member: "a".to_owned(), ordered_at: at(0), spawned_at: Some(at(0)) }];
        let state = |first_fetch| MemberState { consumes: true, first_fetch };
        let mut starts = Starts::default();
        let mut look = |first_fetch, secs| {
            let members = BTreeMap::from([("a".to_owned(), state(first_fetch))]);
            starts.look(1, &replica, &members, at(secs))
        };
        assert_eq!(look(None, 5).0.ready, 1);
        assert!(look(Some(Duration::from_mins(10)), 605).1.is_empty());
    }

    #[test]
    fn a_consumer_that_reported_and_fell_silent_is_not_ready() {
        let replica = [Running { member: "a".to_owned(), ordered_at: at(0), spawned_at: Some(at(0)) }];
        let consumes = MemberState { consumes: true, first_fetch: Some(Duration::from_secs(4)) };
        let mut starts = Starts::default();
        let spoke = starts.look(1, &replica, &BTreeMap::from([("a".to_owned(), consumes)]), at(60)).0;
        let silent = starts.look(1, &replica, &BTreeMap::new(), at(600)).0;
        assert_eq!((spoke.ready, silent.ready), (1, 0));
    }

    #[test]
    fn a_consumer_that_never_reports_counts_as_ready_after_a_while() {
        let replica = [Running { member: "a".to_owned(), ordered_at: at(0), spawned_at: Some(at(0)) }];
        let ready = |secs| Starts::default().look(1, &replica, &BTreeMap::new(), at(secs)).0.ready;
        assert_eq!((ready(29), ready(30)), (0, 1));
    }
}
