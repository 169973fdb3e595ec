use crate::disk::Disk as _;
use crate::format::frame::Flags;
use crate::health::{FullReason, Health};
use crate::ids::{Position, TopicId};
use crate::settings::{RawPolicy, Settings};
use crate::stats::Stats;
use crate::testing::{LANE, MIB, Owned, Rig, route, settings};

use super::*;

const A: crate::RouteId = route(0, 0);
const B: crate::RouteId = route(0, 1);

fn stats(rig: &Rig) -> Stats {
    crate::base::lock(&rig.base.stats).clone()
}

fn health(rig: &Rig) -> Health {
    rig.base.status.get(LANE, rig.now)
}

fn seqs(records: &[Owned]) -> Vec<u64> {
    records.iter().map(|record| record.position.seq).collect()
}

#[test]
fn one_commit_takes_all_that_waits() {
    let mut rig = Rig::new();
    rig.append(A, 50, 100);
    let before = rig.disk.syncs();
    rig.commit();
    assert_eq!((stats(&rig).commits, rig.disk.syncs() - before), (1, 1));
    assert_eq!(rig.settled(A), 50);
}

#[test]
fn nothing_is_settled_before_it_is_durable() {
    let mut rig = Rig::new();
    rig.append(A, 3, 100);
    assert_eq!(rig.settled(A), 0);
    rig.disk.faults(|faults| faults.failing_syncs = 1);
    rig.commit();
    assert_eq!((rig.settled(A), stats(&rig).faults), (0, 1));
    assert_eq!(rig.cut_hard().read_all(), []);
}

/// Two records are stored, then three whose first sync fails and whose second does not.
fn commit_around_a_failed_sync(rig: &mut Rig) {
    rig.append(A, 2, 100);
    rig.commit();
    rig.append(A, 3, 100);
    rig.disk.faults(|faults| faults.failing_syncs = 1);
    rig.commit();
    rig.now += crate::health::FAULT_RETRY;
    rig.commit();
}

#[test]
fn after_a_failed_sync_all_of_it_goes_to_a_new_segment() {
    let mut rig = Rig::new();
    commit_around_a_failed_sync(&mut rig);
    assert_eq!((rig.settled(A), rig.segments()), (5, 2));
    assert_eq!(rig.read().len(), 5);
    let mut after = rig.cut_hard();
    assert_eq!(seqs(&after.read_all()), [1, 2, 3, 4, 5]);
}

#[test]
fn what_an_abandoned_segment_holds_behind_its_last_good_commit_does_not_count() {
    let mut rig = Rig::new();
    rig.keep();
    commit_around_a_failed_sync(&mut rig);
    // The page cache still shows the failed commit, whole: after kill -9 recovery sees it.
    let mut after = rig.killed();
    assert_eq!(after.report.findings, []);
    assert_eq!(after.report.lanes[0].records, 5);
    assert_eq!(seqs(&after.read_all()), [1, 2, 3, 4, 5]);
}

#[test]
fn three_failures_in_a_minute_are_disk_down_and_thirty_seconds_later_it_is_tried_again() {
    let mut rig = Rig::new();
    rig.append(A, 2, 100);
    rig.disk.faults(|faults| faults.failing_syncs = 4);
    for _ in 0..3 {
        assert_eq!(health(&rig), Health::Ok);
        rig.commit();
        rig.now += crate::health::FAULT_RETRY;
    }
    assert_eq!(health(&rig), Health::Down);
    let refused = rig.record(A, 10, Flags::NONE);
    assert_eq!(rig.submit(refused), Err(RefusedBecause::Down));
    rig.now += crate::health::DOWN_RETRY;
    rig.commit();
    assert_eq!((health(&rig), rig.settled(A)), (Health::Down, 0), "the fourth sync fails as well");
    rig.now += crate::health::DOWN_RETRY;
    rig.commit();
    assert_eq!((health(&rig), rig.settled(A)), (Health::Ok, 2));
    rig.append(B, 1, 10);
}

#[test]
fn a_disk_that_was_down_proves_itself_even_if_nothing_waits() {
    let mut rig = Rig::new();
    let last = rig.append(A, 1, 100);
    rig.disk.faults(|faults| faults.failing_syncs = 4);
    for _ in 0..3 {
        rig.commit();
        rig.now += crate::health::FAULT_RETRY;
    }
    rig.done(&last);
    rig.now += crate::health::DOWN_RETRY;
    rig.commit();
    assert_eq!(health(&rig), Health::Down, "the sync of the empty commit fails");
    rig.now += crate::health::DOWN_RETRY;
    rig.commit();
    assert_eq!(health(&rig), Health::Ok);
}

