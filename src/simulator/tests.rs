//! The model as a whole: nothing is lost or counted twice, what must be late is, and a seed repeats a run.

use std::time::Duration;

use proptest::prelude::*;
use tidegate_core::scaling::Policy;

use crate::scalers::{CpuHpa, Fixed, Keda, KedaSettings, Scaler, Tidegate};
use crate::trace::Trace;
use crate::{Arm, Assignor, Outcome, Run, Site, default_policy, run};

const SLO: Duration = Duration::from_secs(10);

/// An hour of 300 messages per second, with twenty minutes of 1500 in its middle.
fn burst() -> Trace {
    Trace::from_counts(
        "burst",
        60.0,
        (0..60).map(|minute| if (20..40).contains(&minute) { 90_000 } else { 18_000 }),
    )
}

fn arm(site: &Site, scaler: impl Scaler + 'static) -> Arm {
    Arm { label: "arm".to_owned(), site: site.clone(), scaler: Box::new(scaler) }
}

fn tidegate(site: &Site) -> Tidegate {
    Tidegate::new(Policy { capacity_per_replica: Some(site.mu), ..Policy::new(SLO, 1, site.partitions) })
}

fn outcomes(trace: &Trace, arms: Vec<Arm>, seed: u64) -> Vec<Outcome> {
    let spec = Run { trace, window: trace.whole(), slo: SLO, seed, min: 1 };
    run(&spec, arms, |_| ()).unwrap()
}

fn outcome(trace: &Trace, site: &Site, scaler: impl Scaler + 'static) -> Outcome {
    outcomes(trace, vec![arm(site, scaler)], 1).remove(0)
}

#[test]
fn enough_replicas_are_never_late_and_too_few_are() {
    let site = Site::default();
    let enough = outcome(&burst(), &site, Fixed(40));
    assert_eq!((enough.total.late, enough.total.never), (0, 0));
    assert!((enough.replica_hours - 40.0).abs() < 0.1, "{}", enough.replica_hours);
    assert!(enough.changes.is_empty(), "it was scaled before the window");
    // 10 replicas do 1000 messages per second: 600 000 wait at the end of the burst, and 20 minutes later a third of them.
    let few = outcome(&burst(), &site, Fixed(10));
    assert!((0.4..0.8).contains(&few.late_share()), "{}", few.late_share());
    assert!((500_000..700_000).contains(&few.peak_lag), "{}", few.peak_lag);
    assert!(few.total.never == 0 && few.delay_p50.unwrap() > 10.0);
}

#[test]
fn what_is_not_delivered_in_time_for_the_end_is_never_delivered() {
    let few = outcome(&burst(), &Site::default(), Fixed(4));
    // 2.5 million were sent; 4 replicas do 400 a second for 75 minutes, the hour and its tail.
    let delivered = few.total.sent - few.total.never;
    assert!((1_400_000..1_900_000).contains(&delivered), "{few:?}");
    assert!(few.total.late >= few.total.never && few.delay_p99.is_none());
}

#[test]
fn a_seed_repeats_a_run_and_each_arm_gets_the_same_messages() {
    let site = Site::default();
    let run = |seed| {
        let keda = Keda::new(KedaSettings { lag_threshold: 100, ..KedaSettings::new(1, 64) });
        outcomes(
            &burst(),
            vec![arm(&site, tidegate(&site)), arm(&site, keda), arm(&site, CpuHpa::new(0.8, 1, 64))],
            seed,
        )
    };
    let (first, again, other) = (run(1), run(1), run(2));
    for ((a, b), c) in first.iter().zip(&again).zip(&other) {
        assert_eq!(serde_json::to_string(a).unwrap(), serde_json::to_string(b).unwrap());
        assert_eq!(a.total.sent, first[0].total.sent);
        assert_ne!(a.total.sent, c.total.sent);
    }
}

