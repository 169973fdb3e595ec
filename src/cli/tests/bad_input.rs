//! What the command says to settings and options that cannot be used: one line that names what is wrong and what is
//! allowed, and exit code 64, before a port opens.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use tempfile::TempDir;

/// Far more than any of these commands needs: one that hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(30);
/// `EX_USAGE`.
const USAGE: i32 = 64;

fn tidegate(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("tidegate").expect("the binary is built with its tests");
    command.args(args).timeout(PATIENCE).env_clear().output().expect("the binary runs")
}

/// Asserts that `args` are refused with one line that holds all of `words`.
fn refused(args: &[&str], words: &[&str]) {
    let output = tidegate(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: {word} is not in: {said}");
    }
    assert!(output.stdout.is_empty(), "{args:?}");
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

const GATEWAY: &str = "listen = \"127.0.0.1:0\"\n[kafka]\nbootstrap_servers = \"127.0.0.1:9\"\n";

fn controller(files: &Files) -> String {
    let key = files.write("key", "0123456789abcdef0123456789abcdef");
    format!(
        r#"listen = "127.0.0.1:0"
key_file = "{key}"
[kafka]
bootstrap_servers = "127.0.0.1:9"
consumer_group = "g"
topics = ["t"]
[slo]
delay = "10s"
[replicas]
max = 4
[target.processes]
command = "/bin/true"
"#
    )
}

#[test]
fn a_gateways_wrong_settings_are_named_with_file_key_value_and_what_is_allowed() {
    let files = Files::new();
    let class = |fields: &str| format!("{GATEWAY}[classes.sensor]\n{fields}\n");
    let route = |fields: &str| format!("{GATEWAY}[[routes]]\n{fields}\n");
    let cases: [(&str, String, &[&str]); 6] = [
        ("unknown key", format!("listn = 1\n{GATEWAY}"), &["listn", "unknown key", "allowed is", "listen"]),
        (
            "wrong type",
            format!("workers = \"two\"\n{GATEWAY}"),
            &["workers = \"two\"", "allowed is", "an integer"],
        ),
        ("negative rate", class("rate = -5"), &["classes.sensor.rate = -5", "allowed is", " to "]),
        ("burst 0", class("burst = 0"), &["classes.sensor.burst = 0", "allowed is", " to "]),
        (
            "unknown class",
            format!("default_class = \"vip\"\n{GATEWAY}"),
            &["default_class = vip", "allowed is", "sensor"],
        ),
        (
            "malformed filter",
            route("filter = \"a/#/b\"\ntopic = \"t\""),
            &["routes[0].filter", "a/#/b", "allowed is"],
        ),
    ];
    for (name, text, words) in cases {
        let file = files.write(&format!("{name}.toml"), &text);
        for args in [&["gateway", "--config", &file][..], &["check", "gateway", "--config", &file]] {
            refused(args, words);
            refused(args, &[&file]);
        }
    }
}

#[test]
fn a_controllers_wrong_settings_are_named_too() {
    let files = Files::new();
    let good = controller(&files);
    for (from, to, words) in [
        ("max = 4", "max = 4\nmaximum = 5", &["replicas.maximum", "unknown key"][..]),
        ("max = 4", "max = \"4\"", &["replicas.max = \"4\"", "an integer"]),
        ("max = 4", "max = 4\nmin = 5", &["replicas.min = 5", "1 to replicas.max"]),
        ("[slo]", "[capacity]\nper_replica = -5\n[slo]", &["capacity.per_replica = -5", "0.001 to"]),
    ] {
        let file = files.write("controller.toml", &good.replace(from, to));
        refused(&["controller", "--config", &file], words);
        refused(&["check", "controller", "--config", &file], words);
    }
    let in_the_way = files.write("file", "");
    let record = format!("[record]\ndir = \"{in_the_way}/records\"\n[slo]");
    let file = files.write("controller.toml", &good.replace("[slo]", &record));
    refused(&["controller", "--config", &file], &["record.dir", "file/records", "allowed is a folder"]);
    let file = files.write("controller.toml", &good.replace("/key\"", "/nokey\""));
    refused(&["controller", "--config", &file], &["key_file", "nokey", "allowed is"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let files = Files::new();
    let binary = files.write("binary.toml", "");
    fs::write(&binary, [0xFF, 0xFE, 0x00]).expect("a file");
    let locked = files.write("locked.toml", GATEWAY);
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("its owner may");
    let mut unreadable = vec!["/nonexistent/gateway.toml", "/", binary.as_str()];
    // The superuser reads everything.
    if fs::File::open(&locked).is_err() {
        unreadable.push(&locked);
    }
    for file in unreadable {
        refused(&["gateway", "--config", file], &[file, "allowed is"]);
        refused(&["check", "controller", "--config", file], &[file, "allowed is"]);
    }
}

#[test]
fn a_port_in_use_is_named_with_its_key() {
    let files = Files::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let with_port = |text: &str| text.replace("127.0.0.1:0", &address);
    let gateway = files.write("gateway.toml", &with_port(GATEWAY));
    refused(&["gateway", "--config", &gateway], &[&gateway, "listen", &address, "allowed is", "in use"]);
    let admin = files.write("admin.toml", &format!("admin_listen = \"{address}\"\n{GATEWAY}"));
    refused(&["gateway", "--config", &admin], &[&admin, "admin_listen", &address, "in use"]);
    let controller = files.write("controller.toml", &with_port(&controller(&files)));
    refused(&["controller", "--config", &controller], &[&controller, "listen", &address, "in use"]);
    refused(&["up", "--listen", &address], &["--listen", &address, "allowed is", "in use"]);
}

#[test]
fn wrong_options_are_refused_like_wrong_settings() {
    refused(&["up", "--work", "0s", "--listen", "127.0.0.1:0"], &["--work 0s", "allowed is"]);
    refused(&["up", "--listen", "0.0.0.0:0"], &["--listen 0.0.0.0:0", "loopback"]);
    let consume = ["consume", "--kafka", "127.0.0.1:9", "--group", "g", "--topic", "t"];
    let with = |more: &[&'static str]| [&consume[..], more].concat();
    refused(&with(&["--work", "0s"]), &["--work 0s", "allowed is"]);
    refused(&with(&["--set", "no.such=1"]), &["no.such = 1", "allowed is"]);
    let report = ["--report-to", "http://127.0.0.1:9", "--key-file", "/nonexistent/key"];
    refused(&with(&report), &["--key-file /nonexistent/key", "allowed is"]);
    // What clap finds takes several lines.
    for args in [&["up", "--bogus"][..], &["consume"], &["up", "--burst", "flood"], &[]] {
        assert_eq!(tidegate(args).status.code(), Some(USAGE), "{args:?}");
    }
    assert_eq!(tidegate(&["--help"]).status.code(), Some(0));
}

#[test]
fn good_settings_are_said_to_be_good_and_printed_as_they_result() {
    let files = Files::new();
    let gateway = files.write("gateway.toml", GATEWAY);
    let output = tidegate(&["check", "gateway", "--config", &gateway]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let key = fs::canonicalize(files.0.path()).expect("it exists").join("key");
    let controller = files.write("controller.toml", &controller(&files));
    let printed = tidegate(&["controller", "--config", &controller, "--print-config"]);
    assert_eq!(printed.status.code(), Some(0));
    let again = files.write("printed.toml", &String::from_utf8(printed.stdout).expect("TOML is UTF-8"));
    assert_eq!(tidegate(&["check", "controller", "--config", &again]).status.code(), Some(0));
    let text = fs::read_to_string(&again).expect("it was written");
    assert!(text.contains("tick = \"5s\"") && text.contains("key_file"), "{text}");
    let secret = fs::read_to_string(key).expect("the key");
    assert!(!text.contains(&secret), "a key is not printed");
}

#[test]
fn a_kafka_that_is_away_is_named_and_no_usage_error() {
    let output = tidegate(&["up", "--listen", "127.0.0.1:0", "--kafka", "127.0.0.1:1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{said}");
    assert!(said.contains("--kafka 127.0.0.1:1: no broker answers"), "{said}");
}
