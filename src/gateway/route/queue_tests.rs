//! The route queue against a model that keeps every record in a plain list.

use proptest::prelude::*;

use super::*;

fn record(number: u32, payload: &[u8]) -> NewRecord<'_, u32> {
    NewRecord {
        client_id: "device",
        topic: "a/b",
        payload,
        key: (0, 6),
        received: UnixMillis(i64::from(number)),
        headers: HeaderSet::default(),
        ack: number,
    }
}

fn push(queue: &mut RouteQueue<u32>, number: u32, payload: &[u8]) -> bool {
    let room = queue.reserve(9 + payload.len());
    if room {
        queue.push(&record(number, payload));
    }
    room
}

fn hand_over_all(queue: &mut RouteQueue<u32>) -> Vec<u64> {
    let mut positions = Vec::new();
    while let Some(next) = queue.next() {
        positions.push(next.position);
        queue.handed_over();
    }
    positions
}

#[test]
fn nothing_is_released_before_all_elders_are_proven() {
    let mut queue = RouteQueue::new(100, &Ceiling::new(1 << 20));
    for number in 0..3 {
        assert!(push(&mut queue, number, b"x"));
    }
    assert_eq!(hand_over_all(&mut queue), [100, 101, 102]);
    let mut released = Vec::new();
    queue.complete(101, Completed::Proven, |ack| released.push(ack));
    assert!(released.is_empty());
    queue.complete(100, Completed::Proven, |ack| released.push(ack));
    assert_eq!((released, queue.done(), queue.tail()), (vec![0, 1], 102, 103));
}

#[test]
fn an_unproven_record_is_handed_over_again_when_nothing_is_outstanding() {
    let mut queue = RouteQueue::new(0, &Ceiling::new(1 << 20));
    for number in 0..3 {
        assert!(push(&mut queue, number, b"x"));
    }
    hand_over_all(&mut queue);
    let mut released = Vec::new();
    assert_eq!(queue.complete(0, Completed::Proven, |ack| released.push(ack)), 0);
    assert_eq!(queue.complete(1, Completed::Unproven, |ack| released.push(ack)), 0);
    assert!(queue.next().is_none(), "record 2 is still outstanding");
    assert_eq!(queue.complete(2, Completed::Proven, |ack| released.push(ack)), 2);
    assert_eq!(hand_over_all(&mut queue), [1, 2]);
    assert_eq!(released, [0], "what was not proven in order is not acknowledged");
    queue.complete(1, Completed::Proven, |ack| released.push(ack));
    queue.complete(2, Completed::Proven, |ack| released.push(ack));
    assert_eq!((released, queue.is_empty()), (vec![0, 1, 2], true));
}

#[test]
fn a_full_ceiling_refuses_and_yet_every_route_has_its_guarantee() {
    let ceiling = Ceiling::new(16 * 1024);
    let mut greedy = RouteQueue::new(0, &ceiling);
    let queued = (0..1_000).take_while(|number| push(&mut greedy, *number, &[0; 500])).count();
    assert!((9..100).contains(&queued), "{queued}");
    let mut late = RouteQueue::new(0, &ceiling);
    assert!(push(&mut late, 0, &[0; 4_000]), "4 KiB");
    let mut large = RouteQueue::new(0, &ceiling);
    assert!(push(&mut large, 0, &vec![0; 100_000]), "or one record");
    assert!(!push(&mut large, 1, &vec![0; 100_000]));
    drop((greedy, late, large));
    assert_eq!(ceiling.used_bytes(), 0);
}

#[test]
fn an_emptied_queue_gives_its_memory_back() {
    let ceiling = Ceiling::new(1 << 20);
    let mut queue = RouteQueue::new(0, &ceiling);
    for number in 0..100 {
        assert!(push(&mut queue, number, &[1; 1_000]));
    }
    for position in hand_over_all(&mut queue) {
        queue.complete(position, Completed::Proven, |_| ());
    }
    queue.shrink();
    assert_eq!(ceiling.used_bytes(), 0);
    assert!(push(&mut queue, 7, b"again"));
    assert_eq!(queue.next().map(|next| next.position), Some(100));
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    HandOver(usize),
    Report { which: prop::sample::Index, proven: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![0usize..64, 0usize..6_000].prop_map(Step::Push),
        3 => (1usize..8).prop_map(Step::HandOver),
        4 => (any::<prop::sample::Index>(), prop::bool::weighted(0.9))
            .prop_map(|(which, proven)| Step::Report { which, proven }),
    ]
}

proptest! {
    #[test]
    fn the_queue_keeps_order_bytes_and_promises(steps in prop::collection::vec(step(), 1..400)) {
        let ceiling = Ceiling::new(64 * 1024);
        let mut queue = RouteQueue::new(5, &ceiling);
        // What was pushed, by position - 5; what is outstanding; which were proven at least once.
        let (mut pushed, mut flying, mut proven) = (Vec::<Vec<u8>>::new(), Vec::<u64>::new(), Vec::<bool>::new());
        let mut released = Vec::new();
        for step in steps {
            match step {
                Step::Push(len) => {
                    let number = u32::try_from(pushed.len()).unwrap();
                    let payload: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0] ^ number.to_le_bytes()[0]).collect();
                    if push(&mut queue, number, &payload) {
                        pushed.push(payload);
                        proven.push(false);
                    }
                }
                Step::HandOver(count) => {
                    for _ in 0..count {
                        let Some(next) = queue.next() else { break };
                        let index = usize::try_from(next.position - 5).unwrap();
                        prop_assert_eq!(next.payload, &pushed[index][..]);
                        prop_assert_eq!((next.client_id, next.topic, next.key), (&b"device"[..], &b"a/b"[..], &b"device"[..]));
                        prop_assert!(!flying.contains(&next.position), "handed over while outstanding");
                        flying.push(next.position);
                        queue.handed_over();
                    }
                }
                Step::Report { which, proven: is_proven } => {
                    if flying.is_empty() {
                        continue;
                    }
                    let position = flying.swap_remove(which.index(flying.len()));
                    proven[usize::try_from(position - 5).unwrap()] |= is_proven;
                    let completed = if is_proven { Completed::Proven } else { Completed::Unproven };
                    let again = queue.complete(position, completed, |ack| released.push(ack));
                    prop_assert!(again == 0 || flying.is_empty(), "handed over again while others are outstanding");
                }
            }
            prop_assert!(released.iter().copied().eq(0..u32::try_from(released.len()).unwrap()), "released out of order");
            prop_assert!(released.iter().all(|number| proven[*number as usize]), "acknowledged without proof");
            prop_assert_eq!(queue.tail(), 5 + pushed.len() as u64);
            prop_assert_eq!(queue.live_bytes, queue.records.iter().map(Meta::len).sum::<usize>());
            prop_assert_eq!(queue.done(), 5 + released.len() as u64);
        }
        // Whatever happened: proving everything from here on empties the queue.
        for _ in 0..3 {
            for position in std::mem::take(&mut flying).into_iter().chain(hand_over_all(&mut queue)) {
                queue.complete(position, Completed::Proven, |ack| released.push(ack));
            }
        }
        prop_assert!(queue.is_empty());
        prop_assert_eq!(released.len(), pushed.len());
    }
}
