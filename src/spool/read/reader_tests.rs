use proptest::prelude::*;

use crate::base::lock;
use crate::testing::{LANE, Rig, route};

use super::*;

const A: RouteId = route(0, 0);
const B: RouteId = route(1, 1);
const C: RouteId = route(2, 2);

fn seqs(to: u64) -> Vec<u64> {
    (1..=to).collect()
}

/// A log of several segments with the records of three routes in turn; `turns` of each.
fn mixed(turns: usize) -> Rig {
    let mut rig = Rig::new();
    for _ in 0..turns {
        for route in [A, B, C] {
            rig.append(route, 1, 100_000);
        }
        rig.commit();
    }
    rig
}

/// Reads so often, each time when a read that failed is tried again.
fn read_times(rig: &mut Rig, times: u32) {
    for _ in 0..times {
        rig.read();
        rig.now += READ_RETRY;
    }
}

#[test]
fn every_route_gets_its_records_once_and_in_order() {
    let mut rig = mixed(20);
    rig.read();
    for route in [A, B, C] {
        assert_eq!(rig.taken_seqs(route), seqs(20));
    }
    assert_eq!(rig.read(), []);
}

#[test]
fn what_is_not_durable_is_not_read() {
    let mut rig = Rig::new();
    rig.append(A, 1, 100);
    assert_eq!(rig.read(), []);
    rig.disk.faults(|faults| faults.failing_syncs = 1);
    rig.commit();
    assert_eq!(rig.read(), []);
}

#[test]
fn the_front_waits_for_a_window_that_moved_a_moment_ago() {
    let mut rig = mixed(2);
    rig.windows.shut.insert(A, Duration::ZERO);
    rig.now = Duration::from_millis(999);
    let next = rig.reader.step(rig.now, &mut rig.windows);
    assert_eq!(next, Next::At(rig.now + ASK_AGAIN));
    assert_eq!(rig.windows.taken, []);
    rig.windows.shut.clear();
    rig.read();
    assert_eq!((rig.taken_seqs(A), rig.taken_seqs(B)), (seqs(2), seqs(2)));
}

#[test]
fn a_route_without_room_is_parked_and_the_others_go_on() {
    let mut rig = mixed(20);
    rig.now = PATIENCE;
    rig.windows.shut.insert(A, Duration::ZERO);
    rig.read();
    assert_eq!((rig.taken_seqs(A), rig.taken_seqs(B)), (seqs(0), seqs(20)));
    assert_eq!(rig.reader.parked(), 1);
    // It has room again: the back reader brings it to the front, where it goes on.
    rig.windows.shut.clear();
    rig.read_all();
    assert_eq!((rig.taken_seqs(A), rig.reader.parked()), (seqs(20), 0));
    rig.append(A, 1, 100);
    rig.commit();
    rig.read();
    assert_eq!(rig.taken_seqs(A), seqs(21));
}

#[test]
fn a_sweep_reads_only_segments_that_hold_something_for_it() {
    let mut rig = Rig::new();
    rig.append(A, 1, 100_000);
    rig.fill_segments(B, 8);
    rig.append(A, 1, 100_000);
    rig.commit();
    rig.now = PATIENCE;
    rig.windows.shut.insert(A, Duration::ZERO);
    rig.read();
    let before = rig.disk.opened();
    rig.windows.shut.clear();
    rig.read_all();
    assert_eq!(rig.taken_seqs(A), seqs(2));
    assert_eq!(rig.disk.opened() - before, 2, "of {} segments", rig.segments());
}

#[test]
fn what_nobody_wants_is_not_even_read() {
    let mut rig = mixed(1);
    rig.now = PATIENCE;
    // A has no room, B got everything from memory, C is nobody's.
    rig.windows.shut.insert(A, Duration::ZERO);
    rig.windows.after.insert(B, Position { epoch: 1, seq: 20 });
    rig.windows.after.insert(C, Position { epoch: u32::MAX, seq: u64::MAX });
    rig.read();
    let before = rig.disk.reads();
    for _ in 1..20 {
        for route in [A, B, C] {
            rig.append(route, 1, 100_000);
        }
        rig.commit();
        assert_eq!(rig.read(), []);
    }
    assert!(rig.segments() > 3);
    assert_eq!(rig.disk.reads(), before);
    // Nothing of it is lost: A has room, C is somebody's, and B has one more.
    rig.windows.shut.clear();
    rig.windows.after.insert(C, Position { epoch: 1, seq: 7 });
    rig.reader.rewind(C, &mut rig.windows);
    rig.append(B, 1, 100);
    rig.commit();
    rig.read_all();
    assert_eq!(rig.taken_seqs(A), seqs(20));
    assert_eq!(rig.taken_seqs(B), [21]);
    assert_eq!(rig.taken_seqs(C), (8..=20).collect::<Vec<_>>());
}

