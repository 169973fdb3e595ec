//! What runs for which objects, over a Kafka, targets and an API server that do as a test says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;
use kube::client::Body;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use tidegate_core::time::{Timestamp, UnixMillis};
use tidegate_runtime::metrics::Registry;
use tokio::time::{Instant, sleep};
use tower::service_fn;

use super::api::ScalerApi;
use super::events::Events;
use super::index::Index;
use super::keepers::{Keepers, Parts};
use super::office::Office;
use crate::crd::ScaleTargetRef;
use crate::error::Error;
use crate::observe::{Observe, Seen};
use crate::scaler::{GroupSettings, Shared};
use crate::target::{State, Target, TargetError};
use crate::testing::{Fake, Script};

const TICK: Duration = Duration::from_secs(1);

thread_local! {
    /// Each test is a thread of its own, on paused time.
    static START: Instant = start();
}

#[expect(clippy::disallowed_methods, reason = "paused time: this is the clock of the test")]
fn start() -> Instant {
    Instant::now()
}

fn now() -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(1000) + START.with(Instant::elapsed)
}

fn wall() -> UnixMillis {
    UnixMillis(1_700_000_000_000)
}

/// What was asked of the API server: path and body.
type Calls = Arc<Mutex<Vec<(String, Value)>>>;

