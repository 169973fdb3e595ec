//! What gateways, consumers and the controller tell each other over HTTP, as JSON.
//!
//! Owns the message shapes; transport and authentication are the processes' own. Fields are only added:
//! a reader takes a missing field as its default, so that a site can be upgraded one process at a time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admission::RateHistogram;

/// Path that a gateway posts its [`GatewayReport`] to.
pub const GATEWAY_REPORT_PATH: &str = "/v1/reports/gateway";
/// Path that a consumer posts its [`ConsumerReport`] to.
pub const CONSUMER_REPORT_PATH: &str = "/v1/reports/consumer";
/// HTTP header scheme of the shared key: `authorization: Bearer KEY`.
pub const KEY_SCHEME: &str = "Bearer";

/// Messages per second by Kafka topic and class name.
pub type Rates = BTreeMap<String, BTreeMap<String, f64>>;

/// What devices offered one gateway since its last report; sent every second, and at once on a burst.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewayReport {
    /// Name of the gateway, unique in its site.
    pub gateway: String,
    /// Random id of this process's run: a restart begins a new series.
    pub run: u64,
    /// Number of the report within the run; a late, older one is ignored.
    pub seq: u64,
    /// Time that the counts below cover, in milliseconds.
    pub interval_ms: u32,
    /// True if the offered rate rose so far that the report was sent before its second was over.
    pub burst: bool,
    /// Offered load per Kafka topic and class name.
    pub topics: BTreeMap<String, BTreeMap<String, OfferedLoad>>,
    /// Epoch of the lease that it runs on, which confirms that it gave up all older ones; 0 without one.
    pub lease_epoch: u64,
    /// Rates of that lease: another controller may have given it.
    pub lease_rates: Rates,
}

/// Load of one class on one topic, over one report interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfferedLoad {
    /// Messages admitted towards Kafka.
    pub admitted: u64,
    /// Messages dropped or refused.
    pub shed: u64,
    /// Bytes of PUBLISH packets that wait in hold queues now.
    pub held_bytes: u64,
    /// Bytes read from sockets but not decoded now (a full hold queue stops decoding).
    pub unread_bytes: u64,
    /// Devices whose bucket holds them back now.
    pub constrained_devices: u32,
    /// Estimate of what devices would send if nothing held them back, in messages per second.
    pub offered_est: f64,
    /// Share of the estimate that could not be measured because devices are held back, 0 to 1.
    pub censored: f64,
    /// Devices by the rate that each offers.
    #[serde(skip_serializing_if = "RateHistogram::is_empty")]
    pub rates: RateHistogram,
}

/// What a gateway may let into Kafka, until it gets the next one.
///
/// After `valid_for_ms` without a report answered it keeps the rates for another minute and then goes by what it sees
/// itself: a dead controller must not throttle a healthy site. Topics and classes that are not named are not limited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetLease {
    /// Grows with each lease that differs; the gateway names it in its reports.
    pub epoch: u64,
    /// Messages per second that may enter.
    pub rates: Rates,
    /// Messages per second that one device may send, where not all can have what they offer.
    pub device_levels: Rates,
    /// Length of the window in which refused devices are told to come back, in milliseconds; 0: the gateway's own.
    pub appointment_window_ms: u32,
    /// Time that it holds, from when the report was sent that it answers, in milliseconds.
    pub valid_for_ms: u32,
}

/// What one consumer did since its last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsumerReport {
    /// Kafka consumer group.
    pub group: String,
    /// Kafka `client.id` of the member, unique in its group.
    pub member: String,
    /// Random id of this process's run.
    pub run: u64,
    /// Number of the report within the run.
    pub seq: u64,
    /// Time that the counts below cover, in milliseconds.
    pub interval_ms: u32,
    /// Records processed.
    pub records: u64,
    /// Time spent processing them (not waiting for Kafka), in seconds.
    pub busy_seconds: f64,
    /// Partitions assigned now.
    pub partitions: u32,
    /// Milliseconds from process start to its first fetched record; 0 until then.
    pub first_fetch_ms: u64,
    /// True in the last report of a member that leaves its group.
    pub leaving: bool,
}

/// The controller's answer to a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportReply {
    /// Number of the report that this answers.
    pub seq: u64,
    /// What a gateway may let in; `None` where nothing limits it, and for consumers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<BudgetLease>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_an_older_version_is_read_and_a_lease_is_left_out_where_there_is_none() {
        let old =
            r#"{"gateway": "a", "seq": 7, "topics": {"t": {"sensor": {"admitted": 3, "offered_est": 1.5}}}}"#;
        let report: GatewayReport = serde_json::from_str(old).unwrap();
        assert_eq!((report.seq, report.lease_epoch), (7, 0));
        assert!(report.topics["t"]["sensor"].rates.is_empty());
        assert_eq!(serde_json::to_string(&ReportReply { seq: 7, lease: None }).unwrap(), r#"{"seq":7}"#);
    }

    #[test]
    fn a_lease_is_read_as_it_was_written() {
        let rates = Rates::from([("t".to_owned(), BTreeMap::from([("sensor".to_owned(), 0.1 + 0.2)]))]);
        let lease = BudgetLease { epoch: 3, rates, valid_for_ms: 15_000, ..BudgetLease::default() };
        let reply = ReportReply { seq: 1, lease: Some(lease) };
        let text = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<ReportReply>(&text).unwrap(), reply);
    }
}
