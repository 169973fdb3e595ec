use super::*;

const NOW: Timestamp = Timestamp::from_millis(10_000_000);

fn proven(records: u32, bytes: u32) -> Reported {
    Reported { records, bytes, proven: true, unproven: false }
}

fn warm_gate(pool: &Pool) -> Gate {
    let gate = Gate::new();
    gate.take_or_wait(300, 0, NOW).unwrap();
    gate.report(proven(1, 300), pool, NOW);
    gate
}

/// Hands over until refused, as a busy worker does; returns how much went through.
fn fill(gate: &Gate, bytes: u32, now: Timestamp) -> Reported {
    let mut went = proven(0, 0);
    while gate.take_or_wait(bytes, 1, now).is_ok() {
        went.records += 1;
        went.bytes += bytes;
    }
    went
}

#[test]
fn a_cold_partition_has_one_record_outstanding_over_all_workers() {
    let (gate, pool) = (Gate::new(), Pool::new(0));
    assert_eq!(gate.take_or_wait(300, 0, NOW), Ok(Taken::Alone));
    assert_eq!(gate.take_or_wait(300, 1, NOW), Err(Shut::Cold));
    assert_eq!(gate.take_or_wait(300, 0, NOW), Err(Shut::Cold));
    assert_eq!(gate.report(proven(1, 300), &pool, NOW), 0b11, "both refused workers are woken");
    assert_eq!(fill(&gate, 300, NOW).records, 64, "and the partition is warm");
}

#[test]
fn an_unproven_or_failed_report_makes_the_partition_cold_again() {
    let pool = Pool::new(0);
    let gate = warm_gate(&pool);
    assert_eq!(fill(&gate, 300, NOW).records, 64);
    gate.report(Reported { records: 1, bytes: 300, proven: false, unproven: true }, &pool, NOW);
    assert_eq!(gate.take_or_wait(300, 0, NOW), Err(Shut::Cold), "63 are outstanding");
    let unproven = Reported { records: 63, bytes: 63 * 300, proven: true, unproven: true };
    gate.report(unproven, &pool, NOW);
    assert_eq!(gate.take_or_wait(300, 0, NOW), Ok(Taken::Alone), "nothing is outstanding: one may go");
    assert_eq!(gate.take_or_wait(300, 0, NOW), Err(Shut::Cold));
}

#[test]
fn a_partition_is_warm_since_the_proven_report_that_ended_its_cold() {
    let later = |ms| NOW + Duration::from_millis(ms);
    let (gate, pool) = (Gate::new(), Pool::new(0));
    assert_eq!(gate.warm_since(NOW), None);
    gate.take_or_wait(300, 0, NOW).unwrap();
    gate.report(proven(1, 300), &pool, later(10));
    assert_eq!(gate.warm_since(later(10)), Some(later(10)));
    gate.take_or_wait(300, 0, later(20)).unwrap();
    gate.report(proven(1, 300), &pool, later(30));
    assert_eq!(gate.warm_since(later(30)), Some(later(10)), "it was warm already");
    gate.chill();
    assert_eq!(gate.warm_since(later(40)), None);
    gate.take_or_wait(300, 0, later(40)).unwrap();
    gate.report(proven(1, 300), &pool, later(50));
    assert_eq!(gate.warm_since(later(50)), Some(later(50)));
    assert_eq!(gate.warm_since(later(50) + COLD_AFTER), None, "nothing was proven for an hour");
    gate.be_careful(later(60));
    gate.take_or_wait(300, 0, later(70)).unwrap();
    gate.report(proven(1, 300), &pool, later(80));
    assert_eq!(gate.warm_since(later(80)), None, "it is careful");
    let careful_until = later(60) + CAREFUL_FOR;
    assert_eq!(gate.warm_since(careful_until), Some(careful_until));
}

#[test]
fn a_partition_without_a_proven_report_for_an_hour_is_cold() {
    let pool = Pool::new(0);
    let gate = warm_gate(&pool);
    let later = NOW + COLD_AFTER;
    assert_eq!(gate.take_or_wait(300, 0, later), Ok(Taken::Alone));
    assert_eq!(gate.take_or_wait(300, 0, later), Err(Shut::Cold));
    gate.report(proven(1, 300), &pool, later);
    assert_eq!(fill(&gate, 300, later).records, 64);
}

#[test]
fn a_full_window_wakes_the_refused_worker_when_a_report_makes_room() {
    let pool = Pool::new(0);
    let gate = warm_gate(&pool);
    fill(&gate, 300, NOW);
    assert_eq!(gate.take_or_wait(300, 5, NOW), Err(Shut::Window));
    assert_eq!(gate.report(proven(1, 300), &pool, NOW), 1 << 5 | 1 << 1);
    assert_eq!(gate.take_or_wait(300, 5, NOW), Ok(Taken::WithOthers));
    assert_eq!(gate.report(proven(1, 300), &pool, NOW), 0, "nobody waits any more");
}

#[test]
fn a_window_that_held_records_back_doubles_each_round_while_the_pool_lasts() {
    let pool = Pool::new(96 << 10);
    let gate = warm_gate(&pool);
    let mut rounds = Vec::new();
    for _ in 0..4 {
        let went = fill(&gate, 300, NOW);
        rounds.push(went.records);
        gate.report(went, &pool, NOW);
    }
    assert_eq!(rounds, [64, 128, 256, 256], "32 KiB + 32 + 64 of 96 KiB shared");
    assert_eq!(pool.free_bytes(), 0);
}

