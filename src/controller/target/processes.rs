//! Consumers as processes of this machine.
//!
//! A replica stops by SIGTERM, and by SIGKILL if it does not within its time. Each leads a process group of its own: a
//! Ctrl-C on the terminal reaches the controller alone, which then stops them in order, and what a replica started is
//! stopped with it. A supervisor has to do the same: under systemd, `KillMode=mixed`.
//!
//! Nothing is left behind. Dropping a replica's handle kills its group, so a controller that panics takes them along.
//! One that dies by SIGKILL closes the pipes that are their standard input: a consumer that ends at the end of its
//! standard input (`tidegate consume --stop-on-stdin-eof`) leaves its group by itself.

mod group;
mod process;

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tidegate_core::time::Timestamp;
use tokio::process::Command;
use tokio::task::JoinSet;

use self::process::Process;
use super::{Crash, Running, State, Target, TargetError, TargetErrorKind};
use crate::config::RawProcesses;

/// Wait before a crashed replica is started again; doubled with each crash in a row.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest such wait: a consumer that cannot start costs one attempt a minute.
const BACKOFF_MAX: Duration = Duration::from_mins(1);
/// Time that a replica must have run for its next crash to count as the first.
const RAN_WELL: Duration = Duration::from_mins(1);
/// Bound on processes, those that are stopping included: a count that goes up and down while nothing ends must not fill
/// the machine. As many as a policy may ask for.
const PROCESSES_MAX: usize = 10_000;
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
    Runs { child: Box<Process>, since: Timestamp },
    Waits { until: Timestamp },
}

impl LocalProcesses {
    /// Runs nothing yet. `name` begins the members' names.
    #[must_use]
    pub fn new(settings: RawProcesses, name: &str) -> Self {
        Self { settings, name: name.to_owned(), slots: Vec::new(), stopping: JoinSet::new(), spawned: 0 }
    }

    fn spawn(&mut self) -> Result<(String, Box<Process>), String> {
        self.spawned += 1;
        let member = format!("{}-{}-{}", self.name, std::process::id(), self.spawned);
        let fill = |text: &String| text.replace(MEMBER, &member);
        let mut command = Command::new(&self.settings.command);
        command
            .args(self.settings.args.iter().map(fill))
            .envs(self.settings.env.iter().map(|(key, value)| (key, fill(value))))
            .stdout(Stdio::null())
            .stderr(self.settings.log_file.as_deref().map_or_else(|| Ok(Stdio::inherit()), append)?);
        let child = Process::start(&mut command)
            .map(Box::new)
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
            // One that crashes in a loop must not look as if it were about to come up: its order stays as old as it is.
            if slot.crashes == 0 {
                slot.ordered_at = now;
            }
            crashes.push(slot.crashed(ended, now));
        }
        crashes
    }

    /// Starts again what has waited long enough; what cannot be started waits anew.
    fn revive(&mut self, now: Timestamp) -> Vec<Crash> {
        let mut crashes = Vec::new();
        for index in 0..self.slots.len() {
            if !matches!(self.slots[index].life, Life::Waits { until } if until <= now) {
                continue;
            }
            let spawned = self.spawn();
            let slot = &mut self.slots[index];
            match spawned {
                Ok((member, child)) => {
                    slot.member = member;
                    slot.life = Life::Runs { child, since: now };
                }
                Err(problem) => crashes.push(slot.crashed(problem, now)),
            }
        }
        crashes
    }

    fn stop_one(&mut self) {
        // One that does not run costs nothing to lose; else the newest, which has read the least.
        let waiting = self.slots.iter().rposition(|slot| matches!(slot.life, Life::Waits { .. }));
        let Some(index) = waiting.or_else(|| self.slots.len().checked_sub(1)) else { return };
        let slot = self.slots.remove(index);
        if let Life::Runs { child, .. } = slot.life {
            let patience = self.settings.stop_timeout;
            self.stopping.spawn(async move { child.stop(patience).await.then_some(slot.member) });
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
    async fn observe(&mut self, now: Timestamp) -> Result<State, TargetError> {
        let mut crashes = self.bury(now);
        crashes.extend(self.revive(now));
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
        let ordered = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        Ok(State { ordered, replicas, crashes, killed: self.killed() })
    }

    async fn scale(&mut self, replicas: u32, now: Timestamp) -> Result<(), TargetError> {
        let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
        while self.slots.len() > wanted {
            self.stop_one();
        }
        let stopping = self.stopping.len();
        if self.slots.len() < wanted && wanted.saturating_add(stopping) > PROCESSES_MAX {
            let full = format!("{stopping} consumers are still stopping: allowed is {PROCESSES_MAX} in all");
            return Err(TargetError::new(TargetErrorKind::Unavailable, full));
        }
        while self.slots.len() < wanted {
            let (member, child) =
                self.spawn().map_err(|problem| TargetError::new(TargetErrorKind::Unavailable, problem))?;
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

impl Slot {
    /// Waits, longer with each crash in a row.
    fn crashed(&mut self, ended: String, now: Timestamp) -> Crash {
        let wait = backoff(self.crashes);
        self.crashes = self.crashes.saturating_add(1);
        self.life = Life::Waits { until: now + wait };
        Crash { member: self.member.clone(), ended, restart_in_secs: wait.as_secs() }
    }
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