#[test]
fn a_rewound_route_gets_everything_again_in_order_and_the_others_nothing_twice() {
    let mut rig = mixed(20);
    rig.read();
    rig.windows.after.insert(A, Position { epoch: 1, seq: 5 });
    rig.windows.taken.clear();
    rig.reader.rewind(A, &mut rig.windows);
    rig.append(A, 1, 100);
    rig.commit();
    rig.read_all();
    assert_eq!(rig.taken_seqs(A), (6..=21).collect::<Vec<_>>());
    assert_eq!(rig.taken_seqs(B), seqs(0));
}

#[test]
fn a_rewind_that_nobody_has_told_yet_is_noticed_at_the_next_record() {
    let mut rig = mixed(20);
    rig.read();
    rig.windows.after.insert(A, Position { epoch: 1, seq: 5 });
    rig.windows.taken.clear();
    rig.append(A, 1, 100);
    rig.commit();
    rig.read_all();
    assert_eq!(rig.taken_seqs(A), (6..=21).collect::<Vec<_>>());
}

#[test]
fn what_a_route_got_from_memory_is_passed_over() {
    let mut rig = mixed(4);
    rig.windows.after.insert(A, Position { epoch: 1, seq: 3 });
    rig.read();
    assert_eq!(rig.taken_seqs(A), [4]);
}

#[test]
fn damage_costs_the_records_it_hit_and_no_others() {
    let mut rig = mixed(20);
    let (path, at) = {
        let catalog = rig.base.lanes[0].catalog();
        let segment = catalog.segments.values().nth(1).unwrap();
        (rig.base.lanes[0].path(segment.id), usize::try_from(segment.frames.0).unwrap())
    };
    rig.disk.flip(&path, at + 150_000, 4);
    rig.read();
    let lost = 60 - rig.windows.taken.len();
    assert_eq!((lost, lock(&rig.base.stats).holes), (1, 1));
}

/// A log whose last record is one of A that is damaged.
fn damaged_tail() -> Rig {
    let mut rig = mixed(4);
    rig.append(A, 1, 100_000);
    rig.commit();
    damage_before_the_end(&rig, 50_000);
    rig
}

/// Damages the last record in the log, so many bytes before its end.
fn damage_before_the_end(rig: &Rig, bytes: usize) {
    let (path, end) = {
        let catalog = rig.base.lanes[0].catalog();
        let segment = catalog.segments.values().next_back().unwrap();
        (rig.base.lanes[0].path(segment.id), usize::try_from(segment.frames.1).unwrap())
    };
    rig.disk.flip(&path, end - bytes, 4);
}

/// More than a step passes over.
const MANY: usize = STEP_RECORDS + 100;

#[test]
fn what_is_written_behind_damage_while_a_sweep_is_under_way_is_not_passed_over() {
    let mut rig = Rig::new();
    rig.now = PATIENCE;
    rig.windows.shut.insert(A, Duration::ZERO);
    rig.append(A, MANY, 100);
    rig.commit();
    damage_before_the_end(&rig, 50);
    rig.read();
    rig.windows.shut.clear();
    rig.now += SWEEP_AGAIN;
    assert_eq!(rig.reader.step(rig.now, &mut rig.windows), Next::Now, "the sweep is under way");
    rig.append(A, 5, 100);
    rig.commit();
    rig.read_all();
    let lost = MANY as u64;
    assert_eq!(rig.taken_seqs(A), (1..=lost + 5).filter(|seq| *seq != lost).collect::<Vec<_>>());
}

#[test]
fn what_is_written_behind_damage_while_the_front_is_on_its_way_is_not_taken_for_lost() {
    let mut rig = Rig::new();
    rig.append(A, MANY, 100);
    rig.commit();
    damage_before_the_end(&rig, 50);
    assert_eq!(rig.reader.step(rig.now, &mut rig.windows), Next::Now, "it is on its way");
    let behind_damage = rig.append(A, 5, 100).position;
    rig.commit();
    // The log is known to have lost something of A, up to where it is written now.
    let spans = rig.base.lanes[0].catalog().segments.values().next_back().unwrap().spans.clone();
    rig.base.lanes[0].catalog().note_lost(&spans);
    rig.read();
    assert_eq!(rig.windows.lost, []);
    assert_eq!(rig.taken_seqs(A).last(), Some(&behind_damage.seq));
}

