//! A topic is deleted and made anew while the gateway cannot see it: same name, same partitions, nothing in it.
//!
//! What the old one held went with it by somebody's will; what was acknowledged and not yet in it has to come to the
//! new one. The gateway is cut off while the old one is read, so that nothing can come in between.
//!
//! A gateway that has not seen that the topic was gone comes back once the new one is at work. In the moments between a
//! partition's appearance in metadata and its first answer the order may break: docs/decisions/0015.

use std::time::Duration;

use anyhow::Result;
use tidegate_tests::support::deadline::eventually;
use tidegate_tests::support::proxy::Link;

use super::case::Case;
use super::site::{BLACK_HOLE, topic_of};

pub(super) const CASE: Case = Case {
    name: "topic-made-anew",
    promise: "a topic deleted and made anew: what was acknowledged is in the old one or in the new one, in order",
    needs_spool: true,
    ..Case::USUAL
};

/// Kafka has written by then what it had received.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);
/// Counts the partitions of a topic that the producer has seen vanish.
const COLD: &str = "tidegate_gateway_kafka_cold_partitions";
/// A reconnection, and the metadata after it.
const LEARNED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_gets_what_the_old_one_had_not() -> Result<()> {
    CASE.holds(async |site, lot| {
        let topic = topic_of("sensor");
        lot.pause(0..2000).await;
        site.set_uplinks(BLACK_HOLE);
        tokio::time::sleep(WRITTEN_WITHIN).await;
        site.remember().await?;
        site.delete_topic(&topic).await?;
        if lot.coin() {
            let before = site.posts[0].gateway().metric(COLD).await?;
            site.set_uplinks(Link::default());
            eventually("the gateway knows that there is no such topic", LEARNED_WITHIN, async || {
                let cold = site.posts[0].gateway().metric(COLD).await?;
                Ok((cold >= before + u64::from(CASE.partitions.cast_unsigned())).then_some(()))
            })
            .await?;
            lot.pause(0..2000).await;
            return site.create_topic(&topic).await;
        }
        site.create_topic(&topic).await?;
        site.serves(&topic).await?;
        site.set_uplinks(Link::default());
        Ok(())
    })
    .await
}
