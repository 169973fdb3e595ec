//! A small ext4 file system, which only the process that runs on it sees.
//!
//! The process mounts it in a mount namespace of its own, so the mount ends with the process, however that ends, and
//! nothing of it is left on the machine. What is in the image stays: the next process finds it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::parts;

const MIB: u64 = 1024 * 1024;
/// Mounts `$1` on `$2` and becomes the rest of its arguments, with the process id it has.
const MOUNT_AND_RUN: &str = r#"mount -o loop "$1" "$2" && shift 2 && exec "$@""#;
/// What all of this takes.
const PROGRAMS: [&str; 7] = ["mkfs.ext4", "mount", "unshare", "sh", "nsenter", "losetup", "python3"];
/// ext4's shutdown ioctl, and the flag that freezes the file system first (`EXT4_IOC_SHUTDOWN`, `EXT4_GOING_FLAGS_DEFAULT`):
/// all that was written reaches the medium, and from then on every read and write fails. Power cuts, which lose what was not
/// synced, are the spool's own tests.
const SHUT_DOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 0))";
/// Mounts `$1` on `$2` in the place of what is there and still in use: on a loop device of its own, or the kernel would
/// give the old file system again. The device goes with the mount.
const MOUNT_ANEW: &str =
    r#"umount -l "$2" && loop=$(losetup --find --show "$1") && { mount "$loop" "$2"; losetup -d "$loop"; }"#;

/// A file system in a file.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    /// Returns why no disk can be mounted here; `None` if one can.
    #[must_use]
    pub fn unavailable() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("only root can mount".to_owned());
        }
        if !Path::new("/dev/loop-control").exists() {
            return Some("there are no loop devices".to_owned());
        }
        let missing = PROGRAMS.into_iter().find(|name| parts::program(name, "").is_err());
        missing.map(|name| format!("there is no {name}"))
    }

    /// Makes an empty one in `dir`.
    ///
    /// # Errors
    /// The file system's, or that of mkfs.
    pub fn new(dir: &Path, mebibytes: u64) -> Result<Self> {
        let disk = Self { image: dir.join("disk.image"), mounted: dir.join("disk") };
        fs::create_dir_all(&disk.mounted)?;
        File::create(&disk.image)?.set_len(mebibytes * MIB)?;
        // No reserve for root, which we are: a full disk is to be full.
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&disk.image))?;
        Ok(disk)
    }

    /// Returns where a process that runs on it finds it.
    #[must_use]
    pub fn mounted(&self) -> &Path {
        &self.mounted
    }

    /// Returns the arguments of `unshare` that run `program` on it.
    pub(super) fn arguments<'a>(
        &self,
        program: &Path,
        args: impl IntoIterator<Item = &'a str>,
    ) -> Vec<OsString> {
        let unshare = ["--mount", "--propagation", "private", "sh", "-c", MOUNT_AND_RUN, "sh"];
        let mut all: Vec<OsString> = unshare.map(Into::into).into();
        all.extend([&self.image, &self.mounted].map(Into::into));
        all.push(program.into());
        all.extend(args.into_iter().map(Into::into));
        all
    }

    /// Takes the disk away from the process `id`, which runs on it: nothing can be read or written any more. What is being
    /// written has reached the medium, or fails: without the freeze an fdatasync under way in that moment succeeded and
    /// kept nothing 10 times of 150 (Linux 6.18), and unlike after a power cut somebody is there to believe it.
    ///
    /// # Errors
    /// The file system's.
    pub fn vanish(&self, id: u32) -> Result<()> {
        run(Command::new("python3").args(["-c", SHUT_DOWN]).arg(self.seen_through(id)))
    }

    /// Gives the process `id` its disk back after [`vanish`](Self::vanish), with what had reached the medium. What the
    /// process still has open stays unusable.
    ///
    /// # Errors
    /// The operating system's.
    pub fn come_back(&self, id: u32) -> Result<()> {
        let namespace = format!("--mount=/proc/{id}/ns/mnt");
        let mount = [&self.image, &self.mounted];
        run(Command::new("nsenter").args([&namespace, "sh", "-ec", MOUNT_ANEW, "sh"]).args(mount))
    }

    /// Returns where others find it while the process `id` runs on it.
    #[must_use]
    pub fn seen_through(&self, id: u32) -> PathBuf {
        let inside = self.mounted.strip_prefix("/").unwrap_or(&self.mounted);
        Path::new("/proc").join(id.to_string()).join("root").join(inside)
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Returns how many bytes are free on the file system of `path`.
///
/// # Errors
/// The operating system's.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let seen = rustix::fs::statvfs(path).with_context(|| path.display().to_string())?;
    Ok(seen.f_bavail * seen.f_frsize)
}

/// Lets a file grow until at most `left` bytes are free on its file system: others need the disk, too.
///
/// # Errors
/// The operating system's, except that the disk is full.
pub fn take_all_but(file: &Path, left: u64) -> Result<()> {
    let folder = file.parent().context("a file in a folder")?;
    let mut open = File::options().create(true).append(true).open(file)?;
    let chunk = vec![1; 64 * 1024];
    // Free space falls when pages are allocated; bounded by the size of the disk.
    while free_bytes(folder)? > left {
        match open.write(&chunk) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
            Err(error) => return Err(error.into()),
        }
    }
    // A full disk may show only now.
    let _ = open.sync_all();
    Ok(())
}
