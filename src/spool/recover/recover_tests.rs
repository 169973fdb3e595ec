use proptest::prelude::*;

use super::*;
use crate::base::{CURSOR, lock};
use crate::disk::memory::MemoryDisk;
use crate::format::cursor::Cursor;
use crate::format::footer::Footer;
use crate::format::frame::{Frame, encode_commit};
use crate::format::header::Header;
use crate::format::{FORMAT, OLDEST_FORMAT, block};
use crate::ids::{Position, SegmentId};
use crate::settings::RawPolicy;
use crate::testing::{LANE, MIB, Owned, Rig, WALL_MS, route, settings};
use crate::write::Record as _;

const A: crate::RouteId = route(0, 0);

fn settled_rig(records: usize) -> Rig {
    let mut rig = Rig::new();
    rig.keep();
    for _ in 0..records {
        rig.append(A, 1, 1000);
        rig.commit();
    }
    rig
}

fn seqs(records: &[Owned]) -> Vec<u64> {
    records.iter().map(|record| record.position.seq).collect()
}

fn only_segment(rig: &Rig) -> String {
    let names = rig.disk.names("sensor").unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    format!("sensor/{}", names[0])
}

/// Where the `number`th occurrence of a record of this sequence number lies in a file.
fn offset_of(rig: &Rig, path: &str, seq: u64) -> usize {
    let text = format!("{A:?} 1.{seq} ");
    memchr::memmem::find(&rig.disk.content(path), text.as_bytes()).unwrap()
}

#[test]
fn a_new_spool_has_nothing_to_report() {
    let rig = Rig::new();
    assert_eq!((rig.report.findings.len(), rig.report.who.epoch), (0, 1));
    assert!(rig.report.who.durable);
}

#[test]
fn a_torn_tail_is_cut_and_what_stands_before_it_is_kept() {
    let mut rig = settled_rig(3);
    rig.append(A, 5, 1000);
    rig.commit();
    let path = only_segment(&rig);
    let fifth = offset_of(&rig, &path, 5);
    // As if the last commit had reached the medium in part.
    rig.disk.flip(&path, fifth, 1);
    let mut after = rig.killed();
    assert!(matches!(after.report.findings[..], [Finding::TornTail { .. }]), "{:?}", after.report.findings);
    assert_eq!(
        seqs(&after.read_all()),
        [1, 2, 3, 4],
        "what comes behind was acknowledged no more than what is torn"
    );
    let again = after.killed();
    assert_eq!((again.report.findings.len(), again.report.lanes[0].scanned_bytes), (0, 0));
}

#[test]
fn a_flipped_bit_in_stored_records_costs_these_and_no_others() {
    let rig = settled_rig(6);
    let path = only_segment(&rig);
    rig.disk.flip(&path, offset_of(&rig, &path, 2), 1);
    rig.disk.flip(&path, offset_of(&rig, &path, 4), 1);
    let mut after = rig.killed();
    let holes = after.report.findings.iter().filter(|finding| finding.is_loss()).count();
    assert_eq!(holes, 2, "{:?}", after.report.findings);
    assert!(!after.report.findings.iter().any(Finding::hides_records), "a reader counts them");
    assert_eq!(seqs(&after.read_all()), [1, 3, 5, 6]);
}

#[test]
fn a_flipped_bit_in_a_last_commit_that_a_cursor_knows_is_damage_and_no_torn_tail() {
    let mut rig = settled_rig(1);
    rig.append(A, 3, 1000);
    rig.commit();
    rig.keep();
    rig.keep();
    let path = only_segment(&rig);
    rig.disk.flip(&path, offset_of(&rig, &path, 2), 1);
    let mut after = rig.killed();
    assert!(matches!(after.report.findings[..], [Finding::Hole { .. }]), "{:?}", after.report.findings);
    assert_eq!(seqs(&after.read_all()), [1, 3, 4]);
}