#[test]
fn a_route_learns_that_its_last_record_is_lost() {
    let mut rig = damaged_tail();
    rig.read();
    assert_eq!(rig.windows.lost, [], "what was read in this step may still be on its way");
    rig.now += TELL_LOST_EVERY;
    rig.read();
    let (four, five) = (Position { epoch: 1, seq: 4 }, Position { epoch: 1, seq: 5 });
    assert_eq!(rig.windows.lost, [(A, four, five)], "B and C have lost nothing");
    // Until it is done: a route that goes back comes to the same place again.
    rig.windows.after.insert(A, four);
    rig.now += TELL_LOST_EVERY;
    rig.read();
    assert_eq!(rig.windows.lost, [(A, four, five); 2]);
    rig.base.lanes[0].catalog().done(A, five, 0);
    rig.windows.after.insert(A, four);
    rig.now += TELL_LOST_EVERY;
    rig.read();
    assert_eq!(rig.windows.lost.len(), 2);
}

#[test]
fn a_route_that_has_something_to_take_learns_of_no_loss_before_it_has_it() {
    let mut rig = damaged_tail();
    rig.now = PATIENCE;
    rig.windows.shut.insert(A, Duration::ZERO);
    rig.read();
    rig.now += TELL_LOST_EVERY;
    rig.read();
    assert_eq!((rig.reader.parked(), rig.windows.lost.len()), (1, 0), "it is parked before its first record");
    rig.windows.shut.clear();
    rig.read_all();
    assert_eq!((rig.taken_seqs(A), rig.windows.lost.len()), (seqs(4), 1));
    // A rewind that nobody has told yet: what it wants again is there.
    rig.windows.after.insert(A, Position { epoch: 1, seq: 2 });
    rig.now += TELL_LOST_EVERY;
    rig.read();
    assert_eq!(rig.windows.lost.len(), 1);
}

#[test]
fn a_route_learns_that_its_last_record_was_dropped() {
    let mut rig = Rig::open(crate::disk::memory::MemoryDisk::new(64 * crate::testing::MIB), {
        crate::testing::settings(crate::settings::RawPolicy::DropOldest, true)
    });
    rig.append(A, 1, 100_000);
    rig.commit();
    rig.now = PATIENCE;
    rig.windows.shut.insert(A, Duration::ZERO);
    rig.windows.shut.insert(B, Duration::ZERO);
    rig.fill_segments(B, 10);
    rig.read();
    for _ in 0..10 {
        rig.keep();
    }
    assert!(rig.base.lanes[0].catalog().counters.dropped_acknowledged > 0);
    rig.windows.shut.remove(&A);
    rig.read_all();
    let one = Position { epoch: 1, seq: 1 };
    assert_eq!(rig.taken_seqs(A), seqs(0));
    assert!(rig.windows.lost.contains(&(A, Position::START, one)), "{:?}", rig.windows.lost);
}

#[test]
fn a_read_that_fails_is_tried_again_and_only_in_the_end_passed_over() {
    let mut rig = mixed(4);
    rig.disk.faults(|faults| faults.failing_reads = READ_TRIES - 1);
    let before = rig.disk.opened();
    read_times(&mut rig, READ_TRIES);
    assert_eq!(rig.taken_seqs(A), seqs(4));
    assert_eq!(lock(&rig.base.stats).holes, 0);
    let reopened = rig.disk.opened() - before - rig.segments() as u64;
    assert_eq!(reopened, u64::from(READ_TRIES - 1), "a disk that comes back is mounted anew");

    let mut rig = mixed(4);
    rig.disk.faults(|faults| faults.failing_reads = READ_TRIES + 2);
    read_times(&mut rig, READ_TRIES + 1);
    assert_eq!(lock(&rig.base.stats).holes, 1, "the pages that cannot be read");
    assert_eq!(rig.taken_seqs(C), seqs(4));
}

#[test]
fn a_segment_that_cannot_be_opened_is_tried_again_and_only_in_the_end_passed_over() {
    let mut rig = mixed(20);
    rig.disk.faults(|faults| faults.failing_opens = READ_TRIES);
    read_times(&mut rig, READ_TRIES + 1);
    assert_eq!(rig.taken_seqs(A), seqs(20));

    let mut rig = mixed(20);
    rig.disk.faults(|faults| faults.failing_opens = READ_TRIES + 1);
    read_times(&mut rig, READ_TRIES + 1);
    let first = rig.taken_seqs(A)[0];
    assert_eq!(rig.taken_seqs(A), (first..=20).collect::<Vec<_>>());
    assert!(first > 1, "the first segment is passed over");
}

