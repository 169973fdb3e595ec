//! `tidegate spool` on a spool as a gateway leaves it.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use tidegate_spool::disk::RealDisk;
use tidegate_spool::{
    Ask, Boot, Flags, Frame, LaneId, Position, RawLane, RawPolicy, RawSettings, Record, Room, RouteId, Sink,
    Spool, Stored, TopicId, open,
};

/// Far more than any of these commands needs: one that hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(30);
/// `EX_SOFTWARE`.
const SOFTWARE: i32 = 70;
/// `EX_USAGE`.
const USAGE: i32 = 64;

#[derive(Debug)]
struct Reading(u64);

impl Record for Reading {
    fn frame(&self) -> Frame<'_> {
        Frame {
            shard: 7,
            topic: TopicId(0),
            partition: 2,
            position: Position { epoch: 1, seq: self.0 },
            time_unix_ms: 1_700_000_000_000,
            uptime_ms: 0,
            lifetime_s: 0,
            flags: Flags::ACKNOWLEDGED,
            key: Some(b"device-1"),
            headers: b"",
            payload: b"21.5",
        }
    }
}

/// A Kafka that is away.
struct Away;

impl Sink for Away {
    fn ask(&mut self, _: LaneId, _: RouteId) -> Ask {
        Ask { after: Position::START, room: Room::Shut { moved: Duration::ZERO } }
    }

    fn take(&mut self, _: Stored<'_>) {}

    fn lost(&mut self, _: LaneId, _: RouteId, _: Position, _: Position) {}
}

/// Leaves three records in a spool.
fn leave_records(folder: &Path) {
    let lane = RawLane {
        name: "sensor".to_owned(),
        capacity_bytes: 1 << 30,
        full: RawPolicy::Block,
        allow_acked_loss: false,
    };
    let raw = RawSettings { lanes: vec![lane], ..RawSettings::default() };
    let boot = Boot { random: [5; 32], machine_boot: [0; 16], now_unix_ms: i64::MAX };
    let disk = RealDisk::open(folder).expect("a new folder");
    let opened = open(disk, raw.try_into().expect("these settings are allowed"), &boot).expect("a new spool");
    assert_eq!(opened.topic("readings"), Some(TopicId(0)));
    let spool: Spool<RealDisk, Reading> =
        opened.start(|| Duration::ZERO, Away, |_, _| {}).expect("there are threads");
    for seq in 1..=3 {
        spool.submit(LaneId(0), Reading(seq)).expect("there is room");
    }
    // The clock stands still, so this waits as long as it takes.
    assert!(spool.stop(Duration::from_secs(1)));
}

fn spool(args: &[&str], folder: &Path) -> Output {
    let mut command = Command::cargo_bin("tidegate").expect("the binary is built with its tests");
    command
        .arg("spool")
        .args(args)
        .arg(folder)
        .timeout(PATIENCE)
        .env_clear()
        .output()
        .expect("the binary runs")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("JSON is text")
}

#[test]
fn a_spool_is_inspected_verified_and_exported() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    leave_records(folder.path());
    let seen: serde_json::Value =
        serde_json::from_str(&said(&spool(&["inspect"], folder.path()))).expect("JSON");
    assert_eq!(seen["lanes"][0]["routes"][0]["last"], "1.3");
    let found: serde_json::Value =
        serde_json::from_str(&said(&spool(&["verify"], folder.path()))).expect("JSON");
    assert_eq!((found["records"].as_u64(), found["damage"].as_array().map(Vec::len)), (Some(3), Some(0)));
    let lines = said(&spool(&["export"], folder.path()));
    let first: serde_json::Value =
        serde_json::from_str(lines.lines().next().expect("three lines")).expect("JSON");
    assert_eq!((lines.lines().count(), &first["payload_base64"]), (3, &"MjEuNQ==".into()));
    assert_eq!(first["topic"], "readings");
}

#[test]
fn damage_and_a_folder_without_a_spool_are_failures() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let none = spool(&["inspect"], folder.path());
    assert_eq!(none.status.code(), Some(SOFTWARE));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no spool"), "{none:?}");
    leave_records(folder.path());
    let segment = folder.path().join("sensor/0000000000000001.seg");
    let mut bytes = std::fs::read(&segment).expect("the segment");
    bytes[1200] ^= 1;
    std::fs::write(&segment, bytes).expect("the segment");
    let damaged = spool(&["verify"], folder.path());
    assert_eq!(damaged.status.code(), Some(SOFTWARE), "{damaged:?}");
}

/// Exports to a Kafka that is not there.
fn to_kafka(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = spool(&[&["export", "--to-kafka", "127.0.0.1:1"], args].concat(), folder);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn an_export_to_kafka_names_the_option_that_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    leave_records(folder.path());
    for (args, words) in [
        (&["--wait", "soon"][..], &["--wait", "soon", "allowed is"][..]),
        (&["--set", "linger"], &["--set", "linger", "KEY=VALUE"]),
        (&["--done"], &["--to-kafka", "--done", "cannot be used"]),
        (&["--output", "x"], &["--to-kafka", "--output", "cannot be used"]),
        (&[], &["--name (nothing)", "allowed is the `name` of the gateway's settings"]),
        (&["--name", "a b"], &["--name a b", "letters, digits"]),
        (&["--name", "a", "--lane", "alarm"], &["--lane alarm", "one of sensor"]),
        (&["--name", "a", "--lane", "dead-letter"], &["--lane dead-letter", "one of sensor"]),
        (&["--name", "a", "--set", "acks=1"], &["--set", "acks", "1: allowed is all"]),
    ] {
        let (code, _, said) = to_kafka(folder.path(), args);
        assert_eq!(code, Some(USAGE), "{args:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
    }
    let wrong = spool(&["export", "--to-kafka", "kafka"], folder.path());
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(wrong.status.code() == Some(USAGE) && said.contains("HOST:PORT"), "{said}");
    let alone = spool(&["export", "--wait", "1s"], folder.path());
    assert_eq!(alone.status.code(), Some(USAGE), "{alone:?}");
}

#[test]
fn an_export_to_kafka_that_gets_nowhere_fails_and_leaves_everything() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (code, _, said) = to_kafka(folder.path(), &[]);
    assert!(code == Some(SOFTWARE) && said.contains("no spool in this folder"), "{said}");
    assert!(!folder.path().join("lock").exists(), "a folder without a spool is left alone");
    leave_records(folder.path());
    let (code, out, said) = to_kafka(folder.path(), &["--name", "gateway-7", "--wait", "100ms"]);
    assert_eq!(code, Some(SOFTWARE), "{said}");
    assert!(said.contains("kafka does not answer") && said.contains("3 records are left"), "{said}");
    let left = "left: lane sensor, topic readings, partition 2: about 3 records";
    assert_eq!(out, format!("sent 0, left 3, dead letters 0\n{left}\n"));
    // The name has been kept, so nobody need say it again; another would be wrong.
    let (code, _, said) = to_kafka(folder.path(), &["--name", "gateway-8", "--wait", "100ms"]);
    assert!(code == Some(USAGE) && said.contains("gateway-7, as the spool says"), "{said}");
    let open = RealDisk::open(folder.path()).expect("nobody has it");
    let (code, _, said) = to_kafka(folder.path(), &["--wait", "100ms"]);
    assert!(code == Some(SOFTWARE) && said.contains("open in another process"), "{said}");
    drop(open);
    assert_eq!(said_lines(&spool(&["export"], folder.path())), 3);
}

fn said_lines(output: &Output) -> usize {
    said(output).lines().count()
}
