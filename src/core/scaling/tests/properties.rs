//! What holds for every load and every policy.

use std::time::Duration;

use proptest::prelude::*;

use super::table::Given;
use crate::scaling::{
    Assignor, Bound, Decision, ForecastMode, History, Observation, Offered, Policy, Reason, Room, decide,
    explain,
};
use crate::time::Timestamp;

const ASSIGNORS: [Assignor; 5] =
    [Assignor::Unknown, Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::Uniform];

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
    let around = (
        prop_oneof![2 => Just(0.0), 1 => 0.0..1.5_f64],
        prop::option::of((0..60_u32, 0..60_u32)),
        prop::option::of(0..40_u32),
        0..5_usize,
    );
    (policy, load, group, around).prop_map(|(policy, load, group, around)| {
        let (slo, min, more, mu, up, down) = policy;
        let (partitions, rate, lag, offered) = load;
        let (replicas, starting, ticks, age) = group;
        let (skew, room, scheduled_min, assignor) = around;
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
            skew,
            room: room.map(|(scheduled, room)| Room { scheduled, room, ..Room::default() }),
            scheduled_min,
            assignor: ASSIGNORS[assignor],
        }
    })
}

/// The same load, seen by a group that may take any step.
fn free(given: Given) -> Given {
    let given = within_limits(given);
    let policy =
        Policy { min: 1, max: 10_000, up_max_step: 10_000, down_max_step: 10_000, ..given.policy.clone() };
    let free = Given { policy, age: Duration::ZERO, unknown: 0, room: None, scheduled_min: None, ..given };
    // Shares are measured, and a measurement that becomes surer may change them: here they are known.
    Given { skew: 0.0, assignor: Assignor::Unknown, ..free }
}

/// The same with a count that the policy and the partitions allow.
fn within_limits(given: Given) -> Given {
    let upper = given.policy.max.min(given.partitions).max(given.policy.min);
    let replicas = given.replicas.clamp(given.policy.min, upper);
    Given { replicas, starting: Vec::new(), room: None, scheduled_min: None, ..given }
}

/// Decides with a forecast made of a wave before, and without one, on the same memory.
fn with_and_without_forecast(given: &Given, period_mins: u32, swing: f64) -> [Decision; 2] {
    const BEFORE: Duration = Duration::from_hours(3);
    const STEP: Duration = Duration::from_mins(1);
    let mut history = History::default();
    let mut at = Timestamp::ZERO;
    for minute in 0..180_u32 {
        let phase = std::f64::consts::TAU * f64::from(minute) / f64::from(period_mins);
        at = at + STEP;
        history.prime(&given.policy, given.rate * (1.0 + swing * phase.sin()).max(0.0), STEP, at);
    }
    let mut seen = Observation::default();
    for tick in 0..given.ticks {
        seen = given.observe(tick);
        seen.at = seen.at + BEFORE;
        history.record(&given.policy, &seen);
        let stayed = decide(&given.policy, &seen, &history, seen.at);
        history.record_decision(&given.policy, &Decision { replicas: given.replicas, ..stayed }, seen.at);
    }
    let off = Policy { forecast: ForecastMode::Off, ..given.policy.clone() };
    [&given.policy, &off].map(|policy| decide(policy, &seen, &history, seen.at + given.age))
}

