//! What is scaled: consumers as local processes, or whatever Kubernetes gives a `/scale`.
//!
//! Owns the words in which the loop speaks to a target. A target counts, starts and stops replicas; whether one that
//! runs has joined its consumer group is not its business: Kafka and the consumers' reports tell.

mod error;
mod kubernetes;
mod processes;

use tidegate_core::time::Timestamp;

pub use error::{TargetError, TargetErrorKind};
pub use kubernetes::{Kubernetes, KubernetesTargets};
pub use processes::LocalProcesses;

/// Something that runs replicas of a consumer.
pub trait Target: Send + 'static {
    /// Returns what is ordered and what there is.
    ///
    /// # Errors
    /// Says why the target cannot be observed; the next tick tries again.
    fn observe(&mut self, now: Timestamp) -> impl Future<Output = Result<State, TargetError>> + Send;

    /// Orders `replicas`. Does not wait until they run or have stopped: the next observations show it.
    ///
    /// # Errors
    /// Says why the target refused; the next tick decides anew.
    fn scale(
        &mut self,
        replicas: u32,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), TargetError>> + Send;

    /// Ends what must not outlive the controller, within a bounded time. Returns the members that had to be killed.
    fn shut_down(&mut self) -> impl Future<Output = Vec<String>> + Send;
}

/// A target at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Replicas that are ordered.
    pub ordered: u32,
    /// Those of them that exist.
    pub replicas: Vec<Running>,
    /// Replicas that ended by themselves since the last observation.
    pub crashes: Vec<Crash>,
    /// Members that had to be killed since the last observation.
    pub killed: Vec<String>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name, which its reports carry.
    pub member: String,
    /// When it was ordered, or when it last ended by itself.
    pub ordered_at: Timestamp,
    /// When its process was started; `None` while it waits to be started again.
    pub spawned_at: Option<Timestamp>,
}

/// A replica that ended without being asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Its name.
    pub member: String,
    /// How it ended.
    pub ended: String,
    /// Seconds until it is started again.
    pub restart_in_secs: u64,
}
