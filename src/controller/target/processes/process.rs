//! One process with what it started: how it is begun, waited for and stopped.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use super::group::Group;

/// How often to look whether what the process started has ended: nobody tells us of processes that are not our children.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time to vanish after SIGKILL: only a process that hangs in a system call needs longer, and nothing can hurry it.
const REAP_TIME: Duration = Duration::from_secs(2);

/// A running process. Dropping it kills it and what it started; the runtime reaps it.
#[derive(Debug)]
pub(super) struct Process {
    group: Group,
    child: Child,
    lifeline: Option<ChildStdin>,
}

impl Process {
    /// Starts `command` as the leader of a group of its own, on a standard input that ends when we do.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).process_group(0).spawn()?;
        let group = Group::led_by(child.id().expect("a child that was not waited for has a pid"));
        // Taken out, because waiting for a child closes what is left in it.
        let lifeline = child.stdin.take();
        Ok(Self { group, child, lifeline })
    }

    /// Returns how it ended; `None` while it runs.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends SIGTERM, and SIGKILL to what is left after `patience`; returns true if it had to. A process that passes on
    /// what it is told, as shell scripts do, may end before those it started: they have the same time.
    pub(super) async fn stop(mut self, patience: Duration) -> bool {
        self.group.signal(Signal::TERM);
        let gone = async {
            // An error says that there is no such child: as good as ended.
            let _ = self.child.wait().await;
            while !self.group.is_empty() {
                sleep(LOOK_EVERY).await;
            }
        };
        let killed = timeout(patience, gone).await.is_err();
        if killed {
            self.group.signal(Signal::KILL);
            let _ = timeout(REAP_TIME, self.child.wait()).await;
        }
        // Held until here: a process that works off what it has must not take us for dead.
        drop(self.lifeline.take());
        killed
    }
}

#[cfg(test)]
impl Process {
    /// Returns its pid while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Does what our death would.
    pub(super) fn cut_lifeline(&mut self) {
        self.lifeline = None;
    }
}