#[test]
fn a_segment_whose_footer_is_damaged_is_scanned() {
    let mut rig = settled_rig(3);
    let now = rig.now;
    rig.writer.finish(&|| now, &mut |_, _| {});
    rig.keep();
    let path = only_segment(&rig);
    let last = rig.disk.content(&path).len() - 20;
    rig.disk.flip(&path, last, 1);
    let mut after = rig.killed();
    assert!(after.report.lanes[0].scanned_bytes > 0);
    assert_eq!(seqs(&after.read_all()), [1, 2, 3]);
}

#[test]
fn a_segment_whose_headers_are_both_damaged_is_read_by_its_footer() {
    let mut rig = settled_rig(3);
    let now = rig.now;
    rig.writer.finish(&|| now, &mut |_, _| {});
    rig.keep();
    let path = only_segment(&rig);
    rig.disk.flip(&path, 9, 1);
    rig.disk.flip(&path, 512 + 9, 1);
    let mut after = rig.killed();
    assert_eq!(after.report.findings, []);
    assert_eq!(seqs(&after.read_all()), [1, 2, 3]);
}

#[test]
fn an_unreadable_segment_is_left_alone_for_ever() {
    let mut rig = settled_rig(3);
    rig.keep();
    rig.keep();
    let path = only_segment(&rig);
    rig.disk.flip(&path, 9, 1);
    rig.disk.flip(&path, 512 + 9, 1);
    for _ in 0..3 {
        rig = rig.killed();
        assert!(
            matches!(rig.report.findings[..], [Finding::UnreadableSegment { .. }]),
            "{:?}",
            rig.report.findings
        );
        assert!(rig.report.findings[0].hides_records());
        rig.append(A, 1, 100);
        rig.commit();
        rig.keep();
        rig.keep();
    }
    assert!(rig.disk.open(&path).is_ok());
}

#[test]
fn a_missing_segment_is_said_once_and_the_rest_is_read() {
    let mut rig = Rig::new();
    rig.fill_segments(A, 4);
    rig.keep();
    let second = rig.base.lanes[0].catalog().segments.values().nth(1).unwrap().clone();
    rig.disk.remove(&rig.base.lanes[0].path(second.id)).unwrap();
    let records = lock(&rig.base.stats).records;
    let mut after = rig.killed();
    let missing = Finding::MissingSegment { lane: "sensor".to_owned(), segment: second.id };
    assert!(after.report.findings.contains(&missing), "{:?}", after.report.findings);
    assert!(missing.hides_records());
    assert_eq!(after.read_all().len() as u64, records - second.records());
    after.keep();
    assert!(!after.killed().report.findings.contains(&missing));
}

#[test]
fn a_damaged_cursor_means_repetition_and_no_loss() {
    let mut rig = settled_rig(4);
    let read = rig.read();
    rig.done(&read[2]);
    rig.keep();
    rig.disk.flip(CURSOR, 30, 1);
    let mut after = rig.killed();
    assert_eq!(after.report.findings, [Finding::CursorDamaged]);
    assert_eq!(seqs(&after.read_all()), [1, 2, 3, 4]);
}

#[test]
fn a_cursor_of_a_newer_format_means_repetition_and_no_loss() {
    let rig = settled_rig(4);
    rig.disk.remove(CURSOR).unwrap();
    rig.disk.put(CURSOR, &block::wrap(*b"TGCURSOR", FORMAT + 1, b"who knows"));
    let mut after = rig.killed();
    assert_eq!(after.report.findings, [Finding::CursorForeign(FORMAT + 1)]);
    assert_eq!(seqs(&after.read_all()), [1, 2, 3, 4]);
}

#[test]
fn a_segment_of_a_newer_format_waits_for_its_version() {
    let rig = settled_rig(2);
    let header = Header {
        version: FORMAT + 1,
        id: SegmentId(9),
        gateway: GatewayId([1; 16]),
        epoch: 1,
        salt: 1,
        abandoned: Vec::new(),
        topics: Vec::new(),
    };
    let path = format!("sensor/{}", header.id.file_name());
    rig.disk.put(&path, &header.encode());
    let mut after = rig.killed();
    let expected =
        Finding::ForeignSegment { lane: "sensor".to_owned(), segment: header.id, version: FORMAT + 1 };
    assert!(after.report.findings.contains(&expected), "{:?}", after.report.findings);
    assert!(expected.hides_records());
    assert_eq!(seqs(&after.read_all()), [1, 2]);
    after.append(A, 1, 100);
    after.commit();
    after.keep();
    after.keep();
    let last = after.killed();
    assert!(last.report.findings.contains(&expected));
    assert!(last.disk.open(&path).is_ok());
}

