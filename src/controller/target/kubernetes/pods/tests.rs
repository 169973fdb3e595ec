use serde_json::{Value, json};
use tidegate_core::time::UnixMillis;

use super::*;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

/// Wall-clock time is 1000 s ahead of the process's own here.
fn seen(secs: u64, listed: bool) -> Seen {
    Seen { at: at(secs), wall: UnixMillis(i64::try_from((secs + 1000) * 1000).unwrap()), listed }
}

fn time(secs: i64) -> String {
    k8s_openapi::jiff::Timestamp::from_second(secs + 1000).unwrap().to_string()
}

fn pod(phase: &str, container: &Value) -> Value {
    json!({
        "metadata": {"name": "consumer-a", "uid": "1", "creationTimestamp": time(100), "labels": {"app": "consumer"}},
        "status": {"phase": phase, "containerStatuses": [container]},
    })
}

fn container(restarts: u32, state: &Value, last_state: &Value) -> Value {
    json!({
        "name": "consumer", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
        "state": state, "lastState": last_state,
    })
}

fn runs(restarts: u32, since: i64) -> Value {
    container(restarts, &json!({"running": {"startedAt": time(since)}}), &json!({}))
}

fn terminated(code: i32, reason: &str, finished: i64) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": time(finished)}})
}

fn waits() -> Value {
    pod("Pending", &container(0, &json!({"waiting": {"reason": "ContainerCreating"}}), &json!({})))
}

fn read(pod: Value, before: Option<&PodFact>, seen: Seen) -> PodFact {
    PodFact::read(&serde_json::from_value(pod).expect("a pod"), before, seen)
}

fn look(book: &mut Book, pod: &PodFact) -> State {
    let name = "consumer-a".to_owned();
    book.state(1, [(&name, pod)].into_iter())
}

fn replica(ordered_at: u64, spawned_at: Option<u64>) -> Running {
    Running { member: "consumer-a".to_owned(), ordered_at: at(ordered_at), spawned_at: spawned_at.map(at) }
}

#[test]
fn a_pod_is_ordered_when_it_is_seen_and_spawned_when_all_its_containers_are_seen_to_run() {
    let mut book = Book::default();
    // The clocks of the API server and of the node are wrong by a minute; what is seen to happen does not care.
    let ordered = read(waits(), None, seen(160, false));
    assert_eq!(look(&mut book, &ordered).replicas, [replica(160, None)]);
    let spawned = read(pod("Running", &runs(0, 90)), Some(&ordered), seen(163, false));
    assert_eq!(look(&mut book, &spawned).replicas, [replica(160, Some(163))]);
    let ready = read(pod("Running", &runs(0, 90)), Some(&spawned), seen(170, false));
    assert_eq!(look(&mut book, &ready).replicas, [replica(160, Some(163))], "it goes on as it was");
    let mut two = pod("Running", &runs(0, 90));
    let sidecar = container(0, &json!({"waiting": {"reason": "ContainerCreating"}}), &json!({}));
    two["status"]["containerStatuses"].as_array_mut().unwrap().push(sidecar);
    let half = read(two, Some(&ordered), seen(163, false));
    assert_eq!(look(&mut book, &half).replicas, [replica(160, None)]);
}

#[test]
fn a_pod_that_was_there_before_is_as_old_as_it_says() {
    let old = read(pod("Running", &runs(0, 110)), None, seen(200, true));
    assert_eq!(look(&mut Book::default(), &old).replicas, [replica(100, Some(110))]);
    let from_the_future = read(pod("Running", &runs(0, 500)), None, seen(200, true));
    assert_eq!(look(&mut Book::default(), &from_the_future).replicas, [replica(100, Some(200))]);
    let listed_again = read(pod("Running", &runs(0, 110)), Some(&old), seen(300, true));
    assert_eq!(listed_again, old, "a list after a broken watch makes it no other");
}