#[test]
fn while_the_disk_is_down_what_kafka_has_is_given_up_and_settled_in_order() {
    let mut rig = Rig::new();
    let first = rig.append(A, 1, 100);
    rig.append(B, 1, 100);
    let third = rig.append(A, 1, 100);
    rig.disk.faults(|faults| faults.failing_syncs = 9);
    for _ in 0..3 {
        rig.commit();
        rig.now += crate::health::FAULT_RETRY;
    }
    rig.done(&first);
    rig.commit();
    assert_eq!(rig.settled(A), 1);
    rig.done(&third);
    rig.commit();
    assert_eq!(rig.settled(A), 1, "the shard's second record is still in doubt");
    assert_eq!(stats(&rig).spared_records, 2);
}

#[test]
fn a_commit_of_more_than_ten_seconds_is_disk_down_though_it_succeeds() {
    let mut rig = Rig::new();
    rig.append(A, 1, 100);
    let calls = std::cell::Cell::new(0);
    let clock = || {
        calls.set(calls.get() + 1);
        Duration::from_secs(11 * calls.get())
    };
    rig.writer.step(&clock, &mut |_, _| {});
    assert_eq!(rig.settled(A), 1);
    assert_eq!(health(&rig), Health::Down);
}

#[test]
fn a_commit_that_hangs_is_disk_down_before_it_returns() {
    let rig = Rig::new();
    rig.base.status.commit_began(Duration::from_secs(5));
    assert_eq!(rig.base.status.get(LANE, Duration::from_secs(15)), Health::Ok);
    assert_eq!(rig.base.status.get(LANE, Duration::from_secs(16)), Health::Down);
    rig.base.status.commit_ended();
    assert_eq!(rig.base.status.get(LANE, Duration::from_secs(16)), Health::Ok);
}

#[test]
fn commits_keep_their_distance() {
    let settings =
        Settings { commit_interval_min: Duration::from_millis(20), ..settings(RawPolicy::Block, false) };
    let mut rig = Rig::open(crate::disk::memory::MemoryDisk::new(64 * MIB), settings);
    rig.append(A, 1, 100);
    rig.commit();
    rig.append(A, 1, 100);
    rig.now += Duration::from_millis(19);
    assert_eq!(rig.commit(), Next::At(Duration::from_millis(20)));
    assert_eq!(rig.settled(A), 1);
    rig.now += Duration::from_millis(1);
    rig.commit();
    assert_eq!(rig.settled(A), 2);
}

#[test]
fn a_disk_without_room_stores_nothing_and_goes_on_when_there_is_room() {
    let mut rig = Rig::new();
    rig.disk.fill(64 * MIB - MIB / 2);
    rig.append(A, 2, 100);
    rig.commit();
    assert_eq!((health(&rig), rig.settled(A)), (Health::Full(FullReason::Floor), 0));
    assert!(rig.base.lanes[0].catalog().disk_full);
    rig.disk.fill(0);
    rig.now += crate::health::FULL_RETRY;
    rig.commit();
    assert_eq!((health(&rig), rig.settled(A)), (Health::Ok, 2));
}

#[test]
fn a_disk_that_fills_between_two_looks_still_takes_what_was_admitted() {
    let mut rig = Rig::new();
    rig.disk.fill(52 * MIB);
    let mut taken = 0;
    while !rig.base.lanes[0].catalog().disk_full {
        assert!(taken < 1000, "the disk never fills");
        rig.append(A, 1, 200_000);
        taken += 1;
        rig.commit();
    }
    // As much as memory holds was admitted before the lane said so.
    let mut record = rig.record(A, 200_000, Flags::ACKNOWLEDGED);
    while rig.submit(record).is_ok() {
        taken += 1;
        record = rig.record(A, 200_000, Flags::ACKNOWLEDGED);
    }
    rig.commit();
    assert_eq!((health(&rig), rig.settled(A)), (Health::Ok, taken));
}

#[test]
fn a_lane_never_takes_more_than_it_may() {
    let mut rig = Rig::new();
    for _ in 0..200 {
        let record = rig.record(A, 150_000, Flags::ACKNOWLEDGED);
        let _ = rig.submit(record);
        rig.commit();
        rig.now += crate::health::FULL_RETRY;
    }
    assert_eq!(health(&rig), Health::Full(FullReason::Capacity));
    assert!(rig.base.lanes[0].catalog().used_bytes() <= 16 * MIB);
    assert!(rig.segments() > 10, "it is full, not stuck");
}

#[test]
fn what_is_in_memory_fits_a_lane_that_has_just_become_full() {
    let mut rig = Rig::new();
    let reserve = rig.base.settings.reserve_bytes();
    let is_full = |rig: &Rig| rig.base.lanes[0].catalog().level(16 * MIB, reserve).is_full();
    // As badly sized as can be: each segment wastes nearly a record.
    while !is_full(&rig) {
        rig.append(A, 1, 262_000);
        rig.commit();
    }
    let mut pooled = 0;
    loop {
        let record = rig.record(B, 262_000, Flags::ACKNOWLEDGED);
        match rig.submit(record) {
            Ok(_) => pooled += 1,
            Err(because) => break assert_eq!(because, RefusedBecause::QueueFull),
        }
    }
    rig.commit();
    assert_eq!(health(&rig), Health::Ok);
    assert_eq!(rig.read().iter().filter(|record| record.route == B).count(), pooled);
}

