//! CPU time of another process, from the scheduler's own account.
//!
//! `/proc/PID/stat` counts in ticks of 10 ms; `/proc/PID/task/TID/schedstat` gives nanoseconds on the
//! processor per thread (Linux, Documentation/scheduler/sched-stats.rst).

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::Context;

/// "No such process", on Linux of every architecture; the standard library has no name for it.
const ESRCH: i32 = 3;

/// Returns the CPU time that the living threads of process `pid` have used so far.
///
/// A thread that ended between two readings is missing from the second, so measure only spans in which
/// the process keeps its threads.
///
/// # Errors
/// If the process is gone or the kernel has no schedstat.
pub(crate) fn used_by(pid: u32) -> anyhow::Result<Duration> {
    let tasks =
        fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    let mut nanos = 0;
    for task in tasks {
        let path = task?.path().join("schedstat");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // A thread that ended since the folder was read, or since its file was opened.
            Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => {
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let on_cpu = text.split_ascii_whitespace().next().context("schedstat is empty")?;
        nanos += on_cpu.parse::<u64>().context("schedstat does not start with a number")?;
    }
    Ok(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_done_here_is_counted() {
        let before = used_by(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while used_by(std::process::id()).unwrap() < before + Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