#[test]
fn a_window_that_held_nothing_back_does_not_grow() {
    let pool = Pool::new(1 << 20);
    let gate = warm_gate(&pool);
    for _ in 0..1000 {
        gate.take_or_wait(300, 0, NOW).unwrap();
        gate.report(proven(1, 300), &pool, NOW);
    }
    assert_eq!(pool.free_bytes(), 1 << 20);
}

#[test]
fn the_first_round_after_five_quiet_seconds_starts_anew() {
    let pool = Pool::new(1 << 20);
    let gate = warm_gate(&pool);
    let went = fill(&gate, 300, NOW);
    // With the one that made it warm: a round but for one record.
    gate.report(proven(went.records - 2, went.bytes - 600), &pool, NOW);
    let later = NOW + window::QUIET + Duration::from_millis(1);
    gate.report(proven(1, 300), &pool, later);
    assert_eq!(pool.free_bytes(), 1 << 20, "one report after the silence is not a round");
}

#[test]
fn a_quiet_and_empty_partition_gives_back_what_it_borrowed() {
    let pool = Pool::new(1 << 20);
    let gate = warm_gate(&pool);
    let went = fill(&gate, 300, NOW);
    gate.report(went, &pool, NOW);
    assert!(pool.free_bytes() < 1 << 20);
    gate.give_back(&pool, NOW);
    assert!(pool.free_bytes() < 1 << 20, "it was busy a moment ago");
    let later = NOW + window::QUIET + Duration::from_millis(1);
    gate.take_or_wait(300, 0, later).unwrap();
    gate.give_back(&pool, later);
    assert!(pool.free_bytes() < 1 << 20, "a record is outstanding");
    gate.undo(300);
    gate.give_back(&pool, later);
    assert_eq!(pool.free_bytes(), 1 << 20);
    assert_eq!(fill(&gate, 300, later).records, 64);
}

#[test]
fn workers_that_fill_and_report_at_once_leave_nothing_behind() {
    let pool = Pool::new(1 << 20);
    let gate = warm_gate(&pool);
    let most = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (gate, pool, most) = (&gate, &pool, &most);
            scope.spawn(move || {
                for _ in 0..10_000 {
                    if gate.take_or_wait(1000, worker, NOW).is_ok() {
                        most.fetch_max(gate.outstanding().bytes(), Ordering::Relaxed);
                        gate.report(proven(1, 1000), pool, NOW);
                    }
                }
            });
        }
    });
    assert_eq!((gate.outstanding().records(), gate.outstanding().bytes()), (0, 0));
    assert!((1000..=4000).contains(&most.into_inner()));
}

#[test]
fn a_partition_that_refused_a_record_takes_one_at_a_time_for_a_while() {
    let (gate, pool) = (Gate::new(), Pool::new(0));
    gate.take_or_wait(300, 0, NOW).unwrap();
    gate.report(proven(1, 300), &pool, NOW);
    gate.be_careful(NOW);
    assert_eq!(gate.take_or_wait(300, 0, NOW), Ok(Taken::Alone));
    assert_eq!(gate.take_or_wait(300, 0, NOW), Err(Shut::Cold));
    gate.report(proven(1, 300), &pool, NOW);
    let later = NOW + CAREFUL_FOR;
    assert_eq!(gate.take_or_wait(300, 0, later), Ok(Taken::WithOthers));
}

#[test]
fn a_record_that_went_alone_stays_alone_until_its_report() {
    let pool = Pool::new(0);
    let gate = warm_gate(&pool);
    gate.be_careful(NOW);
    assert_eq!(gate.take_or_wait(300, 0, NOW), Ok(Taken::Alone));
    let later = NOW + CAREFUL_FOR;
    assert_eq!(gate.take_or_wait(300, 0, later), Err(Shut::Cold), "its report will be taken for its own");
    gate.report(proven(1, 300), &pool, later);
    assert_eq!(gate.take_or_wait(300, 0, later), Ok(Taken::WithOthers));
    assert_eq!(gate.take_or_wait(300, 0, later), Ok(Taken::WithOthers));
}

#[test]
fn a_partition_that_goes_on_refusing_is_asked_less_and_less_often_until_it_takes_something() {
    let pool = Pool::new(0);
    let gate = warm_gate(&pool);
    let mut now = NOW;
    for secs in [1, 2, 4, 8, 16, 32, 60, 60] {
        gate.be_shut(now);
        now = now + Duration::from_secs(secs);
        let before = Timestamp::from_nanos(now.as_nanos() - 1);
        assert_eq!(gate.take_or_wait(300, 0, before), Err(Shut::Refused));
        assert!(gate.take_or_wait(300, 0, now).is_ok());
        gate.report(Reported { records: 1, bytes: 300, proven: false, unproven: true }, &pool, now);
    }
    gate.take_or_wait(300, 0, now).unwrap();
    gate.report(proven(1, 300), &pool, now);
    gate.be_shut(now);
    assert!(gate.take_or_wait(300, 0, now + Duration::from_secs(1)).is_ok());
}