#[test]
fn a_read_that_fails_is_not_tried_sooner_because_the_reader_is_rung() {
    let mut rig = mixed(20);
    rig.disk.faults(|faults| faults.failing_opens = READ_TRIES + 1);
    for _ in 0..100 {
        rig.read();
    }
    rig.disk.faults(|faults| faults.failing_opens = 0);
    assert_eq!(lock(&rig.base.stats).failed_reads, 1);
    rig.now += READ_RETRY;
    rig.read();
    assert_eq!(rig.taken_seqs(A), seqs(20));
}

#[test]
fn nothing_is_passed_over_for_a_parked_route_because_a_segment_cannot_be_opened_for_a_moment() {
    let mut rig = mixed(20);
    rig.now = PATIENCE;
    rig.windows.shut.insert(A, Duration::ZERO);
    rig.read();
    rig.windows.shut.clear();
    rig.disk.faults(|faults| faults.failing_opens = READ_TRIES);
    read_times(&mut rig, READ_TRIES);
    rig.read_all();
    assert_eq!(rig.taken_seqs(A), seqs(20));
}

#[test]
fn nothing_is_passed_over_as_long_as_the_disk_is_down() {
    let mut rig = mixed(20);
    rig.base.status.set(LANE, Health::Down);
    rig.disk.faults(|faults| faults.failing_reads = 3 * READ_TRIES);
    read_times(&mut rig, 3 * READ_TRIES);
    rig.disk.faults(|faults| faults.failing_opens = 3 * READ_TRIES);
    read_times(&mut rig, 3 * READ_TRIES);
    assert!(rig.windows.taken.is_empty());
    rig.base.status.set(LANE, Health::Ok);
    rig.read();
    for route in [A, B, C] {
        assert_eq!(rig.taken_seqs(route), seqs(20));
    }
    assert_eq!(lock(&rig.base.stats).holes, 0);
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Append(usize),
    Turn(usize),
    Rewind(usize, bool),
    Step,
    Wait,
    Keep,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3_usize).prop_map(Act::Append),
        3 => (0..3_usize).prop_map(Act::Turn),
        1 => (0..3_usize, any::<bool>()).prop_map(|(route, told)| Act::Rewind(route, told)),
        6 => Just(Act::Step),
        3 => Just(Act::Wait),
        1 => Just(Act::Keep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_windows_do_each_route_gets_all_of_its_records_in_order(acts in proptest::collection::vec(act(), 1..120)) {
        let routes = [A, B, C];
        let mut rig = Rig::new();
        let mut sent = [0; 3];
        for act in acts {
            match act {
                Act::Append(route) => {
                    rig.append(routes[route], 1, 90_000);
                    sent[route] += 1;
                    rig.commit();
                }
                Act::Turn(route) => {
                    let now = rig.now;
                    if rig.windows.shut.remove(&routes[route]).is_none() {
                        rig.windows.shut.insert(routes[route], now);
                    }
                }
                Act::Rewind(route, told) => {
                    let route = routes[route];
                    // Kafka has half of what the route got; the rest is handed over again.
                    let got = rig.windows.after.get(&route).copied().unwrap_or_default();
                    let done = Position { seq: got.seq / 2, ..got };
                    rig.base.lanes[0].catalog().done(route, done, 0);
                    let done = rig.base.lanes[0].catalog().mark(route).done;
                    rig.windows.after.insert(route, done);
                    rig.windows.taken.retain(|taken| taken.route != route || taken.position <= done);
                    if told {
                        rig.reader.rewind(route, &mut rig.windows);
                    }
                }
                Act::Step => {
                    rig.reader.step(rig.now, &mut rig.windows);
                }
                Act::Wait => rig.now += Duration::from_millis(400),
                Act::Keep => rig.keep(),
            }
        }
        rig.windows.shut.clear();
        for route in routes {
            rig.reader.rewind(route, &mut rig.windows);
        }
        rig.read_all();
        for (route, sent) in routes.into_iter().zip(sent) {
            prop_assert_eq!(rig.taken_seqs(route), seqs(sent));
        }
        prop_assert_eq!(rig.reader.parked(), 0);
        prop_assert_eq!(rig.reader.lane(), LANE);
    }
}
