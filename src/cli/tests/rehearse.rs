//! `tidegate simulate` and `tidegate import keda` as a person calls them.

use std::fs;
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use tempfile::TempDir;

/// An hour of a trace is simulated within a second or two, also in a build that is not optimised.
const PATIENCE: Duration = Duration::from_mins(5);

fn tidegate(args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("tidegate").expect("the binary is built with its tests");
    command.args(args).timeout(PATIENCE).env_clear().output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_trace_is_simulated_to_a_table_json_and_a_page_and_its_recording_replays() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (trace, page, recording) = (path("load.csv"), path("page.html"), path("recording.jsonl"));
    // Twenty messages a minute, and ninety after the tenth.
    let rows: Vec<String> =
        (0..30).map(|minute| format!("{},{}", 60 * minute, if minute > 10 { 90 } else { 20 })).collect();
    let rows = rows.join("\n");
    fs::write(&trace, rows).expect("a file");

    let shown = tidegate(&[
        "simulate", "--trace", &trace, "--part", "whole", "--html", &page, "--record", &recording,
    ]);
    let table = text(&shown.stdout);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    assert!(shown.stderr.is_empty(), "no bar without a terminal: {}", text(&shown.stderr));
    for word in ["Tidegate", "KEDA 10", "KEDA 1600", "HPA on CPU", "replica-hours", &page] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(fs::read_to_string(&page).expect("a page").contains("<h2>Replicas</h2>"));

    let json = tidegate(&["simulate", "--trace", &trace, "--part", "whole", "--json", "--alone"]);
    let study: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON and nothing else");
    assert!(study["ours"]["total"]["sent"].as_u64().is_some_and(|sent| sent > 100_000), "{study}");
    assert_eq!(study["kedas"].as_array().map(Vec::len), Some(0));

    let replayed = tidegate(&["simulate", "--replay", &recording]);
    assert!(replayed.status.success(), "{}", text(&replayed.stderr));
    assert!(text(&replayed.stdout).contains("every decision as recorded"), "{}", text(&replayed.stdout));
    let other = fs::read_to_string(&recording).expect("a recording").replacen("\"max\":64", "\"max\":2", 1);
    fs::write(&recording, other).expect("a file");
    let differs = tidegate(&["simulate", "--replay", &recording]);
    assert_eq!(differs.status.code(), Some(70), "{}", text(&differs.stdout));
    assert!(text(&differs.stderr).contains("are not the recorded ones"));
}

#[test]
fn a_policy_file_is_a_controllers_settings_file_or_part_of_one() {
    let folder = TempDir::new().expect("a temporary directory");
    let policy = folder.path().join("policy.toml").display().to_string();
    let simulate = || {
        tidegate(&["simulate", "--trace", "shape:alarm", "--hours", "0.1", "--alone", "--policy", &policy])
    };
    fs::write(
        &policy,
        "key_file = \"k\"\n[slo]\ndelay = \"20s\"\n[replicas]\nmax = 8\n[kafka]\nbootstrap_servers = \"k\"\n[record]\ndir = \"r\"\n",
    )
    .expect("a file");
    let shown = simulate();
    assert!(text(&shown.stdout).contains("promise 20 s"), "{}{}", text(&shown.stdout), text(&shown.stderr));
    fs::write(&policy, "[slo]\ndelay = \"20s\"\n[replicas]\nmaximum = 8\n").expect("a file");
    let refused = simulate();
    assert_eq!(refused.status.code(), Some(64));
    assert!(
        text(&refused.stderr).contains("replicas.maximum") && text(&refused.stderr).contains("line 4"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_scaled_object_is_imported_and_what_is_lost_is_told_by_the_exit_code() {
    let folder = TempDir::new().expect("a temporary directory");
    let file = folder.path().join("keda.yaml").display().to_string();
    let object = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: t}\nspec:\n  scaleTargetRef: {name: t}\n  \
                  minReplicaCount: 1\n  triggers:\n  - type: kafka\n    metadata: {bootstrapServers: 'k:9092', consumerGroup: g, topic: t}\n";
    fs::write(&file, object).expect("a file");
    let whole = tidegate(&["import", "keda", &file, "--slo", "30s"]);
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    assert!(
        text(&whole.stdout).contains("kind: IngestScaler") && text(&whole.stdout).contains("30s"),
        "{}",
        text(&whole.stdout)
    );
    fs::write(&file, object.replace("minReplicaCount: 1", "minReplicaCount: 0")).expect("a file");
    let lost = tidegate(&["import", "keda", &file]);
    assert_eq!(lost.status.code(), Some(65), "{}", text(&lost.stderr));
    assert!(text(&lost.stdout).contains("kind: IngestScaler"));
    assert!(text(&lost.stderr).contains("LOST      spec.minReplicaCount = 0"), "{}", text(&lost.stderr));
    let none = tidegate(&["import", "keda", "/nowhere.yaml"]);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(64), 0), "{}", text(&none.stderr));
}
