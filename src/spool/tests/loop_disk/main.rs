//! A real file system that loses what was not synced, and one that is full: ext4 on a loop device.
//!
//! kill -9 keeps the page cache, so it tests no fsync. `FS_IOC_SHUTDOWN` without a log flush drops it: what was not
//! synced is gone, as after a power cut. Runs in a mount namespace of its own, so nothing of it outlives the process.
//!
//! `TIDEGATE_POWER_CUTS` says at how many points the power goes (default 10); `TIDEGATE_POWER_CUT_STATE` names a file that
//! remembers how many have passed, so that a long run can go on where it was stopped.

mod child;
mod disk_full;
mod image;
mod power_cut;
mod world;

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Set in the process that has the mount namespace.
const INSIDE: &str = "TIDEGATE_LOOP_DISK_INSIDE";

fn main() -> ExitCode {
    if let Ok(folder) = std::env::var(child::FOLDER) {
        child::run(folder.as_ref());
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|arg| arg == "--list") {
        println!("the_power_goes: test\nthe_disk_is_full: test");
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(INSIDE).is_none() {
        if let Err(why) = image::can_mount() {
            println!("loop_disk skipped, power cuts and full disks are not checked: {why}");
            return ExitCode::SUCCESS;
        }
        let me = std::env::current_exe().expect("this program has a path");
        let error =
            Command::new("unshare").args(["-m", "--propagation", "private"]).arg(me).env(INSIDE, "1").exec();
        println!("loop_disk: cannot run unshare: {error}");
        return ExitCode::FAILURE;
    }
    disk_full::run();
    println!("test the_disk_is_full ... ok");
    power_cut::run();
    println!("test the_power_goes ... ok");
    ExitCode::SUCCESS
}
