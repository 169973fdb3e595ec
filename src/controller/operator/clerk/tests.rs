use super::*;
use crate::crd::Slo;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

fn status(want: u32) -> IngestScalerStatus {
    IngestScalerStatus { want: Some(want), slo: Some(Slo::Met), ..IngestScalerStatus::default() }
}

fn view(changes: u64) -> View {
    View { changes, last_change: Some(format!("change {changes}")), ..View::default() }
}

/// Does what the clerk says at `now` until it waits, and returns what that was.
fn work(clerk: &mut Clerk, wanted: &IngestScalerStatus, budget: &mut Budget, now: Timestamp) -> Vec<String> {
    let mut done = Vec::new();
    loop {
        match clerk.next(Some(wanted), budget, now) {
            Act::Status => {
                clerk.wrote_status(wanted.clone(), now);
                done.push("status".to_owned());
            }
            Act::Note(note) => {
                clerk.wrote_note(note.subject, now);
                done.push(note.text);
            }
            Act::Wait(until) => {
                assert!(until > now, "it would spin");
                return done;
            }
        }
    }
}

#[test]
fn a_change_of_the_replicas_is_written_at_once_though_the_bucket_is_empty() {
    let mut budget = Budget::default();
    while budget.try_take(at(100)) {}
    let mut clerk = Clerk::new(Some(status(1)), at(0));
    clerk.see(&view(1), at(100));
    assert_eq!(work(&mut clerk, &status(4), &mut budget, at(100)), ["status", "change 1"]);
    assert!(work(&mut clerk, &status(5), &mut budget, at(101)).is_empty(), "the next one queues");
}

#[test]
fn what_waits_is_written_once_with_its_latest_value() {
    let mut budget = Budget::default();
    while budget.try_take(at(100)) {}
    let mut clerk = Clerk::new(Some(status(1)), at(0));
    for want in 2..9 {
        assert!(work(&mut clerk, &status(want), &mut budget, at(100 + u64::from(want))).is_empty());
    }
    assert_eq!(work(&mut clerk, &status(9), &mut budget, at(113)), ["status"]);
    assert_eq!(clerk.written().and_then(|written| written.want), Some(9));
}

#[test]
fn an_api_server_that_refuses_is_asked_less_and_less() {
    let mut budget = Budget::default();
    let mut clerk = Clerk::new(None, at(0));
    let mut asked = 0;
    for second in 0..600 {
        if clerk.next(Some(&status(1)), &mut budget, at(second)) == Act::Status {
            asked += 1;
            clerk.failed(at(second));
        }
    }
    assert!((12..=16).contains(&asked), "1, 2, 4 ... 60 s apart: {asked}");
}

#[test]
fn trouble_that_passes_by_itself_is_not_told() {
    let mut clerk = Clerk::new(None, at(0));
    let away = || vec![Trouble::new(Kind::KafkaUnreachable, "no broker answers")];
    let missing = || vec![Trouble::new(Kind::UnknownTopic, "topic t does not exist")];
    assert!(clerk.lasting(away(), at(0)).is_empty());
    assert!(clerk.lasting(Vec::new(), at(5)).is_empty());
    assert!(clerk.lasting(away(), at(9)).is_empty(), "it came back and went again");
    assert!(clerk.lasting(away(), at(18)).is_empty());
    assert_eq!(clerk.lasting(away(), at(19)), away());
    assert_eq!(clerk.lasting(missing(), at(20)), missing(), "a person has to mend that: at once");
}
