//! The parts of the rule beyond even partitions and endless nodes: stuck partitions, skew, room, effect, an end
//! without work, a fallback, what is held back, what is forecast, and the replay of a recording.

use std::time::Duration;

use super::cluster::{Cluster, Site, Tells};
use super::table::{Given, outcome};
use crate::scaling::signal::PartitionStatus;
use crate::scaling::{
    Assignor, Bound, Decision, Fallback, ForecastMode, History, Knobs, Observation, Offered, Policy, Reason,
    Room, RoomMode, decide, explain,
};
use crate::time::{Timestamp, UnixMillis};

/// The given load with its lag on the first partition, where nothing is committed any more.
fn with_a_stuck_partition(given: &Given) -> Decision {
    let mut history = History::default();
    let mut last = None;
    for tick in 0..given.ticks {
        let mut seen = given.observe(tick);
        let first = &mut seen.offsets.as_mut().unwrap()[0];
        first.committed = Some(900_000);
        history.record(&given.policy, &seen);
        let decision = decide(&given.policy, &seen, &history, seen.at);
        history.record_decision(
            &given.policy,
            &Decision { replicas: given.replicas, ..decision.clone() },
            seen.at,
        );
        last = Some(decision);
    }
    let now = Timestamp::from_millis(5000 * u64::from(given.ticks));
    let stalled = history.partitions(now).filter(|(_, status, _)| *status == PartitionStatus::Stall).count();
    assert_eq!(stalled, 1);
    last.unwrap()
}

#[test]
fn a_partition_that_stands_still_adds_no_replica_and_is_named() {
    let given = Given::new(4, 280.0);
    let decision = with_a_stuck_partition(&given);
    assert_eq!(outcome(&decision), (4, Bound::Demand, Reason::Fits), "{}", explain(&decision));
    assert_eq!(decision.terms.partitions_stuck, 1);
    assert!(decision.terms.backlog_stuck > 100_000.0 && decision.terms.backlog < 100.0);
    assert!(decision.terms.age_secs.unwrap() >= 595.0, "{:?}", decision.terms.age_secs);
}

#[test]
fn uneven_partitions_are_sized_by_the_hottest_member_and_not_by_the_mean() {
    // Zipf 1 on 12 partitions: of three replicas the first has partitions 0, 3, 6 and 9, which are 48 % of some 215
    // msg/s that are needed at a fill of 0.9; of four it has 0, 4 and 8, which are 42 %.
    let even = Given::new(1, 165.0);
    let uneven = Given { skew: 1.0, assignor: Assignor::RoundRobin, ..Given::new(1, 165.0) };
    let decision = uneven.decide();
    assert!(!decision.terms.even && (0.30..0.33).contains(&decision.terms.hottest_share));
    assert_eq!((even.decide().replicas, decision.replicas), (3, 4), "{}", explain(&decision));
    assert!((90.0..=100.0).contains(&decision.terms.hottest_load), "{}", explain(&decision));
    let knobs = Knobs { packing: false, ..Knobs::ALL };
    let by_mean = Given { policy: Policy { knobs, ..uneven.policy.clone() }, ..uneven }.decide();
    assert_eq!(by_mean.replicas, 3, "{}", explain(&by_mean));
}

#[test]
fn a_partition_that_is_too_hot_adds_no_replica_by_itself() {
    // All load on one of 12 partitions: more than one replica does, and no second one could help.
    let given = Given { skew: 60.0, assignor: Assignor::Sticky, ..Given::new(1, 500.0) };
    let decision = given.decide();
    assert!(decision.terms.partition_too_hot, "{}", explain(&decision));
    assert_eq!(outcome(&decision), (1, Bound::Partitions, Reason::PartitionTooHot), "{}", explain(&decision));
}

