use super::*;
use crate::disk::memory::MemoryDisk;
use crate::settings::RawPolicy;
use crate::testing::{MIB, Rig, route, settings};

/// Two routes with three records each; of the first, two are done.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.keep();
    rig.append(route(0, 0), 3, 100);
    rig.append(route(1, 1), 3, 100);
    rig.commit();
    let read = rig.read();
    rig.done(&read[1]);
    rig.keep();
    rig
}

fn exported(disk: &MemoryDisk, options: &ExportOptions) -> Vec<serde_json::Value> {
    let mut out = Vec::new();
    export(disk, options, &mut out).unwrap();
    out.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[test]
fn a_glance_shows_what_waits() {
    let seen = inspect(&rig().disk).unwrap();
    assert_eq!(seen.epoch, Some(1));
    let lane = &seen.lanes[0];
    assert_eq!((lane.name.as_str(), lane.records, lane.routes.len()), ("sensor", 6, 2));
    let first = &lane.routes[0];
    assert_eq!((first.topic.as_str(), first.done.as_str(), first.last.as_str()), ("topic", "1.2", "1.3"));
    assert_eq!(lane.routes.iter().map(|route| route.waiting_records).collect::<Vec<_>>(), [1, 3]);
    assert!(seen.findings.is_empty(), "{:?}", seen.findings);
}

#[test]
fn looking_changes_nothing() {
    let rig = rig();
    rig.disk.faults(|faults| faults.read_only = true);
    inspect(&rig.disk).unwrap();
    verify(&rig.disk).unwrap();
    assert_eq!(exported(&rig.disk, &ExportOptions::default()).len(), 4);
}

#[test]
fn a_whole_spool_is_verified_and_a_flipped_bit_is_found() {
    let mut rig = rig();
    rig.append(route(0, 0), 1, 100);
    rig.commit();
    let path = format!("sensor/{}", rig.disk.names("sensor").unwrap()[0]);
    let whole = verify(&rig.disk).unwrap();
    assert_eq!((whole.records, whole.damage.len()), (7, 0));
    rig.disk.flip(&path, 1300, 1);
    let damaged = verify(&rig.disk).unwrap();
    assert_eq!((damaged.records, damaged.damage.len()), (6, 1));
}

#[test]
fn what_kafka_has_is_exported_only_if_asked_for() {
    let rig = rig();
    let waiting = exported(&rig.disk, &ExportOptions::default());
    let seqs: Vec<_> =
        waiting.iter().map(|line| (line["partition"].as_u64(), line["seq"].as_u64())).collect();
    let expected = [(0, 3), (1, 1), (1, 2), (1, 3)];
    assert_eq!(seqs, expected.map(|(partition, seq)| (Some(partition), Some(seq))));
    assert_eq!(waiting[0]["key_base64"], "a2V5");
    assert_eq!(waiting[0]["topic"], "topic");
    assert_eq!(waiting[0]["gateway"], "01".repeat(16));
    let all = ExportOptions { done: true, lane: Some("sensor".to_owned()) };
    assert_eq!(exported(&rig.disk, &all).len(), 6);
}

#[test]
fn a_lane_or_a_spool_that_is_not_there_is_an_error() {
    let other = ExportOptions { lane: Some("alarm".to_owned()), ..ExportOptions::default() };
    let error = export(&rig().disk, &other, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the spool has no lane alarm; it has sensor");
    assert!(inspect(&MemoryDisk::new(MIB)).is_err());
    // One that was opened and never used is a spool.
    let empty = Rig::open(MemoryDisk::new(64 * MIB), settings(RawPolicy::Block, false));
    assert_eq!(inspect(&empty.disk).unwrap().lanes, []);
}
