//! Consumers as processes of this machine.
//!
//! A replica stops by SIGTERM, and by SIGKILL if it does not within its time; it is always signalled through the handle of
//! a child that was not reaped yet, so its pid cannot be another process's. Children are a process group each (a
//! Ctrl-C on the terminal reaches the controller alone, which then stops them in order) and are killed when their
//! handle is dropped, so a controller that panics leaves nothing behind. Against SIGKILL of the controller itself
//! only the child can help: `tidegate consume` asks the kernel to be told of its parent's death.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tidegate_core::time::Timestamp;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Crash, Running, State, Target};
use crate::config::RawProcesses;

/// Wait before a crashed replica is started again; doubled with each crash in a row.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest such wait: a consumer that cannot start costs one attempt a minute.
const BACKOFF_MAX: Duration = Duration::from_mins(1);
/// Time that a replica must have run for its next crash to count as the first.
const RAN_WELL: Duration = Duration::from_mins(1);
/// Stands for the member name in arguments and in values of the environment.
const MEMBER: &str = "{member}";

/// Runs replicas as children of this process.
#[derive(Debug)]
pub struct LocalProcesses {
    settings: RawProcesses,
    name: String,
    slots: Vec<Slot>,
    stopping: JoinSet<Option<String>>,
    spawned: u64,
}

#[derive(Debug)]
struct Slot {
    member: String,
    ordered_at: Timestamp,
    crashes: u32,
    life: Life,
}

#[derive(Debug)]
enum Life {
    Runs { child: Child, since: Timestamp },
    Waits { until: Timestamp },
}

impl LocalProcesses {
    /// Runs nothing yet. `name` begins the members' names.
    #[must_use]
    pub fn new(settings: RawProcesses, name: &str) -> Self {
        Self { settings, name: name.to_owned(), slots: Vec::new(), stopping: JoinSet::new(), spawned: 0 }
    }

    fn spawn(&mut self) -> Result<(String, Child), String> {
        self.spawned += 1;
        let member = format!("{}-{}-{}", self.name, std::process::id(), self.spawned);
        let fill = |text: &String| text.replace(MEMBER, &member);
        let mut command = Command::new(&self.settings.command);
        command
            .args(self.settings.args.iter().map(fill))
            .envs(self.settings.env.iter().map(|(key, value)| (key, fill(value))))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.settings.log_file.as_deref().map_or_else(|| Ok(Stdio::inherit()), append)?)
            .process_group(0)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .map_err(|problem| format!("cannot start {}: {problem}", self.settings.command.display()))?;
        Ok((member, child))
    }

    /// Notices children that ended, and says how long each will wait.
    fn bury(&mut self, now: Timestamp) -> Vec<Crash> {
        let mut crashes = Vec::new();
        for slot in &mut self.slots {
            let Life::Runs { child, since } = &mut slot.life else { continue };
            let ended = match child.try_wait() {
                Ok(None) => continue,
                Ok(Some(status)) => status.to_string(),
                Err(problem) => format!("cannot be waited for: {problem}"),
            };
            if now.since(*since) >= RAN_WELL {
                slot.crashes = 0;
            }
            let wait = backoff(slot.crashes);
            slot.crashes = slot.crashes.saturating_add(1);
            slot.ordered_at = now;
            slot.life = Life::Waits { until: now + wait };
            crashes.push(Crash { member: slot.member.clone(), ended, restart_in_secs: wait.as_secs() });
        }
        crashes
    }

    /// Starts again what has waited long enough.
    fn revive(&mut self, now: Timestamp) -> Result<(), String> {
        for index in 0..self.slots.len() {
            if !matches!(self.slots[index].life, Life::Waits { until } if until <= now) {
                continue;
            }
            match self.spawn() {
                Ok((member, child)) => {
                    let slot = &mut self.slots[index];
                    slot.member = member;
                    slot.life = Life::Runs { child, since: now };
                }
                Err(problem) => {
                    let slot = &mut self.slots[index];
                    slot.life = Life::Waits { until: now + backoff(slot.crashes) };
                    slot.crashes = slot.crashes.saturating_add(1);
                    return Err(problem);
                }
            }
        }
        Ok(())
    }

    fn stop_one(&mut self) {
        // One that does not run costs nothing to lose; else the newest, which has read the least.
        let waiting = self.slots.iter().rposition(|slot| matches!(slot.life, Life::Waits { .. }));
        let Some(index) = waiting.or_else(|| self.slots.len().checked_sub(1)) else { return };
        let slot = self.slots.remove(index);
        if let Life::Runs { child, .. } = slot.life {
            self.stopping.spawn(stop(child, slot.member, self.settings.stop_timeout));
        }
    }

    fn killed(&mut self) -> Vec<String> {
        let mut killed = Vec::new();
        while let Some(ended) = self.stopping.try_join_next() {
            killed.extend(ended.ok().flatten());
        }
        killed
    }
}

impl Target for LocalProcesses {
    async fn observe(&mut self, now: Timestamp) -> Result<State, String> {
        let crashes = self.bury(now);
        // What cannot be started again is told with the next crash or order; the state is known either way.
        let revived = self.revive(now);
        let replicas = self
            .slots
            .iter()
            .map(|slot| Running {
                member: slot.member.clone(),
                ordered_at: slot.ordered_at,
                spawned_at: match slot.life {
                    Life::Runs { since, .. } => Some(since),
                    Life::Waits { .. } => None,
                },
            })
            .collect();
        if let Err(problem) = revived {
            tracing::debug!(problem, "a consumer cannot be started again");
        }
        let ordered = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        Ok(State { ordered, replicas, crashes, killed: self.killed() })
    }

    async fn scale(&mut self, replicas: u32, now: Timestamp) -> Result<(), String> {
        let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
        while self.slots.len() > wanted {
            self.stop_one();
        }
        while self.slots.len() < wanted {
            let (member, child) = self.spawn()?;
            self.slots.push(Slot {
                member,
                ordered_at: now,
                crashes: 0,
                life: Life::Runs { child, since: now },
            });
        }
        Ok(())
    }

    async fn shut_down(&mut self) -> Vec<String> {
        while !self.slots.is_empty() {
            self.stop_one();
        }
        let mut killed = Vec::new();
        while let Some(ended) = self.stopping.join_next().await {
            killed.extend(ended.ok().flatten());
        }
        killed
    }
}

/// Stops a child and waits until it is gone; returns its member name if it had to be killed.
async fn stop(mut child: Child, member: String, patience: Duration) -> Option<String> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    if asked && matches!(timeout(patience, child.wait()).await, Ok(Ok(_))) {
        return None;
    }
    // `kill` also waits; it fails only if the child is gone already.
    child.kill().await.is_ok().then_some(member)
}

fn append(path: &Path) -> Result<Stdio, String> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map(Stdio::from)
        .map_err(|problem| format!("cannot open {}: {problem}", path.display()))
}

fn backoff(crashes: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << crashes.min(6)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests;
