use tidegate_core::scaling::{Bound, Decision, History, Observation, Policy, Reason, decide};

use super::*;

const SLO: Duration = Duration::from_secs(10);

fn decision(reason: Reason, bound: Bound, replicas: u32) -> Decision {
    let seen = Observation::default();
    let mut decision = decide(&Policy::new(SLO, 1, 8), &seen, &History::default(), Timestamp::ZERO);
    decision.reason = reason;
    decision.bound = bound;
    decision.replicas = replicas;
    decision.terms.current = replicas;
    decision
}

fn view(delay_secs: Option<f64>) -> View {
    View {
        ticks: 1,
        want: 4,
        have: 3,
        delay_secs,
        sentence: "4 replicas: they fit 100 msg/s".to_owned(),
        decision: Some(decision(Reason::Fits, Bound::Demand, 4)),
        ..View::default()
    }
}

fn case<'a>(view: Option<&'a View>, troubles: &'a [Trouble]) -> Case<'a> {
    Case {
        generation: Some(1),
        slo: Some(SLO),
        view,
        troubles,
        previous: None,
        now: UnixMillis(1_700_000_000_000),
    }
}

fn stands(status: &IngestScalerStatus) -> Vec<(&str, &str, &str)> {
    status.conditions.iter().map(|it| (&*it.type_, &*it.status, &*it.reason)).collect()
}

fn trouble(kind: Kind) -> Trouble {
    Trouble::new(kind, "what is wrong")
}

#[test]
fn a_group_that_is_fine_says_what_was_decided() {
    let view = view(Some(1.26));
    let status = status(&case(Some(&view), &[]));
    assert_eq!((status.want, status.have, status.ready), (Some(4), Some(4), Some(3)));
    assert_eq!((status.reason.as_deref(), status.bound.as_deref()), (Some("Fits"), Some("Demand")));
    assert_eq!(status.message.as_deref(), Some("4 replicas: they fit 100 msg/s"));
    assert_eq!((status.slo, status.delay_seconds), (Some(Slo::Met), Some(1.3)));
    assert_eq!(
        stands(&status),
        [
            ("KafkaObserved", "True", "Observed"),
            ("TargetScalable", "True", "Scalable"),
            ("Ready", "True", "Scaling")
        ]
    );
}

#[test]
fn the_promise_is_met_missed_or_unknown() {
    let table =
        [(Some(0.0), Slo::Met), (Some(10.0), Slo::Met), (Some(10.01), Slo::Missed), (None, Slo::Unknown)];
    for (delay, expected) in table {
        let view = view(delay);
        assert_eq!(status(&case(Some(&view), &[])).slo, Some(expected), "{delay:?}");
    }
    let view = view(Some(1.0));
    let silent = [trouble(Kind::KafkaUnreachable)];
    assert_eq!(status(&case(Some(&view), &silent)).slo, Some(Slo::Unknown), "an old delay is none");
}

#[test]
fn each_trouble_makes_its_condition_false_and_the_object_not_ready() {
    let view = view(Some(1.0));
    for kind in Kind::ALL {
        let troubles = [trouble(kind)];
        let status = status(&case(Some(&view), &troubles));
        assert_eq!(status.reason.as_deref(), Some(kind.as_str()));
        assert!(status.message.as_deref().is_some_and(|it| it.starts_with("what is wrong")));
        for (type_, state, reason) in stands(&status) {
            if type_ == READY {
                assert_eq!((state, reason), ("False", kind.as_str()));
            } else if type_ == kind.condition() {
                let expected = if kind == Kind::ApiUnavailable { "Unknown" } else { "False" };
                assert_eq!((state, reason), (expected, kind.as_str()));
            } else {
                assert_eq!(state, "True", "{type_} has nothing to do with {kind:?}");
            }
        }
    }
}

#[test]
fn an_object_without_a_scaler_wants_nothing_and_says_why() {
    let troubles = [trouble(Kind::TargetOwned)];
    let status = status(&case(None, &troubles));
    assert_eq!((status.want, status.have, status.slo), (None, None, Some(Slo::Unknown)));
    assert_eq!(
        stands(&status),
        [
            ("KafkaObserved", "Unknown", "NotRunning"),
            ("TargetScalable", "False", "TargetOwned"),
            ("Ready", "False", "TargetOwned")
        ]
    );
}

