use crate::base::lock;
use crate::disk::memory::MemoryDisk;
use crate::format::frame::Flags;
use crate::full::Verdict;
use crate::settings::RawPolicy;
use crate::stats::Stats;
use crate::testing::{MIB, Rig, route, settings};

use super::*;

const LIVE: crate::RouteId = route(0, 0);
const DEAD: crate::RouteId = route(1, 1);

fn stats(rig: &Rig) -> Stats {
    lock(&rig.base.stats).clone()
}

fn used(rig: &Rig) -> u64 {
    rig.base.lanes[0].catalog().used_bytes()
}

/// Segments in which one record in eight is a dead partition's; returns how many those are.
fn pinned(rig: &mut Rig, segments: usize) -> usize {
    for _ in 0..segments {
        rig.append(DEAD, 1, 10_000);
        rig.append(LIVE, 7, 130_000);
        rig.commit();
    }
    segments
}

fn all_done(rig: &mut Rig, route: crate::RouteId) {
    let last =
        rig.base.lanes[0].catalog().backlog().iter().find(|backlog| backlog.route == route).unwrap().last;
    rig.base.lanes[0].catalog().done(route, last, 0);
}

#[test]
fn segments_go_when_all_in_them_is_done() {
    let mut rig = Rig::new();
    rig.fill_segments(LIVE, 5);
    let before = rig.segments();
    assert!(before >= 5);
    all_done(&mut rig, LIVE);
    rig.keep();
    assert_eq!(rig.segments(), 1, "only the one being written is left");
    assert_eq!(rig.cut_hard().segments(), 1);
}

#[test]
fn a_one_broker_topic_keeps_for_a_minute_what_kafka_has() {
    let mut rig = Rig::new();
    rig.base.lanes[0].catalog().set_replicated(LIVE.topic, false);
    rig.fill_segments(LIVE, 3);
    let before = rig.segments();
    all_done(&mut rig, LIVE);
    for _ in 0..60 {
        rig.keep();
    }
    assert_eq!(rig.segments(), before);
    for _ in 0..3 {
        rig.keep();
    }
    assert_eq!(rig.segments(), 1);
}

#[test]
fn one_dead_partition_does_not_pin_the_log() {
    let mut rig = Rig::new();
    let dead = pinned(&mut rig, 9);
    all_done(&mut rig, LIVE);
    let before = used(&rig);
    for _ in 0..20 {
        rig.keep();
    }
    assert!(stats(&rig).rewritten_segments > 0);
    assert!(used(&rig) < before / 2, "{} of {before}", used(&rig));
    assert_eq!(stats(&rig).failed_rewrites, 0);
    let mut after = rig.cut_hard();
    let read = after.read_all();
    assert_eq!(read.iter().filter(|record| record.route == DEAD).count(), dead);
    assert!(read.iter().all(|record| record.route == DEAD), "nothing done comes again");
}

#[test]
fn a_segment_is_rewritten_while_it_is_read() {
    let mut rig = Rig::new();
    let dead = pinned(&mut rig, 9);
    // The front stands in the middle of the log, both routes have got half.
    for _ in 0..3 {
        rig.reader.step(rig.now, &mut rig.windows);
        let now = rig.now;
        rig.windows.shut.insert(LIVE, now);
    }
    all_done(&mut rig, LIVE);
    let last = rig.base.lanes[0].catalog().mark(LIVE).done;
    rig.windows.after.insert(LIVE, last);
    for _ in 0..20 {
        rig.keep();
        rig.read();
    }
    assert!(stats(&rig).rewritten_segments > 0);
    assert_eq!(rig.taken_seqs(DEAD), (1..=dead as u64).collect::<Vec<_>>());
    assert_eq!(stats(&rig).holes, 0);
}

#[test]
fn a_rewrite_that_fails_is_given_up_and_tried_later() {
    let mut rig = Rig::new();
    let dead = pinned(&mut rig, 9);
    rig.keep();
    all_done(&mut rig, LIVE);
    // The cursor's, and that of the rewrite.
    rig.disk.faults(|faults| faults.failing_syncs = 2);
    for _ in 0..3 {
        rig.keep();
    }
    assert_eq!((stats(&rig).failed_cursors, stats(&rig).failed_rewrites), (1, 1));
    assert_eq!(stats(&rig).rewritten_segments, 0);
    assert_eq!(rig.base.lanes[0].catalog().unfinished_bytes, 0);
    for _ in 0..40 {
        rig.keep();
    }
    assert!(stats(&rig).rewritten_segments > 0);
    let read = rig.cut_hard().read_all();
    assert_eq!(read.iter().filter(|record| record.route == DEAD).count(), dead);
}

#[test]
fn a_cursor_is_written_only_if_it_says_something_new() {
    let mut rig = Rig::new();
    rig.keep();
    let first = stats(&rig).cursors;
    assert_eq!(first, 1, "the first comes before the first commit");
    for _ in 0..5 {
        rig.keep();
    }
    assert_eq!(stats(&rig).cursors, first);
    let last = rig.append(LIVE, 1, 100);
    rig.commit();
    rig.done(&last);
    rig.keep();
    assert_eq!(stats(&rig).cursors, first + 1);
}

