//! A process group: a process of ours and whatever it started.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// A group that is killed when this is dropped, unless it was seen empty.
///
/// Its id is its leader's pid. The system hands out no pid whose group has members, and pids come around only after
/// tens of thousands of others, so a group that was not empty a moment ago is still ours.
#[derive(Debug)]
pub(super) struct Group {
    id: Option<Pid>,
}

impl Group {
    /// Takes over the group that the process `leader` leads.
    pub(super) fn led_by(leader: u32) -> Self {
        Self { id: i32::try_from(leader).ok().and_then(Pid::from_raw) }
    }

    /// Sends all its processes a signal. A group that is empty has nobody to hear it.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = self.id
            && let Err(error) = kill_process_group(id, signal)
            && error != Errno::SRCH
        {
            tracing::warn!(%error, group = id.as_raw_nonzero().get(), "a process group cannot be signalled");
        }
    }

    /// Returns true if no process of it is left; from then on it is not touched any more.
    pub(super) fn is_empty(&mut self) -> bool {
        self.id = self.id.filter(|id| test_kill_process_group(*id) != Err(Errno::SRCH));
        self.id.is_none()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
