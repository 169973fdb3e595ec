//! A process that spools until the power goes, and says what it knows to be stored.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use tidegate_spool::disk::RealDisk;
use tidegate_spool::{LaneId, Position, RouteId, Spool, TopicId, Verdict};

use crate::world::{Kafka, Key, MIB, Random, Sent, clock, open_spool, resume, settings};

/// Names the spool's folder, in a child only.
pub(crate) const FOLDER: &str = "TIDEGATE_LOOP_DISK_CHILD";
/// Seeds the child.
pub(crate) const SEED: &str = "TIDEGATE_LOOP_DISK_SEED";

/// Segments and lanes of all power cuts.
pub(crate) const SEGMENT_BYTES: u64 = MIB;
pub(crate) const CAPACITY_BYTES: u64 = 24 * MIB;

/// Spools until it is killed. Lines: `stored KEY` once a record is settled, `done KEY` before Kafka's mark moves.
pub(crate) fn run(folder: &Path) {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let opened = open_spool(folder, settings(SEGMENT_BYTES, CAPACITY_BYTES), seed);
    let Ok(opened) = opened else { return };
    let epoch = opened.report().who.epoch;
    let topic = opened.topic("power");
    assert_eq!(topic, Some(TopicId(0)));
    let kafka = Kafka::default();
    resume(&kafka, &opened);
    let Ok(spool) = opened.start::<Sent>(clock, kafka.clone(), |_, _| {}) else { return };
    spool.set_replicated(TopicId(0), true);
    let mut seqs: BTreeMap<(LaneId, RouteId), u64> = BTreeMap::new();
    let mut unsettled: BTreeMap<(LaneId, u8), VecDeque<(u64, Key)>> = BTreeMap::new();
    let mut lines = String::new();
    loop {
        for _ in 0..random.below(40) {
            let lane = LaneId(u8::from(random.below(4) > 0));
            let shard = u8::try_from(random.below(4)).unwrap_or(0);
            let partition = u32::try_from(random.below(3)).unwrap_or(0);
            if spool.admit(lane, true) != Verdict::Store {
                continue;
            }
            let route = RouteId { shard, topic: TopicId(0), partition };
            let seq = seqs.entry((lane, route)).or_default();
            let key = Key { lane, route, position: Position { epoch, seq: *seq + 1 } };
            if let Ok(ticket) = spool.submit(lane, Sent { key, payload: key.payload() }) {
                *seq += 1;
                unsettled.entry((lane, shard)).or_default().push_back((ticket, key));
            }
        }
        note_settled(&spool, &mut unsettled, &mut lines);
        // Kafka is there three quarters of the time.
        if random.below(4) > 0 {
            hand_over(&spool, &kafka, &mut lines);
        }
        if std::io::stdout().write_all(lines.as_bytes()).is_err() {
            return;
        }
        lines.clear();
        std::thread::sleep(Duration::from_micros(random.below(3000)));
    }
}

fn note_settled(
    spool: &Spool<RealDisk, Sent>,
    unsettled: &mut BTreeMap<(LaneId, u8), VecDeque<(u64, Key)>>,
    lines: &mut String,
) {
    for ((lane, shard), waiting) in unsettled {
        let settled = spool.settled(*lane, *shard);
        while let Some((_, key)) = waiting.pop_front_if(|(ticket, _)| *ticket < settled) {
            let _ = writeln!(lines, "stored {}", key.words());
        }
    }
}

/// Marks what Kafka got as done; says so before.
fn hand_over(spool: &Spool<RealDisk, Sent>, kafka: &Kafka, lines: &mut String) {
    let got = std::mem::take(&mut kafka.got().records);
    let last: BTreeMap<(LaneId, RouteId), Position> =
        got.iter().map(|key| ((key.lane, key.route), key.position)).collect();
    for ((lane, route), position) in &last {
        let key = Key { lane: *lane, route: *route, position: *position };
        let _ = writeln!(lines, "done {}", key.words());
    }
    if std::io::stdout().write_all(lines.as_bytes()).is_ok() {
        lines.clear();
        for ((lane, route), position) in last {
            spool.done(lane, route, position, 1000);
        }
    }
}
