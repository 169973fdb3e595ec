//! Child processes of a test: the project's own binary, and real servers.
//!
//! Output goes to files, not to pipes: nobody has to read them for the child to go on, a stopped child
//! loses nothing, and they are there for a look after a failure. A child is killed when its [`Process`] is
//! dropped, and by the kernel if the test's thread dies without dropping it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::deadline::eventually;

/// A running (or ended) child process.
///
/// Start it from the test's own thread (the body of a `#[tokio::test]` runs there): the kernel ends a child when
/// the *thread* that started it ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `program` with `args`; its output goes to `NAME.out` and `NAME.err` in `dir`.
    ///
    /// # Errors
    /// The program cannot be started, or the files cannot be made.
    pub fn start<A: AsRef<std::ffi::OsStr>>(
        name: &str,
        dir: &Path,
        program: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        Self::start_with(name, dir, program, args, Stdio::null())
    }

    /// As [`start`](Self::start), with something on the child's standard input.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with<A: AsRef<std::ffi::OsStr>>(
        name: &str,
        dir: &Path,
        program: &Path,
        args: impl IntoIterator<Item = A>,
        stdin: Stdio,
    ) -> Result<Self> {
        let (stdout, stderr) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        // Appended: a server that is started again on the same data continues its log.
        let open = |path: &Path| File::options().create(true).append(true).open(path);
        // setpriv (util-linux) asks the kernel to kill us with our parent, then becomes the program: same pid.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .stdin(stdin)
            .stdout(open(&stdout)?)
            .stderr(open(&stderr)?)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// Starts the project's own binary.
    ///
    /// # Errors
    /// It is not built, older than its sources, or cannot be started.
    pub fn tidegate<A: AsRef<std::ffi::OsStr>>(
        name: &str,
        dir: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        Self::start(name, dir, &tidegate_binary()?, args)
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("signal {signal:?} to {}", self.name))
    }

    /// Returns the exit status if the process has ended.
    ///
    /// # Errors
    /// The operating system's.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// `within` has passed.
    pub async fn end(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        eventually(&what, within, async || self.ended()).await
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill(&mut self) -> Result<()> {
        // An error here means that it has ended by itself.
        let _ = self.child.kill();
        self.child.wait()?;
        Ok(())
    }

    /// Returns how many child processes it has now; ended ones do not count.
    ///
    /// # Errors
    /// There is no /proc.
    pub fn children(&self) -> Result<u32> {
        let mut count = 0;
        for entry in fs::read_dir("/proc")? {
            // Other processes end while we look.
            let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
            count += u32::from(parent_of_live(&stat) == Some(self.id()));
        }
        Ok(count)
    }

    /// Returns what it has written to standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Returns what it has written to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Waits for a line of standard error that `matches`, and returns it.
    ///
    /// # Errors
    /// The process ended first, or `within` has passed; both show the last lines.
    pub async fn line(
        &mut self,
        what: &str,
        within: Duration,
        mut matches: impl FnMut(&str) -> bool,
    ) -> Result<String> {
        let name = self.name.clone();
        let awaited = format!("{name}: {what}");
        let found = eventually(&awaited, within, async || {
            // Read after asking for the end: what was written before it is then in the file.
            let ended = self.ended()?;
            if let Some(line) = self.stderr().lines().find(|line| matches(line)) {
                return Ok(Some(line.to_owned()));
            }
            match ended {
                Some(status) => bail!("{name} ended ({status}) before: {what}"),
                None => Ok(None),
            }
        })
        .await;
        found.with_context(|| self.tail())
    }

    /// Returns the last lines of both outputs, for a failure's message.
    #[must_use]
    pub fn tail(&self) -> String {
        const LINES: usize = 25;
        let last = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LINES)..].join("\n")
        };
        format!("last output of {}:\n{}\n{}", self.name, last(self.stdout()), last(self.stderr()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Reads the parent's id from /proc/PID/stat: `PID (NAME) STATE PARENT ...`, the name as wild as its program likes.
fn parent_of_live(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| state != "Z")
}

/// Reads an output file; one that is not there yet is empty.
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Returns the path of the `tidegate` binary that lies beside this test binary.
///
/// Cargo builds a package's tests without other packages' binaries, so this one may be missing or old; testing an
/// old one would show nothing. Its dep-info file names every source it was built from.
///
/// # Errors
/// It is missing or older than one of its sources; says how to build it.
pub fn tidegate_binary() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    // PROFILE/deps/real-HASH
    let folder = test.ancestors().nth(2).context("the test binary lies in no target folder")?;
    let binary = folder.join("tidegate");
    let how = "run `cargo build -p tidegate` first (`make test` does)";
    let built = match fs::metadata(&binary) {
        Ok(metadata) => metadata.modified()?,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("{} is missing: {how}", binary.display()),
        Err(error) => return Err(error).context("the tidegate binary"),
    };
    let sources = fs::read_to_string(folder.join("tidegate.d")).context("the tidegate binary's dep-info")?;
    if let Some(source) = newer_source(&sources, built) {
        bail!("{} is older than {source}: {how}", binary.display());
    }
    Ok(binary)
}

