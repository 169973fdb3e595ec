//! Nothing acknowledged is ever lost: one fault after the other against real gateways and a real Kafka.
//!
//! Each fault is a file with a [`Case`], which says what site it strikes, and with what it does to it. Around it all are
//! the same: devices publish, the fault comes and goes, devices settle, the gateways stop in good order, and then Kafka
//! has every acknowledged message, in order per device; duplicates are counted by who made them.
//!
//! `make test` runs one seed of each, `make test-long-loss` twenty. A gateway that has no spool yet is held to what it can
//! do without; what was not checked is said ([`spool::is_built_in`]).

mod case;
mod lot;
mod post;
mod seeds;
mod site;
mod spool;

mod all_together;
mod broker_away;
mod disk_down;
mod disk_full;
mod distant_kafka;
mod gateway_killed;
mod hour;
mod kafka_frozen;
mod kafka_killed;
mod leader_change;
mod network_cut;
mod produce_errors;
mod rolling_restart;
mod stop_while_behind;
mod topic_made_anew;

use case::Case;

/// Every fault of the family.
const FAULTS: [Case; 14] = [
    all_together::CASE,
    broker_away::CASE,
    disk_down::CASE,
    disk_full::CASE,
    distant_kafka::CASE,
    gateway_killed::CASE,
    kafka_frozen::CASE,
    kafka_killed::CASE,
    leader_change::CASE,
    network_cut::CASE,
    produce_errors::CASE,
    rolling_restart::CASE,
    stop_while_behind::CASE,
    topic_made_anew::CASE,
];

#[test]
fn every_fault_has_a_long_run_of_its_own() {
    let makefile = include_str!("../../Makefile");
    let listed = makefile.lines().find_map(|line| line.strip_prefix("LOSS := ")).unwrap_or_default();
    let names = FAULTS.map(|case| case.name);
    assert_eq!(listed.split(' ').collect::<Vec<_>>(), names, "`LOSS := ` in the Makefile");
}
