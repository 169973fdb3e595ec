//! An API server as a script says: objects by path, refusals, a log of what was asked, and watches that tell of changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body as ClientBody;
use serde_json::{Value, json};
use tokio::sync::broadcast;

pub(super) const SCALE: &str = "/apis/apps/v1/namespaces/ingest/deployments/consumer/scale";
pub(super) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/ingest/deployments";
pub(super) const PODS: &str = "/api/v1/namespaces/ingest/pods";
pub(super) const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/ingest/horizontalpodautoscalers";
pub(super) const SCALED_OBJECTS: &str = "/apis/keda.sh/v1alpha1/namespaces/ingest/scaledobjects";

#[derive(Clone)]
pub(super) struct Script(Arc<Mutex<World>>);

struct World {
    /// Version of the Deployment and of its /scale.
    version: u32,
    replicas: u32,
    selector: &'static str,
    /// Objects by the path of their list and by their name.
    objects: BTreeMap<&'static str, BTreeMap<String, Value>>,
    /// Status codes by method and path.
    refusals: BTreeMap<(Method, &'static str), u16>,
    /// Nobody answers.
    frozen: bool,
    asked: Vec<String>,
    changes: broadcast::Sender<(&'static str, String)>,
}

impl Script {
    /// A Deployment of one replica, and no KEDA.
    pub(super) fn new() -> Self {
        let lists = [DEPLOYMENTS, PODS, AUTOSCALERS];
        let script = Self(Arc::new(Mutex::new(World {
            version: 1,
            replicas: 1,
            selector: "app=consumer",
            objects: lists.into_iter().map(|path| (path, BTreeMap::new())).collect(),
            refusals: BTreeMap::new(),
            frozen: false,
            asked: Vec::new(),
            changes: broadcast::Sender::new(64),
        })));
        script.touch();
        script
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.0.lock().expect("no test panics with it")
    }

    pub(super) fn client(&self) -> Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<ClientBody>| {
            let script = script.clone();
            async move { script.answer(request).await }
        });
        Client::new(service, "default")
    }

    /// Returns what was asked since the last time, without queries.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.world().asked)
    }

    pub(super) fn replicas(&self) -> u32 {
        self.world().replicas
    }

    pub(super) fn refuse(&self, method: Method, path: &'static str, status: u16) {
        self.world().refusals.insert((method, path), status);
    }

    pub(super) fn grant(&self) {
        self.world().refusals.clear();
    }

    pub(super) fn freeze(&self, frozen: bool) {
        self.world().frozen = frozen;
    }

    pub(super) fn selects(&self, selector: &'static str) {
        self.world().selector = selector;
    }

    /// Returns how many watches are open.
    pub(super) fn watchers(&self) -> usize {
        self.world().changes.receiver_count()
    }

    /// Ends all watches, as an API server that stops does.
    pub(super) fn hang_up(&self) {
        self.world().changes = broadcast::Sender::new(64);
    }

    /// An API and its objects go, and all watches end.
    pub(super) fn remove_api(&self, path: &'static str) {
        self.world().objects.remove(path);
        self.hang_up();
    }

    /// The Deployment changes in something that is not its replicas.
    pub(super) fn touch(&self) {
        let mut world = self.world();
        world.version += 1;
        let version = world.version.to_string();
        let metadata = json!({"name": "consumer", "namespace": "ingest", "resourceVersion": version});
        world.put(DEPLOYMENTS, "consumer", metadata, json!({}));
    }

    /// Somebody else scales.
    pub(super) fn scaled_by_hand(&self, replicas: u32) {
        self.world().replicas = replicas;
        self.touch();
    }

    /// Puts an object into a list; `more` is its spec and status.
    pub(super) fn put(&self, path: &'static str, name: &str, metadata: Value, more: Value) {
        self.world().put(path, name, metadata, more);
    }

    pub(super) fn delete(&self, path: &'static str, name: &str) {
        let mut world = self.world();
        let gone = world.objects.get_mut(path).and_then(|objects| objects.remove(name)).expect("it is there");
        world.tell(path, "DELETED", &gone);
    }

    async fn answer(&self, request: Request<ClientBody>) -> Result<Response<Body>, &'static str> {
        let (head, body) = request.into_parts();
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        let frozen = {
            let mut world = self.world();
            let verb =
                if query.contains("watch=true") { "WATCH".to_owned() } else { head.method.to_string() };
            world.asked.push(format!("{verb} {path}"));
            world.frozen
        };
        if frozen {
            std::future::pending::<()>().await;
        }
        let body = body.collect_bytes().await.map_err(|_| "the body broke off")?;
        let mut world = self.world();
        let key = world.refusals.keys().find(|(method, at)| *method == head.method && *at == path).cloned();
        if let Some(code) = key.map(|key| world.refusals[&key]) {
            if code == 0 {
                return Err("connection refused");
            }
            return Ok(refusal(code, "the script refuses"));
        }
        if path == SCALE {
            return Ok(world.scale(&head.method, &body));
        }
        if path == "/apis/apps/v1" {
            return Ok(answer(200, &kinds()));
        }
        let Some(list) = world.objects.keys().find(|list| **list == path).copied() else {
            return Ok(refusal(404, "the server could not find the requested resource"));
        };
        if query.contains("watch=true") {
            return Ok(world.watch(list));
        }
        let items: Vec<_> = world.objects[list].values().cloned().collect();
        let metadata = json!({"resourceVersion": world.version.to_string()});
        Ok(answer(200, &json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})))
    }
}

