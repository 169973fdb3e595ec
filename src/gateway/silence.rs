//! Tells the readiness when Kafka falls silent, and when it speaks again.
//!
//! Kafka is silent if records wait for their report and none has come for a while. A silent Kafka refuses nobody:
//! devices stay connected and wait for their PUBACK. But an operator should see it, and a load balancer may
//! prefer another gateway. With a spool that takes what comes, nobody need go elsewhere: the gateway stays ready until
//! its disk fails it.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::time::Timestamp;
use tidegate_runtime::admin::Readiness;
use tidegate_spool::Health;

use crate::Error;
use crate::config::AckAt;
use crate::shared::Shared;
use crate::spool::Store;

/// Time without a report after which Kafka counts as silent: far above what a leader election on a small site takes
/// from a healthy cluster's reports, far below what an operator would call an outage.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When Kafka last made progress, as far as anything was asked of it.
#[derive(Debug)]
struct Silence {
    reported: u64,
    since: Timestamp,
}

impl Silence {
    fn new(now: Timestamp) -> Self {
        Self { reported: 0, since: now }
    }

    /// Takes the number of reports so far and of records without one; returns true if Kafka is silent.
    fn look(&mut self, reported: u64, outstanding: u64, now: Timestamp) -> bool {
        if reported != self.reported || outstanding == 0 {
            *self = Self { reported, since: now };
        }
        now.since(self.since) >= SILENT_AFTER
    }
}

/// Watches until it is dropped.
pub(crate) async fn watch(shared: Arc<Shared>, readiness: Readiness) {
    let mut silence = Silence::new((shared.clock)());
    let mut was_silent = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = (shared.clock)();
        let stats = shared.delivery.stats(now);
        let is_silent = silence.look(stats.reported(), stats.outstanding, now);
        let reason = || format!("records wait, and there was no report for {} s", SILENT_AFTER.as_secs());
        let Some(store) = &shared.store else {
            readiness.set("kafka", if is_silent { Err(reason()) } else { Ok(()) });
            continue;
        };
        if !store.spool.is_running() {
            shared.fail(Error::Died("a thread of the spool"));
        }
        if std::mem::replace(&mut was_silent, is_silent) != is_silent {
            tracing::warn!(
                is_silent,
                "kafka: {}",
                if is_silent { reason() } else { "it reports again".to_owned() }
            );
        }
        let lanes = shared.classes.iter().map(|(class, _)| store.spool.health(Store::lane(class)));
        let unwell: Vec<Health> = lanes.filter(|health| *health != Health::Ok).collect();
        let helps = unwell.is_empty() && store.ack != AckAt::Kafka;
        readiness.set("kafka", if is_silent && !helps { Err(reason()) } else { Ok(()) });
        let down = unwell.contains(&Health::Down);
        readiness.set("spool", if down { Err("the disk is down".to_owned()) } else { Ok(()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_is_silent_only_while_something_waits_for_it() {
        let at = Timestamp::from_millis;
        let mut silence = Silence::new(at(0));
        assert!(!silence.look(0, 0, at(60_000)), "nothing was asked");
        assert!(!silence.look(0, 3, at(61_000)));
        assert!(!silence.look(1, 2, at(64_000)), "one report is progress");
        assert!(!silence.look(1, 2, at(68_999)));
        assert!(silence.look(1, 2, at(69_000)));
        assert!(!silence.look(2, 1, at(70_000)), "it speaks again");
        assert!(!silence.look(3, 0, at(99_000)));
    }
}
