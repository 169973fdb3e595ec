//! An hour on a simulated clock: Kafka is away, or one partition has no leader and never will have one.

use crate::base::lock;
use crate::disk::memory::MemoryDisk;
use crate::full::Level;
use crate::ids::{Position, RouteId};
use crate::settings::RawPolicy;
use crate::testing::{MIB, Rig, route, settings};

/// Devices of the site: one a shard, on four partitions.
const DEVICES: u8 = 60;
/// A device sends a message so often, in seconds.
const EVERY_S: u64 = 10;
const PAYLOAD_BYTES: usize = 200;
/// Of [`Rig`]'s records.
const KEY_BYTES: u64 = 3;
/// What a record takes beside payload, key and headers: the rule of docs/operations.md.
const RECORD_BYTES: u64 = 60;
const HOUR_S: u64 = 3600;

fn level(rig: &Rig) -> Level {
    rig.base.lanes[0].catalog().level(16 * MIB, rig.base.settings.reserve_bytes())
}

#[test]
fn an_hour_of_a_site_takes_what_operations_md_says_and_all_of_it_comes_back_in_order() {
    let mut rig = Rig::new();
    let mut last = Vec::new();
    for second in 0..HOUR_S {
        for device in (0..DEVICES).filter(|device| u64::from(*device) % EVERY_S == second % EVERY_S) {
            last.push(rig.append(route(device, u32::from(device % 4)), 1, PAYLOAD_BYTES));
        }
        rig.commit();
        rig.keep();
        assert!(!level(&rig).is_full(), "after {second} s: {:?}", level(&rig));
    }
    let records = u64::from(DEVICES) * HOUR_S / EVERY_S;
    let rule = records * (PAYLOAD_BYTES as u64 + KEY_BYTES + RECORD_BYTES);
    let used = level(&rig).used_bytes;
    // Room is set aside a segment at a time.
    assert!(used <= rule + MIB, "{used} bytes for {records} records, by the rule {rule}");
    let read = rig.read_all();
    assert_eq!(read.len() as u64, records);
    for record in &read {
        rig.done(record);
    }
    rig.keep();
    assert_eq!(rig.segments(), 1, "Kafka has everything");
}

/// What one partition without a leader leaves of the log to the others, over an hour in which those write many times
/// what the lane takes. `one_broker`: its segments stay for a minute after Kafka has them.
fn leaderless_for_ever(one_broker: bool) {
    const LIVE: RouteId = route(0, 0);
    const DEAD: RouteId = route(1, 1);
    const LIVE_RECORDS: usize = 5;
    const LIVE_BYTES: usize = 4000;
    const DEAD_BYTES: usize = 1400;
    let mut rig = Rig::open(MemoryDisk::new(64 * MIB), settings(RawPolicy::Block, false));
    rig.base.lanes[0].catalog().set_replicated(LIVE.topic, !one_broker);
    let framed = |payload: usize| payload as u64 + KEY_BYTES + RECORD_BYTES;
    let live_a_second = LIVE_RECORDS as u64 * framed(LIVE_BYTES);
    let pinned = if one_broker { 60 * live_a_second } else { 0 };
    let half = level(&rig).full_bytes() / 2;
    for second in 1..=HOUR_S {
        let live = rig.append(LIVE, LIVE_RECORDS, LIVE_BYTES);
        rig.append(DEAD, 1, DEAD_BYTES);
        rig.commit();
        rig.done(&live);
        rig.keep();
        // From half of the lane on, segments are rewritten; one is being written, one rewritten, one waits for its turn.
        let own = second * framed(DEAD_BYTES);
        let bound = half.max(own + pinned) + 3 * MIB;
        let level = level(&rig);
        assert!(level.used_bytes <= bound, "after {second} s: {} > {bound}", level.used_bytes);
        assert!(!level.is_full(), "after {second} s: {level:?}");
    }
    let full = level(&rig).full_bytes();
    assert!(live_a_second * HOUR_S > 5 * full, "the others wrote many times what fits");
    assert!(HOUR_S * framed(DEAD_BYTES) > half, "its own records are beyond where rewriting begins");
    assert_eq!(lock(&rig.base.stats).failed_rewrites, 0);

    let mut after = rig.cut_hard();
    let read: Vec<Position> =
        after.read_all().iter().filter(|taken| taken.route == DEAD).map(|taken| taken.position).collect();
    let wanted: Vec<Position> = (1..=HOUR_S).map(|seq| Position { epoch: 1, seq }).collect();
    assert_eq!(read, wanted, "all that the dead partition waits for");
}

#[test]
fn a_partition_without_a_leader_for_ever_takes_no_more_of_the_log_than_its_own_records() {
    leaderless_for_ever(false);
}

#[test]
fn nor_does_it_where_one_broker_makes_segments_stay_for_a_minute() {
    leaderless_for_ever(true);
}
