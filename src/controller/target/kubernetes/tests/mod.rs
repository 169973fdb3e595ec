mod api;

use http::Method;
use serde_json::{Value, json};
use tokio::task::yield_now;

use self::api::{AUTOSCALERS, DEPLOYMENTS, PODS, SCALE, SCALED_OBJECTS, Script};
use super::*;
use crate::target::Running;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

/// The watches see everything at 100 s.
fn targets(script: &Script) -> KubernetesTargets {
    KubernetesTargets::new(script.client(), "ingest", || at(100), || UnixMillis(1_000_000_000))
}

fn reference(kind: &str, name: &str) -> ScaleTargetRef {
    ScaleTargetRef { api_version: "apps/v1".to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

fn consumer(script: &Script) -> Kubernetes {
    targets(script).target(&reference("Deployment", "consumer"))
}

fn running_pod(script: &Script, name: &str, app: &str) {
    let metadata = json!({"uid": name, "labels": {"app": app}, "creationTimestamp": "1970-01-12T13:46:30Z"});
    let state = json!({"running": {"startedAt": "1970-01-12T13:46:35Z"}});
    let container = json!({
        "name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": state,
    });
    script.put(
        PODS,
        name,
        metadata,
        json!({"status": {"phase": "Running", "containerStatuses": [container]}}),
    );
}

fn points_at(name: &str) -> Value {
    json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}}})
}

/// Looks until `wanted` is seen: a watch tells a moment later.
async fn until<T>(target: &mut Kubernetes, wanted: impl Fn(&Result<State, TargetError>) -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(seen) = wanted(&target.observe(at(100)).await) {
            return seen;
        }
        yield_now().await;
    }
    panic!("it is never seen: {:?}", target.observe(at(100)).await);
}

fn kind(result: Result<State, TargetError>) -> TargetErrorKind {
    result.expect_err("it cannot be looked at").kind
}

