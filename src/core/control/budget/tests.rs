#![expect(clippy::cast_precision_loss, reason = "a few dozen replicas")]

use proptest::prelude::*;

use super::*;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

/// Four replicas of 100 msg/s, a promise of 10 s, nothing waits.
fn four() -> Consumers {
    Consumers {
        mu: 100.0,
        ready: 4,
        slo_secs: 10.0,
        start_secs: 4.0,
        delay_secs: Some(0.0),
        consumed: 300.0,
        loop_delay_secs: 5.0,
        ..Consumers::default()
    }
}

fn step(consumers: &Consumers) -> Budget {
    BudgetLoop::default().step(Mode::Online, consumers, 50.0, at(0))
}

#[test]
fn an_empty_topic_may_fill_to_half_of_what_the_promise_allows() {
    let budget = step(&four());
    // 0.95 x 400 + 0.5 x 100 x 4 x 10 s / 30 s.
    assert!((budget.backlog_target - 2_000.0).abs() < 1e-9);
    assert!((budget.per_sec - (380.0 + 2_000.0 / 30.0)).abs() < 1e-9, "{budget}");
}

#[test]
fn replicas_that_will_be_ready_in_time_let_kafka_fill_by_what_they_will_drain() {
    let starting = step(&Consumers { remaining_secs: vec![4.0, 4.0, 60.0], ..four() });
    // Two more for 6 s each; the third comes too late to count.
    assert!((starting.backlog_target - (2_000.0 + 0.5 * 100.0 * 12.0)).abs() < 1e-9);
    assert!(starting.per_sec > step(&four()).per_sec);
}

#[test]
fn a_backlog_above_its_target_tightens_entry_down_to_the_floors() {
    let behind = |backlog| step(&Consumers { backlog, ..four() });
    assert!((behind(2_000.0).per_sec - 380.0).abs() < 1e-9);
    assert!((behind(5_000.0).per_sec - 280.0).abs() < 1e-9);
    let far = behind(1e6);
    assert_eq!((far.per_sec, far.bound), (50.0, BudgetBound::Floors), "{far}");
}

#[test]
fn trust_falls_only_while_the_delay_is_too_long_and_rises_and_nothing_is_starting() {
    let run = |delay: fn(u64) -> f64, starting: usize| {
        let mut feedback = BudgetLoop::default();
        for secs in (0..=120).step_by(5) {
            let remaining_secs = vec![1.0; starting];
            let consumers = Consumers { delay_secs: Some(delay(secs)), remaining_secs, ..four() };
            feedback.step(Mode::Online, &consumers, 50.0, at(secs));
        }
        feedback.gain
    };
    let rising = |secs: u64| 11.0 + f64::from(u32::try_from(secs).unwrap());
    // Eight steps after the first look.
    assert!((run(rising, 0) - 0.5).abs() < 1e-9, "{}", run(rising, 0));
    assert!((run(rising, 2) - 1.0).abs() < 1e-9);
    assert!((run(|_| 30.0, 0) - 1.0).abs() < 1e-9, "long, but not rising");
    assert!(
        (run(|secs| f64::from(u32::try_from(secs).unwrap()) / 20.0, 0) - 1.0).abs() < 1e-9,
        "rising, but short"
    );
}

#[test]
fn an_outage_of_kafka_holds_the_budget_and_blindness_lowers_it() {
    let mut feedback = BudgetLoop::default();
    let before = feedback.step(Mode::Online, &four(), 50.0, at(0));
    let held = feedback.step(Mode::KafkaDown, &Consumers::default(), 50.0, at(600));
    assert_eq!((held.per_sec, held.bound), (before.per_sec, BudgetBound::Held));
    let blind =
        |feedback: &mut BudgetLoop, secs| feedback.step(Mode::Blind, &Consumers::default(), 50.0, at(secs));
    assert!((blind(&mut feedback, 605).per_sec - before.per_sec).abs() < 1e-9);
    let later = blind(&mut feedback, 665);
    assert!((later.per_sec - (300.0 + (before.per_sec - 300.0) * 0.95)).abs() < 1e-6, "{later:?}");
    assert_eq!(feedback.step(Mode::Online, &four(), 50.0, at(700)).bound, BudgetBound::FeedForward);
}

#[test]
fn floors_are_checked_against_the_fewest_replicas() {
    assert!(floors_allowed(80.0, 100.0, 1));
    assert!(!floors_allowed(81.0, 100.0, 1));
    assert!(!floors_allowed(1.0, 100.0, 0), "without replicas nothing can be promised");
}

#[test]
fn the_strictest_of_several_groups_counts_and_none_is_no_budget() {
    assert_eq!(topic_budget([300.0, 200.0]), Some(200.0));
    assert_eq!(topic_budget([]), None);
}

#[test]
fn a_promise_shorter_than_a_start_is_a_condition() {
    assert!(step(&Consumers { start_secs: 45.0, ..four() }).slo_below_start_time);
    assert!(!step(&four()).slo_below_start_time);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_budget_lies_between_the_floors_and_half_more_than_all_replicas_do_and_never_grows_with_the_backlog(
        mu in 0.1..10_000.0_f64, ready in 0..200_u32, starting in prop::collection::vec(0.0..300.0_f64, 0..50),
        slo in 1.0..600.0_f64, backlog in 0.0..1e7_f64, more in 0.0..1e7_f64, floors in 0.0..1_000.0_f64,
    ) {
        let most = 1.5 * mu * (f64::from(ready) + starting.len() as f64);
        let consumers = Consumers { mu, ready, remaining_secs: starting, slo_secs: slo, backlog, ..four() };
        let budget = |consumers: &Consumers| {
            BudgetLoop::default().step(Mode::Online, consumers, floors, at(0))
        };
        let less = budget(&consumers);
        prop_assert!(less.per_sec >= floors && less.per_sec <= most.max(floors));
        let behind = budget(&Consumers { backlog: backlog + more, ..consumers });
        prop_assert!(behind.per_sec <= less.per_sec);
    }
}
