//! Single decisions with numbers that can be checked by hand.

use std::sync::Arc;
use std::time::Duration;

use crate::scaling::{
    Assignor, Bound, Decision, Group, History, Member, Membership, Observation, Offered, PartitionId,
    PartitionOffsets, Policy, Reason, Replicas, Room, ScheduledMin, decide,
};
use crate::time::Timestamp;

/// A group on a constant arrival rate, observed every five seconds.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) policy: Policy,
    pub(super) partitions: u32,
    pub(super) replicas: u32,
    pub(super) rate: f64,
    pub(super) lag: f64,
    pub(super) offered: Option<Offered>,
    pub(super) starting: Vec<Duration>,
    pub(super) unknown: u32,
    pub(super) ticks: u32,
    pub(super) age: Duration,
    /// Share of partition k is as 1 / (k + 1)^skew: Zipf's law.
    pub(super) skew: f64,
    pub(super) room: Option<Room>,
    pub(super) scheduled_min: Option<u32>,
    pub(super) assignor: Assignor,
}

impl Given {
    /// 12 partitions, mu 100 as configured, watched for ten minutes, no lag.
    pub(super) fn new(replicas: u32, rate: f64) -> Self {
        let policy =
            Policy { capacity_per_replica: Some(100.0), ..Policy::new(Duration::from_secs(10), 1, 64) };
        Self {
            policy,
            partitions: 12,
            replicas,
            rate,
            lag: 0.0,
            offered: None,
            starting: Vec::new(),
            unknown: 0,
            ticks: 120,
            age: Duration::ZERO,
            skew: 0.0,
            room: None,
            scheduled_min: None,
            assignor: Assignor::Unknown,
        }
    }

