//! An ext4 file system in a file, mounted on a loop device.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// ext4's shutdown ioctl, and the flag that keeps the journal from being written (include/uapi/linux/fs.h).
const SHUTDOWN: &str = "import fcntl, os, struct, sys
mounted = os.open(sys.argv[1], os.O_RDONLY)
print('ready', flush=True)
sys.stdin.readline()
fcntl.ioctl(mounted, 0x8004587d, struct.pack('I', 2))";

/// A mounted image; unmounted and removed when dropped.
pub(crate) struct Image {
    folder: TempDir,
}

impl Image {
    pub(crate) fn new(mebibytes: u64) -> Self {
        let image = Self { folder: tempfile::tempdir().expect("there is room for a folder") };
        std::fs::create_dir(image.mounted()).expect("the folder is new");
        let file = std::fs::File::create(image.file()).expect("the folder is writable");
        file.set_len(mebibytes * 1024 * 1024).expect("a sparse file");
        // No reserve for root, which we are: a full disk is to be full.
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(image.file()));
        image.mount();
        image
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mounted(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Where the spool lies.
    pub(crate) fn spool(&self) -> PathBuf {
        self.mounted().join("spool")
    }

    /// A place beside the spool, for what others put on the disk.
    pub(crate) fn others(&self) -> PathBuf {
        self.mounted().join("others")
    }

    /// Returns the switch that cuts the power, ready to act at once.
    pub(crate) fn switch(&self) -> Switch {
        let mut waiting = Command::new("python3")
            .args(["-c", SHUTDOWN])
            .arg(self.mounted())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 was found");
        let mut ready = String::new();
        let out = waiting.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut ready).expect("it says one line");
        assert_eq!(ready, "ready\n");
        Switch(waiting)
    }

    pub(crate) fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.file()).arg(self.mounted()));
    }

    pub(crate) fn unmount(&self) {
        run(Command::new("umount").arg(self.mounted()));
    }
}

/// See [`Image::switch`].
pub(crate) struct Switch(Child);

impl Switch {
    /// From now on nothing reaches the medium, and what has not reached it is gone.
    pub(crate) fn cut_the_power(mut self) {
        self.0.stdin.take().expect("it is piped").write_all(b"\n").expect("it listens");
        assert!(self.0.wait().expect("it was started").success(), "the power cannot be cut");
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.mounted()).output();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether images can be mounted here, or why not.
pub(crate) fn can_mount() -> Result<(), String> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        return Err("only root can mount".to_owned());
    }
    for program in ["mkfs.ext4", "mount", "unshare", "python3"] {
        let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        if !there.is_ok_and(|output| output.status.success()) {
            return Err(format!("there is no {program}"));
        }
    }
    if Path::new("/dev/loop-control").exists() { Ok(()) } else { Err("there are no loop devices".to_owned()) }
}
