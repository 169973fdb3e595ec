//! Brokers refuse batches in the middle of a stream: with errors that pass, and with errors that do not.
//!
//! On the latter librdkafka goes on with the next batch, so whoever only repeats what failed has changed the order.

use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::kafka_proxy::Refusal;

use super::case::Case;

pub(super) const CASE: Case = Case {
    name: "produce-errors",
    promise: "Produce errors 3, 6, 7, 10, 19, 29, 32, 87 in mid-stream lose nothing acknowledged, and keep order",
    // Few and busy, so that many batches hold several records: only those are refused.
    partitions: 2,
    per_sec: 5.0,
    answers_produce: true,
    ..Case::USUAL
};

/// `REQUEST_TIMED_OUT`: the record may be written.
const TIMED_OUT: i16 = 7;
/// Also `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER` and `NOT_ENOUGH_REPLICAS`: librdkafka tries again.
const PASSING: [i16; 4] = [3, 6, TIMED_OUT, 19];
/// `MESSAGE_TOO_LARGE`, `TOPIC_AUTHORIZATION_FAILED`, `INVALID_TIMESTAMP`, `INVALID_RECORD`: it reports a failure.
/// A gateway without a spool ends on these, by design.
const LASTING: [i16; 4] = [10, 29, 32, 87];
const REFUSED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_refused_in_mid_stream_lose_nothing_acknowledged() -> Result<()> {
    CASE.holds(async |site, lot| {
        let proxy = site.answers.as_ref().context("the case asks for one")?;
        let lasting = if site.has_spool { &LASTING[..] } else { &[] };
        let mut codes = [&PASSING[..], lasting].concat();
        lot.shuffle(&mut codes);
        for code in codes {
            let written = code == TIMED_OUT && lot.coin();
            proxy.refuse(Refusal { code, requests: lot.number(1..5), written });
            let refused = async || Ok((proxy.refused() > 0).then_some(()));
            eventually(&format!("a batch is refused with {code}"), REFUSED_WITHIN, refused).await?;
            lot.pause(200..1500).await;
        }
        Ok(())
    })
    .await
}