#[test]
fn a_record_is_refused_with_its_reason() {
    let mut rig = Rig::new();
    let huge = rig.record(A, 300_000, Flags::NONE);
    assert_eq!(rig.submit(huge), Err(RefusedBecause::TooLarge));
    let first = rig.append(A, 1, 10);
    assert_eq!(rig.submit(first), Err(RefusedBecause::OutOfOrder));
    let mut strange = rig.record(A, 10, Flags::NONE);
    strange.route.shard = 64;
    assert_eq!(rig.submit(strange), Err(RefusedBecause::TooLarge));
    rig.queue.close();
    let late = rig.record(A, 10, Flags::NONE);
    assert_eq!(rig.submit(late), Err(RefusedBecause::Closed));
}

#[test]
fn room_in_the_queue_comes_back_with_each_commit() {
    let mut rig = Rig::new();
    for _ in 0..5 {
        rig.append(A, 16, 250_000);
        let one_more = rig.record(B, 250_000, Flags::NONE);
        assert_eq!(rig.submit(one_more), Err(RefusedBecause::QueueFull));
        rig.commit();
        let last = rig.windows.after.get(&A).copied().unwrap_or_default();
        let last = Position { seq: last.seq + 16, epoch: 1 };
        rig.windows.after.insert(A, last);
        rig.base.lanes[0].catalog().done(A, last, 0);
        rig.keep();
    }
}

#[test]
fn what_kafka_has_before_its_turn_is_never_written() {
    let mut rig = Rig::new();
    let first = rig.append(A, 1, 100);
    rig.append(A, 1, 100);
    rig.done(&first);
    rig.commit();
    assert_eq!((rig.settled(A), stats(&rig).spared_records, stats(&rig).records), (2, 1, 1));
}

#[test]
fn a_topic_that_comes_later_is_known_after_a_restart() {
    let mut rig = Rig::new();
    rig.append(A, 1, 100);
    rig.commit();
    let late = crate::base::lock(&rig.base.topics).intern("late").unwrap();
    let of_late = crate::RouteId { topic: late, ..B };
    rig.append(of_late, 1, 100);
    rig.commit();
    rig.append(of_late, 1, 100);
    rig.commit();
    let after = rig.cut_hard();
    let topics = crate::base::lock(&after.base.topics).names();
    let backlog = after.base.lanes[0].catalog().backlog();
    let of_late = backlog.iter().find(|backlog| backlog.route.partition == B.partition).unwrap();
    assert_eq!(topics[usize::from(of_late.route.topic.0)], "late");
    assert_eq!(of_late.last.seq, 2);
}

#[test]
fn a_run_whose_epoch_could_not_be_written_is_somebody_else_and_the_next_run_counts_on() {
    let mut rig = Rig::new();
    rig.append(A, 1, 100);
    rig.commit();
    rig.keep();
    let disk = rig.cut_hard().disk;
    disk.faults(|faults| faults.read_only = true);
    let mut rig = Rig::boot(disk, settings(RawPolicy::Block, false), 7);
    assert!(!rig.report.who.durable);
    assert_ne!(rig.report.who.run, rig.report.who.spool);
    let epoch = rig.report.who.epoch;
    rig.disk.faults(|faults| faults.read_only = false);
    rig.append(A, 1, 100);
    rig.commit();
    assert_eq!(rig.settled(A), 1);
    let next = rig.cut_hard();
    assert!(next.report.who.epoch > epoch, "the segment's header says which epochs were used");
    let names = next.disk.names("sensor").unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
    let segment = next.base.lanes[0].catalog().segments.values().last().unwrap().clone();
    assert_eq!(segment.gateway, crate::GatewayId([7; 16]), "its records are not the spool's");
    assert_eq!(next.report.who.run, next.report.who.spool);
}

#[test]
fn a_clean_stop_leaves_nothing_to_scan() {
    let mut rig = Rig::new();
    rig.append(A, 5, 100);
    let now = rig.now;
    rig.writer.finish(&|| now, &mut |_, _| {});
    rig.keeper.finish(now);
    let mut after = rig.cut_hard();
    assert_eq!((after.report.lanes[0].scanned_bytes, after.report.findings.len()), (0, 0));
    assert_eq!(after.read_all().len(), 5);
    assert_eq!(after.read_all().first().map(|record| record.route.topic), None::<TopicId>);
}
