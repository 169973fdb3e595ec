//! Records whose lifetime is over, in the route queue.

use std::time::Duration;

use tidegate_core::time::Timestamp;
use tidegate_spool::{Flags, RouteId, TopicId};

use super::super::router::HeaderSet;
use super::tests::{EPOCH, position, push, queue, record};
use super::*;

/// Hands over `count` records, but passes over those that are `over`; returns the numbers of the first.
fn turns(queue: &mut RouteQueue<u32>, over: &[u64], count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let Some(next) = queue.next() else { break };
        let position = position(&next).seq;
        if queue.before(&next).map_or(over.contains(&position), |before| before == Given::PassedOver) {
            queue.passed_over();
        } else {
            numbers.push(queue.next_number());
            queue.handed_over();
        }
    }
    numbers
}

#[test]
fn what_was_passed_over_is_done_with_its_elders_and_not_before() {
    let mut queue = queue(1, &Ceiling::new(1 << 20));
    for number in 0..6 {
        assert!(push(&mut queue, number, b"x"));
    }
    let mut released = Vec::new();
    // The first, two in the middle, the last.
    let numbers = turns(&mut queue, &[1, 3, 4, 6], 6);
    let mut move_done = |queue: &mut RouteQueue<u32>| {
        let expired = queue.move_done(AckAt::First, |ack| released.push(ack)).expired;
        (expired, queue.done().seq, released.clone())
    };
    assert_eq!(move_done(&mut queue), (1, 1, vec![0]), "nothing is before the first");
    queue.complete(numbers[1], Completed::Proven, AckAt::First, |_| panic!("2 is with Kafka"));
    assert_eq!(move_done(&mut queue).1, 1);
    let reported = queue.complete(numbers[0], Completed::Proven, AckAt::First, |ack| released.push(ack));
    assert_eq!((reported.expired, queue.done().seq), (3, 6));
    assert_eq!((released, queue.is_empty(), queue.is_in_flight()), ((0..6).collect(), true, false));
}

#[test]
fn what_was_handed_over_goes_again_though_it_expired_and_what_was_passed_over_never_goes() {
    let mut queue = queue(1, &Ceiling::new(1 << 20));
    for number in 0..4 {
        assert!(push(&mut queue, number, b"x"));
    }
    // 2 is passed over, and 4 has not had its turn.
    let numbers = turns(&mut queue, &[2], 3);
    queue.complete(numbers[0], Completed::Unproven, AckAt::First, |_| ());
    assert_eq!(queue.complete(numbers[1], Completed::Proven, AckAt::First, |_| ()).again, 2);
    // By now all have expired.
    let again = turns(&mut queue, &[1, 2, 3, 4], 4);
    assert_eq!(again.len(), 2, "1 and 3 may be in Kafka");
    let mut expired = 0;
    for number in again {
        expired += queue.complete(number, Completed::Proven, AckAt::First, |_| ()).expired;
    }
    assert_eq!((expired, queue.done().seq), (2, 4));
}

#[test]
fn many_that_were_passed_over_are_remembered_as_one() {
    let mut queue = queue(1, &Ceiling::new(1 << 24));
    for number in 0..1_000 {
        assert!(push(&mut queue, number, b"x"));
    }
    let numbers = turns(&mut queue, &(2..=1_000).collect::<Vec<_>>(), 1_000);
    assert_eq!(queue.handed_over.runs(), 1);
    let reported = queue.complete(numbers[0], Completed::Proven, AckAt::First, |_| ());
    assert_eq!((reported.expired, queue.is_empty(), queue.handed_over.runs()), (999, true, 0));
}

#[test]
fn the_log_is_told_of_what_was_passed_over_though_only_the_first_of_it_is_in_the_log() {
    let mut queue = queue(1, &Ceiling::new(1 << 20));
    for number in 0..2 {
        assert!(push(&mut queue, number, b"x"));
    }
    queue.submitted();
    turns(&mut queue, &[1, 2], 2);
    assert!(queue.move_done(AckAt::First, |_| ()).logged_bytes > 0);
}

#[test]
fn the_log_keeps_how_long_a_record_is_worth_something_and_whether_its_time_is_sure() {
    let mut queue = queue(1, &Ceiling::new(1 << 20));
    let secs = |secs| Timestamp::ZERO + Duration::from_secs(secs);
    let new = NewRecord { arrived: secs(10), since: secs(70), lifetime_s: 90, ..record(0, b"x") };
    assert!(queue.reserve(10));
    queue.push(&new);
    queue.push(&NewRecord { headers: HeaderSet::CLOCK_UNSURE, ..new });
    let route = RouteId { shard: 1, topic: TopicId(0), partition: 0 };
    let kept = |seq| {
        let Queued { arrived, lifetime_s, .. } = queue.memory.get(seq).unwrap();
        assert_eq!((arrived, lifetime_s), (secs(10), 90), "the minute in which it was held counts");
        Owned::of(&queue.memory.get(seq).unwrap(), route, EPOCH)
    };
    let (sure, unsure) = (kept(1), kept(2));
    assert_eq!((sure.frame().uptime_ms, sure.frame().lifetime_s), (10_000, 90));
    assert!(sure.frame().flags.has(Flags::CLOCK_SURE));
    assert!(!unsure.frame().flags.has(Flags::CLOCK_SURE));
}
