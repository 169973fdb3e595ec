//! Pods as replicas: which exist, since when they run, and which ended by themselves.
//!
//! Pure. Times are this process's own where it saw the change happen: the clocks of nodes are theirs. Only of pods that
//! were there before it looked it believes what they say about their age.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tidegate_core::time::Timestamp;

use super::watch::{Fact, Seen};
use crate::target::{Crash, Running, State};

/// Time that a pod must have run for its next crash to make it new again, as for a local process.
const RAN_WELL: Duration = Duration::from_mins(1);
/// The kubelet's back-off between restarts: 10 s, doubled with each, at most five minutes.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
const BACKOFF_MIN_SECS: u64 = 10;
const BACKOFF_MAX_SECS: u64 = 300;

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodFact {
    uid: String,
    pub(super) labels: BTreeMap<String, String>,
    ordered_at: Timestamp,
    life: Life,
    /// How often its containers have ended by themselves.
    ends: u32,
    /// How they did last.
    last_end: String,
    restart_in_secs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It is not scheduled, its image is pulled, or it waits to be started again.
    Waits,
    /// All its containers run.
    Runs { since: Timestamp },
    /// It ended for good: evicted, or not to be restarted.
    Ended,
    /// It was told to go.
    Leaves,
}

impl Fact for PodFact {
    type Object = Pod;

    fn read(pod: &Pod, before: Option<&Self>, seen: Seen) -> Self {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        // A pod of a StatefulSet keeps its name when it is made anew.
        let before = before.filter(|before| before.uid == uid);
        let status = pod.status.as_ref();
        let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let ended = matches!(phase, "Failed" | "Succeeded");

        let counted = containers.iter().map(ends).sum::<u32>().max(u32::from(ended));
        let ends = before.map_or(0, |before| before.ends).max(counted);
        let crashed = before.is_some_and(|before| ends > before.ends);
        let ordered_at = match before {
            None => seen.when(pod.metadata.creation_timestamp.as_ref()),
            // One that crashes in a loop must not look as if it were about to come up: its order stays as old as it is.
            Some(before) if crashed && before.ran_well(seen.at) => seen.at,
            Some(before) => before.ordered_at,
        };
        let life = if pod.metadata.deletion_timestamp.is_some() {
            Life::Leaves
        } else if ended {
            Life::Ended
        } else if let Some(started) = all_run(containers) {
            match before.map(|before| before.life) {
                Some(runs @ Life::Runs { .. }) if !crashed => runs,
                _ => Life::Runs { since: seen.when(Some(started)).max(ordered_at) },
            }
        } else {
            Life::Waits
        };
        Self {
            uid,
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            ordered_at,
            life,
            ends,
            last_end: last_end(status, containers),
            restart_in_secs: containers.iter().map(back_off_secs).max().unwrap_or(0),
        }
    }
}

impl PodFact {
    fn ran_well(&self, now: Timestamp) -> bool {
        matches!(self.life, Life::Runs { since } if now.since(since) >= RAN_WELL)
    }
}

impl Seen {
    /// Returns when something came to be that says it did at `time`.
    fn when(self, time: Option<&Time>) -> Timestamp {
        match time {
            Some(Time(time)) if self.listed => {
                let age_millis = self.wall.0.saturating_sub(time.as_millisecond());
                self.at - Duration::from_millis(u64::try_from(age_millis).unwrap_or(0))
            }
            _ => self.at,
        }
    }
}

/// Returns the latest start if all containers run.
fn all_run(containers: &[ContainerStatus]) -> Option<&Time> {
    let starts = containers.iter().map(|it| it.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    starts.collect::<Option<Vec<_>>>()?.into_iter().max_by_key(|start| start.0)
}

/// Returns how often a container has ended: as often as it was started again, and once more if it now waits for that.
fn ends(container: &ContainerStatus) -> u32 {
    let state = container.state.as_ref();
    let runs = state.is_some_and(|state| state.running.is_some());
    let restarts = u32::try_from(container.restart_count).unwrap_or(0);
    restarts + u32::from(!runs && termination(container).is_some())
}

/// Returns how a container ended last.
fn termination<'a>(container: &'a ContainerStatus) -> Option<&'a ContainerStateTerminated> {
    let of = |state: &'a Option<ContainerState>| state.as_ref().and_then(|state| state.terminated.as_ref());
    of(&container.state).or_else(|| of(&container.last_state))
}

fn last_end(status: Option<&PodStatus>, containers: &[ContainerStatus]) -> String {
    let ended = containers
        .iter()
        .filter_map(|container| Some((container, termination(container)?)))
        .max_by_key(|(_, end)| end.finished_at.as_ref().map(|at| at.0));
    if let Some((container, end)) = ended {
        let how =
            end.signal.map_or_else(|| format!("exit code {}", end.exit_code), |it| format!("signal {it}"));
        let reason = end.reason.as_deref().unwrap_or("no reason told");
        return format!("container {}: {how} ({reason})", container.name);
    }
    let said = |text: Option<&String>| text.cloned().unwrap_or_default();
    status.map_or_else(String::new, |status| {
        format!("{}: {}", said(status.reason.as_ref()), said(status.message.as_ref()))
    })
}

fn back_off_secs(container: &ContainerStatus) -> u64 {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    if waiting.and_then(|waiting| waiting.reason.as_deref()) != Some("CrashLoopBackOff") {
        return 0;
    }
    let doublings = u32::try_from(container.restart_count).unwrap_or(0).saturating_sub(1).min(5);
    (BACKOFF_MIN_SECS << doublings).min(BACKOFF_MAX_SECS)
}

/// Remembers which ends of pods were told: as many as there are pods.
#[derive(Debug, Default)]
pub(super) struct Book {
    told: HashMap<String, u32>,
    looked: bool,
}

impl Book {
    /// Returns what there is of the target's `pods`, by name. Ends from before the first look are nobody's news.
    pub(super) fn state<'a>(
        &mut self,
        ordered: u32,
        pods: impl Iterator<Item = (&'a String, &'a PodFact)>,
    ) -> State {
        let mut state = State { ordered, ..State::default() };
        let mut told = HashMap::new();
        for (name, pod) in pods {
            let before = self.told.get(&pod.uid).copied().unwrap_or(if self.looked { 0 } else { pod.ends });
            told.insert(pod.uid.clone(), pod.ends);
            let spawned_at = match pod.life {
                // Its containers end because they were told to.
                Life::Leaves => continue,
                Life::Ended | Life::Waits => None,
                Life::Runs { since } => Some(since),
            };
            if pod.ends > before {
                state.crashes.push(Crash {
                    member: name.clone(),
                    ended: pod.last_end.clone(),
                    restart_in_secs: pod.restart_in_secs,
                });
            }
            if pod.life != Life::Ended {
                state.replicas.push(Running { member: name.clone(), ordered_at: pod.ordered_at, spawned_at });
            }
        }
        self.told = told;
        self.looked = true;
        state
    }
}

#[cfg(test)]
mod tests;