/// A segment as the format before has left it: unsalted frames, with or without a footer.
fn previous_format(sealed: bool) -> Vec<u8> {
    let header = Header {
        version: OLDEST_FORMAT,
        id: SegmentId(1),
        gateway: GatewayId([8; 16]),
        epoch: 1,
        salt: 0,
        abandoned: Vec::new(),
        topics: vec!["topic".to_owned()],
    };
    let mut bytes = header.encode();
    let start = bytes.len() as u64;
    let mut topics = crate::topics::Topics::default();
    let mut segment = crate::catalog::Segment::from_header(&header, start, &mut topics);
    encode_commit(header.seal(), 0, &mut bytes);
    for seq in 1..=3 {
        let position = Position { epoch: 1, seq };
        let owned = Owned { route: A, position, flags: crate::Flags::ACKNOWLEDGED, payload: vec![b'x'; 200] };
        let frame: Frame<'_> = owned.frame();
        frame.encode(header.seal(), 0, &mut bytes);
        segment.add(A, &frame, frame.bytes() as u64);
    }
    segment.frames.1 = bytes.len() as u64;
    if sealed {
        bytes.extend(segment.footer(&topics).encode());
    } else {
        bytes.resize(100_000, 0);
    }
    bytes
}

#[test]
fn a_spool_of_the_previous_format_is_read_and_gone_on_with() {
    for sealed in [true, false] {
        let disk = MemoryDisk::new(64 * MIB);
        disk.make_folder("sensor").unwrap();
        disk.put("sensor/0000000000000001.seg", &previous_format(sealed));
        let mut rig = Rig::open(disk, settings(RawPolicy::Block, false));
        rig.append(A, 1, 100);
        rig.commit();
        let read = rig.read_all();
        let positions: Vec<_> = read.iter().map(|record| record.position.to_string()).collect();
        assert_eq!(positions, ["1.1", "1.2", "1.3", "2.1"], "sealed: {sealed}");
        let mut again = rig.cut_hard();
        assert_eq!(again.read_all().len(), 4);
    }
}

#[test]
fn the_previous_format_is_what_the_previous_version_wrote() {
    // Frozen: a change here would strand the spools of the version before.
    assert_eq!(crc32c::crc32c(&previous_format(true)), 0xe98f_03b0);
    assert!(Footer::decode(b"").is_none());
}

#[test]
fn records_that_stand_twice_are_read_once() {
    let mut rig = settled_rig(2);
    rig.append(A, 2, 1000);
    rig.disk.faults(|faults| faults.failing_syncs = 1);
    rig.commit();
    rig.now += std::time::Duration::from_secs(1);
    rig.commit();
    // Without the note in the second segment's header, the first one's tail looks like any commit.
    let second = rig.base.lanes[0].catalog().segments.values().last().unwrap().clone();
    let topics = lock(&rig.base.topics);
    let (with, without) = (
        second.header(vec![(SegmentId(1), second.frames.0)], &topics).encode().len(),
        second.header(Vec::new(), &topics).encode(),
    );
    drop(topics);
    assert_eq!(with, without.len(), "so that it can be replaced");
    let path = rig.base.lanes[0].path(second.id);
    let file = rig.disk.open_writable(&path).unwrap();
    file.write_at(&without, 0).unwrap();
    let mut after = rig.killed();
    let twice = Finding::Duplicates { lane: "sensor".to_owned(), count: 2 };
    assert_eq!(after.report.findings, [twice]);
    assert_eq!(seqs(&after.read_all()), [1, 2, 3, 4]);
}

