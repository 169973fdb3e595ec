//! The check has to find each fault by itself, and nothing where there is none.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn stream(device: usize) -> Stream {
    Stream::new(format!("device-{device}"), "sensor")
}

/// `devices` devices with `each` acknowledged messages, and Kafka as it should then be: devices over
/// three partitions, messages of different devices interleaved.
fn sound(devices: usize, each: u64) -> (Ledger, Vec<Seen>) {
    let mut ledger = Ledger::default();
    let mut records = Vec::new();
    let mut offsets = [0_i64; 3];
    for seq in 0..each {
        for device in 0..devices {
            ledger.acknowledged(&stream(device), [seq]);
            let partition = device % offsets.len();
            records.push(Seen {
                topic: "readings".to_owned(),
                partition: i32::try_from(partition).unwrap(),
                offset: offsets[partition],
                message: Some(Message { stream: stream(device), seq }),
                origin: Some(Origin {
                    gateway: "gw".to_owned(),
                    source: format!("{device}.sensor"),
                    epoch: 1,
                    seq,
                }),
            });
            offsets[partition] += 1;
        }
    }
    (ledger, records)
}

fn check(ledger: Ledger, records: &[Seen]) -> Verdict {
    let mut check = Check::new(ledger);
    for record in records {
        check.record(record);
    }
    check.finish()
}

fn fault_counts(verdict: &Verdict) -> [u64; 5] {
    verdict.faults().map(|(_, findings)| findings.count)
}

proptest! {
    #[test]
    fn a_sound_run_has_no_fault(devices in 1_usize..8, each in 1_u64..30) {
        let (ledger, records) = sound(devices, each);
        let verdict = check(ledger, &records);
        prop_assert!(verdict.is_sound(), "{}", verdict);
        prop_assert_eq!(verdict.messages, devices as u64 * each);
        prop_assert_eq!(verdict.duplicates, super::super::Duplicates::default());
    }

    #[test]
    fn any_missing_record_is_a_loss(devices in 1_usize..8, each in 1_u64..30, at: Index) {
        let (ledger, mut records) = sound(devices, each);
        let gone = records.remove(at.index(records.len()));
        let verdict = check(ledger, &records);
        prop_assert_eq!(fault_counts(&verdict), [1, 0, 0, 0, 0]);
        prop_assert_eq!(&verdict.lost.examples, &[gone.message.unwrap().to_string()]);
    }

    #[test]
    fn any_two_messages_of_a_device_that_changed_places_are_out_of_order(
        devices in 1_usize..8, each in 2_u64..30, at: Index, device: Index,
    ) {
        let (ledger, mut records) = sound(devices, each);
        let device = device.index(devices);
        let first = at.index(usize::try_from(each).unwrap() - 1) * devices + device;
        // The payloads change places, not the headers: the headers count what Tidegate did.
        let moved = records[first].message.take();
        records[first].message = records[first + devices].message.take();
        records[first + devices].message = moved;
        prop_assert_eq!(fault_counts(&check(ledger, &records)), [0, 1, 0, 0, 0]);
    }

    #[test]
    fn a_repeated_run_of_records_is_duplicates_of_ours(
        devices in 1_usize..8, each in 1_u64..30, from: Index, times in 1_usize..3,
    ) {
        let (ledger, mut records) = sound(devices, each);
        let repeated = records[from.index(records.len())..].to_vec();
        for _ in 0..times {
            records.extend(repeated.iter().cloned());
        }
        let verdict = check(ledger, &records);
        prop_assert!(verdict.is_sound(), "{}", verdict);
        prop_assert_eq!(verdict.duplicates.ours, (times * repeated.len()) as u64);
    }
}

#[test]
fn a_resend_is_told_from_a_duplicate_of_ours_and_from_an_unmarked_one() {
    let (ledger, mut records) = sound(1, 3);
    let mut resent = records[1].clone();
    resent.origin.as_mut().unwrap().seq = 3;
    let mut unmarked = records[0].clone();
    unmarked.origin = None;
    let ours = records[2].clone();
    records.extend([ours, resent, unmarked]);
    let verdict = check(ledger, &records);
    assert!(verdict.is_sound(), "{verdict}");
    let duplicates = verdict.duplicates;
    assert_eq!((duplicates.ours, duplicates.resent, duplicates.unmarked), (1, 1, 1));
}

#[test]
fn a_message_that_was_sent_but_not_acknowledged_may_be_missing() {
    let (mut ledger, records) = sound(1, 3);
    ledger.published(&stream(0), [3, 4]);
    assert!(check(ledger, &records).is_sound());
}

#[test]
fn a_first_occurrence_with_the_headers_of_an_earlier_record_is_masked() {
    let (ledger, mut records) = sound(1, 3);
    let earlier = records[1].origin.clone();
    records[2].origin = earlier;
    assert_eq!(fault_counts(&check(ledger, &records)), [0, 0, 0, 1, 0]);
}

/// What a killed gateway had on its way may reach Kafka behind the first record of the next run, whose device sends all of
/// it again: the straggler is dropped, the repetition is not.
#[test]
fn a_straggler_of_an_earlier_run_is_no_fault_if_the_message_comes_again() {
    let (ledger, mut records) = sound(1, 3);
    let in_epoch = |record: &Seen, epoch, seq| {
        let mut record = record.clone();
        let origin = record.origin.as_mut().unwrap();
        (origin.epoch, origin.seq) = (epoch, seq);
        record
    };
    records = vec![
        in_epoch(&records[0], 1, 1),
        in_epoch(&records[0], 2, 1),
        in_epoch(&records[1], 1, 2),
        in_epoch(&records[1], 2, 2),
        in_epoch(&records[2], 2, 3),
    ];
    let verdict = check(ledger.clone(), &records);
    assert!(verdict.is_sound(), "{verdict}");
    assert_eq!(verdict.duplicates.resent, 2);
    // It does not come again.
    records.remove(3);
    assert_eq!(fault_counts(&check(ledger.clone(), &records)), [0, 0, 0, 1, 0]);
    // It comes again too late.
    records.push(in_epoch(&records[2], 2, 4));
    assert_eq!(fault_counts(&check(ledger, &records)), [0, 1, 0, 0, 0]);
}

#[test]
fn a_new_epoch_starts_its_numbers_again() {
    let (ledger, mut records) = sound(1, 3);
    let origin = records[2].origin.as_mut().unwrap();
    (origin.epoch, origin.seq) = (2, 0);
    assert!(check(ledger, &records).is_sound());
}

#[test]
fn a_stream_in_two_partitions_is_scattered() {
    let (ledger, mut records) = sound(1, 3);
    records[1].partition = 7;
    assert_eq!(fault_counts(&check(ledger, &records)), [0, 0, 1, 0, 0]);
}

#[test]
fn what_nobody_published_is_foreign() {
    let (ledger, mut records) = sound(1, 2);
    let mut unknown = records[0].clone();
    unknown.message = None;
    let mut invented = records[0].clone();
    invented.message.as_mut().unwrap().seq = 99;
    records.extend([unknown, invented]);
    assert_eq!(fault_counts(&check(ledger, &records)), [0, 0, 0, 0, 2]);
}

#[test]
fn the_report_names_messages_and_stays_short() {
    let (ledger, _) = sound(5, 20);
    let text = check(ledger, &[]).to_string();
    assert!(text.contains("lost: 100"), "{text}");
    assert!(text.contains("sensor/device-0#0"), "{text}");
    assert!(text.lines().count() < 20, "{text}");
}
