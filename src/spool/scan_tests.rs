use proptest::prelude::*;

use super::*;
use crate::disk::Disk as _;
use crate::disk::memory::{MemoryDisk, MemoryFile};

const SEAL: Seal = Seal::new(77);

fn scan(bytes: &[u8]) -> (MemoryDisk, Scan<MemoryFile>) {
    let disk = MemoryDisk::new(u64::MAX);
    disk.put("a", bytes);
    let file = Arc::new(disk.open("a").unwrap());
    (disk, Scan::new(file, SEAL, 0, bytes.len() as u64))
}

/// `count` commit frames, numbered; all have the same length.
fn frames(count: u64) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for number in 0..count {
        frame::encode_commit(SEAL, number, &mut bytes);
    }
    let len = bytes.len() / usize::try_from(count).unwrap();
    (bytes, len)
}

type Range = (u64, u64);

/// The numbers of the whole frames, and the holes; ends at the end.
fn walk(scan: &mut Scan<MemoryFile>) -> (Vec<u64>, Vec<Range>, (u64, bool)) {
    let (mut numbers, mut holes) = (Vec::new(), Vec::new());
    loop {
        match scan.next().unwrap() {
            Item::Frame { at, next } => match scan.part(at, next) {
                Part::Commit { committed_to } => numbers.push(committed_to),
                _ => unreachable!("there are only commit frames"),
            },
            Item::Hole { from, to } => holes.push((from, to)),
            Item::End { at, dirty } => return (numbers, holes, (at, dirty)),
        }
    }
}

#[test]
fn untouched_space_is_a_clean_end() {
    let (mut bytes, len) = frames(3);
    bytes.resize(2 * CHUNK_BYTES, 0);
    let (_disk, mut scan) = scan(&bytes);
    assert_eq!(walk(&mut scan), (vec![0, 1, 2], vec![], (3 * len as u64, false)));
}

#[test]
fn a_torn_frame_is_a_dirty_end() {
    let (mut bytes, len) = frames(3);
    bytes.truncate(3 * len - 1);
    let (_disk, mut scan) = scan(&bytes);
    assert_eq!(walk(&mut scan), (vec![0, 1], vec![], (2 * len as u64, true)));
}

#[test]
fn a_length_that_leads_out_of_the_segment_costs_neither_memory_nor_the_next_frame() {
    let (mut bytes, len) = frames(3);
    bytes[len + 4..len + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    let (_disk, mut scan) = scan(&bytes);
    let hole = (len as u64, 2 * len as u64);
    assert_eq!(walk(&mut scan), (vec![0, 2], vec![hole], (3 * len as u64, false)));
    assert!(scan.buffer.capacity() <= CHUNK_BYTES);
}

#[test]
fn what_cannot_be_read_is_an_error_until_the_walk_goes_blind() {
    let (bytes, len) = frames(1000);
    let (disk, mut seeing) = scan(&bytes);
    disk.faults(|faults| faults.failing_reads = 1);
    assert!(seeing.next().is_err());
    assert_eq!(walk(&mut seeing).0.len(), 1000, "the error has passed");
    let (disk, blind) = scan(&bytes);
    // The whole chunk, then the first two pages of it.
    disk.faults(|faults| faults.failing_reads = 3);
    let (numbers, holes, _) = walk(&mut blind.go_blind());
    let first_whole = (2 * PAGE_BYTES).div_ceil(len as u64);
    assert_eq!(numbers, (first_whole..1000).collect::<Vec<_>>());
    assert_eq!(holes, [(0, first_whole * len as u64)]);
}

proptest! {
    #[test]
    fn only_the_damaged_frames_are_missing(count in 1_u64..60, damage in proptest::collection::vec((any::<proptest::sample::Index>(), 1_u8..), 0..4)) {
        let (mut bytes, len) = frames(count);
        let mut hit = std::collections::BTreeSet::new();
        for (index, mask) in &damage {
            let at = index.index(bytes.len());
            bytes[at] ^= mask;
            hit.insert((at / len) as u64);
        }
        let (_disk, mut scan) = scan(&bytes);
        let (numbers, _, _) = walk(&mut scan);
        let whole: Vec<u64> = (0..count).filter(|number| !hit.contains(number)).collect();
        prop_assert!(whole.iter().all(|number| numbers.contains(number)), "{numbers:?} of {whole:?}");
        prop_assert!(numbers.is_sorted());
    }

    #[test]
    fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..3000)) {
        let (_disk, mut scan) = scan(&bytes);
        walk(&mut scan);
    }
}
