//! What holds for every load and every policy.

use std::time::Duration;

use proptest::prelude::*;

use super::table::Given;
use crate::scaling::{Offered, Policy, Reason, decide};

fn given() -> impl Strategy<Value = Given> {
    let policy = (
        1..60_u64,
        1..20_u32,
        0..120_u32,
        prop::option::weighted(0.9, 1.0..2000.0_f64),
        1..40_u32,
        1..40_u32,
    );
    let load = (
        1..130_u32,
        0.0..20_000.0_f64,
        0.0..1e6_f64,
        prop::option::of((0.0..50_000.0_f64, any::<bool>(), 0.0..1.0_f64)),
    );
    let group = (0..200_u32, 0..5_u32, 2..90_u32, 0..30_u64);
    (policy, load, group).prop_map(|(policy, load, group)| {
        let (slo, min, more, mu, up, down) = policy;
        let (partitions, rate, lag, offered) = load;
        let (replicas, starting, ticks, age) = group;
        Given {
            policy: Policy {
                capacity_per_replica: mu,
                up_max_step: up,
                down_max_step: down,
                ..Policy::new(Duration::from_secs(slo), min, min + more)
            },
            partitions,
            replicas,
            rate,
            lag,
            offered: offered.map(|(rate, burst, censored)| Offered { rate, burst, censored }),
            starting: (0..starting.min(replicas)).map(|n| Duration::from_secs(u64::from(n))).collect(),
            unknown: u32::from(ticks % 7 == 0),
            ticks,
            age: Duration::from_secs(age),
        }
    })
}

/// The same load, seen by a group that may take any step.
fn free(given: Given) -> Given {
    let given = within_limits(given);
    let policy =
        Policy { min: 1, max: 10_000, up_max_step: 10_000, down_max_step: 10_000, ..given.policy.clone() };
    Given { policy, age: Duration::ZERO, unknown: 0, ..given }
}

/// The same with a count that the policy and the partitions allow.
fn within_limits(given: Given) -> Given {
    let upper = given.policy.max.min(given.partitions).max(given.policy.min);
    let replicas = given.replicas.clamp(given.policy.min, upper);
    Given { replicas, starting: Vec::new(), ..given }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn deciding_twice_changes_nothing(given in given()) {
        let (seen, history) = given.watched();
        let before = history.clone();
        let now = seen.at + given.age;
        let first = decide(&given.policy, &seen, &history, now);
        prop_assert_eq!(&decide(&given.policy, &seen, &history, now), &first);
        prop_assert_eq!(history, before);
    }

    #[test]
    fn recording_twice_changes_nothing(given in given()) {
        let (seen, mut history) = given.watched();
        let before = history.clone();
        history.record(&given.policy, &seen);
        prop_assert_eq!(history, before);
    }

    #[test]
    fn the_count_is_within_the_limits(given in given()) {
        let decision = given.decide();
        prop_assert!(decision.replicas >= given.policy.min);
        prop_assert!(decision.replicas <= given.policy.max);
        let known = given.unknown < given.partitions;
        prop_assert!(!known || decision.replicas <= given.partitions.max(given.policy.min));
    }

    #[test]
    fn deciding_on_its_own_count_stays_there_or_above(given in given()) {
        // The same load seen by the group that was decided on: growing was one jump.
        let given = free(given);
        let first = given.decide();
        if first.replicas <= given.replicas || first.reason == Reason::Learning {
            return Ok(());
        }
        let (mut seen, mut history) = given.watched();
        history.record_decision(&given.policy, &first, seen.at);
        seen.replicas.starting.extend((given.replicas..first.replicas).map(|_| Duration::ZERO));
        seen.replicas.ordered = first.replicas;
        let second = decide(&given.policy, &seen, &history, seen.at);
        prop_assert_eq!(second.replicas, first.replicas, "{} / {}", first, second);
    }

    #[test]
    fn old_lag_never_shrinks_the_group(given in given()) {
        let given = within_limits(given);
        let decision = Given { age: Duration::from_secs(16), ..given }.decide();
        prop_assert_eq!(decision.replicas, decision.terms.current);
    }

    #[test]
    fn more_demand_never_asks_for_fewer(given in given(), more in 1.0..3.0_f64) {
        let given = free(given);
        let less = given.decide();
        let offered = given.offered.map(|offered| Offered { rate: offered.rate * more, ..offered });
        let rate = given.rate * more;
        let decision = Given { rate, offered, ..given }.decide();
        prop_assert!(decision.terms.fitting >= less.terms.fitting, "{} / {}", less, decision);
        prop_assert!(decision.replicas >= less.replicas || less.reason == Reason::Learning, "{} / {}", less, decision);
    }

    #[test]
    fn more_lag_never_asks_for_fewer(given in given(), more in 0.0..1e6_f64) {
        let given = free(given);
        let less = given.decide();
        let decision = Given { lag: given.lag + more, ..given }.decide();
        prop_assert!(decision.terms.fitting >= less.terms.fitting, "{} / {}", less, decision);
        prop_assert!(decision.replicas >= less.replicas, "{} / {}", less, decision);
    }

    #[test]
    fn a_restarted_controller_gives_nothing_back_at_once(given in given()) {
        let given = within_limits(given);
        let decision = Given { ticks: given.ticks.min(59), ..given }.decide();
        prop_assert!(decision.replicas >= decision.terms.current, "{}", decision);
    }

    #[test]
    fn every_decision_can_be_told(given in given()) {
        let decision = given.decide();
        let told = decision.to_string();
        prop_assert!(told.contains(&decision.replicas.to_string()));
        prop_assert!(!told.contains("NaN") && !told.contains("inf"), "{}", told);
    }
}
