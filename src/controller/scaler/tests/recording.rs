//! What a scaler keeps on the disk, and what becomes of it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidegate_core::scaling::{Line, MuSource, Replay, Replayed, Terms};
use tidegate_core::wire::ConsumerReport;

use super::*;

/// Small enough for a few hundred looks to go round it.
const MAX_BYTES: u64 = 400_000;

fn record(folder: &TempDir) -> Record {
    Record { dir: folder.path().to_owned(), max_bytes: MAX_BYTES }
}

fn parts(folder: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path().join("g")).unwrap().map(|entry| entry.unwrap().path());
    let mut parts: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).collect();
    parts.sort();
    parts
}

/// Takes the decisions of a part again, by nothing but what it says.
fn replayed(part: &Path) -> Vec<Replayed> {
    let mut replay = Replay::default();
    let text = fs::read_to_string(part).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
    lines.filter_map(|line| replay.next(line).unwrap()).collect()
}

fn lost(site: &Site, why: &str) -> u64 {
    let name = format!("tidegate_controller_record_losses_total{{reason=\"{why}\",what=\"look\"}} ");
    let text = site.registry.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

impl Site {
    /// Lets time pass at the pace of the disk, and returns what was decided.
    async fn pass_recorded(&mut self, ticks: u32) -> Vec<Decision> {
        let mut decided = Vec::new();
        for _ in 0..ticks {
            self.pass(1).await;
            self.scaler.shared.records.finish().await;
            decided.push(self.view.borrow().decision.clone().unwrap());
        }
        decided
    }

    /// A load that rises and falls, a policy that changes, a target that refuses, a Kafka that is away.
    async fn live(&mut self) -> Vec<Decision> {
        let mut decided = self.pass_recorded(30).await;
        for (rate_each, ticks) in [(33, 30), (3, 80), (45, 20), (10, 90)] {
            self.kafka.0.lock().unwrap().rate_each = rate_each;
            decided.extend(self.pass_recorded(ticks).await);
            self.settings.send_modify(|settings| settings.policy.max -= 1);
        }
        self.target.0.lock().unwrap().refuses = Some((TargetErrorKind::Forbidden, 3));
        self.kafka.0.lock().unwrap().rate_each = 60;
        decided.extend(self.pass_recorded(5).await);
        self.kafka.0.lock().unwrap().away = true;
        decided.extend(self.pass_recorded(4).await);
        self.kafka.0.lock().unwrap().away = false;
        decided.extend(self.pass_recorded(40).await);
        decided
    }
}

#[tokio::test]
async fn a_recording_replays_to_the_same_decisions_also_after_it_went_round_and_the_policy_changed() {
    let folder = TempDir::new().unwrap();
    let mut site = site_that_records(1, 3, Some(&record(&folder)));
    let decided = site.live().await;
    assert!(decided.iter().filter(|decision| decision.changes()).count() > 5);
    assert_eq!((lost(&site, "behind"), lost(&site, "failed")), (0, 0));

    let parts = parts(&folder);
    let bytes: u64 = parts.iter().map(|part| fs::metadata(part).unwrap().len()).sum();
    assert!(parts.len() > 2 && bytes <= MAX_BYTES, "{} parts, {bytes} bytes", parts.len());
    let looks: Vec<Replayed> = parts.iter().flat_map(|part| replayed(part)).collect();
    assert!((100..decided.len()).contains(&looks.len()), "{} of {}", looks.len(), decided.len());
    assert!(looks.iter().all(Replayed::is_same));
    // Not only what was decided but every number of it.
    let again: Vec<&Decision> = looks.iter().map(|look| &look.decision).collect();
    let last: Vec<&Decision> = decided[decided.len() - looks.len()..].iter().collect();
    assert_eq!(again, last);
    assert_eq!(looks.last().unwrap().wall, Some(wall()));
    let begins = fs::read_to_string(parts.last().unwrap()).unwrap().matches("{\"begin\":").count();
    assert!(begins >= 1, "every part has a beginning");
}

#[tokio::test]
async fn a_policy_that_changed_is_recorded_before_the_look_that_it_is_used_for() {
    let folder = TempDir::new().unwrap();
    let mut site = site_that_records(1, 3, Some(&record(&folder)));
    site.pass_recorded(5).await;
    site.settings.send_modify(|settings| settings.policy.min = 3);
    site.pass_recorded(5).await;
    let [part] = &parts(&folder)[..] else { panic!("one part is enough") };
    let text = fs::read_to_string(part).unwrap();
    let begins: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| line.starts_with("{\"begin\"")).map(|(n, _)| n).collect();
    assert_eq!(begins, [0, 6]);
    let looks = replayed(part);
    assert!(looks.iter().all(Replayed::is_same));
    assert_eq!((looks[4].decision.replicas, looks[5].decision.replicas), (1, 3));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_costs_records_and_no_decision() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("g"), "in the way").unwrap();
    let mut with = site_that_records(1, 3, Some(&record(&folder)));
    let decided = with.pass_recorded(20).await;
    let mut without = site(1, 3);
    without.pass(20).await;
    assert_eq!(with.orders(), without.orders());
    assert_eq!(decided.last(), without.view.borrow().decision.as_ref());
    assert_eq!((lost(&with, "failed"), lost(&with, "behind")), (20, 0));
    // The disk is there again.
    fs::remove_file(folder.path().join("g")).unwrap();
    with.pass_recorded(5).await;
    assert_eq!(lost(&with, "failed"), 20);
    assert_eq!(replayed(&parts(&folder)[0]).len(), 5);
}