#[test]
fn room_bounds_growth_and_only_what_is_not_placed_is_taken_back() {
    let room = |scheduled, room| Some(Room { scheduled, room, ..Room::default() });
    let given = |replicas, room, mode| {
        let given = Given::new(replicas, 700.0);
        Given { room, policy: Policy { room: mode, ..given.policy.clone() }, ..given }
    };
    let respect = |replicas, room| outcome(&given(replicas, room, RoomMode::Respect).decide());
    assert_eq!(respect(4, room(4, 3)), (7, Bound::Room, Reason::Demand));
    assert_eq!(respect(4, room(4, 0)), (4, Bound::Room, Reason::NoRoom));
    assert_eq!(respect(9, room(5, 1)), (6, Bound::Room, Reason::NoRoom));
    let pending = given(4, room(4, 3), RoomMode::LeavePending(2)).decide();
    assert_eq!(outcome(&pending), (9, Bound::Room, Reason::Demand));
    assert_eq!(given(4, room(4, 3), RoomMode::Ignore).decide().replicas, 12);
    let mut off = given(4, room(4, 3), RoomMode::Respect);
    off.policy.knobs.room = false;
    assert_eq!(off.decide().replicas, 12);
}

#[test]
fn what_the_scheduler_refused_is_taken_back_and_tried_again_one_by_one() {
    let given = Given::new(9, 700.0);
    let mut history = given.watched().1;
    let mut look = |tick: u32, scheduled, waiting: Option<u64>, replicas| {
        let mut seen = given.observe(tick);
        seen.replicas.ordered = replicas;
        let unschedulable_for = waiting.map(Duration::from_secs);
        seen.room = Some(Room { scheduled, room: 20, unschedulable_for, node_event: false });
        history.record(&given.policy, &seen);
        let decision = decide(&given.policy, &seen, &history, seen.at);
        history.record_decision(&given.policy, &decision, seen.at);
        outcome(&decision)
    };
    assert_eq!(look(120, 6, Some(10), 9).0, 12, "it may still place them");
    assert_eq!(look(122, 6, Some(20), 12), (6, Bound::Unschedulable, Reason::NoRoom));
    assert_eq!(look(123, 6, None, 6), (6, Bound::Unschedulable, Reason::NoRoom));
    assert_eq!(look(134, 6, None, 6).0, 7, "one more on trial");
    assert_eq!(look(135, 7, None, 7).0, 12, "placed: free again");
}

#[test]
fn a_group_without_work_ends_and_wakes_when_something_waits() {
    let policy = Policy {
        down_after: Duration::from_mins(1),
        capacity_per_replica: Some(100.0),
        ..Policy::new(Duration::from_secs(10), 0, 8)
    };
    let mut cluster = Cluster::new(8, 1, 100.0, 20.0, 4);
    cluster.tells = Tells::BusySeconds;
    let mut site = Site::new(policy, cluster);
    site.run(600.0);
    site.cluster.rate = 0.0;
    site.run(590.0);
    assert_eq!(site.cluster.replicas(), 1, "{}", site.told());
    site.run(60.0);
    assert_eq!(site.cluster.replicas(), 0, "{}", site.told());
    assert_eq!(site.changes.last().unwrap().1.reason, Reason::Idle);
    site.run(3600.0);
    assert_eq!(site.tick().reason, Reason::Idle);
    site.policy.activation_lag = 50;
    site.cluster.pour(40.0);
    site.run(30.0);
    assert_eq!(site.cluster.replicas(), 0, "40 messages wake nobody");
    site.cluster.pour(400.0);
    site.run(10.0);
    assert_eq!(site.changes.last().unwrap().1.reason, Reason::Activated, "{}", site.told());
    assert!(site.cluster.replicas() >= 1);
}