/// An API server that takes every write, or none.
#[derive(Clone, Default)]
struct Server {
    calls: Calls,
    refuses: Arc<AtomicBool>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let answer = service_fn(move |request: http::Request<Body>| {
            let server = server.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect_bytes().await.unwrap_or_default();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = if server.refuses.load(Ordering::Relaxed) {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                        "reason": "Forbidden", "message": "no right"});
                    (403, status)
                } else if path.contains("/events") {
                    (201, body.clone())
                } else {
                    (200, object("any", 1, "any", "g"))
                };
                server.calls.lock().unwrap().push((path, body));
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, Infallible>(http::Response::builder().status(code).body(answer).unwrap())
            }
        });
        Client::new(answer, "ingest")
    }

    /// Statuses that were written for an object.
    fn statuses(&self, name: &str) -> Vec<Value> {
        let path = format!("/ingestscalers/{name}/status");
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(at, _)| at.ends_with(&path)).map(|(_, body)| body["status"].clone()).collect()
    }

    fn events(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let events = calls.iter().filter(|(at, _)| at.ends_with("/events"));
        events.map(|(_, body)| body["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// Makes parts and remembers them.
#[derive(Clone, Default)]
struct Workshop {
    kafka: Script,
    panics: Arc<AtomicBool>,
    /// Kinds and names of the targets in the order in which they were made, with what each was ordered.
    targets: Arc<Mutex<Vec<(String, Fake)>>>,
    alive: Arc<AtomicU32>,
    most_alive: Arc<AtomicU32>,
}

struct Moody {
    kafka: Script,
    panics: Arc<AtomicBool>,
}

/// Takes three seconds to end.
struct Slow {
    fake: Fake,
    alive: Arc<AtomicU32>,
}

impl Observe for Moody {
    async fn observe(&mut self, now: Timestamp) -> Result<Seen, String> {
        assert!(!self.panics.load(Ordering::Relaxed), "as the test says");
        self.kafka.observe(now).await
    }
}

impl Target for Slow {
    async fn observe(&mut self, now: Timestamp) -> Result<State, TargetError> {
        self.fake.observe(now).await
    }

    async fn scale(&mut self, replicas: u32, now: Timestamp) -> Result<(), TargetError> {
        self.fake.scale(replicas, now).await
    }

    async fn shut_down(&mut self) -> Vec<String> {
        sleep(Duration::from_secs(3)).await;
        Vec::new()
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Parts for Workshop {
    type Observe = Moody;
    type Target = Slow;

    fn observe(&self, _: &GroupSettings) -> Result<Moody, Error> {
        Ok(Moody { kafka: self.kafka.clone(), panics: self.panics.clone() })
    }

    fn target(&self, target: &ScaleTargetRef) -> Slow {
        let fake = Fake::default();
        self.targets.lock().unwrap().push((target.name.clone(), fake.clone()));
        let alive = self.alive.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_alive.fetch_max(alive, Ordering::Relaxed);
        Slow { fake, alive: self.alive.clone() }
    }
}

struct Site {
    keepers: Keepers<Workshop>,
    workshop: Workshop,
    server: Server,
    index: Index,
    registry: Registry,
}

fn site() -> Site {
    now();
    let (workshop, server, registry) = (Workshop::default(), Server::default(), Registry::new());
    let shared = Shared::new(&registry, now).unwrap();
    let office = Office {
        api: ScalerApi::new(server.client(), "ingest", "test"),
        budget: Arc::default(),
        events: Events::new(shared.events.metrics().clone()),
        clock: now,
        wall,
    };
    let mut index = Index::default();
    index.take(Event::Init);
    index.take(Event::InitDone);
    let keepers = Keepers::new(workshop.clone(), office, shared, TICK);
    Site { keepers, workshop, server, index, registry }
}

impl Site {
    fn take(&mut self, event: Event<DynamicObject>) {
        self.index.take(event);
        self.keepers.apply(self.index.entries().unwrap());
    }

    fn put(&mut self, object: Value) {
        self.take(Event::Apply(serde_json::from_value(object).unwrap()));
    }

    async fn pass(&mut self, time: Duration) {
        let mut over = std::pin::pin!(sleep(time));
        loop {
            tokio::select! {
                () = &mut over => return,
                () = self.keepers.changed(self.index.entries()) => {
                    self.keepers.apply(self.index.entries().unwrap());
                }
            }
        }
    }

    /// What the targets that were made so far were ordered, in the order of their making.
    fn orders(&self) -> Vec<(String, Vec<u32>)> {
        let targets = self.workshop.targets.lock().unwrap();
        targets.iter().map(|(name, fake)| (name.clone(), fake.0.lock().unwrap().orders.clone())).collect()
    }

    fn running(&self) -> String {
        let text = self.registry.encode();
        let line = text.lines().find(|line| line.starts_with("tidegate_controller_scalers "));
        line.unwrap_or_default().replace("tidegate_controller_scalers ", "")
    }
}

fn object(name: &str, generation: i64, target: &str, group: &str) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "IngestScaler",
        "metadata": {
            "name": name, "namespace": "ingest", "uid": format!("uid-{name}"), "generation": generation,
            "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len()),
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "kafka": {"bootstrapServers": "127.0.0.1:9092", "consumerGroup": group, "topics": ["telemetry"]},
            "slo": {"delay": "10s"},
            "replicas": {"min": 2, "max": 8},
        },
    })
}

fn made(orders: &[(&str, &[u32])]) -> Vec<(String, Vec<u32>)> {
    orders.iter().map(|(name, orders)| ((*name).to_owned(), orders.to_vec())).collect()
}

#[tokio::test(start_paused = true)]
async fn each_object_gets_a_scaler_a_status_and_an_event_and_a_deleted_one_loses_it() {
    let mut site = site();
    site.put(object("a", 1, "x", "g"));
    site.put(object("bb", 1, "y", "h"));
    site.pass(Duration::from_secs(5)).await;
    assert_eq!(site.orders(), made(&[("x", &[2]), ("y", &[2])]));
    assert_eq!(site.running(), "2");
    let status = site.server.statuses("a").pop().unwrap();
    assert_eq!((&status["want"], &status["observedGeneration"]), (&json!(2), &json!(1)), "{status}");
    assert_eq!(site.server.events(), ["Scaled", "Scaled"]);
    site.take(Event::Delete(serde_json::from_value(object("a", 1, "x", "g")).unwrap()));
    site.pass(Duration::from_secs(5)).await;
    assert_eq!(site.running(), "1");
    assert!(!site.registry.encode().contains("scaler=\"a\""), "its series go with it");
}

#[tokio::test(start_paused = true)]
async fn the_younger_of_two_on_one_target_scales_nothing_until_the_older_is_gone() {
    let mut site = site();
    site.put(object("bb", 1, "x", "g"));
    site.put(object("a", 1, "x", "g"));
    site.pass(Duration::from_secs(10)).await;
    assert_eq!(site.running(), "1");
    let refused = site.server.statuses("bb").pop().unwrap();
    assert_eq!(refused["reason"], json!("TargetOwned"), "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("ingestscaler a is older"), "{refused}");
    site.take(Event::Delete(serde_json::from_value(object("a", 1, "x", "g")).unwrap()));
    site.pass(Duration::from_mins(1)).await;
    let takes_over = site.server.statuses("bb").pop().unwrap();
    assert_ne!(takes_over["reason"], json!("TargetOwned"), "{takes_over}");
    assert_eq!(site.workshop.most_alive.load(Ordering::Relaxed), 1, "never two on one target");
}

#[tokio::test(start_paused = true)]
async fn another_policy_reaches_the_scaler_that_runs_and_another_group_replaces_it_when_it_has_ended() {
    let mut site = site();
    site.put(object("a", 1, "x", "g"));
    site.pass(Duration::from_secs(5)).await;
    let mut policy = object("a", 2, "x", "g");
    policy["spec"]["replicas"]["min"] = json!(3);
    site.put(policy);
    site.pass(Duration::from_secs(5)).await;
    assert_eq!(site.orders(), made(&[("x", &[2, 3])]), "the same scaler");
    site.put(object("a", 3, "x", "another"));
    site.pass(Duration::from_secs(1)).await;
    assert_eq!(site.orders().len(), 1, "the first has not ended");
    site.pass(Duration::from_secs(10)).await;
    assert_eq!(site.orders(), made(&[("x", &[2, 3]), ("x", &[2])]));
    assert_eq!(site.workshop.most_alive.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_scaler_that_panics_is_made_again_after_a_pause_that_grows() {
    let mut site = site();
    site.workshop.panics.store(true, Ordering::Relaxed);
    site.put(object("a", 1, "x", "g"));
    // At 0, 1, 3, 7 and 15 s.
    site.pass(Duration::from_secs(20)).await;
    assert_eq!(site.orders().len(), 5);
    assert_eq!(site.server.statuses("a").pop().unwrap()["reason"], json!("ScalerDied"));
    site.workshop.panics.store(false, Ordering::Relaxed);
    site.pass(Duration::from_mins(1)).await;
    assert_eq!(*site.orders().last().unwrap(), made(&[("x", &[2])])[0]);
    assert_eq!(site.running(), "1");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_takes_no_writes_keeps_nobody_from_scaling() {
    let mut site = site();
    site.server.refuses.store(true, Ordering::Relaxed);
    site.put(object("a", 1, "x", "g"));
    site.pass(Duration::from_mins(2)).await;
    assert_eq!(site.orders(), made(&[("x", &[2])]));
    let asked = site.server.calls.lock().unwrap().len();
    assert!(asked <= 16, "it is not asked more often than backoff allows: {asked}");
    site.server.refuses.store(false, Ordering::Relaxed);
    site.pass(Duration::from_mins(2)).await;
    assert_eq!(site.server.statuses("a").pop().unwrap()["want"], json!(2), "told once it can be");
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_object_already_is_not_written_again() {
    let mut first = site();
    first.put(object("a", 1, "x", "g"));
    first.pass(Duration::from_mins(1)).await;
    let mut stored = json!({});
    for patch in first.server.statuses("a") {
        for (key, value) in patch.as_object().unwrap() {
            stored[key] = value.clone();
        }
    }
    let mut again = site();
    // The deployment is as the first controller left it.
    let mut restarted = object("a", 1, "x", "g");
    restarted["status"] = stored;
    again.put(restarted);
    again.workshop.targets.lock().unwrap()[0].1.0.lock().unwrap().replicas = 2;
    again.pass(Duration::from_mins(1)).await;
    assert_eq!(again.orders(), made(&[("x", &[])]), "a restart changes nothing by itself");
    assert_eq!(again.server.statuses("a"), [] as [Value; 0]);
    assert_eq!(again.server.events(), [] as [String; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_spec_is_named_in_the_status_and_a_corrected_one_is_worked_on() {
    let mut site = site();
    let mut wrong = object("a", 1, "x", "g");
    wrong["spec"]["replicas"] = json!({"min": 9, "max": 8});
    site.put(wrong);
    site.pass(Duration::from_secs(5)).await;
    let status = site.server.statuses("a").pop().unwrap();
    assert_eq!(status["reason"], json!("InvalidSpec"));
    assert!(status["message"].as_str().unwrap().contains("replicas.min"), "{status}");
    assert!(site.orders().is_empty());
    site.put(object("a", 2, "x", "g"));
    site.pass(Duration::from_mins(1)).await;
    assert_eq!(site.orders(), made(&[("x", &[2])]));
    let _: BTreeMap<String, Value> =
        serde_json::from_value(site.server.statuses("a").pop().unwrap()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn trouble_that_was_told_before_a_restart_is_not_told_again() {
    let mut first = site();
    let mut wrong = object("a", 1, "x", "g");
    wrong["spec"]["replicas"] = json!({"min": 9, "max": 8});
    first.put(wrong.clone());
    first.pass(Duration::from_mins(1)).await;
    assert_eq!(first.server.events(), ["InvalidSpec"]);
    let mut again = site();
    wrong["status"] = first.server.statuses("a").pop().unwrap();
    again.put(wrong);
    again.pass(Duration::from_mins(1)).await;
    assert_eq!(again.server.statuses("a"), [] as [Value; 0]);
    assert_eq!(again.server.events(), [] as [String; 0]);
}