#[test]
fn the_rule_meets_a_burst_that_the_hpa_and_keda_on_its_defaults_meet_late_or_dearly() {
    let site = Site::default();
    let keda = |lag_threshold| Keda::new(KedaSettings { lag_threshold, ..KedaSettings::new(1, 64) });
    let arms = vec![
        arm(&site, tidegate(&site)),
        arm(&site, CpuHpa::new(0.8, 1, 64)),
        arm(&site, keda(10)),
        arm(&site, keda(400)),
    ];
    let [ours, hpa, eager, thrifty] = &outcomes(&burst(), arms, 1)[..] else { panic!("four arms") };
    assert!(ours.late_share() < 0.1 && ours.late_share() < hpa.late_share() / 2.0, "{ours:?}\n{hpa:?}");
    assert!(eager.replica_hours > 2.0 * ours.replica_hours, "{} {}", eager.replica_hours, ours.replica_hours);
    assert!(thrifty.late_share() > ours.late_share());
}

#[test]
fn without_room_replicas_are_pending_and_cost_nothing() {
    let site = Site { room: Some(8), ..Site::default() };
    let outcome = outcome(&burst(), &site, Fixed(30));
    assert!((outcome.replica_hours - 8.0).abs() < 0.1 && outcome.peak_ready == 8, "{outcome:?}");
}

#[test]
fn without_room_the_budget_keeps_alarms_in_time_and_kafka_short() {
    let site = Site { room: Some(8), ..Site::default() };
    let keda = Keda::new(KedaSettings { lag_threshold: 100, ..KedaSettings::new(1, 64) });
    let unlimited = {
        let mut policy = default_policy(SLO, &site);
        policy.knobs.budget = false;
        Tidegate::new(policy)
    };
    let arms = vec![arm(&site, tidegate(&site)), arm(&site, keda), arm(&site, unlimited)];
    let [ours, keda, unlimited] = &outcomes(&burst(), arms, 1)[..] else { panic!("three arms") };
    let told = format!("{ours:?}\n{keda:?}\n{unlimited:?}");
    // What is late is on the fullest member: partitions are not even.
    assert!(ours.classes[0].late_share() < 0.02, "alarms: {told}");
    assert!(keda.classes[0].late_share() > 0.3 && unlimited.classes[0].late_share() > 0.3, "{told}");
    assert!(ours.peak_lag * 50 < keda.peak_lag && ours.peak_in_front > 100_000, "{told}");
    assert!(ours.late_share() <= keda.late_share(), "{told}");
    // In front of Kafka nothing is lost either.
    assert_eq!(ours.delivered + ours.total.never, ours.total.sent, "{told}");
}

#[test]
fn an_eager_group_pays_more_for_a_change_than_a_cooperative_one() {
    let late = |assignor| {
        let site = Site { assignor, rebalance: Duration::from_secs(15), ..Site::default() };
        let keda = Keda::new(KedaSettings { lag_threshold: 200, ..KedaSettings::new(1, 64) });
        outcome(&burst(), &site, keda).total.late
    };
    assert!(late(Assignor::Eager) > late(Assignor::Cooperative));
}

#[test]
fn old_metrics_make_the_rule_later() {
    let late = |secs| {
        let site = Site { metric_delay: Duration::from_secs(secs), ..Site::default() };
        outcome(&burst(), &site, tidegate(&site)).total.late
    };
    assert!(late(15) > late(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whoever scales, and however: every message of the window is processed or never delivered, none twice.
    #[test]
    fn messages_are_neither_lost_nor_counted_twice(
        rates in prop::collection::vec(0_u64..4000, 1..12),
        replicas in 0_u32..20,
        room in prop::option::of(1_u32..10),
        eager in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let trace = Trace::from_counts("any", 30.0, rates);
        let assignor = if eager { Assignor::Eager } else { Assignor::Cooperative };
        let site = Site { partitions: 7, devices: 500, room, assignor, seed, ..Site::default() };
        for scaler in [Box::new(Fixed(replicas)) as Box<dyn Scaler>, Box::new(tidegate(&site))] {
            let arms = vec![Arm { label: "any".to_owned(), site: site.clone(), scaler }];
            let outcome = outcomes(&trace, arms, seed).remove(0);
            let total = outcome.total;
            prop_assert!(total.late <= total.sent && total.never <= total.late, "{total:?}");
            prop_assert_eq!(total.sent, outcome.classes.iter().map(|class| class.sent).sum::<u64>());
            prop_assert_eq!(outcome.delivered + total.never, total.sent);
        }
    }
}