#[test]
fn a_read_only_disk_can_still_be_drained() {
    let rig = settled_rig(3);
    let disk = rig.disk.clone();
    disk.faults(|faults| faults.read_only = true);
    let mut after = Rig::boot(disk, settings(RawPolicy::Block, false), 7);
    assert!(
        matches!(after.report.findings[..], [Finding::EpochNotWritten(_)]),
        "{:?}",
        after.report.findings
    );
    assert_ne!(after.report.who.run, after.report.who.spool);
    assert_eq!(seqs(&after.read_all()), [1, 2, 3]);
    after.append(A, 1, 100);
    after.commit();
    after.keep();
    assert_eq!(after.settled(A), 0);
}

#[test]
fn a_clock_in_the_past_is_said_and_changes_nothing() {
    let rig = settled_rig(1);
    let boot = Boot { random: [2; 32], machine_boot: [9; 16], now_unix_ms: 5 };
    let opened = recover(rig.disk, settings(RawPolicy::Block, false), &boot).unwrap();
    let past = Finding::ClockInPast { newest_unix_ms: WALL_MS, now_unix_ms: 5 };
    assert_eq!(opened.report.findings, [past, Finding::MachineRebooted]);
    assert_eq!(opened.report.lanes[0].records, 1);
}

#[test]
fn a_lost_identity_is_found_again_in_the_cursor_and_epochs_only_grow() {
    let rig = settled_rig(1);
    let before = rig.report.who;
    rig.disk.remove(IDENTITY).unwrap();
    let after = Rig::boot(rig.disk.clone(), settings(RawPolicy::Block, false), 77);
    assert_eq!(after.report.findings, [Finding::IdentityLost]);
    assert_eq!(after.report.who.spool, before.spool);
    assert!(after.report.who.epoch > before.epoch);
}

#[test]
fn a_spool_of_another_number_of_shards_is_refused() {
    let disk = MemoryDisk::new(MIB);
    disk.put(IDENTITY, &Identity { shards: 32, ..Identity::new(GatewayId([1; 16]), 1, None) }.encode());
    let boot = Boot { random: [0; 32], machine_boot: [0; 16], now_unix_ms: 0 };
    let refused = recover(disk, settings(RawPolicy::Block, false), &boot);
    assert!(matches!(refused, Err(OpenError::Shards(32))));
}

#[test]
fn a_lane_that_the_settings_do_not_have_is_left_with_its_marks() {
    let mut rig = settled_rig(3);
    let read = rig.read();
    rig.done(&read[1]);
    rig.keep();
    let raw = crate::RawSettings {
        lanes: vec![crate::RawLane {
            name: "alarm".to_owned(),
            capacity_bytes: 1 << 30,
            full: RawPolicy::Block,
            allow_acked_loss: false,
        }],
        ..crate::RawSettings::default()
    };
    let mut other = Rig::open(rig.disk.clone(), raw.try_into().unwrap());
    assert_eq!(other.report.findings, [Finding::ForeignLane("sensor".to_owned())]);
    other.keep();
    let mut back = Rig::open(rig.disk.clone(), settings(RawPolicy::Block, false));
    assert_eq!(seqs(&back.read_all()), [3]);
}

#[test]
fn what_is_not_ours_is_left_and_what_was_left_unfinished_goes() {
    let rig = settled_rig(1);
    rig.disk.put("sensor/0000000000000001.seg.tmp", b"half a rewrite");
    rig.disk.put("cursor.tmp", b"half a cursor");
    rig.disk.put("sensor/notes.txt", b"an operator's");
    rig.disk.put("README", b"an operator's");
    let after = rig.killed();
    assert_eq!(after.report.findings.len(), 4, "{:?}", after.report.findings);
    assert!(after.disk.open("sensor/0000000000000001.seg.tmp").is_err());
    assert!(after.disk.open("cursor.tmp").is_err());
    assert!(after.disk.open("sensor/notes.txt").is_ok());
    assert!(after.disk.open("README").is_ok());
}

