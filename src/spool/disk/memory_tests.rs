use super::*;

fn all(value: u32) -> impl FnMut() -> u32 {
    move || value
}

#[test]
fn what_was_not_synced_may_be_lost_and_what_was_stays() {
    let disk = MemoryDisk::new(1 << 20);
    let file = disk.create("a", 0).unwrap();
    file.write_at(b"kept", 0).unwrap();
    file.sync().unwrap();
    disk.sync_folder("").unwrap();
    file.write_at(b"lost", 4).unwrap();
    assert_eq!(disk.cut(&mut all(0)).content("a"), b"kept");
    assert_eq!(disk.cut(&mut all(1)).content("a"), b"keptlost");
}

#[test]
fn a_synced_file_without_a_synced_folder_may_be_gone() {
    let disk = MemoryDisk::new(1 << 20);
    disk.create("a", 0).unwrap().sync().unwrap();
    assert!(disk.cut(&mut all(0)).open("a").is_err());
}

#[test]
fn a_sync_that_succeeds_after_one_that_failed_proves_nothing() {
    let disk = MemoryDisk::new(1 << 20);
    let file = disk.create("a", 4).unwrap();
    file.sync().unwrap();
    disk.sync_folder("").unwrap();
    file.write_at(b"gone", 0).unwrap();
    disk.faults(|faults| faults.failing_syncs = 1);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(disk.content("a"), b"gone");
    assert_eq!(disk.cut(&mut all(1)).content("a"), [0; 4]);
}

#[test]
fn writes_are_torn_at_sectors() {
    let disk = MemoryDisk::new(1 << 20);
    let file = disk.create("a", 2048).unwrap();
    file.sync().unwrap();
    disk.sync_folder("").unwrap();
    file.write_at(&[1; 2048], 0).unwrap();
    let mut calls = 0;
    let content = disk
        .cut(&mut || {
            calls += 1;
            if calls < 3 { 2 } else { calls }
        })
        .content("a");
    let sectors: Vec<u8> = content.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect();
    assert!(sectors.contains(&0) && sectors.contains(&1), "{sectors:?}");
}
