//! `tidegate explain`, and what a controller keeps on its disk, as a person calls them: a real controller whose Kafka is
//! away, which is killed, started again and stopped.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

/// Tries of what a controller needs a moment for, a tenth of a second apart.
const TRIES: u32 = 300;

fn tidegate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(args).env_clear().output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asserts that `args` are refused as options that cannot be used, with all of `words`.
fn refused(args: &[&str], words: &[&str]) {
    let output = tidegate(args);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: {word} is not in: {said}");
    }
}

/// Returns what the command prints once `holds` is true of it.
fn at_last(args: &[&str], holds: impl Fn(&str) -> bool) -> String {
    let mut said = String::new();
    for _ in 0..TRIES {
        let output = tidegate(args);
        let shown = text(&output.stdout);
        if output.status.success() && holds(&shown) {
            return shown;
        }
        said = shown + &text(&output.stderr);
        sleep(Duration::from_millis(100));
    }
    panic!("{args:?}: {said}");
}

struct Site {
    folder: TempDir,
    url: String,
    settings: String,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let key = write("key", "0123456789abcdef0123456789abcdef".to_owned());
        let records = folder.path().join("records").display().to_string();
        let settings = write(
            "controller.toml",
            format!(
                r#"listen = "127.0.0.1:{port}"
key_file = "{key}"
tick = "200ms"
[record]
dir = "{records}"
[kafka]
bootstrap_servers = "127.0.0.1:9"
consumer_group = "g/1"
topics = ["t"]
[slo]
delay = "10s"
[replicas]
min = 2
max = 4
[target.processes]
command = "/bin/cat"
"#
            ),
        );
        Self { folder, url: format!("http://127.0.0.1:{port}"), settings }
    }

    fn start(&self) -> Controller {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["controller", "--config", &self.settings]).env_clear().stderr(Stdio::null());
        Controller(command.spawn().expect("the binary runs"))
    }

    /// The folder of the scaler, whose name cannot be that of a folder.
    fn records(&self) -> PathBuf {
        self.folder.path().join("records").join("g%2F1")
    }
}

/// Killed when it is dropped.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it was killed");
    }
}

#[test]
fn a_controllers_decision_is_told_and_what_it_recorded_outlives_a_kill() {
    let site = Site::new();
    let controller = site.start();
    let told = at_last(&["explain", "--url", &site.url], |told| told.contains("not known"));
    for word in ["2 replicas", "lag         not known for", "problem     "] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let of_name = tidegate(&["explain", "--url", &site.url, "--scaler", "g/1"]);
    assert!(of_name.status.success(), "{}", text(&of_name.stderr));
    refused(&["explain", "--url", &site.url, "--scaler", "h"], &["--scaler", "no scaler", "there are: g/1"]);

    let records = site.records().display().to_string();
    at_last(&["explain", "--recording", &records], |told| !told.starts_with("look 1 of 1,"));
    drop(controller);
    let part = site.records().join("part-0000000001.jsonl");
    let mut torn = OpenOptions::new().append(true).open(&part).expect("it was recorded");
    torn.write_all(br#"{"look":{"now":12"#).expect("a file");

    // The same place, after a restart: a part of its own.
    let mut controller = site.start();
    let both = |told: &str| told.contains("look") && site.records().join("part-0000000002.jsonl").exists();
    at_last(&["explain", "--recording", &records, "--at", "2"], both);
    let pid = controller.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert!(controller.0.wait().expect("it ends").success());
    assert!(site.records().join("learned.json").exists(), "what was learned is kept at the end");

    let replayed = tidegate(&["simulate", "--replay", &records]);
    let (shown, said) = (text(&replayed.stdout), text(&replayed.stderr));
    assert!(replayed.status.success() && shown.contains("every decision as recorded"), "{shown}{said}");
    assert!(said.contains("part-0000000001.jsonl: the last line is torn"), "{said}");
    // The first decision ordered what the policy asks for at least.
    let first = tidegate(&["explain", "--recording", &records, "--at", "1"]);
    assert!(text(&first.stdout).contains("0 -> 2 replicas"), "{}", text(&first.stdout));
    assert_eq!(tidegate(&["explain", "--recording", &records, "--at", "0s"]).stdout, first.stdout);
    refused(&["explain", "--recording", &records, "--at", "100000"], &["--at 100000: allowed is 1 to"]);
    refused(&["explain", "--recording", &records, "--at", "noon"], &["--at noon: allowed is a number"]);
}

#[test]
fn what_cannot_be_explained_says_why() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (empty, odd) = (path("."), path("odd.jsonl"));
    refused(&["explain", "--recording", &empty], &["--recording", "there is no .jsonl in it"]);
    fs::write(&odd, "{}\n").expect("a file");
    refused(
        &["explain", "--recording", &odd],
        &["odd.jsonl", "allowed is the lines of a recording", "line 1"],
    );
    refused(
        &["explain", "--recording", "/nowhere"],
        &["/nowhere", "allowed is a recording that can be read"],
    );
    refused(&["explain", "--at", "1"], &["--recording"]);
    refused(&["explain", "--recording", &odd, "--url", "http://127.0.0.1:1"], &["cannot be used with"]);
    refused(&["explain", "--url", "127.0.0.1:1"], &["--url 127.0.0.1:1: allowed is http://HOST:PORT"]);
    let silent = tidegate(&["explain", "--url", "http://127.0.0.1:1"]);
    let said = text(&silent.stderr);
    assert_eq!(silent.status.code(), Some(70), "{said}");
    assert!(said.contains("--url http://127.0.0.1:1: nobody answers"), "{said}");
}
