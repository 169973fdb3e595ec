//! Where the IngestScalers are, and how their scalers get what they work with.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tidegate_core::time::UnixMillis;
use tidegate_runtime::admin::Readiness;
use tidegate_runtime::config::Problem;
use tokio_util::sync::CancellationToken;

use super::api::ScalerApi;
use super::events::Events;
use super::keepers::{Keepers, Parts};
use super::office::Office;
use super::watching::watching;
use crate::config::RawKubernetes;
use crate::crd::ScaleTargetRef;
use crate::error::Error;
use crate::observe::KafkaGroup;
use crate::scaler::{GroupSettings, Shared};
use crate::target::{Kubernetes, KubernetesTargets};

/// Longest time to reach the API server.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Longest silence of an answer: longer than a watch in which nothing happens, which the API server ends after a minute.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// Access to the IngestScalers of one namespace.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Finds out how to reach the API server; does not reach it yet.
    ///
    /// # Errors
    /// The setting that names no access.
    pub async fn connect(settings: &RawKubernetes) -> Result<Self, Problem> {
        let mut config = match &settings.kubeconfig {
            Some(file) => from_file(file).await?,
            None => inferred().await?,
        };
        config.connect_timeout = Some(CONNECT_MAX);
        config.read_timeout = Some(SILENCE_MAX);
        // Otherwise the time for which a connection lay idle would count.
        config.reset_reader_on_write = true;
        let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|problem| {
            Problem::new("kubernetes", "{...}", format!("access that can be used ({problem})"))
        })?;
        Ok(Self { client, namespace })
    }

    /// Returns what works on the objects.
    pub(crate) fn operator(
        self,
        shared: Shared,
        tick: Duration,
        unix_clock: fn() -> UnixMillis,
        readiness: Readiness,
    ) -> Operator {
        let Self { client, namespace } = self;
        // Distinguishes this run in events; nothing depends on its being unique.
        let instance = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let api = ScalerApi::new(client.clone(), &namespace, &instance);
        let office = Office {
            api: api.clone(),
            budget: Arc::default(),
            events: Events::new(shared.events.metrics().clone()),
            clock: shared.clock,
            wall: unix_clock,
        };
        let parts = InCluster {
            targets: KubernetesTargets::new(client, &namespace, shared.clock, unix_clock),
            seed: RandomState::new().hash_one(&instance),
        };
        Operator { api, keepers: Keepers::new(parts, office, shared, tick), readiness }
    }
}

async fn from_file(file: &Path) -> Result<Config, Problem> {
    let wrong = |problem: &dyn std::fmt::Display| {
        let value = format!("\"{}\"", file.display());
        Problem::new("kubernetes.kubeconfig", value, format!("a kubeconfig file ({problem})"))
    };
    let read = Kubeconfig::read_from(file).map_err(|problem| wrong(&problem))?;
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .map_err(|problem| wrong(&problem))
}

async fn inferred() -> Result<Config, Problem> {
    let in_cluster = match Config::incluster() {
        Ok(config) => return Ok(config),
        Err(problem) => problem,
    };
    Config::from_kubeconfig(&KubeConfigOptions::default()).await.map_err(|elsewhere| {
        let allowed =
            format!("a file, unless it runs in a pod ({in_cluster}) or KUBECONFIG names one ({elsewhere})");
        Problem::new("kubernetes.kubeconfig", "nothing", allowed)
    })
}

/// The work on all objects.
pub(crate) struct Operator {
    api: ScalerApi,
    keepers: Keepers<InCluster>,
    readiness: Readiness,
}

impl Operator {
    /// Works until `stop`; the replicas stay as they are.
    pub(crate) async fn run(self, stop: CancellationToken) {
        watching(self.api, self.keepers, self.readiness, stop).await;
    }
}

/// Scalers over a real Kafka and a real cluster.
struct InCluster {
    targets: KubernetesTargets,
    /// Spreads retries of several controllers.
    seed: u64,
}

impl Parts for InCluster {
    type Observe = KafkaGroup;
    type Target = Kubernetes;

    fn observe(&self, settings: &GroupSettings) -> Result<KafkaGroup, Error> {
        KafkaGroup::new(settings, self.seed)
    }

    fn target(&self, target: &ScaleTargetRef) -> Kubernetes {
        self.targets.target(target)
    }
}