#[tokio::test(start_paused = true)]
async fn a_target_is_what_its_scale_orders_and_the_pods_that_it_selects() {
    let script = Script::new();
    running_pod(&script, "consumer-a", "consumer");
    running_pod(&script, "other-a", "other");
    let mut target = consumer(&script);
    let state = target.observe(at(100)).await.expect("it is there");
    let replica = Running { member: "consumer-a".to_owned(), ordered_at: at(90), spawned_at: Some(at(95)) };
    assert_eq!((state.ordered, state.replicas), (1, vec![replica]));
    running_pod(&script, "consumer-b", "consumer");
    until(&mut target, |seen| (seen.as_ref().ok()?.replicas.len() == 2).then_some(())).await;
    script.delete(PODS, "consumer-a");
    until(&mut target, |seen| (seen.as_ref().ok()?.replicas.len() == 1).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_is_put_on_the_version_that_was_looked_at() {
    let script = Script::new();
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it is there");
    target.scale(5, at(100)).await.expect("nobody changed it");
    assert_eq!(script.replicas(), 5);
    assert_eq!(target.observe(at(101)).await.expect("it is there").ordered, 5);
}

#[tokio::test(start_paused = true)]
async fn somebody_who_changed_it_meanwhile_is_not_overwritten_and_the_next_look_sees_what_it_is() {
    let script = Script::new();
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it is there");
    script.scaled_by_hand(3);
    let conflict = target.scale(5, at(100)).await.expect_err("it is another version");
    assert_eq!(conflict.kind, TargetErrorKind::Conflict);
    assert_eq!(script.replicas(), 3);
    script.asked();
    let blind = target.scale(5, at(100)).await.expect_err("it was not looked at again");
    assert_eq!(blind.kind, TargetErrorKind::Conflict);
    assert!(script.asked().is_empty(), "it is never tried blindly");
    assert_eq!(target.observe(at(100)).await.expect("it is there").ordered, 3);
    target.scale(5, at(100)).await.expect("nobody changed it");
    assert_eq!(script.replicas(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_change_is_read_twice_a_minute_and_one_that_does_at_once() {
    let script = Script::new();
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it is there");
    script.asked();
    for tick in 0..5 {
        target.observe(at(100 + 5 * tick)).await.expect("it is there");
    }
    assert!(script.asked().is_empty(), "nothing is polled");
    target.observe(at(130)).await.expect("it is there");
    assert_eq!(script.asked(), [format!("GET {SCALE}")], "a watch that is silent may be dead");
    script.scaled_by_hand(4);
    let seen = |seen: &Result<State, TargetError>| (seen.as_ref().ok()?.ordered == 4).then_some(());
    until(&mut target, seen).await;
}

#[tokio::test(start_paused = true)]
async fn many_targets_share_one_watch_of_each_kind() {
    let script = Script::new();
    let targets = targets(&script);
    let mut many: Vec<_> = (0..20).map(|_| targets.target(&reference("Deployment", "consumer"))).collect();
    for target in &mut many {
        target.observe(at(100)).await.expect("it is there");
    }
    let asked = script.asked();
    let watches: Vec<_> = asked.iter().filter(|asked| asked.starts_with("WATCH")).collect();
    let lists: Vec<_> =
        asked.iter().filter(|asked| asked.starts_with("GET") && !asked.ends_with("/scale")).collect();
    assert_eq!(watches.len(), 3, "pods, autoscalers and deployments: {watches:?}");
    assert_eq!(lists.len(), 5, "those, what scaled objects there are, and the kinds of apps/v1: {lists:?}");
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_on_the_target_keeps_it_from_being_scaled_until_it_is_gone() {
    let script = Script::new();
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it is there");
    script.put(AUTOSCALERS, "web", json!({}), points_at("other"));
    script.put(AUTOSCALERS, "mine", json!({}), points_at("consumer"));
    let owned = |seen: &Result<State, TargetError>| seen.as_ref().err().cloned();
    let error = until(&mut target, owned).await;
    assert_eq!(error.kind, TargetErrorKind::Owned);
    assert_eq!(
        error.message,
        "HorizontalPodAutoscaler mine scales Deployment consumer already: delete it (kubectl delete \
         horizontalpodautoscalers mine --namespace ingest) or this IngestScaler"
    );
    script.delete(AUTOSCALERS, "mine");
    until(&mut target, |seen| seen.as_ref().ok().map(drop)).await;
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_that_appears_between_look_and_order_stops_the_order() {
    let script = Script::new();
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it is there");
    script.put(AUTOSCALERS, "mine", json!({}), points_at("consumer"));
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(target.scale(5, at(100)).await.expect_err("owned").kind, TargetErrorKind::Owned);
    assert_eq!(script.replicas(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_scaled_object_is_named_before_the_autoscaler_that_keda_made_for_it() {
    let script = Script::new();
    script.put(AUTOSCALERS, "keda-hpa-mine", json!({}), points_at("consumer"));
    script.put(SCALED_OBJECTS, "mine", json!({}), json!({"spec": {"scaleTargetRef": {"name": "consumer"}}}));
    let error = consumer(&script).observe(at(100)).await.expect_err("owned");
    assert_eq!(error.kind, TargetErrorKind::Owned);
    assert!(error.message.starts_with("ScaledObject mine scales Deployment consumer already"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_without_keda_is_asked_for_it_now_and_then_and_believed() {
    let script = Script::new();
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it is there");
    let list = format!("GET {SCALED_OBJECTS}");
    assert_eq!(script.asked().iter().filter(|asked| **asked == list).count(), 1);
    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(1)).await;
        target.observe(at(100)).await.expect("it is there");
    }
    assert_eq!(script.asked().iter().filter(|asked| **asked == list).count(), 0);
    script.put(SCALED_OBJECTS, "mine", json!({}), points_at("consumer"));
    tokio::time::advance(Duration::from_mins(5)).await;
    until(&mut target, |seen| seen.as_ref().err().map(drop)).await;
}

#[tokio::test(start_paused = true)]
async fn keda_that_was_removed_owns_nothing() {
    let script = Script::new();
    script.put(SCALED_OBJECTS, "mine", json!({}), points_at("consumer"));
    let mut target = consumer(&script);
    assert_eq!(kind(target.observe(at(100)).await), TargetErrorKind::Owned);
    script.remove_api(SCALED_OBJECTS);
    until(&mut target, |seen| seen.as_ref().ok().map(drop)).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_exist_or_cannot_be_scaled_is_told_apart() {
    let script = Script::new();
    script.delete(DEPLOYMENTS, "consumer");
    let missing = consumer(&script).observe(at(100)).await.expect_err("it is gone");
    assert_eq!(missing.kind, TargetErrorKind::NotFound);
    assert_eq!(missing.message, "Deployment consumer in namespace ingest does not exist");

    let targets = targets(&script);
    for (kind, says) in [
        ("DaemonSet", "DaemonSet of apps/v1 has no /scale"),
        ("ClusterThing", "ClusterThing of apps/v1 belongs to no namespace"),
        ("Nonsense", "Nonsense of apps/v1 is not known to the api server"),
    ] {
        let error = targets.target(&reference(kind, "x")).observe(at(100)).await.expect_err(kind);
        assert_eq!((error.kind, error.message.as_str()), (TargetErrorKind::Unsupported, says));
    }
    let elsewhere = ScaleTargetRef { api_version: "example.com/v1".to_owned(), ..reference("Robot", "x") };
    let error = targets.target(&elsewhere).observe(at(100)).await.expect_err("no such group");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (TargetErrorKind::Unsupported, "Robot of example.com/v1 is not known to the api server")
    );
}

#[tokio::test(start_paused = true)]
async fn a_scale_that_does_not_say_which_pods_are_its_own_is_not_scaled_on_those_of_others() {
    let script = Script::new();
    script.selects("");
    running_pod(&script, "other-a", "other");
    assert_eq!(kind(consumer(&script).observe(at(100)).await), TargetErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_named_with_the_manifest_that_grants_it() {
    let rights = [
        (PODS, "list pods in namespace ingest"),
        (AUTOSCALERS, "list horizontalpodautoscalers.autoscaling in namespace ingest"),
        (SCALED_OBJECTS, "list scaledobjects.keda.sh in namespace ingest"),
        (DEPLOYMENTS, "list deployments.apps in namespace ingest"),
        (SCALE, "get deployments.apps/scale in namespace ingest"),
    ];
    for (path, right) in rights {
        let script = Script::new();
        script.refuse(Method::GET, path, 403);
        let mut target = consumer(&script);
        let error = target.observe(at(100)).await.expect_err(right);
        assert_eq!(error.kind, TargetErrorKind::Forbidden, "{right}");
        assert!(error.message.starts_with(&format!("not allowed to {right}")), "{error}");
        assert!(error.message.contains("charts/manifests/rbac.yaml"), "{error}");
        script.grant();
        tokio::time::advance(Duration::from_secs(2)).await;
        until(&mut target, |seen| seen.as_ref().ok().map(drop)).await;
    }
    let script = Script::new();
    script.refuse(Method::PUT, SCALE, 403);
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it may be looked at");
    let error = target.scale(5, at(100)).await.expect_err("it may not be scaled");
    assert_eq!(error.kind, TargetErrorKind::Forbidden);
    assert!(error.message.starts_with("not allowed to update deployments.apps/scale"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_is_no_state_and_one_that_is_back_is_looked_at_anew() {
    let script = Script::new();
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it is there");
    for path in [PODS, AUTOSCALERS, DEPLOYMENTS, SCALE] {
        script.refuse(Method::GET, path, 0);
    }
    script.hang_up();
    let away = |seen: &Result<State, TargetError>| seen.as_ref().err().cloned();
    let error = until(&mut target, away).await;
    assert_eq!(error.kind, TargetErrorKind::Unavailable);
    assert!(error.message.contains("connection refused"), "{error}");
    assert_eq!(
        target.scale(5, at(100)).await.expect_err("not on an old look").kind,
        TargetErrorKind::Conflict
    );
    assert_eq!(script.replicas(), 1);
    script.scaled_by_hand(2);
    script.grant();
    tokio::time::advance(Duration::from_mins(1)).await;
    let back = until(&mut target, |seen| seen.as_ref().ok().map(|state| state.ordered)).await;
    assert_eq!(back, 2);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_holds_up_a_look_and_an_order_for_ten_seconds() {
    let script = Script::new();
    script.freeze(true);
    let mut target = consumer(&script);
    let error = target.observe(at(100)).await.expect_err("nobody answers");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (TargetErrorKind::Unavailable, "the api server does not answer within 10 s")
    );
    let script = Script::new();
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it is there");
    script.freeze(true);
    let error = target.scale(5, at(100)).await.expect_err("nobody answers");
    assert_eq!(error.kind, TargetErrorKind::Unavailable);
    assert_eq!(target.observe(at(101)).await.expect_err("whether it was done is not known").kind, error.kind);
}

#[tokio::test(start_paused = true)]
async fn watches_end_with_the_last_target() {
    let script = Script::new();
    let mut target = consumer(&script);
    target.observe(at(100)).await.expect("it is there");
    assert_eq!(script.watchers(), 3);
    drop(target);
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(script.watchers(), 0);
}