#[test]
fn the_fallback_applies_after_its_time_and_never_lowers() {
    let fallback = |replicas| Some(Fallback { after: Duration::from_mins(3), replicas });
    let blind_for = |current, replicas, secs| {
        let given = Given::new(current, 60.0);
        let policy = Policy { fallback: fallback(replicas), ..given.policy.clone() };
        let given = Given { policy, ..given };
        let (mut seen, mut history) = given.watched();
        let last = seen.at;
        seen.offsets = None;
        seen.at = last + Duration::from_secs(secs);
        history.record(&given.policy, &seen);
        outcome(&decide(&given.policy, &seen, &history, seen.at))
    };
    assert_eq!(blind_for(4, 6, 179), (4, Bound::Hold, Reason::LagUnknown));
    assert_eq!(blind_for(4, 6, 180), (6, Bound::Fallback, Reason::Fallback));
    assert_eq!(blind_for(8, 6, 600), (8, Bound::Hold, Reason::LagUnknown));
}

#[test]
fn a_window_of_the_schedule_lifts_the_group_and_lets_it_go_when_it_closes() {
    let open = Given { scheduled_min: Some(6), ..Given::new(2, 60.0) };
    assert_eq!(outcome(&open.decide()), (6, Bound::Schedule, Reason::Limits));
    let kept = Given { scheduled_min: Some(6), ..Given::new(6, 60.0) };
    assert_eq!(outcome(&kept.decide()), (6, Bound::Schedule, Reason::Fits));
    assert_eq!(Given::new(6, 60.0).decide().reason, Reason::Surplus);
}

#[test]
fn what_gateways_hold_back_counts_before_kafka_sees_it() {
    // Kafka sees the 60 msg/s that are let in; devices offer 700.
    let offered = Some(Offered { rate: 700.0, burst: false, censored: 0.5 });
    let decision = Given { offered, ..Given::new(2, 60.0) }.decide();
    assert_eq!(decision.replicas, 12, "{}", explain(&decision));
    assert!((decision.terms.offered.unwrap() - 700.0).abs() < 1.0);
    let given = Given::new(2, 60.0);
    let (mut seen, history) = given.watched();
    seen.held = 9_000.0;
    let decision = decide(&given.policy, &seen, &history, seen.at);
    assert_eq!((decision.reason, decision.terms.held), (Reason::CatchUp, 9_000.0), "{decision}");
}

#[test]
fn a_rebalance_that_costs_more_than_it_saves_waits() {
    // An eager group of many that would lose one: nine are stopped for 40 s each time.
    let policy = Policy { down_after: Duration::from_secs(5), ..Given::new(10, 60.0).policy };
    let mut given = Given { policy, partitions: 10, ..Given::new(10, 620.0) };
    let (mut seen, mut history) = given.watched();
    let slow = |at: Timestamp, stable| Observation {
        at,
        membership: crate::scaling::Membership::Known(crate::scaling::Group {
            stable,
            ..crate::scaling::Group::default()
        }),
        replicas: seen.replicas.clone(),
        ..Observation::default()
    };
    let begun = slow(seen.at + Duration::from_secs(1), false);
    let ended = slow(seen.at + Duration::from_secs(41), true);
    history.record(&given.policy, &begun);
    history.record(&given.policy, &ended);
    given.rate = 100.0;
    let mut reasons = Vec::new();
    for tick in 130..200 {
        seen = given.observe(tick);
        history.record(&given.policy, &seen);
        let decision = decide(&given.policy, &seen, &history, seen.at);
        reasons.push(decision.reason);
        history.record_decision(&given.policy, &Decision { replicas: 10, ..decision }, seen.at);
    }
    let first = |reason| reasons.iter().position(|other| *other == reason);
    assert!(first(Reason::NotWorthIt).unwrap() < first(Reason::Surplus).unwrap(), "{reasons:?}");
}

