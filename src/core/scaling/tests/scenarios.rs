//! Named stories on virtual time: a site, its load, and what the group must and must not do.

use std::time::Duration;

use super::cluster::{Cluster, Site, Tells};
use crate::scaling::{Offered, Policy, Reason};

fn policy() -> Policy {
    Policy { down_max_step: 64, ..Policy::new(Duration::from_secs(10), 1, 64) }
}

/// 24 partitions, mu 100, 40 msg/s on one replica, settled.
fn quiet_site(tells: Tells) -> Site {
    let mut cluster = Cluster::new(24, 1, 100.0, 40.0, 7);
    cluster.tells = tells;
    let known = (tells == Tells::Nothing).then_some(100.0);
    let mut site = Site::new(Policy { capacity_per_replica: known, ..policy() }, cluster);
    site.run(600.0);
    assert!(site.changes.is_empty(), "{}", site.told());
    site
}

#[test]
fn a_burst_is_met_in_one_jump_and_given_back_once_it_is_over() {
    let mut site = quiet_site(Tells::BusySeconds);
    site.cluster.rate = 900.0;
    site.cluster.offered = Some(Offered { rate: 900.0, burst: true, censored: 0.0 });
    site.cluster.run(1.0);
    let decision = site.tick();
    assert_eq!(decision.reason, Reason::Burst, "{decision}");
    // 900 / 0.75 = 1200 msg/s and the backlog of the start: one partition per replica.
    assert_eq!(decision.replicas, 24, "{decision}");
    site.run(300.0);
    assert_eq!(site.changes.len(), 1, "{}", site.told());
    let delay = site.tick().terms.delay_secs.unwrap();
    assert!(delay < 10.0, "{delay} s");
    site.cluster.rate = 40.0;
    site.cluster.offered = None;
    site.run(240.0);
    assert_eq!(site.cluster.replicas(), 24, "given back too soon: {}", site.told());
    site.run(700.0);
    assert_eq!(site.cluster.replicas(), 1, "{}", site.told());
    // The averages fall slowly, so the way down has steps; but it never turns.
    assert!(
        site.changes[1..].iter().all(|(_, decision)| decision.reason == Reason::Surplus),
        "{}",
        site.told()
    );
}

#[test]
fn a_short_dip_does_not_shrink_the_group() {
    let mut site = quiet_site(Tells::Nothing);
    site.cluster.rate = 800.0;
    site.run(600.0);
    let grown = site.cluster.replicas();
    site.changes.clear();
    for _ in 0..5 {
        site.cluster.rate = 20.0;
        site.run(120.0);
        site.cluster.rate = 800.0;
        site.run(300.0);
    }
    assert!(grown >= 11 && site.changes.is_empty(), "{grown}: {}", site.told());
}

#[test]
fn a_backlog_found_at_the_start_is_gone_within_start_and_drain_time() {
    let mut cluster = Cluster::new(24, 1, 100.0, 40.0, 7);
    cluster.pour(20_000.0);
    let mut site = Site::new(Policy { capacity_per_replica: Some(100.0), ..policy() }, cluster);
    assert_eq!(site.tick().reason, Reason::Measuring);
    site.cluster.run(5.0);
    let decision = site.tick();
    assert_eq!(decision.reason, Reason::CatchUp, "{decision}");
    site.run(10.0 + 30.0 + 5.0);
    assert!(site.cluster.backlog() < 1000.0, "{} messages wait: {}", site.cluster.backlog(), site.told());
    site.run(1000.0);
    assert_eq!(site.cluster.replicas(), 1, "{}", site.told());
}

#[test]
fn capacity_is_learned_from_an_overload_to_within_a_fifth() {
    let mut site = Site::new(policy(), Cluster::new(24, 1, 100.0, 700.0, 3));
    site.run(900.0);
    let mu = site.tick().terms.mu.unwrap();
    assert!((80.0..120.0).contains(&mu), "{mu}: {}", site.told());
    assert!((8..=12).contains(&site.cluster.replicas()), "{}", site.told());
}

#[test]
fn an_idle_group_does_not_teach_itself_a_small_capacity() {
    let mut site = Site::new(policy(), Cluster::new(24, 1, 100.0, 700.0, 3));
    site.run(900.0);
    let learned = site.tick().terms.mu.unwrap();
    site.cluster.rate = 5.0;
    site.run(7200.0);
    assert!(site.tick().terms.mu.unwrap() >= learned);
    assert_eq!(site.cluster.replicas(), 1, "{}", site.told());
}

#[test]
fn an_outage_of_the_observer_changes_nothing_while_and_after() {
    let mut site = quiet_site(Tells::Nothing);
    site.cluster.rate = 800.0;
    site.run(600.0);
    let grown = site.cluster.replicas();
    site.cluster.rate = 20.0;
    site.run(200.0);
    // Kafka does not answer for ten minutes; the quiet time before it does not count any more.
    site.cluster.run(600.0);
    let decision = site.tick();
    assert_eq!((decision.replicas, decision.reason), (grown, Reason::CoolingDown), "{decision}");
    site.run(240.0);
    assert_eq!(site.cluster.replicas(), grown, "{}", site.told());
    site.run(200.0);
    assert_eq!(site.cluster.replicas(), 1, "{}", site.told());
}

#[test]
fn a_rise_that_nobody_reported_is_met_in_two_jumps_at_most() {
    let mut site = quiet_site(Tells::Nothing);
    site.cluster.rate = 900.0;
    site.run(250.0);
    assert!(site.changes.len() <= 2, "{}", site.told());
    assert!(site.tick().terms.delay_secs.unwrap() < 10.0);
}

#[test]
fn slow_starts_do_not_call_for_more_while_they_last() {
    let mut site = quiet_site(Tells::Nothing);
    site.cluster.start_secs = 60.0;
    // One slow start teaches D; then the load that counts.
    site.cluster.rate = 110.0;
    site.run(400.0);
    assert_eq!(site.cluster.replicas(), 2, "{}", site.told());
    site.changes.clear();
    site.cluster.rate = 500.0;
    site.cluster.offered = Some(Offered { rate: 500.0, burst: true, censored: 0.0 });
    site.run(290.0);
    assert_eq!(site.changes.len(), 1, "{}", site.told());
}
