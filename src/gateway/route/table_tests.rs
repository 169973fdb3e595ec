//! The route table: turns, modes, sequence numbers.

use tidegate_core::time::UnixMillis;

use super::super::handed::Completed;
use super::super::memory::NewRecord;
use super::super::router::HeaderSet;
use super::*;
use crate::config::AckAt;

const NOW: Timestamp = Timestamp::from_millis(1_000);
const WARM: Ends = Ends { disk_full: false, warm_since: Some(Timestamp::ZERO) };

fn key(shard: u8, partition: u32) -> RouteKey {
    RouteKey { shard, stream: StreamId(0), partition }
}

fn push(table: &mut RouteTable<u32>, key: RouteKey, now: Timestamp) -> RouteId {
    let id = table.open(key, now);
    assert!(table.queue(id).reserve(3));
    let record = NewRecord {
        client_id: "d",
        topic: "t",
        payload: b"x",
        key: (0, 1),
        received: UnixMillis(0),
        arrived: now,
        lifetime_s: 0,
        since: now,
        headers: HeaderSet::default(),
        awaited: true,
        ack: 0,
    };
    table.queue(id).push(&record);
    id
}

#[test]
fn routes_that_wait_take_turns_and_a_full_partition_does_not_stop_others() {
    let mut table = RouteTable::new(&Ceiling::new(1 << 20), 1, false);
    for (shard, partition) in [(1, 0), (2, 0), (3, 1)] {
        let id = push(&mut table, key(shard, partition), NOW);
        assert_eq!(table.hand_over(id, |_| Err(Wait::Partition)), Err(Wait::Partition));
        push(&mut table, key(shard, partition), NOW);
        assert_eq!(table.hand_over(id, |_| panic!("it waits")), Ok(()));
    }
    // One record per partition and turn.
    let mut order = Vec::new();
    while table.anyone_waits() {
        let mut room = [1, 1];
        table.hand_over_waiting(|turn| {
            let key = turn.key;
            let room = &mut room[key.partition as usize];
            if *room == 0 {
                return Err(Wait::Partition);
            }
            *room -= 1;
            order.push((key.partition, key.shard));
            Ok(Given::Handed)
        });
    }
    let of = |partition| {
        order.iter().filter(|(of, _)| *of == partition).map(|(_, shard)| *shard).collect::<Vec<_>>()
    };
    assert_eq!(of(0), [1, 2, 1, 2]);
    assert_eq!(of(1), [3, 3]);
}

#[test]
fn a_route_made_again_never_repeats_a_sequence_number() {
    let mut table = RouteTable::new(&Ceiling::new(1 << 20), 1, false);
    let mut now = NOW;
    let mut last = 0;
    for round in 0..3 {
        let id = push(&mut table, key(1, round % 2), now);
        let (mut position, mut number) = (0, 0);
        table
            .hand_over(id, |turn| {
                let Next::Fresh(record) = turn.next else { panic!("there is no log") };
                (position, number) = (record.seq, turn.number);
                Ok(Given::Handed)
            })
            .unwrap();
        assert!(position > last, "{position} after {last}");
        last = position;
        table.sweep(now + FREE_AFTER, |_| ());
        assert_eq!(table.len(), 1, "it has an outstanding record");
        table.queue(id).complete(number, Completed::Proven, AckAt::First, |_| ());
        now = now + FREE_AFTER;
        table.sweep(now, |_| ());
        assert_eq!((table.len(), table.records()), (0, 0));
    }
}

#[test]
fn slow_routes_and_the_oldest_of_a_full_memory_go_behind() {
    let mut table = RouteTable::new(&Ceiling::new(1 << 20), 1, false);
    for (shard, ms) in [(1, 1_000), (2, 2_000), (3, 3_000)] {
        push(&mut table, key(shard, 0), Timestamp::from_millis(ms));
    }
    let now = Timestamp::from_millis(3_500);
    let mut judge = |after, excess| {
        let mut turned = Vec::new();
        table.judge(after, excess, now, |_| WARM, |id, mode| turned.push((id.0, mode.is_behind())));
        turned
    };
    assert_eq!(judge(None, 0), [], "nobody is judged");
    assert_eq!(judge(Some(Duration::from_secs(2)), 0), [(0, true)]);
    assert_eq!(judge(Some(Duration::from_secs(2)), 1), [(1, true)], "the oldest that is DIRECT");
    assert_eq!(judge(None, usize::MAX), [(2, true)]);
}

#[test]
fn with_every_record_on_the_disk_no_route_is_ever_direct() {
    let mut table = RouteTable::<u32>::new(&Ceiling::new(1 << 20), 1, true);
    let id = table.open(key(1, 0), NOW);
    table.judge(None, 0, NOW + Duration::from_hours(1), |_| WARM, |_, mode| panic!("{mode:?}"));
    assert!(table.get_mut(id).mode.is_behind());
}

#[test]
fn a_route_that_passes_something_over_is_told_once_and_goes_on() {
    let mut table = RouteTable::new(&Ceiling::new(1 << 20), 1, false);
    let id = push(&mut table, key(1, 0), NOW);
    for _ in 0..3 {
        push(&mut table, key(1, 0), NOW);
    }
    let mut seen = Vec::new();
    let handed = table.hand_over(id, |turn| {
        let Next::Fresh(record) = turn.next else { panic!("there is no log") };
        seen.push(record.seq);
        Ok(if record.seq == 4 { Given::Handed } else { Given::PassedOver })
    });
    assert_eq!((handed, seen), (Ok(()), vec![1, 2, 3, 4]));
    assert!(table.has_passed_over());
    assert_eq!((table.next_that_passed_over(), table.next_that_passed_over()), (Some(id), None));
    let reported = table.queue(id).move_done(AckAt::First, |_| ());
    assert_eq!((reported.expired, table.records(), table.has_passed_over()), (3, 1, false));
}

#[test]
fn a_delivery_that_has_begun_goes_on_and_one_that_was_not_begun_never_begins() {
    let mut table = RouteTable::new(&Ceiling::new(1 << 20), 1, false);
    let id = push(&mut table, key(1, 0), NOW);
    let mut passed_over = |before, lifetime| {
        let next = Next::Fresh(table.queue(id).next_to_submit().unwrap());
        Turn { route: id, key: key(1, 0), number: 0, next, before, is_direct: true }.is_passed_over(lifetime)
    };
    assert!(passed_over(None, Lifetime::Over));
    assert!(!passed_over(None, Lifetime::Left(1)) && !passed_over(None, Lifetime::Unlimited));
    assert!(!passed_over(Some(Given::Handed), Lifetime::Over));
    assert!(passed_over(Some(Given::PassedOver), Lifetime::Left(1)), "as after a leap of the clock");
}
