use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, getpgid, kill_process, test_kill_process};
use tokio::time::timeout;

use super::*;

/// Ends at once when asked to.
const WILLING: &str = "trap 'exit 0' TERM; while :; do sleep 0.02; done";
/// Hears SIGTERM and stays.
const DEAF: &str = "trap '' TERM; while :; do sleep 0.02; done";

fn processes(script: &str, stop_timeout: Duration) -> LocalProcesses {
    let settings = RawProcesses {
        command: PathBuf::from("/bin/sh"),
        args: vec!["-c".to_owned(), script.to_owned(), "{member}".to_owned()],
        env: BTreeMap::new(),
        stop_timeout,
        log_file: None,
    };
    LocalProcesses::new(settings, "telemetry")
}

/// SIGTERM, number 15, in a mask that begins with number 1.
const SIGTERM_BIT: u64 = 1 << 14;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

fn pids(processes: &LocalProcesses) -> Vec<Pid> {
    let pid = |slot: &Slot| match &slot.life {
        Life::Runs { child, .. } => Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()),
        Life::Waits { .. } => None,
    };
    processes.slots.iter().filter_map(pid).collect()
}

fn lives(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// Polls until `done` holds; the deadline is far above what it takes.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), poll).await.expect("it comes true within 20 s");
}

#[tokio::test]
async fn replicas_are_started_and_the_newest_are_stopped() {
    let mut processes = processes(WILLING, Duration::from_secs(20));
    processes.scale(3, at(1)).await.unwrap();
    let all = pids(&processes);
    let state = processes.observe(at(2)).await.unwrap();
    assert_eq!((state.ordered, state.replicas.len(), state.crashes.len()), (3, 3, 0));
    assert!(state.replicas.iter().all(|replica| replica.spawned_at == Some(at(1))));
    processes.scale(1, at(3)).await.unwrap();
    assert_eq!(pids(&processes), all[..1]);
    until(async || !lives(all[1]) && !lives(all[2])).await;
    assert!(lives(all[0]));
    assert!(processes.shut_down().await.is_empty(), "none had to be killed");
    assert!(!lives(all[0]));
}

#[tokio::test]
async fn a_replica_that_does_not_stop_is_killed_and_told() {
    let mut processes = processes(DEAF, Duration::from_millis(100));
    processes.scale(1, at(1)).await.unwrap();
    let pid = pids(&processes)[0];
    let member = processes.slots[0].member.clone();
    // Not before the shell has set its trap: then SIGTERM would end it.
    let status = format!("/proc/{}/status", pid.as_raw_nonzero());
    until(async || {
        let status = std::fs::read_to_string(&status).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        // Others may be ignored too: a shell in the background ignores SIGINT, and its children inherit that.
        u64::from_str_radix(ignored.trim(), 16).unwrap() & SIGTERM_BIT != 0
    })
    .await;
    assert_eq!(processes.shut_down().await, [member]);
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_crashed_replica_is_started_again_after_a_growing_wait() {
    let mut processes = processes("exit 3", Duration::from_secs(1));
    processes.scale(1, at(0)).await.unwrap();
    let first = processes.slots[0].member.clone();
    let mut now = 0;
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        let mut crashes = Vec::new();
        until(async || {
            crashes = processes.observe(at(now)).await.unwrap().crashes;
            !crashes.is_empty()
        })
        .await;
        assert_eq!(crashes[0].ended, "exit status: 3");
        assert_eq!(crashes[0].restart_in_secs, wait);
        let early = processes.observe(at(now + wait - 1)).await.unwrap();
        assert_eq!(early.replicas[0].spawned_at, None, "not before its time");
        now += wait;
        let state = processes.observe(at(now)).await.unwrap();
        assert_eq!((state.ordered, state.replicas[0].spawned_at), (1, Some(at(now))));
        assert_ne!(state.replicas[0].member, first, "a new start has a new name");
    }
}

#[tokio::test]
async fn a_replica_that_ran_well_is_started_again_soon() {
    let mut processes = processes("exit 3", Duration::from_secs(1));
    processes.scale(1, at(0)).await.unwrap();
    processes.slots[0].crashes = 5;
    let mut wait = None;
    until(async || {
        wait = processes.observe(at(60)).await.unwrap().crashes.first().map(|crash| crash.restart_in_secs);
        wait.is_some()
    })
    .await;
    assert_eq!(wait, Some(1));
}

#[tokio::test]
async fn what_waits_is_given_back_before_what_runs() {
    let mut processes = processes(WILLING, Duration::from_secs(20));
    processes.scale(3, at(0)).await.unwrap();
    let all = pids(&processes);
    kill_process(all[0], Signal::KILL).unwrap();
    until(async || !processes.observe(at(0)).await.unwrap().crashes.is_empty()).await;
    processes.scale(2, at(0)).await.unwrap();
    assert_eq!(pids(&processes), all[1..]);
    processes.shut_down().await;
}

