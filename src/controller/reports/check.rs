//! What a report may say. Its sender holds the key, but a wrong number would order replicas all the same.

use std::fmt;

use tidegate_core::wire::{ConsumerReport, GatewayReport};
use tidegate_runtime::config::Problem;

/// Longest name: Kafka's bound on topics, and far above any host name.
const NAME_MAX_CHARS: usize = 249;
/// Longest time that a gateway's report may cover. It sends one every second, and begins a new span with each,
/// delivered or not; one that was stopped for longer has nothing to say of the present.
const INTERVAL_MAX_MS: u32 = 60_000;
/// Highest rate of one class, in messages per second: what a policy allows for a single replica, so never a true one.
const RATE_MAX: f64 = 1e9;
/// Longest busy time, in seconds: an outage of the controller of a hundred days adds up to less.
const BUSY_MAX_SECS: f64 = 1e7;
/// Most records of one report: a hundred days at a hundred thousand per second.
const RECORDS_MAX: u64 = 1_000_000_000_000;

/// Checks a gateway's report.
///
/// # Errors
/// Names the first field that is out of its range.
pub(crate) fn gateway(report: &GatewayReport) -> Result<(), Problem> {
    name("gateway", &report.gateway)?;
    within(
        (1..=INTERVAL_MAX_MS).contains(&report.interval_ms),
        || "interval_ms".to_owned(),
        report.interval_ms,
        "1 to 60000",
    )?;
    for (topic, classes) in &report.topics {
        for (class, load) in classes {
            let field = |field: &str| format!("topics.{topic}.{class}.{field}");
            // A comparison with NaN is false.
            within(
                (0.0..=RATE_MAX).contains(&load.offered_est),
                || field("offered_est"),
                load.offered_est,
                "0 to 1e9",
            )?;
            within((0.0..=1.0).contains(&load.censored), || field("censored"), load.censored, "0 to 1")?;
            for (key, count) in [("admitted", load.admitted), ("shed", load.shed)] {
                within(count <= RECORDS_MAX, || field(key), count, "0 to 1e12")?;
            }
        }
    }
    Ok(())
}

/// Checks a consumer's report. Its span is not bounded: what could not be delivered is in the next one.
///
/// # Errors
/// Names the first field that is out of its range.
pub(crate) fn consumer(report: &ConsumerReport) -> Result<(), Problem> {
    name("group", &report.group)?;
    name("member", &report.member)?;
    within(report.records <= RECORDS_MAX, || "records".to_owned(), report.records, "0 to 1e12")?;
    let busy = report.busy_seconds;
    within((0.0..=BUSY_MAX_SECS).contains(&busy), || "busy_seconds".to_owned(), busy, "0 to 1e7")
}

fn name(field: &str, value: &str) -> Result<(), Problem> {
    let chars = value.chars().count();
    if (1..=NAME_MAX_CHARS).contains(&chars) {
        return Ok(());
    }
    // A name that is too long is not repeated.
    Err(Problem::new(field, format!("{chars} characters"), "1 to 249 characters"))
}

fn within(
    holds: bool,
    field: impl FnOnce() -> String,
    value: impl fmt::Display,
    allowed: &str,
) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem::new(field(), value, allowed)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidegate_core::wire::OfferedLoad;

    use super::*;

    fn said(change: impl FnOnce(&mut GatewayReport, &mut OfferedLoad)) -> Option<String> {
        let mut report =
            GatewayReport { gateway: "a".to_owned(), interval_ms: 1000, ..GatewayReport::default() };
        let mut load = OfferedLoad::default();
        change(&mut report, &mut load);
        report.topics = BTreeMap::from([("t".to_owned(), BTreeMap::from([("alarm".to_owned(), load)]))]);
        gateway(&report).err().map(|problem| problem.key)
    }

    #[test]
    fn a_gateways_numbers_are_refused_by_name() {
        assert_eq!(said(|_, _| {}), None);
        assert_eq!(said(|_, load| load.offered_est = 1e9), None);
        assert_eq!(said(|report, _| report.gateway.clear()).unwrap(), "gateway");
        assert_eq!(said(|report, _| report.gateway = "x".repeat(250)).unwrap(), "gateway");
        for interval in [0, 60_001, u32::MAX] {
            assert_eq!(said(|report, _| report.interval_ms = interval).unwrap(), "interval_ms");
        }
        for rate in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(said(|_, load| load.offered_est = rate).unwrap(), "topics.t.alarm.offered_est");
        }
        for share in [f64::NAN, -0.1, 1.1] {
            assert_eq!(said(|_, load| load.censored = share).unwrap(), "topics.t.alarm.censored");
        }
        assert_eq!(said(|_, load| load.admitted = u64::MAX).unwrap(), "topics.t.alarm.admitted");
        assert_eq!(said(|_, load| load.shed = u64::MAX).unwrap(), "topics.t.alarm.shed");
    }

    #[test]
    fn a_consumers_numbers_are_refused_by_name_and_value() {
        let good = ConsumerReport {
            group: "g".to_owned(),
            member: "m".to_owned(),
            busy_seconds: 1e6,
            ..Default::default()
        };
        assert!(consumer(&good).is_ok());
        for busy_seconds in [f64::NAN, f64::INFINITY, -0.5, 1e9] {
            let problem = consumer(&ConsumerReport { busy_seconds, ..good.clone() }).unwrap_err();
            assert_eq!((problem.key.as_str(), problem.value), ("busy_seconds", busy_seconds.to_string()));
        }
        assert_eq!(
            consumer(&ConsumerReport { records: u64::MAX, ..good.clone() }).unwrap_err().key,
            "records"
        );
        assert_eq!(
            consumer(&ConsumerReport { member: String::new(), ..good.clone() }).unwrap_err().key,
            "member"
        );
        assert_eq!(consumer(&ConsumerReport { group: String::new(), ..good }).unwrap_err().key, "group");
    }
}
