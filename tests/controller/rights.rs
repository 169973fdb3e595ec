//! Every right of `charts/manifests/rbac.yaml` is needed, and a controller without it says which one it misses.
//!
//! The Role is taken apart into single rights (one verb on one resource). One controller has all of them and does its
//! whole job; each of the others lacks one. All run at the same time, in namespaces of their own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tidegate_kafka::embedded::Embedded;
use tidegate_tests::support::access;
use tidegate_tests::support::cluster::Cluster;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::install::manifests;
use tidegate_tests::support::say::say;
use tidegate_tests::support::scenario::beside_others_on_kubernetes;
use tidegate_tests::support::tidegate::Operator;

use super::owned::with_scaled_objects;
use super::site::{self, ACCOUNT, TOPIC, deployment, scaler, stateful_set, text, within};

/// All of it takes some seconds; twenty controllers beside a build take more.
const DONE_WITHIN: Duration = Duration::from_mins(1);
/// What each controller has to scale, from one replica to two.
const TARGETS: [(&str, &str); 2] = [("Deployment", "consumer"), ("StatefulSet", "keeper")];

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Right {
    group: String,
    resource: String,
    verb: String,
}

/// Returns the rights that the manifest grants.
pub(super) fn in_use() -> Result<Vec<Right>> {
    let manifest = fs::read_to_string(manifests().join("rbac.yaml"))?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifest)?;
    let role = objects.iter().find(|object| object["kind"] == "Role").context("a Role")?;
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().context("rules")? {
        let list = |field: &str| -> Result<Vec<String>> { Ok(serde_json::from_value(rule[field].clone())?) };
        for group in list("apiGroups")? {
            for resource in list("resources")? {
                rights.extend(list("verbs")?.into_iter().map(|verb| Right {
                    group: group.clone(),
                    resource: resource.clone(),
                    verb,
                }));
            }
        }
    }
    Ok(rights)
}

/// Returns a Role with these rights in `namespace`, bound to the controller's account in namespace `account`, and that
/// account.
pub(super) fn grant(namespace: &str, account: &str, rights: &[Right]) -> [Value; 3] {
    let rule = |right: &Right| {
        let Right { group, resource, verb } = right;
        json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] })
    };
    let rules: Vec<Value> = rights.iter().map(rule).collect();
    let api = "rbac.authorization.k8s.io";
    let metadata = json!({ "name": ACCOUNT, "namespace": namespace });
    [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT, "namespace": account } }),
        json!({ "apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": metadata, "rules": rules }),
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": { "apiGroup": api, "kind": "Role", "name": ACCOUNT },
            "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": account }],
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_without_one_of_its_rights_fails_and_names_it() -> Result<()> {
    const NAMESPACE: &str = "rights";
    let promise = "each right of the manifest is needed, and missed by its name";
    beside_others_on_kubernetes(promise, NAMESPACE, async |dir, cluster| {
        let rights = in_use()?;
        ensure!(rights.len() > 10, "the manifest grants {rights:?}");
        let kafka = Embedded::start(&[(TOPIC, 1)])?;
        site::define(cluster).await?;
        with_scaled_objects(cluster, async || {
            let lacking = [None].into_iter().chain(rights.iter().map(Some));
            let mut cases: Vec<Case> = lacking.enumerate().map(|(n, lacks)| Case::new(n, lacks)).collect();
            let objects = cases.iter().flat_map(|case| case.objects(NAMESPACE, &rights, &kafka));
            site::apply(cluster, objects).await?;
            let account = (NAMESPACE, ACCOUNT);
            let kubeconfig = access::of_account(cluster, account, None, (dir, "controller")).await?;
            try_join_all(cases.iter_mut().map(|case| case.start(dir, &kubeconfig))).await?;
            let judged = judge(cluster, &mut cases).await;
            // The namespaces go with everything in them; the scenario knows only its own.
            let names: Vec<&str> = cases.iter().map(|case| &*case.namespace).collect();
            cluster.kubectl([&["delete", "namespace", "--wait=false"][..], &names].concat()).await?;
            judged
        })
        .await
    })
    .await
}

/// Waits until the controller with all rights has done its job, and each of the others says what keeps it from it.
async fn judge(cluster: &Cluster, cases: &mut [Case<'_>]) -> Result<()> {
    let judged = eventually("all controllers are judged", DONE_WITHIN, async || {
        let seen = Seen::now(cluster).await?;
        let (whole, lacking) = cases.split_first_mut().context("the one with all rights")?;
        whole.look(&seen).await?;
        // What the others have not done after the first has done it, they do not do.
        if whole.undone.is_empty() {
            for case in &mut *lacking {
                case.look(&seen).await?;
            }
        }
        let done = whole.undone.is_empty() && lacking.iter().all(Case::fails_by_name);
        Ok(done.then_some(()))
    })
    .await;
    let verdicts = cases.iter().map(Case::verdict).collect::<Vec<_>>().join("\n");
    judged.with_context(|| verdicts.clone())?;
    say(format_args!("rights of the controller:\n{verdicts}"));
    Ok(())
}

/// A controller that lacks a right, or none.
struct Case<'a> {
    namespace: String,
    lacks: Option<&'a Right>,
    controller: Option<Operator>,
    /// What is missing of the whole job.
    undone: Vec<String>,
    /// Where it names the right that it lacks, while the job is not done.
    named: Option<&'static str>,
}