#[test]
fn of_two_troubles_the_one_that_matters_more_is_the_reason() {
    let view = view(None);
    let troubles = [trouble(Kind::KafkaUnreachable), trouble(Kind::TargetNotFound)];
    let status = status(&case(Some(&view), &troubles));
    assert_eq!(status.reason.as_deref(), Some("TargetNotFound"));
    assert_eq!(stands(&status)[0], ("KafkaObserved", "False", "KafkaUnreachable"));
}

#[test]
fn the_time_of_a_condition_moves_only_with_its_status() {
    let view = view(Some(1.0));
    let first = status(&case(Some(&view), &[]));
    let troubles = [trouble(Kind::UnknownTopic)];
    let next = |troubles, previous, now| {
        status(&Case { previous: Some(previous), now: UnixMillis(now), ..case(Some(&view), troubles) })
    };
    let second = next(&troubles, &first, 1_700_000_100_000);
    let third = next(&[trouble(Kind::KafkaUnreachable)], &second, 1_700_000_200_000);
    let seconds = |status: &IngestScalerStatus| -> Vec<i64> {
        status.conditions.iter().map(|it| it.last_transition_time.0.as_second() - 1_700_000_000).collect()
    };
    assert_eq!(seconds(&first), [0, 0, 0]);
    assert_eq!(seconds(&second), [100, 0, 100]);
    assert_eq!(seconds(&third), [100, 0, 100], "another reason, but false all the time");
}

#[test]
fn live_figures_alone_are_not_worth_a_write() {
    let calm = view(Some(1.0));
    let old = status(&case(Some(&calm), &[]));
    let at = Timestamp::from_millis(1_000_000);
    let worth = |new: &IngestScalerStatus, after: Duration| worth_writing(Some(&old), new, at, at + after);
    let mut new = old.clone();
    new.delay_seconds = Some(2.0);
    new.mu = Some(1234.0);
    new.offered = Some(99.0);
    new.ready = Some(1);
    new.reason = Some("CoolingDown".to_owned());
    new.message = Some("another sentence".to_owned());
    new.conditions[2].message = "another sentence".to_owned();
    assert_eq!(worth(&new, Duration::from_secs(599)), Worth::No);
    assert_eq!(worth(&new, HEARTBEAT), Worth::Heartbeat);
    assert_eq!(worth_writing(None, &old, at, at), Worth::Yes, "there is none yet");
}

#[test]
fn what_somebody_would_act_on_is_worth_a_write() {
    let view = view(Some(1.0));
    let old = status(&case(Some(&view), &[]));
    let changes: [fn(&mut IngestScalerStatus); 7] = [
        |it| it.want = Some(7),
        |it| it.have = Some(7),
        |it| it.bound = Some("Max".to_owned()),
        |it| it.slo = Some(Slo::Missed),
        |it| it.observed_generation = Some(2),
        |it| it.conditions[0].status = "False".to_owned(),
        |it| it.conditions[0].reason = "UnknownTopic".to_owned(),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut new = old.clone();
        change(&mut new);
        assert_eq!(
            worth_writing(Some(&old), &new, Timestamp::ZERO, Timestamp::ZERO),
            Worth::Yes,
            "change {index}"
        );
    }
}

#[test]
fn a_patch_removes_what_is_not_known_any_more() {
    let fine = view(Some(1.0));
    let old = status(&case(Some(&fine), &[]));
    let troubles = [trouble(Kind::InvalidSpec)];
    let new = status(&case(None, &troubles));
    let patch = patch(Some(&old), &new);
    assert_eq!(patch["want"], Value::Null);
    assert!(patch.as_object().expect("it is one").contains_key("want"), "named, or it would stay");
    assert_eq!(patch["reason"], "InvalidSpec");
}

#[test]
fn reasons_are_written_as_the_api_writes_them() {
    for reason in Reason::ALL {
        let text = camel(reason.as_str());
        assert!(
            text.chars().all(|it| it.is_ascii_alphabetic()) && text.starts_with(|it: char| it.is_uppercase())
        );
    }
    assert_eq!(camel("lag_unknown"), "LagUnknown");
}