#[test]
fn the_waves_that_are_tried_below_do_open_a_forecast_and_it_adds() {
    let given = Given { ticks: 6, ..Given::new(1, 150.0) };
    let count = |swing: f64| {
        let decided = (6..40).map(|period| with_and_without_forecast(&given, period, swing));
        decided.filter(|[with, without]| with.terms.fitting > without.terms.fitting).count()
    };
    assert_eq!(count(0.0), 0, "nothing is foreseen of a constant load");
    assert!(count(0.9) > 3, "{}", count(0.9));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

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
    fn the_count_is_never_above_partitions_max_or_room_and_never_below_min(given in given()) {
        let decision = given.decide();
        let lower = given.policy.min.max(given.scheduled_min.unwrap_or(0).min(given.policy.max));
        prop_assert!(decision.replicas >= lower);
        prop_assert!(decision.replicas <= given.policy.max);
        let known = given.unknown < given.partitions;
        prop_assert!(!known || decision.replicas <= given.partitions.max(lower));
        let fresh = known && given.age <= given.policy.stale_after;
        let room = given.room.map_or(u32::MAX, |room| room.scheduled + room.room);
        prop_assert!(!fresh || decision.replicas <= room.max(lower), "{}", decision);
    }

    #[test]
    fn the_hottest_member_carries_no_more_than_mu_or_a_bound_is_named(given in given()) {
        let decision = given.decide();
        let Decision { replicas, bound, reason, terms } = &decision;
        let (Some(mu), true) = (terms.mu, terms.fitting > 0) else { return Ok(()) };
        if *bound != Bound::Demand {
            return Ok(());
        }
        if *replicas >= terms.fitting {
            prop_assert!(*replicas > terms.fitting || terms.hottest_load <= mu * 1.0001, "{}", explain(&decision));
        } else {
            // Left alone between the fill that is aimed at and the one that is held: what is certain fits as it is.
            prop_assert_eq!(*reason, Reason::Fits);
            let even = f64::from(given.partitions.div_ceil(*replicas)) / f64::from(given.partitions);
            prop_assert!(!terms.even || terms.demand_low * even <= mu, "{}", explain(&decision));
        }
    }

    #[test]
    fn a_load_on_uneven_partitions_is_monotone_too(given in given(), more in 1.0..3.0_f64) {
        // With the same knowledge of the shares, which is what arrivals taught: only the reported burst grows.
        let skew = given.skew;
        let assignor = given.assignor;
        let offered = Some(Offered { rate: 2.0 * given.rate + 10.0, burst: true, censored: 0.0 });
        let given = Given { offered, skew, assignor, ..free(given) };
        let less = given.decide();
        let offered = offered.map(|offered| Offered { rate: offered.rate * more, ..offered });
        let decision = Given { offered, ..given.clone() }.decide();
        prop_assert!(decision.terms.fitting >= less.terms.fitting, "{} / {}", less, decision);
    }

    #[test]
    fn exactly_all_partitions_are_reached_in_one_step_when_that_many_are_asked_for(
        partitions in 1..200_u32, mu in 1.0..2000.0_f64, assignor in 0..5_usize,
    ) {
        // As much as one replica for each partition carries, and a hair above what one less would.
        let rate = 0.749 * mu * f64::from(partitions);
        let policy = Policy { capacity_per_replica: Some(mu), ..Policy::new(Duration::from_secs(10), 1, 1000) };
        let offered = Some(Offered { rate: rate * 1.2 + 100.0, burst: true, censored: 0.0 });
        let assignor = ASSIGNORS[assignor];
        let given = Given { policy, partitions, offered, ticks: 5, assignor, ..Given::new(1, rate) };
        prop_assert_eq!(given.decide().replicas, partitions);
    }

    #[test]
    fn a_load_that_is_largely_a_guess_never_shrinks_the_group(given in given(), censored in 0.201..1.0_f64) {
        let given = within_limits(given);
        let offered = Some(Offered { rate: given.rate, burst: false, censored });
        let decision = Given { offered, ..given }.decide();
        prop_assert!(decision.replicas >= decision.terms.current, "{}", decision);
    }

    #[test]
    fn what_was_decided_can_be_written_and_read_back(given in given()) {
        let (seen, history) = given.watched();
        let read: Observation = serde_json::from_str(&serde_json::to_string(&seen).unwrap()).unwrap();
        prop_assert_eq!(&read, &seen);
        let kept: History = serde_json::from_str(&serde_json::to_string(&history).unwrap()).unwrap();
        prop_assert_eq!(&kept, &history);
        let now = seen.at + given.age;
        let decision = decide(&given.policy, &seen, &history, now);
        prop_assert_eq!(&decide(&given.policy, &read, &kept, now), &decision);
        let told: Decision = serde_json::from_str(&serde_json::to_string(&decision).unwrap()).unwrap();
        prop_assert_eq!(&told, &decision);
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
    fn lag_that_is_not_known_never_shrinks_the_group(given in given(), unknown in 1..130_u32) {
        let given = within_limits(given);
        let decision = Given { unknown: unknown.min(given.partitions), ..given }.decide();
        prop_assert!(decision.replicas >= decision.terms.current, "{}", decision);
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
        for told in [decision.to_string(), explain(&decision)] {
            prop_assert!(told.contains(&decision.replicas.to_string()));
            prop_assert!(!told.contains("NaN") && !told.contains("inf"), "{}", told);
        }
    }
}

proptest! {
    // Three hours of minutes each: fewer of them.
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_forecast_never_scales_in_whatever_the_load(
        given in given(), period_mins in 3..60_u32, swing in 0.0..3.0_f64,
    ) {
        let [with, without] = with_and_without_forecast(&given, period_mins, swing);
        prop_assert!(with.replicas >= without.replicas, "{}\n{}", explain(&with), explain(&without));
    }
}