/// Returns a source that changed after `built`; `dep_info` is `TARGET: SOURCE SOURCE ...` with spaces in names escaped.
fn newer_source(dep_info: &str, built: SystemTime) -> Option<&str> {
    let sources = dep_info.lines().next()?.split_once(": ")?.1;
    sources.split_ascii_whitespace().find(|source| {
        // A source that has vanished since is cargo's business: it rebuilds.
        fs::metadata(source).and_then(|metadata| metadata.modified()).is_ok_and(|changed| changed > built)
    })
}

/// Fails unless the process ended with exit code 0.
///
/// # Errors
/// Any other end, with the last output.
pub fn ensure_clean(process: &Process, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "{status}\n{}", process.tail());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::dir::TestDir;

    fn shell(dir: &TestDir, script: &str) -> Process {
        Process::start("shell", dir.path(), Path::new("/bin/sh"), ["-c", script]).unwrap()
    }

    #[tokio::test]
    async fn a_line_is_found_and_an_early_end_is_an_error() {
        let dir = TestDir::new("process").unwrap();
        let mut process = shell(&dir, "echo one >&2; echo two >&2");
        let second = Duration::from_secs(10);
        assert_eq!(process.line("two", second, |line| line.starts_with("tw")).await.unwrap(), "two");
        let error = process.line("three", second, |line| line == "three").await.unwrap_err();
        assert!(format!("{error:#}").contains("ended (exit status: 0) before: three"), "{error:#}");
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone() {
        let dir = TestDir::new("process").unwrap();
        let process = shell(&dir, "exec sleep 600");
        let proc_dir = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(proc_dir.exists());
        drop(process);
        assert!(!proc_dir.exists());
    }

    #[tokio::test]
    async fn children_are_counted_while_they_live() {
        let dir = TestDir::new("process").unwrap();
        let parent = shell(&dir, "sleep 600 & sleep 600 & sleep 0 & wait");
        let two = async || Ok((parent.children()? == 2).then_some(()));
        eventually("two children", Duration::from_secs(10), two).await.unwrap();
        assert_eq!(parent_of_live("7 (a) b) S 3 7"), Some(3));
        assert_eq!(parent_of_live("7 (a) Z 3 7"), None);
    }

    #[test]
    fn a_source_that_changed_after_the_build_is_named() {
        let dir = TestDir::new("process").unwrap();
        let source = dir.path().join("main.rs");
        fs::write(&source, "").unwrap();
        let dep_info = format!("target/tidegate: /nowhere/lib.rs {}\n", source.display());
        let changed = fs::metadata(&source).unwrap().modified().unwrap();
        assert_eq!(newer_source(&dep_info, changed), None);
        assert_eq!(newer_source(&dep_info, changed - Duration::from_secs(1)), source.to_str());
    }
}