#[test]
fn four_mebibytes_done_do_not_wait_for_the_second() {
    let mut rig = Rig::new();
    rig.keep();
    let before = stats(&rig).cursors;
    rig.base.lanes[0].catalog().done(LIVE, crate::Position { epoch: 1, seq: 1 }, CURSOR_AFTER_BYTES - 1);
    rig.keeper.step(rig.now);
    assert_eq!(stats(&rig).cursors, before);
    rig.base.lanes[0].catalog().done(LIVE, crate::Position { epoch: 1, seq: 2 }, 1);
    rig.keeper.step(rig.now);
    assert_eq!(stats(&rig).cursors, before + 1);
}

#[test]
fn a_disk_that_others_have_filled_can_still_be_drained() {
    let mut rig = Rig::new();
    rig.fill_segments(LIVE, 4);
    rig.keep();
    let before = rig.segments();
    let free = crate::disk::Disk::free_bytes(&rig.disk).unwrap();
    rig.disk.fill(free);
    all_done(&mut rig, LIVE);
    rig.keep();
    assert_eq!(stats(&rig).failed_cursors, 0);
    assert!(rig.segments() < before);
}

#[test]
fn a_full_disk_is_noticed_before_it_is_too_late_for_what_is_in_memory() {
    let mut rig = Rig::new();
    rig.keep();
    assert!(!rig.base.lanes[0].catalog().disk_full);
    let free = crate::disk::Disk::free_bytes(&rig.disk).unwrap();
    rig.disk.fill(free - rig.base.settings.reserve_bytes() + 1);
    rig.keep();
    assert!(rig.base.lanes[0].catalog().disk_full);
}

#[test]
fn a_segment_that_is_only_begun_is_in_no_cursor() {
    let mut rig = Rig::new();
    rig.keep();
    rig.append(LIVE, 1, 100);
    rig.disk.faults(|faults| faults.writes_without_room = 1);
    rig.commit();
    rig.base.lanes[0].catalog().changed = true;
    rig.keep();
    assert_eq!(rig.segments(), 1);
    // Its name was never synced: were it listed, it would be missed now.
    assert_eq!(rig.cut_hard().report.findings, []);
    rig.commit();
    assert_eq!(rig.settled(LIVE), 1);
}

/// A full lane under `drop-oldest`, QoS 0 and QoS 1 in turn; what is left of each after housekeeping.
fn drop_oldest(allow_acked_loss: bool) -> (Rig, usize, usize) {
    let settings = settings(RawPolicy::DropOldest, allow_acked_loss);
    let mut rig = Rig::open(MemoryDisk::new(64 * MIB), settings);
    let reserve = rig.base.settings.reserve_bytes();
    while !rig.base.lanes[0].catalog().level(16 * MIB, reserve).is_full() {
        for flags in [Flags::NONE, Flags::ACKNOWLEDGED] {
            let record = rig.record(LIVE, 140_000, flags);
            rig.submit(record).unwrap();
        }
        rig.commit();
    }
    for _ in 0..10 {
        rig.keep();
    }
    let mut after = Rig::open(rig.disk.cut(&mut || 0), rig.base.settings.clone());
    let read = after.read_all();
    let acknowledged = read.iter().filter(|record| record.flags.has(Flags::ACKNOWLEDGED)).count();
    (rig, read.len() - acknowledged, acknowledged)
}

#[test]
fn drop_oldest_drops_qos_0_only() {
    let (rig, others, acknowledged) = drop_oldest(false);
    let counters = rig.base.lanes[0].catalog().counters;
    assert!(counters.dropped_qos0 > 0);
    assert_eq!(counters.dropped_acknowledged, 0);
    assert_eq!(others as u64, stats(&rig).records / 2 - counters.dropped_qos0);
    assert_eq!(acknowledged as u64, stats(&rig).records / 2);
    let level = rig.base.lanes[0].catalog().level(16 * MIB, rig.base.settings.reserve_bytes());
    assert!(!level.is_full());
}

#[test]
fn drop_oldest_drops_acknowledged_records_if_that_was_asked_for_and_counts_them() {
    let (rig, others, acknowledged) = drop_oldest(true);
    let counters = rig.base.lanes[0].catalog().counters;
    assert!(counters.dropped_acknowledged > 0);
    let dropped = counters.dropped_qos0 + counters.dropped_acknowledged;
    assert_eq!((others + acknowledged) as u64, stats(&rig).records - dropped);
}

#[test]
fn drop_oldest_with_nothing_left_to_drop_blocks() {
    let mut rig = Rig::open(MemoryDisk::new(64 * MIB), settings(RawPolicy::DropOldest, false));
    let reserve = rig.base.settings.reserve_bytes();
    while !rig.base.lanes[0].catalog().level(16 * MIB, reserve).is_full() {
        rig.append(LIVE, 4, 140_000);
        rig.commit();
    }
    for _ in 0..3 {
        rig.keep();
    }
    let catalog = rig.base.lanes[0].catalog();
    let level = catalog.level(16 * MIB, reserve);
    let verdict = crate::full::decide(rig.base.lanes[0].policy, level, true, catalog.oldest_can_go);
    assert_eq!((verdict, catalog.counters.dropped_acknowledged), (Verdict::Wait, 0));
}
