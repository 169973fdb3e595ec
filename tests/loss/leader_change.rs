//! Partitions change their leader while batches are on the way, and get the old one back.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_tests::support::deadline::eventually;

use super::case::Case;
use super::site::topic_of;

pub(super) const CASE: Case = Case {
    name: "leader-change",
    promise: "leaders that change in mid-batch lose nothing acknowledged, and keep order",
    brokers: 3,
    // Something is always under way.
    latency: Duration::from_millis(10),
    ..Case::USUAL
};

/// Brokers of which one stops.
const MAY_STOP: u32 = 2;
/// Who is asked meanwhile.
const WITNESS: usize = 2;
const PREFERRED: [i32; 4] = [1, 2, 3, 1];
/// Every five seconds leaders are put right, and the broker has to be in step again first.
const BACK_WITHIN: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_changes_in_mid_batch_loses_nothing() -> Result<()> {
    CASE.holds(async |site, lot| {
        let topic = topic_of("sensor");
        lot.pause(0..1500).await;
        let stops = lot.number(0..MAY_STOP);
        let broker = &mut site.brokers[stops as usize];
        // In good order: it hands its partitions over at once, with requests in its queues.
        broker.stop().await?;
        let leaders = site.brokers[WITNESS].leaders(&topic).await?;
        ensure!(!leaders.contains(&(stops.cast_signed() + 1)), "leaders: {leaders:?}");
        lot.pause(0..1500).await;
        site.brokers[stops as usize].restart().await?;
        let witness = &site.brokers[WITNESS];
        let back = async || Ok((witness.leaders(&topic).await? == PREFERRED).then_some(()));
        eventually("the old leaders lead again", BACK_WITHIN, back).await
    })
    .await
}
