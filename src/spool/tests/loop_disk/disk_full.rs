//! A disk of 256 MiB with segments of 4 MiB that fills up: nothing settled is lost, and it drains.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tidegate_spool::disk::RealDisk;
use tidegate_spool::{
    Ask, FullReason, Health, LaneId, Position, Room, RouteId, Sink, Spool, Stored, TopicId, Verdict,
};

use crate::image::Image;
use crate::world::{Kafka, Key, MIB, Sent, clock, open_spool, resume, settings};

const LANE: LaneId = LaneId(1);
const ROUTE: RouteId = RouteId { shard: 3, topic: TopicId(0), partition: 5 };
/// More than the disk has: the floor stops us, not the lane.
const CAPACITY_BYTES: u64 = 1024 * MIB;

/// A Kafka that is away.
struct Away;

impl Sink for Away {
    fn ask(&mut self, _: LaneId, _: RouteId) -> Ask {
        Ask { after: Position::START, room: Room::Shut { moved: Duration::ZERO } }
    }

    fn take(&mut self, _: Stored<'_>) {
        panic!("there was no room");
    }

    fn lost(&mut self, _: LaneId, route: RouteId, after: Position, until: Position) {
        panic!("{route:?} has lost {after} to {until}");
    }
}

pub(crate) fn run() {
    let image = Image::new(256);
    let opened = open_spool(&image.spool(), settings(4 * MIB, CAPACITY_BYTES), 1).expect("an empty disk");
    assert_eq!(opened.topic("full"), Some(TopicId(0)));
    let epoch = opened.report().who.epoch;
    let spool = opened.start::<Sent>(clock, Away, |_, _| {}).expect("there are threads");
    let mut stored = fill(&spool, epoch);
    assert_eq!(spool.admit(LANE, true), Verdict::Wait);
    assert_eq!(spool.health(LANE), Health::Ok, "what was admitted has been stored");
    // Others take the rest, so that not even the reserve is there: the records stay in memory.
    let rest = std::fs::File::create(image.others()).expect("others can write");
    fill_the_rest(&rest);
    let mut seq = stored.len() as u64;
    let until = clock() + Duration::from_mins(1);
    let mut waiting = VecDeque::new();
    while spool.health(LANE) != Health::Full(FullReason::Floor) {
        assert!(clock() < until, "the writer does not say that the disk is full: {:?}", spool.health(LANE));
        let key = Key { lane: LANE, route: ROUTE, position: Position { epoch, seq: seq + 1 } };
        if let Ok(ticket) = spool.submit(LANE, Sent { key, payload: key.payload() }) {
            seq += 1;
            waiting.push_back((ticket, key));
        }
        note(&spool, &mut waiting, &mut stored);
    }
    note(&spool, &mut waiting, &mut stored);
    assert!(!waiting.is_empty(), "something must be left in memory");
    // Power cut on the full disk.
    image.switch().cut_the_power();
    let _ = spool.stop(Duration::from_secs(10));
    drop(rest);
    image.unmount();
    image.mount();
    drain(&image, &stored);
}

/// Stores records until the lane takes no more; returns what is settled.
fn fill(spool: &Spool<RealDisk, Sent>, epoch: u32) -> BTreeSet<Key> {
    let (mut stored, mut waiting, mut seq) = (BTreeSet::new(), VecDeque::new(), 0);
    let until = clock() + Duration::from_mins(2);
    while spool.admit(LANE, true) == Verdict::Store {
        assert!(clock() < until, "the lane never fills: {:?}", spool.level(LANE));
        let key = Key { lane: LANE, route: ROUTE, position: Position { epoch, seq: seq + 1 } };
        if let Ok(ticket) = spool.submit(LANE, Sent { key, payload: key.payload() }) {
            seq += 1;
            waiting.push_back((ticket, key));
        }
        note(spool, &mut waiting, &mut stored);
    }
    while !waiting.is_empty() {
        assert!(clock() < until, "what was admitted is not stored: {:?}", spool.health(LANE));
        note(spool, &mut waiting, &mut stored);
    }
    stored
}

fn note(spool: &Spool<RealDisk, Sent>, waiting: &mut VecDeque<(u64, Key)>, stored: &mut BTreeSet<Key>) {
    let settled = spool.settled(LANE, ROUTE.shard);
    while let Some((_, key)) = waiting.pop_front_if(|(ticket, _)| *ticket < settled) {
        stored.insert(key);
    }
}

fn fill_the_rest(file: &std::fs::File) {
    use std::os::unix::fs::FileExt as _;
    let chunk = vec![1; 64 * 1024];
    let mut at = 0;
    while file.write_all_at(&chunk, at).is_ok() {
        at += chunk.len() as u64;
    }
    let _ = file.sync_all();
}

/// Opens the spool on the disk that others have filled: Kafka is back, everything goes, and so do the segments.
fn drain(image: &Image, stored: &BTreeSet<Key>) {
    let opened = open_spool(&image.spool(), settings(4 * MIB, CAPACITY_BYTES), 2).expect("a full disk opens");
    for finding in &opened.report().findings {
        assert!(!finding.is_loss(), "{finding}");
    }
    assert_eq!(opened.topic("full"), Some(TopicId(0)));
    let kafka = Kafka::default();
    resume(&kafka, &opened);
    let last = opened.backlog(LANE)[0].last;
    let spool = opened.start::<Sent>(clock, kafka.clone(), |_, _| {}).expect("there are threads");
    spool.set_replicated(TopicId(0), true);
    let until = clock() + Duration::from_mins(2);
    while kafka.got().after.get(&(LANE, ROUTE)) < Some(&last) {
        assert!(clock() < until, "the reader never comes to the end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let got: BTreeSet<Key> = kafka.got().records.iter().copied().collect();
    assert!(
        stored.is_subset(&got),
        "{} of {} stored records are lost",
        stored.difference(&got).count(),
        stored.len()
    );
    let before = spool.level(LANE).used_bytes;
    spool.done(LANE, ROUTE, last, MIB);
    while spool.level(LANE).used_bytes > before / 10 {
        assert!(clock() < until, "segments do not go: {:?}, {:?}", spool.level(LANE), spool.stats());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(spool.stop(Duration::from_secs(30)));
    println!("256 MiB full with {} records stored, all delivered", stored.len());
}