#[test]
fn additions_that_change_nothing_end() {
    // A database behind the consumers takes 150 msg/s, however many they are.
    let run = |limited: bool| {
        let mut cluster = Cluster::new(64, 2, 100.0, 500.0, 11);
        cluster.tells = Tells::BusySeconds;
        let policy = Policy {
            capacity_per_replica: Some(100.0),
            up_max_step: 4,
            ..Policy::new(Duration::from_secs(10), 2, 64)
        };
        let mut site = Site::new(policy, cluster);
        for _ in 0..100 {
            if limited {
                site.cluster.mu = 150.0 / f64::from(site.cluster.replicas());
            }
            site.cluster.run(5.0);
            site.tick();
        }
        site
    };
    let mut limited = run(true);
    let decision = limited.tick();
    assert_eq!((decision.bound, decision.reason), (Bound::Effect, Reason::Ineffective), "{}", limited.told());
    assert!(limited.cluster.replicas() < 64, "{}", limited.told());
    let free = run(false);
    assert!(
        free.changes.iter().all(|(_, decision)| decision.reason != Reason::Ineffective),
        "{}",
        free.told()
    );
}

fn wave(secs: f64) -> f64 {
    500.0 + 400.0 * (std::f64::consts::TAU * secs / 3600.0).sin()
}

/// Half a day of an hourly wave before, then two hours with starts of two minutes.
fn on_a_wave(forecast: ForecastMode) -> (Site, f64) {
    let policy = Policy {
        capacity_per_replica: Some(100.0),
        forecast,
        down_max_step: 64,
        ..Policy::new(Duration::from_secs(10), 1, 64)
    };
    let mut cluster = Cluster::new(64, 12, 100.0, 500.0, 2);
    (cluster.tells, cluster.start_secs) = (Tells::BusySeconds, 120.0);
    let mut site = Site::new(policy, cluster);
    let began = 12 * 3600;
    site.cluster.wait_until(f64::from(began));
    let start = Observation { started: vec![Duration::from_mins(2); 8], ..Observation::default() };
    site.history.record(&site.policy, &start);
    for secs in (60..=began).step_by(60) {
        let at = Timestamp::from_secs_f64(f64::from(secs));
        site.history.prime(&site.policy, wave(f64::from(secs) - 30.0), Duration::from_mins(1), at);
    }
    let mut late = 0.0;
    for _ in 0..2 * 720 {
        site.cluster.rate = wave(site.cluster.now().as_secs_f64());
        site.cluster.run(5.0);
        site.tick();
        late += (site.cluster.backlog() - 10.0 * site.cluster.rate).max(0.0);
    }
    (site, late)
}

#[test]
fn a_wave_that_was_seen_before_is_met_before_it_comes() {
    let (with, late_with) = on_a_wave(ForecastMode::Auto);
    let (without, late_without) = on_a_wave(ForecastMode::Off);
    let (shadow, late_shadow) = on_a_wave(ForecastMode::Shadow);
    assert!(late_with * 5.0 <= late_without, "{late_with} / {late_without}{}{}", with.told(), without.told());
    assert!(with.changes.iter().any(|(_, decision)| decision.reason == Reason::Forecast), "{}", with.told());
    assert!((late_shadow - late_without).abs() < 1e-6 && shadow.changes.len() == without.changes.len());
}

#[test]
fn a_forecast_never_scales_in() {
    let (mut site, _) = on_a_wave(ForecastMode::Auto);
    let (mut open, mut more) = (0, 0);
    for _ in 0..720 {
        site.cluster.rate = wave(site.cluster.now().as_secs_f64());
        site.cluster.run(5.0);
        let seen = site.cluster.observe();
        site.history.record(&site.policy, &seen);
        let now = site.cluster.now();
        let with = decide(&site.policy, &seen, &site.history, now);
        let off = Policy { forecast: ForecastMode::Off, ..site.policy.clone() };
        let without = decide(&off, &seen, &site.history, now);
        assert!(with.replicas >= without.replicas, "{}\n{}", explain(&with), explain(&without));
        open += u32::from(with.terms.outlook.is_some_and(|outlook| outlook.open));
        more += u32::from(with.replicas > without.replicas);
        site.history.record_decision(&site.policy, &with, now);
        site.cluster.scale(with.replicas);
    }
    assert!(open > 100 && more > 0, "open {open}, more {more} of 720");
}