#[tokio::test]
async fn dropping_the_target_leaves_nothing_behind() {
    let mut processes = processes(DEAF, Duration::from_secs(20));
    processes.scale(2, at(0)).await.unwrap();
    let all = pids(&processes);
    drop(processes);
    until(async || all.iter().all(|pid| !lives(*pid))).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut processes = processes("", Duration::from_secs(1));
    processes.settings.command = PathBuf::from("/no/such/program");
    let problem = processes.scale(2, at(0)).await.unwrap_err();
    assert!(problem.message.contains("/no/such/program"), "{problem}");
    assert_eq!(processes.observe(at(0)).await.unwrap().ordered, 0);
}

#[tokio::test]
async fn each_replica_knows_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut processes = processes("echo \"$0 $NAME\" >&2", Duration::from_secs(1));
    processes.settings.env.insert("NAME".to_owned(), "<{member}>".to_owned());
    processes.settings.log_file = Some(path.clone());
    processes.scale(1, at(0)).await.unwrap();
    let member = processes.slots[0].member.clone();
    until(async || std::fs::read_to_string(&path).is_ok_and(|text| text == format!("{member} <{member}>\n")))
        .await;
}

/// Starts one replica of a script that writes into `$DIR`.
async fn writing(folder: &tempfile::TempDir, script: &str, stop_timeout: Duration) -> LocalProcesses {
    let mut processes = processes(script, stop_timeout);
    processes.settings.env.insert("DIR".to_owned(), folder.path().display().to_string());
    processes.scale(1, at(0)).await.unwrap();
    processes
}

/// Returns what the script wrote into `name`.
async fn written(folder: &tempfile::TempDir, name: &str) -> String {
    let path = folder.path().join(name);
    let mut text = String::new();
    until(async || {
        text = std::fs::read_to_string(&path).unwrap_or_default();
        text.ends_with('\n')
    })
    .await;
    text.trim().to_owned()
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.parse().unwrap()).unwrap()
}

#[tokio::test]
async fn a_replica_hears_of_our_death_and_not_of_the_terminals_signals() {
    let folder = tempfile::tempdir().unwrap();
    let mut processes =
        writing(&folder, "echo $$ > $DIR/pid; cat; echo end > $DIR/end; sleep 1000", Duration::from_secs(20))
            .await;
    let child = pid(&written(&folder, "pid").await);
    assert_eq!(getpgid(Some(child)), Ok(child), "a group of its own");
    assert!(!folder.path().join("end").exists(), "its standard input lasts as long as we do");
    let Life::Runs { child, .. } = &mut processes.slots[0].life else { panic!("it runs") };
    child.cut_lifeline();
    assert_eq!(written(&folder, "end").await, "end");
    processes.shut_down().await;
}

#[tokio::test]
async fn what_a_replica_started_has_the_same_time_to_end() {
    let folder = tempfile::tempdir().unwrap();
    // The shell ends at once; the one it started finishes its work.
    let inner = "trap 'sleep 0.2; echo done > $DIR/done; exit' TERM; echo $$ > $DIR/pid; while :; do sleep 0.02; done";
    let script = "/bin/sh -c \"$WORK\" & trap 'exit 0' TERM; while :; do sleep 0.02; done";
    let mut processes = processes(script, Duration::from_secs(20));
    processes.settings.env.insert("WORK".to_owned(), inner.to_owned());
    processes.settings.env.insert("DIR".to_owned(), folder.path().display().to_string());
    processes.scale(1, at(0)).await.unwrap();
    written(&folder, "pid").await;
    assert!(processes.shut_down().await.is_empty(), "none had to be killed");
    assert!(folder.path().join("done").exists());
}

#[tokio::test]
async fn what_a_crashed_replica_started_does_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut processes =
        writing(&folder, "sleep 1000 & echo $! > $DIR/pid; exit 3", Duration::from_secs(20)).await;
    let orphan = pid(&written(&folder, "pid").await);
    until(async || !processes.observe(at(0)).await.unwrap().crashes.is_empty()).await;
    until(async || !runs(orphan)).await;
}

/// Returns true if the process exists and is no zombie, which only its new parent can end.
fn runs(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|text| !text.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

#[tokio::test]
async fn a_crash_loop_does_not_look_like_a_fresh_start_and_a_missing_program_counts() {
    let mut processes = processes("exit 3", Duration::from_secs(1));
    processes.scale(1, at(0)).await.unwrap();
    let crashed = async |processes: &mut LocalProcesses, secs| {
        let mut state = State::default();
        until(async || {
            state = processes.observe(at(secs)).await.unwrap();
            !state.crashes.is_empty()
        })
        .await;
        state
    };
    assert_eq!(crashed(&mut processes, 5).await.replicas[0].ordered_at, at(5), "it was up until then");
    assert_eq!(crashed(&mut processes, 6).await.replicas[0].ordered_at, at(5));
    processes.settings.command = PathBuf::from("/no/such/program");
    let missing = crashed(&mut processes, 9).await;
    assert!(missing.crashes[0].ended.contains("/no/such/program"), "{missing:?}");
    assert_eq!((missing.replicas[0].spawned_at, missing.replicas[0].ordered_at), (None, at(5)));
    assert_eq!(missing.crashes[0].restart_in_secs, 4);
}