#[tokio::test]
async fn a_disk_that_hangs_delays_nothing_and_what_comes_after_it_replays() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("g")).unwrap();
    // Whoever opens it to read waits for somebody who writes.
    let hangs = folder.path().join("g/learned.json");
    assert!(std::process::Command::new("mkfifo").arg(&hangs).status().unwrap().success());
    let mut site = site_that_records(1, 3, Some(&record(&folder)));
    site.scaler.remember().await;
    site.kafka.0.lock().unwrap().rate_each = 33;
    site.pass(100).await;
    let mut without = super::site(1, 3);
    without.kafka.0.lock().unwrap().rate_each = 33;
    without.pass(100).await;
    assert_eq!(site.orders(), without.orders());
    assert_eq!(site.view.borrow().decision, without.view.borrow().decision);
    assert!(lost(&site, "behind") > 30, "{}", lost(&site, "behind"));

    drop(fs::OpenOptions::new().write(true).open(&hangs).unwrap());
    site.scaler.shared.records.finish().await;
    site.pass_recorded(20).await;
    let looks: Vec<Replayed> = parts(&folder).iter().flat_map(|part| replayed(part)).collect();
    assert!(looks.len() > 20 && looks.iter().all(Replayed::is_same), "{} looks", looks.len());
}

/// A consumer that does 250 messages per second.
fn busy(seq: u64) -> ConsumerReport {
    ConsumerReport {
        group: "g".to_owned(),
        member: "member-0".to_owned(),
        seq,
        records: 500,
        busy_seconds: 2.0,
        partitions: 12,
        ..ConsumerReport::default()
    }
}

async fn learn(folder: &TempDir) -> Terms {
    let mut site = site_that_records(1, 3, Some(&record(folder)));
    for seq in 1..=20 {
        site.scaler.shared.reports.consumer(&busy(seq), now());
        site.pass_recorded(1).await;
    }
    let terms = site.view.borrow().decision.as_ref().unwrap().terms.clone();
    let (records, stop) = (site.scaler.shared.records.clone(), CancellationToken::new());
    stop.cancel();
    site.scaler.run(stop).await;
    records.finish().await;
    terms
}

#[tokio::test]
async fn what_was_learned_outlives_the_controller() {
    let folder = TempDir::new().unwrap();
    let before = learn(&folder).await;
    assert_eq!((before.mu_source, before.mu.map(f64::round)), (MuSource::Busy, Some(250.0)));
    let mut site = site_that_records(1, 3, Some(&record(&folder)));
    site.scaler.remember().await;
    site.pass_recorded(1).await;
    let after = site.view.borrow().decision.as_ref().unwrap().terms.clone();
    assert_eq!((after.mu_source, after.mu, after.mu_error), (before.mu_source, before.mu, before.mu_error));
    let part = parts(&folder).pop().unwrap();
    assert!(replayed(&part)[0].is_same(), "and what it resumed with is in its recording");
}

#[tokio::test]
async fn a_file_that_is_torn_is_left_alone_and_learning_begins_anew() {
    let folder = TempDir::new().unwrap();
    learn(&folder).await;
    let file = folder.path().join("g/learned.json");
    let whole = fs::read(&file).unwrap();
    for torn in [&whole[..whole.len() / 2], b"", b"\0\0\0\0"] {
        fs::File::create(&file).unwrap().write_all(torn).unwrap();
        let mut site = site_that_records(1, 3, Some(&record(&folder)));
        site.scaler.remember().await;
        site.pass_recorded(1).await;
        let terms = site.view.borrow().decision.as_ref().unwrap().terms.clone();
        assert_eq!((terms.mu_source, terms.mu), (MuSource::Policy, Some(100.0)));
    }
}

#[tokio::test]
async fn without_the_setting_nothing_is_kept() {
    let mut site = site(1, 3);
    site.scaler.remember().await;
    site.pass_recorded(3).await;
    assert_eq!((lost(&site, "behind"), lost(&site, "failed")), (0, 0));
    assert!(site.registry.encode().contains("tidegate_controller_recorded_total{what=\"look\"} 0"));
}
