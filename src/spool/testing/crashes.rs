//! The promise as a property: whatever is appended, committed, read and done, and wherever the power goes, what was stored
//! is there afterwards, in order, and what a durable cursor calls done does not come again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::recover::Finding;

#[derive(Clone, Debug)]
enum Step {
    Append {
        route: u8,
        count: u8,
        kilobytes: u8,
    },
    Commit,
    Read,
    /// A route's window opens or shuts.
    Turn {
        route: u8,
    },
    /// Kafka has what this route was handed.
    Done {
        route: u8,
    },
    Keep,
    FailSync,
    FailWrite,
    FailFolderSync,
    FindNoRoom,
    /// The power goes in the middle of what follows, after so many operations of the disk.
    CutSoon(u8),
    Cut(u64),
    Kill,
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_u8, 1..6_u8, 0..150_u8).prop_map(|(route, count, kilobytes)| Step::Append { route, count, kilobytes }),
        6 => Just(Step::Commit),
        4 => Just(Step::Read),
        2 => (0..4_u8).prop_map(|route| Step::Turn { route }),
        4 => (0..4_u8).prop_map(|route| Step::Done { route }),
        5 => Just(Step::Keep),
        1 => Just(Step::FailSync),
        1 => Just(Step::FailWrite),
        1 => Just(Step::FailFolderSync),
        1 => Just(Step::FindNoRoom),
        3 => (0..12_u8).prop_map(Step::CutSoon),
        2 => any::<u64>().prop_map(Step::Cut),
        1 => Just(Step::Kill),
        1 => Just(Step::Stop),
    ]
}

/// What the test knows of the world.
#[derive(Default)]
struct Model {
    submitted: BTreeMap<RouteId, BTreeMap<Position, Vec<u8>>>,
    /// Tickets of this boot, per shard.
    tickets: BTreeMap<u8, Vec<(RouteId, Position)>>,
    stored: BTreeSet<(RouteId, Position)>,
    done: BTreeMap<RouteId, Position>,
    /// What the last cursor that was written knows.
    done_in_cursor: BTreeMap<RouteId, Position>,
    cursors: u64,
    epoch: u32,
}

/// Routes 0 and 1 share a shard.
const ROUTES: [RouteId; 4] = [route(0, 0), route(0, 1), route(5, 0), route(63, 7)];

impl Model {
    fn note_settled(&mut self, rig: &Rig) {
        for (shard, tickets) in &self.tickets {
            let settled = usize::try_from(rig.queue.settled(LANE, *shard)).unwrap();
            self.stored.extend(&tickets[..settled]);
        }
    }

    fn keep(&mut self, rig: &mut Rig) {
        rig.keep();
        self.note_cursor(rig);
    }

    fn note_cursor(&mut self, rig: &Rig) {
        let done = self.done.clone();
        let cursors = crate::base::lock(&rig.base.stats).cursors;
        if cursors > self.cursors {
            (self.cursors, self.done_in_cursor) = (cursors, done);
        }
    }

    /// Checks a spool that was just opened, and continues with it.
    fn check(&mut self, rig: &mut Rig) {
        assert!(rig.report.who.epoch > self.epoch, "an epoch was used twice");
        assert!(rig.report.who.durable);
        self.epoch = rig.report.who.epoch;
        for finding in &rig.report.findings {
            let expected = match finding {
                Finding::TornTail { .. } | Finding::Leftover(_) | Finding::Duplicates { .. } => true,
                Finding::CursorMissing => self.cursors == 0 && self.done_in_cursor.is_empty(),
                _ => false,
            };
            assert!(expected, "{finding}");
        }
        let read = rig.read_all();
        let mut last: BTreeMap<RouteId, Position> = BTreeMap::new();
        for record in &read {
            let submitted = self.submitted.get(&record.route).and_then(|all| all.get(&record.position));
            assert_eq!(submitted, Some(&record.payload), "a record that nobody sent");
            let known_done = self.done_in_cursor.get(&record.route).copied().unwrap_or_default();
            assert!(record.position > known_done, "{} was done, and a cursor knew", record.position);
            assert!(last.insert(record.route, record.position) < Some(record.position), "out of order");
        }
        let read: BTreeSet<(RouteId, Position)> =
            read.iter().map(|record| (record.route, record.position)).collect();
        for (route, position) in &self.stored {
            let done = self.done.get(route).copied().unwrap_or_default();
            assert!(*position <= done || read.contains(&(*route, *position)), "{route:?} {position} is lost");
        }
        // What was never acknowledged may be there or not, but not with a gap before it: devices send it again.
        for (route, all) in &self.submitted {
            let done = self.done.get(route).copied().unwrap_or_default();
            for epoch in 1..self.epoch {
                let of_epoch = all.keys().filter(|position| position.epoch == epoch && **position > done);
                let there: Vec<bool> = of_epoch.map(|position| read.contains(&(*route, *position))).collect();
                assert!(
                    there.is_sorted_by(|earlier, later| earlier >= later),
                    "{route:?}: a gap in {there:?}"
                );
            }
        }
        // What is not there now never will be; what is, is durable since it was sealed.
        for (route, all) in &mut self.submitted {
            let done = self.done.get(route).copied().unwrap_or_default();
            all.retain(|position, _| *position <= done || read.contains(&(*route, *position)));
        }
        self.stored = read;
        self.tickets.clear();
        self.cursors = 0;
        self.done = self.done_in_cursor.clone();
        // A cursor whose writer did not live to hear of it.
        self.done.extend(rig.base.lanes[0].catalog().marks().map(|(route, mark)| (route, mark.done)));
        // From here on a cursor is written before the first commit, as the shell does.
        self.keep(rig);
    }
}