#[test]
fn a_recording_is_replayed_to_the_same_decisions() {
    let mut cluster = Cluster::new(24, 2, 100.0, 150.0, 5);
    cluster.tells = Tells::BusySeconds;
    let mut site = Site::new(Policy::new(Duration::from_secs(10), 1, 64), cluster);
    site.run(300.0);
    // A ring that begins in the middle begins with what was known then.
    let begin = serde_json::to_string(&site.history).unwrap();
    let (mut recording, mut decisions) = (Vec::new(), Vec::new());
    for step in 0..200_u32 {
        site.cluster.rate = if (50..90).contains(&step) { 900.0 } else { 150.0 };
        site.cluster.run(5.0);
        let seen = site.cluster.observe();
        recording.push(serde_json::to_string(&seen).unwrap());
        site.history.record(&site.policy, &seen);
        let decision = decide(&site.policy, &seen, &site.history, seen.at);
        site.history.record_decision(&site.policy, &decision, seen.at);
        site.cluster.scale(decision.replicas);
        decisions.push(decision);
    }
    assert!(decisions.iter().filter(|decision| decision.changes()).count() >= 2);
    let policy: Policy = serde_json::from_str(&serde_json::to_string(&site.policy).unwrap()).unwrap();
    let mut history: History = serde_json::from_str(&begin).unwrap();
    for (line, decided) in recording.iter().zip(&decisions) {
        let seen: Observation = serde_json::from_str(line).unwrap();
        history.record(&policy, &seen);
        let decision = decide(&policy, &seen, &history, seen.at);
        assert_eq!(&decision, decided);
        history.record_decision(&policy, &decision, seen.at);
    }
}

#[test]
fn what_was_learned_outlives_the_process() {
    let mut cluster = Cluster::new(24, 4, 100.0, 250.0, 5);
    cluster.tells = Tells::BusySeconds;
    let mut site = Site::new(Policy::new(Duration::from_secs(10), 1, 64), cluster);
    site.run(600.0);
    let before = site.tick().terms;
    let learned = site.history.learned(site.cluster.now(), UnixMillis(5_000_000));
    let text = serde_json::to_string(&learned).unwrap();
    let now = site.cluster.now() + Duration::from_secs(30);
    let wall = UnixMillis(5_030_000);
    let mut history = History::resume(serde_json::from_str(&text).unwrap(), now, wall);
    site.cluster.run(30.0);
    let seen = site.cluster.observe();
    history.record(&site.policy, &seen);
    let after = decide(&site.policy, &seen, &history, seen.at);
    assert_eq!((after.terms.mu_source, after.replicas), (before.mu_source, after.terms.current));
    assert!((after.terms.mu.unwrap() - before.mu.unwrap()).abs() < 1e-9);
    assert!((after.terms.start_secs - before.start_secs).abs() < 1e-9);
    assert!(after.terms.mu_age_secs.unwrap() >= 30.0);
}

#[test]
fn the_arithmetic_is_told_with_its_units_and_adds_up() {
    let given = Given { lag: 8000.0, ..Given::new(4, 280.0) };
    let decision = given.decide();
    let told = explain(&decision);
    for part in [
        "4 -> 7 replicas",
        "Q_tgt = 2000",
        " / 0.75: the load at its fill",
        "the backlog",
        "x 3.0 s x 1.00 / 30 s: the rebalance to 7",
        "mu          100.0 msg/s one replica, as configured",
        "with 7 replicas the hottest has 2",
        "limits      1 to 12 (12 partitions)",
        "result      7 replicas, bound by nothing",
    ] {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
    let sum: f64 = told
        .lines()
        .skip_while(|line| !line.starts_with("need"))
        .take(4)
        .map(|line| line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap())
        .sum();
    assert!((sum - decision.terms.need).abs() < 0.3, "{told}");
    let blind = Given { unknown: 12, ..Given::new(4, 280.0) }.decide();
    assert!(explain(&blind).contains("not known"), "{}", explain(&blind));
}