impl World {
    fn put(&mut self, path: &'static str, name: &str, mut metadata: Value, more: Value) {
        metadata["name"] = json!(name);
        metadata["namespace"] = json!("ingest");
        if metadata["resourceVersion"].is_null() {
            metadata["resourceVersion"] = json!(self.version.to_string());
        }
        let mut object = more;
        object["apiVersion"] = json!("v1");
        object["kind"] = json!(if path == PODS { "Pod" } else { "Thing" });
        object["metadata"] = metadata;
        let before = self.objects.entry(path).or_default().insert(name.to_owned(), object.clone());
        self.tell(path, if before.is_none() { "ADDED" } else { "MODIFIED" }, &object);
    }

    fn tell(&self, path: &'static str, what: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": what, "object": object}));
        // Nobody may be watching.
        let _ = self.changes.send((path, line));
    }

    fn watch(&self, list: &'static str) -> Response<Body> {
        let changes = futures_util::stream::unfold(self.changes.subscribe(), |mut changes| async move {
            changes.recv().await.ok().map(|change| (change, changes))
        });
        let lines = changes.filter_map(move |(path, line)| async move {
            (path == list).then(|| Ok::<_, std::io::Error>(Bytes::from(line)))
        });
        Response::new(Body::from_stream(lines))
    }

    fn scale(&mut self, method: &Method, body: &[u8]) -> Response<Body> {
        if !self.objects[DEPLOYMENTS].contains_key("consumer") {
            return refusal(404, "deployments.apps \"consumer\" not found");
        }
        if method == Method::PUT {
            let wanted: Value = serde_json::from_slice(body).expect("a Scale");
            if wanted["metadata"]["resourceVersion"] != json!(self.version.to_string()) {
                return refusal(
                    409,
                    "the object has been modified; please apply your changes to the latest version",
                );
            }
            self.replicas =
                u32::try_from(wanted["spec"]["replicas"].as_u64().expect("a number")).expect("small");
            self.version += 1;
            let metadata = json!({"resourceVersion": self.version.to_string()});
            self.put(DEPLOYMENTS, "consumer", metadata, json!({}));
        }
        let metadata =
            json!({"name": "consumer", "namespace": "ingest", "resourceVersion": self.version.to_string()});
        let status = json!({"replicas": self.replicas, "selector": self.selector});
        answer(
            200,
            &json!({
                "kind": "Scale", "apiVersion": "autoscaling/v1",
                "metadata": metadata, "spec": {"replicas": self.replicas}, "status": status,
            }),
        )
    }
}

fn kinds() -> Value {
    let resource = |name: &str, kind: &str, namespaced| json!({"name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["get"]});
    json!({
        "kind": "APIResourceList", "groupVersion": "apps/v1",
        "resources": [
            resource("deployments", "Deployment", true),
            resource("deployments/scale", "Scale", true),
            resource("daemonsets", "DaemonSet", true),
            resource("clusterthings", "ClusterThing", false),
            resource("clusterthings/scale", "Scale", false),
        ],
    })
}

fn refusal(code: u16, message: &str) -> Response<Body> {
    answer(
        code,
        &json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": message, "reason": "", "code": code,
        }),
    )
}

fn answer(code: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).expect("a status code");
    response
}
