//! One of three brokers vanishes behind a black hole, and one partition has no leader.
//!
//! The two are different to the gateway: for Kafka the broker in the black hole is well and goes on leading, so its
//! partitions cannot be reached; the partition of the dead broker is known to have no leader.

use std::time::Duration;

use anyhow::Result;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::proxy::Link;

use super::case::Case;
use super::site::{ALONE, BLACK_HOLE, set, topic_of};

pub(super) const CASE: Case = Case {
    name: "broker-away",
    promise: "one of three brokers black-holed and one partition leaderless: the others go on, nothing is lost",
    brokers: 3,
    ..Case::USUAL
};

/// In the black hole, and dead.
const HIDDEN: usize = 1;
const DEAD: usize = 2;
const LASTS: Duration = Duration::from_secs(22);
const NO_LEADER: i32 = -1;
/// A dead broker's session ends after 3 s.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_broker_and_a_leaderless_partition_lose_nothing() -> Result<()> {
    CASE.holds(async |site, lot| {
        lot.pause(0..1000).await;
        set(&site.uplinks[HIDDEN], BLACK_HOLE);
        lot.pause(0..1000).await;
        site.brokers[DEAD].kill()?;
        let survivor = &site.brokers[0];
        eventually("a partition has no leader", NOTICED_WITHIN, async || {
            let leaders = survivor.leaders(&topic_of(ALONE)).await?;
            Ok((leaders.last() == Some(&NO_LEADER)).then_some(()))
        })
        .await?;
        if site.has_spool {
            site.endure(LASTS).await?;
        } else {
            // Half of the partitions are healthy: some devices go on, so it cannot be said that nobody may.
            tokio::time::sleep(LASTS).await;
        }
        set(&site.uplinks[HIDDEN], Link::default());
        site.brokers[DEAD].restart().await
    })
    .await
}