impl<'a> Case<'a> {
    fn new(number: usize, lacks: Option<&'a Right>) -> Self {
        Self {
            namespace: format!("rights-{number}"),
            lacks,
            controller: None,
            undone: vec!["not looked at".to_owned()],
            named: None,
        }
    }

    fn objects(&self, account: &str, rights: &[Right], kafka: &Embedded) -> Vec<Value> {
        let namespace = &self.namespace;
        let granted: Vec<Right> = rights.iter().filter(|right| Some(*right) != self.lacks).cloned().collect();
        let kafka = kafka.bootstrap_servers();
        let scalers = TARGETS.map(|target| scaler(target.1, target, &kafka));
        let work = [deployment(TARGETS[0].1, 1), stateful_set(TARGETS[1].1, 1)];
        let own = work.into_iter().chain(scalers).map(|object| within(namespace, object));
        let made = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        [made].into_iter().chain(grant(namespace, account, &granted)).chain(own).collect()
    }

    async fn start(&mut self, dir: &Path, kubeconfig: &Path) -> Result<()> {
        let place = (dir, &*self.namespace);
        let started = Operator::start(place, kubeconfig, &self.namespace, "tick = '1s'").await;
        self.controller = Some(started?);
        Ok(())
    }

    async fn look(&mut self, seen: &Seen) -> Result<()> {
        let controller = self.controller.as_mut().context("it was started")?;
        let ended = controller.process.ended()?;
        ensure!(ended.is_none(), "{} ended: {ended:?}\n{}", self.namespace, controller.process.tail());
        let (ready, readyz) = controller.readyz().await?;
        self.undone = seen.undone(&self.namespace)?;
        if !ready {
            self.undone.push("it is not ready".to_owned());
        }
        let Some(Right { group, resource, verb }) = self.lacks else { return Ok(()) };
        // As the API server says it; the log escapes the quotes.
        let named = format!("cannot {verb} resource \"{resource}\" in API group \"{group}\"");
        let places = [
            ("condition", seen.conditions(&self.namespace)?),
            ("/readyz", readyz),
            ("log", controller.process.stderr().replace('\\', "")),
        ];
        let place = places.into_iter().find(|(_, text)| text.contains(&named));
        self.named = place.filter(|_| !self.undone.is_empty()).map(|(place, _)| place).or(self.named);
        Ok(())
    }

    fn fails_by_name(&self) -> bool {
        self.named.is_some()
    }

    fn verdict(&self) -> String {
        let undone = self.undone.join(", ");
        let Some(Right { group, resource, verb }) = self.lacks else {
            return if undone.is_empty() {
                "  all rights: the whole job is done".to_owned()
            } else {
                format!("  all rights: NOT DONE: {undone}")
            };
        };
        let right = format!("  {verb} {resource} of \"{group}\"");
        match self.named {
            Some(place) => format!("{right}: named in {place}"),
            None if self.undone.is_empty() => {
                format!("{right}: THIS RIGHT IS NOT USED: all is done without it")
            }
            None => format!("{right}: IT IS NOT NAMED ({undone})"),
        }
    }
}

/// What the API server has in all namespaces at one moment.
struct Seen(Vec<Value>);

impl Seen {
    async fn now(cluster: &Cluster) -> Result<Self> {
        let kinds = "deployments,statefulsets,ingestscalers,events.events.k8s.io";
        let all = cluster.kubectl(["get", kinds, "--all-namespaces", "-o", "json"]).await?;
        let mut all: Value = serde_json::from_str(&all)?;
        Ok(Self(serde_json::from_value(all["items"].take())?))
    }

    fn of(&self, namespace: &str, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |it| it["metadata"]["namespace"] == namespace && it["kind"] == kind)
    }

    /// Returns what a controller with all rights would have done.
    fn undone(&self, namespace: &str) -> Result<Vec<String>> {
        let mut undone = Vec::new();
        for (kind, name) in TARGETS {
            let named = |it: &&Value| it["metadata"]["name"] == name;
            let target = self.of(namespace, kind).find(named).context("the target is there")?;
            let replicas = &target["spec"]["replicas"];
            ensure!(*replicas == 1 || *replicas == 2, "{kind} in {namespace} was scaled to {replicas}");
            if *replicas != 2 {
                undone.push(format!("{kind} is not scaled"));
            }
            let scaler = self.of(namespace, "IngestScaler").find(named).context("the scaler is there")?;
            if scaler["status"]["want"] != 2 || !is_ready(scaler) {
                undone.push(format!("the status for {kind} says: {}", scaler["status"]["reason"]));
            }
            let tells = |event: &Value| event["regarding"]["name"] == name && event["reason"] == "Scaled";
            if !self.of(namespace, "Event").any(tells) {
                undone.push(format!("no event for {kind}"));
            }
        }
        Ok(undone)
    }

    /// Returns the words of all conditions that say that a right is missing.
    fn conditions(&self, namespace: &str) -> Result<String> {
        let conditions = self.of(namespace, "IngestScaler").flat_map(conditions_of);
        let forbidden = conditions.filter(|it| {
            it["type"] == "TargetScalable" && it["reason"] == "Forbidden" && it["status"] == "False"
        });
        forbidden.map(|it| text(it, "message")).collect()
    }
}

fn conditions_of(scaler: &Value) -> impl Iterator<Item = &Value> {
    scaler["status"]["conditions"].as_array().into_iter().flatten()
}

fn is_ready(scaler: &Value) -> bool {
    conditions_of(scaler).any(|it| it["type"] == "Ready" && it["status"] == "True")
}