#[test]
fn a_pod_that_was_told_to_go_is_no_replica_and_its_end_no_crash() {
    let mut book = Book::default();
    let before = read(pod("Running", &runs(0, 110)), None, seen(200, true));
    look(&mut book, &before);
    let mut going = pod("Running", &container(0, &terminated(143, "Error", 210), &json!({})));
    going["metadata"]["deletionTimestamp"] = json!(time(209));
    let state = look(&mut book, &read(going, Some(&before), seen(210, false)));
    assert!(state.replicas.is_empty() && state.crashes.is_empty(), "{state:?}");
}

#[test]
fn a_container_that_ended_by_itself_is_a_crash_once_with_how_it_ended() {
    let mut book = Book::default();
    let well = read(pod("Running", &runs(0, 110)), None, seen(200, true));
    assert!(look(&mut book, &well).crashes.is_empty());

    let ended = read(
        pod("Running", &container(0, &terminated(137, "OOMKilled", 204), &json!({}))),
        Some(&well),
        seen(205, false),
    );
    let state = look(&mut book, &ended);
    let crash = Crash {
        member: "consumer-a".to_owned(),
        ended: "container consumer: exit code 137 (OOMKilled)".to_owned(),
        restart_in_secs: 0,
    };
    assert_eq!((state.crashes, state.replicas), (vec![crash], vec![replica(205, None)]), "ordered anew");

    let again = read(pod("Running", &runs(1, 206)), Some(&ended), seen(207, false));
    let state = look(&mut book, &again);
    assert_eq!(
        (state.crashes, state.replicas),
        (vec![], vec![replica(205, Some(207))]),
        "it was told already"
    );

    let back_off =
        container(1, &json!({"waiting": {"reason": "CrashLoopBackOff"}}), &terminated(1, "Error", 209));
    let loops = read(pod("Running", &back_off), Some(&again), seen(210, false));
    let state = look(&mut book, &loops);
    assert_eq!(state.crashes[0].ended, "container consumer: exit code 1 (Error)");
    assert_eq!(state.crashes[0].restart_in_secs, 10);
    assert_eq!(state.replicas, [replica(205, None)], "its order stays as old as it is");
    assert!(look(&mut book, &loops).crashes.is_empty());
}

#[test]
fn crashes_from_before_the_first_look_are_nobodys_news_and_those_between_two_looks_are() {
    let crashed = read(pod("Running", &runs(3, 110)), None, seen(200, true));
    let mut book = Book::default();
    assert!(look(&mut book, &crashed).crashes.is_empty(), "a controller that starts repeats nothing");
    let mut made_anew = pod("Running", &runs(1, 203));
    made_anew["metadata"]["uid"] = json!("2");
    let another = read(made_anew, Some(&crashed), seen(205, false));
    assert_eq!(look(&mut book, &another).crashes.len(), 1, "made and ended within one tick");
    assert_eq!(book.told.len(), 1, "who is gone is forgotten");
}

#[test]
fn a_pod_that_was_evicted_is_no_replica_and_a_crash() {
    let mut book = Book::default();
    let before = read(pod("Running", &runs(0, 110)), None, seen(200, true));
    look(&mut book, &before);
    let evicted = json!({
        "metadata": {"name": "consumer-a", "uid": "1"},
        "status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
    });
    let state = look(&mut book, &read(evicted, Some(&before), seen(210, false)));
    assert!(state.replicas.is_empty());
    assert_eq!(state.crashes[0].ended, "Evicted: The node was low on resource: memory.");
}

#[test]
fn the_kubelets_back_off_doubles_up_to_five_minutes() {
    let secs = |restarts| {
        let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        read(pod("Running", &container(restarts, &state, &json!({}))), None, seen(200, true)).restart_in_secs
    };
    assert_eq!([0, 1, 2, 5, 6, 7, 1000].map(secs), [10, 10, 20, 160, 300, 300, 300]);
}
