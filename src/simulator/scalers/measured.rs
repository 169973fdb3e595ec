//! The models against the measured time line of real parts: KEDA 2.21 and the HPA of Kubernetes 1.34 (design, section 10).

use tidegate_core::time::Timestamp;

use super::keda::{Keda, KedaSettings};

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

/// Runs KEDA over a lag as a function of time; returns when the count changed, and to what.
fn time_line(settings: KedaSettings, partitions: u32, lag: impl Fn(u64) -> u64) -> Vec<(u64, u32)> {
    time_line_of(Keda::new(settings), settings.min, partitions, lag)
}

fn time_line_of(mut keda: Keda, min: u32, partitions: u32, lag: impl Fn(u64) -> u64) -> Vec<(u64, u32)> {
    let (mut replicas, mut line) = (min, Vec::new());
    for secs in 0..600 {
        let before = replicas;
        if let Some(to) = keda.poll(replicas, lag(secs), partitions, at(secs)) {
            replicas = to;
        }
        if let Some((to, _)) = keda.sync(replicas, lag(secs), partitions, at(secs)) {
            replicas = to;
        }
        if replicas != before {
            line.push((secs, replicas));
        }
    }
    line
}

#[test]
fn forty_thousand_messages_that_ask_for_forty_replicas_get_4_8_16_32_40_in_steps_of_15_s() {
    let settings = KedaSettings { lag_threshold: 1000, ..KedaSettings::new(1, 64) };
    let line = time_line(settings, 64, |secs| if secs < 10 { 0 } else { 40_000 });
    let counts: Vec<u32> = line.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [4, 8, 16, 32, 40], "{line:?}");
    let apart: Vec<u64> = line.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert_eq!(apart, [15; 4], "{line:?}");
}

#[test]
fn from_none_it_mostly_takes_63_to_86_s_as_measured() {
    let settings = KedaSettings { lag_threshold: 1000, ..KedaSettings::new(0, 64) };
    let mut took = Vec::new();
    for (sync, poll) in (0..15).flat_map(|sync| (0..30).map(move |poll| (sync, poll))) {
        let keda = Keda::new(settings).from(at(sync), at(poll));
        let line = time_line_of(keda, 0, 64, |secs| if secs < 60 { 0 } else { 40_000 });
        let counts: Vec<u32> = line.iter().map(|(_, count)| *count).filter(|count| *count > 1).collect();
        assert_eq!(counts, [4, 8, 16, 32, 40], "{line:?}");
        took.push(line[line.len() - 1].0 - 60);
    }
    took.sort_unstable();
    // The next poll, the next sync, and four more syncs. What was measured is in the middle of that.
    assert!(took[0] >= 60 && took[took.len() - 1] <= 60 + 30 + 15, "{took:?}");
    let as_measured = took.iter().filter(|secs| (63..=86).contains(*secs)).count();
    assert!(as_measured * 2 > took.len(), "{as_measured} of {}", took.len());
}

#[test]
fn asked_for_64_of_64_it_stays_at_59_but_not_at_58() {
    let settings = KedaSettings { lag_threshold: 100, ..KedaSettings::new(1, 64) };
    let last = |first: u64| {
        // While it doubles, the lag rises; the last jump sees `first` replicas' worth, and from then on all is asked for.
        let line = time_line(settings, 64, |secs| if secs <= 75 { 100 * first } else { 100_000 });
        line.last().map(|(_, count)| *count)
    };
    assert_eq!(last(59), Some(59));
    assert_eq!(last(60), Some(60));
    assert_eq!(last(61), Some(61));
    assert_eq!(last(58), Some(64));
}