    /// Share of each partition in arrivals and lag.
    pub(super) fn shares(&self) -> Vec<f64> {
        let weights: Vec<f64> = (0..self.partitions).map(|n| f64::from(n + 1).powf(-self.skew)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    /// The group as it is described with a known assignor.
    fn membership(&self, ids: &[PartitionId]) -> Membership {
        if self.assignor == Assignor::Unknown {
            return Membership::Unknown;
        }
        let count = (self.replicas as usize).clamp(1, ids.len());
        let member = |n: usize| Member {
            id: format!("member-{n}"),
            partitions: ids.iter().skip(n).step_by(count).cloned().collect(),
        };
        let members = (0..count).map(member).collect();
        Membership::Known(Group { stable: true, cooperative: true, members, assignor: self.assignor })
    }

    pub(super) fn observe(&self, tick: u32) -> Observation {
        let topic: Arc<str> = Arc::from("telemetry");
        let last = tick + 1 == self.ticks;
        let ids: Vec<PartitionId> =
            (0..self.partitions).map(|partition| PartitionId { topic: topic.clone(), partition }).collect();
        let membership = self.membership(&ids);
        let offsets = ids.into_iter().zip(self.shares()).map(|(id, share)| {
            let end = (self.rate * 5.0 * f64::from(tick) * share).round() as i64 + 1_000_000;
            // A full commit interval of a steady consumer reads as half of it too much; give exactly that.
            let behind = (self.lag + if tick > 0 { self.rate * 2.5 } else { 0.0 }) * share;
            PartitionOffsets {
                begin: 0,
                end: (!last || id.partition >= self.unknown).then_some(end),
                committed: Some(end - behind.round() as i64),
                id,
            }
        });
        Observation {
            at: Timestamp::from_millis(5000 * u64::from(tick) + 5000),
            offsets: Some(offsets.collect()),
            replicas: Replicas {
                ordered: self.replicas,
                ready: self.replicas - u32::try_from(self.starting.len()).unwrap(),
                starting: self.starting.clone(),
            },
            membership,
            offered: self.offered,
            room: self.room,
            scheduled_min: self.scheduled_min.map(|min| {
                let until = Timestamp::from_millis(u64::MAX / 2_000_000);
                ScheduledMin { min, until }
            }),
            ..Observation::default()
        }
    }

    /// Returns the last observation, and the history up to and with it.
    pub(super) fn watched(&self) -> (Observation, History) {
        let mut history = History::default();
        let mut seen = Observation::default();
        for tick in 0..self.ticks {
            seen = self.observe(tick);
            history.record(&self.policy, &seen);
            if tick + 1 < self.ticks {
                let decision = decide(&self.policy, &seen, &history, seen.at);
                // The group stays as given, as under an operator who only looks.
                let stayed = Decision { replicas: self.replicas, ..decision };
                history.record_decision(&self.policy, &stayed, seen.at);
            }
        }
        (seen, history)
    }

    pub(super) fn decide(&self) -> Decision {
        let (seen, history) = self.watched();
        decide(&self.policy, &seen, &history, seen.at + self.age)
    }
}

pub(super) fn outcome(decision: &Decision) -> (u32, Bound, Reason) {
    (decision.replicas, decision.bound, decision.reason)
}

#[test]
fn replicas_that_fit_are_left_alone() {
    // 4 x 100 x 0.75 = 300.
    assert_eq!(outcome(&Given::new(4, 280.0).decide()), (4, Bound::Demand, Reason::Fits));
}

#[test]
fn a_little_over_the_fill_target_is_left_alone_and_more_is_not() {
    assert_eq!(outcome(&Given::new(4, 325.0).decide()), (4, Bound::Demand, Reason::Fits));
    assert_eq!(outcome(&Given::new(4, 390.0).decide()), (6, Bound::Demand, Reason::Demand));
}

#[test]
fn twelve_even_partitions_give_two_three_four_six_or_twelve_replicas() {
    // Five replicas would leave one of them with three partitions, as four do.
    for (rate, expected) in [(60.0, 1), (110.0, 2), (180.0, 3), (250.0, 4), (400.0, 6), (700.0, 12)] {
        let decision = Given::new(12, rate).decide();
        assert_eq!(decision.terms.fitting, expected, "{rate} msg/s: {decision}");
    }
}

#[test]
fn a_backlog_is_worked_off_within_the_drain_time() {
    // Q_tgt = 0.5 x 100 x 4 x 10 s = 2000; 280/0.75 + (8000 - 2000)/30 = 573, and 280 x 3 s / 30 s = 28 for the
    // rebalance. Of seven replicas the hottest has 2 of 12 partitions.
    let decision = Given { lag: 8000.0, ..Given::new(4, 280.0) }.decide();
    assert!((decision.terms.backlog - 8000.0).abs() < 100.0, "{}", decision.terms.backlog);
    assert!((decision.terms.backlog_target - 2000.0).abs() < 1.0);
    assert!((decision.terms.need - 601.0).abs() < 10.0, "{}", decision.terms.need);
    assert_eq!(decision.replicas, 7);
}

#[test]
fn a_backlog_below_its_target_is_no_reason_to_act() {
    assert_eq!(
        outcome(&Given { lag: 1500.0, ..Given::new(4, 280.0) }.decide()),
        (4, Bound::Demand, Reason::Fits)
    );
}

#[test]
fn a_reported_burst_is_met_in_one_step() {
    let offered = Some(Offered { rate: 700.0, burst: true, censored: 0.0 });
    let decision = Given { offered, ..Given::new(1, 50.0) }.decide();
    assert_eq!(outcome(&decision), (12, Bound::Demand, Reason::Burst));
    let unreported = Some(Offered { rate: 700.0, burst: false, censored: 0.0 });
    assert_eq!(Given { offered: unreported, ..Given::new(1, 50.0) }.decide().replicas, 1);
}

#[test]
fn the_limits_of_the_operator_hold() {
    let limited = |min, max, replicas, rate| {
        let given = Given::new(replicas, rate);
        outcome(&Given { policy: Policy { min, max, ..given.policy.clone() }, ..given }.decide())
    };
    assert_eq!(limited(1, 5, 4, 700.0), (5, Bound::Max, Reason::Demand));
    assert_eq!(limited(1, 4, 4, 700.0), (4, Bound::Max, Reason::Limited));
    assert_eq!(limited(3, 8, 1, 10.0), (3, Bound::Min, Reason::Limits));
    assert_eq!(limited(1, 8, 10, 700.0), (8, Bound::Max, Reason::Limits));
    assert_eq!(limited(3, 8, 3, 10.0), (3, Bound::Min, Reason::Fits));
    // More replicas than partitions would idle.
    assert_eq!(limited(1, 64, 14, 700.0), (12, Bound::Partitions, Reason::Limits));
}

#[test]
fn steps_are_limited_upwards_and_downwards() {
    let given = Given::new(1, 700.0);
    let policy = Policy { up_max_step: 3, ..given.policy.clone() };
    assert_eq!(outcome(&Given { policy, ..given }.decide()), (4, Bound::UpStep, Reason::Demand));
    assert_eq!(outcome(&Given::new(12, 60.0).decide()), (8, Bound::DownStep, Reason::Surplus));
}

#[test]
fn a_partition_that_is_too_much_for_a_replica_is_said_to_be() {
    let decision = Given::new(12, 1100.0).decide();
    assert_eq!(outcome(&decision), (12, Bound::Partitions, Reason::PartitionTooHot));
    assert!(decision.terms.partition_too_hot);
    assert_eq!(Given::new(4, 1100.0).decide().reason, Reason::PartitionTooHot);
}

#[test]
fn nothing_is_given_back_before_down_after_was_watched() {
    assert_eq!(outcome(&Given::new(6, 60.0).decide()), (2, Bound::DownStep, Reason::Surplus));
    // 5 min are 60 ticks.
    let early = Given { ticks: 58, ..Given::new(6, 60.0) }.decide();
    assert_eq!(outcome(&early), (6, Bound::Hold, Reason::CoolingDown));
}

#[test]
fn nothing_is_given_back_on_doubt() {
    let idle = || Given::new(4, 60.0);
    assert_eq!(idle().decide().replicas, 1);
    let starting = Given { starting: vec![Duration::from_secs(2)], ..idle() };
    assert_eq!(outcome(&starting.decide()), (4, Bound::Hold, Reason::Starting));
    let censored = Given { offered: Some(Offered { rate: 60.0, burst: false, censored: 0.3 }), ..idle() };
    assert_eq!(outcome(&censored.decide()), (4, Bound::Hold, Reason::Censored));
    let partly = Given { unknown: 1, ..idle() };
    assert_eq!(outcome(&partly.decide()), (4, Bound::Hold, Reason::LagUnknown));
    let blind = Given { unknown: 12, ..idle() };
    assert_eq!(outcome(&blind.decide()), (4, Bound::Hold, Reason::LagUnknown));
    let stale = Given { age: Duration::from_secs(16), ..idle() };
    assert_eq!(outcome(&stale.decide()), (4, Bound::Hold, Reason::LagStale));
}

#[test]
fn what_seemed_enough_while_part_of_the_load_was_hidden_gives_nothing_back() {
    let given = Given::new(4, 60.0);
    let mut history = given.watched().1;
    let mut replicas = 4;
    let mut look = |tick: u32, hidden: Option<f64>, unknown: u32| {
        let offered = hidden.map(|censored| Offered { rate: 60.0, burst: false, censored });
        let given = Given { offered, unknown, replicas, ticks: tick + 1, ..given.clone() };
        let seen = given.observe(tick);
        history.record(&given.policy, &seen);
        let decision = decide(&given.policy, &seen, &history, seen.at);
        history.record_decision(&given.policy, &decision, seen.at);
        replicas = decision.replicas;
        outcome(&decision)
    };
    for (from, hidden, unknown, reason) in
        [(120, None, 6, Reason::LagUnknown), (200, Some(0.3), 0, Reason::Censored)]
    {
        // For more than `down.after`; the first whole look after it has watched for no time at all.
        for tick in from..from + 70 {
            assert_eq!(look(tick, hidden, unknown), (4, Bound::Hold, reason), "at {tick}");
        }
        assert_eq!(look(from + 70, None, 0), (4, Bound::Hold, Reason::CoolingDown));
    }
    for tick in 271..340 {
        look(tick, None, 0);
    }
    assert_eq!(look(340, None, 0).0, 1);
}

#[test]
fn no_end_at_all_is_not_the_end_of_arrivals() {
    let given = Given::new(4, 60.0);
    let mut history = given.watched().1;
    let blind = Given { unknown: 12, ticks: 121, ..given.clone() }.observe(120);
    let before = history.demand(&blind, None);
    history.record(&given.policy, &blind);
    assert_eq!(history.demand(&blind, None), before);
}

#[test]
fn a_replica_that_never_starts_does_not_keep_the_group_large() {
    let stuck = Given { starting: vec![Duration::from_mins(10)], ..Given::new(4, 60.0) };
    assert_eq!(stuck.decide().replicas, 1);
}

#[test]
fn part_of_the_lag_is_enough_to_grow_on() {
    assert_eq!(Given { unknown: 1, ..Given::new(4, 700.0) }.decide().replicas, 12);
}

#[test]
fn one_observation_is_not_enough() {
    assert_eq!(Given { ticks: 1, ..Given::new(4, 700.0) }.decide().reason, Reason::Measuring);
}

#[test]
fn a_group_of_unknown_capacity_doubles_while_its_lag_grows_and_rests_in_between() {
    let given = Given { lag: 20_000.0, ..Given::new(2, 700.0) };
    let mut given = Given { policy: Policy { capacity_per_replica: None, ..given.policy.clone() }, ..given };
    let (mut seen, mut history) = given.watched();
    // The given group consumes what arrives; now it falls behind.
    for tick in 120..124 {
        given.lag += 2500.0;
        seen = given.observe(tick);
        history.record(&given.policy, &seen);
    }
    let decision = decide(&given.policy, &seen, &history, seen.at);
    assert_eq!(outcome(&decision), (4, Bound::Demand, Reason::Learning));
    history.record_decision(&given.policy, &decision, seen.at);
    given.replicas = 4;
    seen = given.observe(125);
    history.record(&given.policy, &seen);
    let decision = decide(&given.policy, &seen, &history, seen.at);
    assert_eq!(outcome(&decision), (4, Bound::Hold, Reason::Learning));
}

#[test]
fn the_sentence_names_the_numbers() {
    let offered = Some(Offered { rate: 700.0, burst: true, censored: 0.0 });
    let told = Given { offered, ..Given::new(1, 50.0) }.decide().to_string();
    for part in [
        "1 -> 12 replicas",
        "burst of 649 msg/s",
        "one replica does 100 (as configured)",
        "12 partitions one each",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
}

#[test]
fn the_lag_is_corrected_for_commits_and_clamped_per_partition() {
    let decision = Given::new(4, 280.0).decide();
    assert!((decision.terms.lag_read as f64 - 700.0).abs() < 12.0, "{}", decision.terms.lag_read);
    assert!(decision.terms.backlog < 20.0, "{}", decision.terms.backlog);
}

#[test]
fn the_kafka_delay_is_the_slowest_partitions_backlog_by_its_throughput() {
    // 12 partitions with 500 messages each; four replicas of mu 100 do 33.3 msg/s of each.
    let decision = Given { lag: 6000.0, ..Given::new(4, 280.0) }.decide();
    let delay = decision.terms.delay_secs.unwrap();
    assert!((delay - 15.0).abs() < 0.5, "{delay}");
}
