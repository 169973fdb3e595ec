//! All that these tests know of the spool: its settings, whether this gateway has it, and where it says how it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tidegate_tests::support::process::tidegate_binary;
use tidegate_tests::support::tidegate::Gateway;
use toml::Table;

/// Classes of the fleet's devices; each is a lane of the spool and has a Kafka topic.
pub(super) const CLASSES: [&str; 3] = ["alarm", "gateway", "sensor"];
/// Small, so that a run fills several.
const SEGMENT_BYTES: i64 = 4 * 1024 * 1024;
const FREE_FLOOR_BYTES: i64 = 1024 * 1024;
/// More than a run can fill; where the disk is smaller, the disk decides.
const LANE_BYTES: i64 = 1024 * 1024 * 1024;
/// Name of the lane for what Kafka refuses for good.
const DEAD_LETTER: &str = "dead-letter";

/// Adds a spool in `dir` to a gateway's settings, with that `ack`.
pub(super) fn with_spool(mut settings: Table, dir: &Path, ack: &str) -> Result<Table> {
    let dir = dir.to_str().context("a path in UTF-8")?;
    let lanes =
        CLASSES.map(|class| format!("classes.{class} = {{spool_bytes = {LANE_BYTES}, full = 'block'}}"));
    let spool = format!(
        "{}
[spool]
dir = '{dir}'
ack = '{ack}'
segment_bytes = {SEGMENT_BYTES}
free_floor_bytes = {FREE_FLOOR_BYTES}",
        lanes.join("\n")
    );
    merge(&mut settings, toml::from_str(&spool)?);
    Ok(settings)
}

/// Puts the keys of `more` beside those of `settings`, table by table; of two values the later one holds.
pub(super) fn merge(settings: &mut Table, more: Table) {
    for (key, value) in more {
        match (settings.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(more)) => merge(into, more),
            (_, value) => {
                settings.insert(key, value);
            }
        }
    }
}

/// Returns whether this gateway has a spool. A gateway that has one and refuses the settings of these tests is an error, not
/// a reason to check less.
pub(super) fn is_built_in() -> Result<bool> {
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("spool");
    let plain: Table = toml::from_str("kafka.bootstrap_servers = '127.0.0.1:9092'")?;
    let mut least = plain.clone();
    least.insert("spool".to_owned(), toml::toml! { dir = "/nowhere" }.into());
    match complaint(dir.path(), &least)? {
        Some(words) if words.contains("unknown key") => return Ok(false),
        _ => {}
    }
    match complaint(dir.path(), &with_spool(plain, &folder, "first")?)? {
        Some(words) => bail!("the gateway refuses the tests' spool settings: {words}"),
        None => Ok(true),
    }
}

/// Returns what `tidegate check` has against these settings.
fn complaint(dir: &Path, settings: &Table) -> Result<Option<String>> {
    let file = dir.join("gateway.toml");
    fs::write(&file, toml::to_string(settings)?)?;
    let said = Command::new(tidegate_binary()?).args(["check", "gateway", "-c"]).arg(&file).output()?;
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    Ok((!said.status.success()).then_some(words))
}

/// Returns what `/v1/spool` says.
pub(super) async fn said(gateway: &Gateway) -> Result<Value> {
    let answer = gateway.ask("/v1/spool").await?;
    serde_json::from_str(&answer).with_context(|| format!("/v1/spool is not JSON: {answer}"))
}

/// Returns the metrics of the spool whose name or labels contain `word`, in any case.
pub(super) async fn metrics(gateway: &Gateway, word: &str) -> Result<Vec<(String, f64)>> {
    Ok(parse_metrics(&gateway.ask("/metrics").await?, word))
}

fn parse_metrics(text: &str, word: &str) -> Vec<(String, f64)> {
    let word = word.to_lowercase();
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let of_spool = samples.filter(|(name, _)| name.starts_with("tidegate_spool_"));
    of_spool
        .filter(|(name, _)| name.to_lowercase().contains(&word))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Returns how many records lie in a spool's folder, done ones included: in lanes of devices, and given up as refused for
/// good.
pub(super) fn records(folder: &Path) -> Result<(u64, u64)> {
    let said = Command::new(tidegate_binary()?).args(["spool", "inspect"]).arg(folder).output()?;
    ensure!(said.status.success(), "spool inspect: {}", String::from_utf8_lossy(&said.stderr));
    count(&serde_json::from_slice(&said.stdout)?)
}

fn count(inspection: &Value) -> Result<(u64, u64)> {
    let (mut stored, mut given_up) = (0, 0);
    for lane in inspection["lanes"].as_array().context("spool inspect shows no lanes")? {
        let records = lane["records"].as_u64().context("spool inspect counts no records")?;
        *if lane["name"] == DEAD_LETTER { &mut given_up } else { &mut stored } += records;
    }
    Ok((stored, given_up))
}

#[test]
fn the_spool_is_added_to_what_is_set_already() {
    let settings = toml::from_str("name = 'a'\n[classes.sensor]\nrate = 7.0").unwrap();
    let settings = with_spool(settings, Path::new("/s"), "disk").unwrap();
    assert_eq!(settings["classes"]["sensor"]["rate"].as_float(), Some(7.0));
    assert_eq!(settings["classes"]["sensor"]["full"].as_str(), Some("block"));
    assert_eq!(settings["spool"]["dir"].as_str(), Some("/s"));
    assert_eq!(settings["spool"]["ack"].as_str(), Some("disk"));
}

#[test]
fn metrics_are_found_by_a_word_of_name_or_labels() {
    let text =
        "# HELP x\ntidegate_spool_routes{state=\"behind\"} 3\ntidegate_spool_bytes 5\nother_behind 1\n";
    assert_eq!(parse_metrics(text, "BEHIND"), [("tidegate_spool_routes{state=\"behind\"}".to_owned(), 3.0)]);
    assert_eq!(parse_metrics(text, "").len(), 2);
}

#[test]
fn dead_letters_are_counted_apart() {
    let lane = |name: &str, records: u64| serde_json::json!({"name": name, "records": records});
    let said = serde_json::json!({"lanes": [lane("sensor", 9), lane("dead-letter", 2), lane("alarm", 1)]});
    assert_eq!(count(&said).unwrap(), (10, 2));
    assert!(count(&serde_json::json!({})).is_err());
}