#[test]
fn a_segment_that_no_cursor_lists_comes_back_for_nothing() {
    let mut rig = Rig::new();
    rig.keep();
    rig.fill_segments(A, 3);
    let first = rig.base.lanes[0].catalog().segments.values().next().unwrap().clone();
    let path = rig.base.lanes[0].path(first.id);
    let content = rig.disk.content(&path);
    let last = rig.base.lanes[0].catalog().backlog()[0].last;
    rig.base.lanes[0].catalog().done(A, last, 0);
    rig.keep();
    assert!(rig.disk.open(&path).is_err());
    rig.disk.put(&path, &content);
    let mut after = rig.killed();
    assert!(matches!(&after.report.findings[..], [Finding::Leftover(_)]), "{:?}", after.report.findings);
    assert_eq!(after.read_all(), []);
    assert!(after.disk.open(&path).is_err());
}

fn mangled() -> impl Strategy<Value = Vec<(usize, proptest::sample::Index, u8)>> {
    proptest::collection::vec((0..5_usize, any::<proptest::sample::Index>(), 1_u8..), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_bits_flip_the_spool_starts_and_delivers_only_what_was_stored(flips in mangled(), cut in 0..3000_usize) {
        let mut rig = Rig::new();
        rig.keep();
        rig.fill_segments(A, 2);
        rig.keep();
        let stored = rig.read_all();
        let folder = rig.disk.names("sensor").unwrap();
        let mut paths = vec![IDENTITY.to_owned(), CURSOR.to_owned()];
        paths.extend(folder.iter().map(|name| format!("sensor/{name}")));
        for (file, at, mask) in flips {
            let Some(path) = paths.get(file) else { continue };
            // The beginnings are where the structure is.
            let len = rig.disk.content(path).len().min(if at.index(2) == 0 { 3000 } else { usize::MAX });
            rig.disk.flip(path, at.index(len), mask);
        }
        let last = rig.disk.open_writable(paths.last().unwrap()).unwrap();
        last.truncate(last.bytes().unwrap() - cut as u64).unwrap();
        let mut after = rig.killed();
        for record in after.read_all() {
            prop_assert!(stored.contains(&record));
        }
        let before = after.base.lanes[LANE.index()].catalog().used_bytes();
        prop_assert!(before <= 64 * MIB);
    }

    #[test]
    fn any_bytes_in_any_file_are_survived(content in proptest::collection::vec(any::<u8>(), 0..600), file in 0..4_usize) {
        let disk = MemoryDisk::new(64 * MIB);
        disk.make_folder("sensor").unwrap();
        let magics = [*b"TGIDENTY", *b"TGCURSOR", *b"TGSEGMNT", *b"TGFOOTER"];
        let paths = [IDENTITY, CURSOR, "sensor/0000000000000003.seg", "sensor/0000000000000003.seg"];
        let mut bytes = block::wrap(magics[file], FORMAT, &content);
        if file == 3 {
            let len = u32::try_from(bytes.len()).unwrap();
            bytes.extend(len.to_le_bytes());
            bytes.extend(0x7467_4674_u32.to_le_bytes());
        }
        disk.put(paths[file], &bytes);
        let boot = Boot { random: [0; 32], machine_boot: [0; 16], now_unix_ms: 0 };
        match recover(disk, settings(RawPolicy::Block, false), &boot) {
            Ok(_) | Err(OpenError::Shards(_)) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
        let _ = Cursor::decode(&content);
    }
}

#[test]
fn a_spool_keeps_the_name_that_it_was_told_last() {
    let disk = MemoryDisk::new(64 * MIB);
    let told = |name: Option<&str>| {
        let settings = Settings { name: name.map(str::to_owned), ..settings(RawPolicy::Block, false) };
        Rig::open(disk.clone(), settings);
        crate::look::inspect(&disk).unwrap().name
    };
    assert_eq!(told(None), None);
    for (name, kept) in [(Some("a"), "a"), (None, "a"), (Some("b"), "b")] {
        assert_eq!(told(name).as_deref(), Some(kept));
    }
}