fn small_disk() -> MemoryDisk {
    MemoryDisk::new(64 * MIB)
}

fn run(steps: &[Step]) {
    let mut model = Model::default();
    let mut rig = Rig::open(small_disk(), settings(RawPolicy::Block, false));
    model.epoch = rig.report.who.epoch;
    model.keep(&mut rig);
    for step in steps {
        match step {
            Step::Append { route, count, kilobytes } => {
                let route = ROUTES[usize::from(*route)];
                for _ in 0..*count {
                    let full = rig.base.lanes[0]
                        .catalog()
                        .level(16 * MIB, rig.base.settings.reserve_bytes())
                        .is_full();
                    if full {
                        break;
                    }
                    let record = rig.record(route, usize::from(*kilobytes) * 1024, Flags::ACKNOWLEDGED);
                    if rig.submit(record.clone()).is_err() {
                        break;
                    }
                    model.submitted.entry(route).or_default().insert(record.position, record.payload);
                    model.tickets.entry(route.shard).or_default().push((route, record.position));
                }
            }
            Step::Commit => {
                rig.now += Duration::from_millis(100);
                rig.commit();
                model.note_settled(&rig);
            }
            Step::Read => {
                rig.read();
                rig.now += Duration::from_millis(300);
            }
            Step::Turn { route } => {
                let (route, now) = (ROUTES[usize::from(*route)], rig.now);
                if rig.windows.shut.remove(&route).is_none() {
                    rig.windows.shut.insert(route, now);
                }
            }
            Step::Done { route } => {
                let route = ROUTES[usize::from(*route)];
                let handed = rig.windows.after.get(&route).copied().unwrap_or_default();
                rig.base.lanes[0].catalog().done(route, handed, 0);
                let done = model.done.entry(route).or_default();
                *done = handed.max(*done);
            }
            Step::Keep => model.keep(&mut rig),
            Step::FailSync => rig.disk.faults(|faults| faults.failing_syncs = 1),
            Step::FailWrite => rig.disk.faults(|faults| faults.failing_writes = 1),
            Step::FailFolderSync => rig.disk.faults(|faults| faults.failing_folder_syncs = 1),
            Step::FindNoRoom => rig.disk.faults(|faults| faults.writes_without_room = 1),
            Step::CutSoon(operations) => {
                rig.disk.faults(|faults| faults.cut_after = Some(u64::from(*operations)));
            }
            Step::Cut(seed) => {
                let mut state = *seed | 1;
                rig = rig.cut(&mut || {
                    // xorshift64, Marsaglia 2003.
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    u32::try_from(state >> 32).unwrap()
                });
                model.check(&mut rig);
            }
            Step::Kill | Step::Stop => {
                let now = rig.now;
                if matches!(step, Step::Stop) {
                    rig.writer.finish(&|| now, &mut |_, _| {});
                    model.note_settled(&rig);
                    rig.keeper.finish(now);
                    model.note_cursor(&rig);
                }
                // A disk whose power went is dead until it comes back.
                rig = rig.cut(&mut || 1);
                model.check(&mut rig);
            }
        }
        let used = rig.base.lanes[0].catalog().used_bytes();
        assert!(used <= 16 * MIB, "the lane takes {used}");
    }
    rig = rig.cut_hard();
    model.check(&mut rig);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_stored_vanishes_wherever_the_power_goes(steps in proptest::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}
