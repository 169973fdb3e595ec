//! A Kafka and a target that do as a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_core::scaling::{PartitionId, PartitionOffsets, Policy};
use tidegate_core::time::Timestamp;
use tidegate_core::wire::{GatewayReport, OfferedLoad};

use crate::observe::{Observe, Seen};
use crate::scaler::GroupSettings;
use crate::target::{Running, State, Target, TargetError, TargetErrorKind};

/// Kafka as a script says: 12 partitions, a rate, a lag, or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(pub(crate) Arc<Mutex<Kafka>>);

#[derive(Debug, Default)]
pub(crate) struct Kafka {
    pub(crate) away: bool,
    /// Whole messages per second on each of the 12 partitions.
    pub(crate) rate_each: i64,
    end: i64,
    at: Timestamp,
}

impl Observe for Script {
    async fn observe(&mut self, now: Timestamp) -> Result<Seen, String> {
        let mut kafka = self.0.lock().unwrap();
        if kafka.away {
            return Err("no broker answers".to_owned());
        }
        kafka.end += kafka.rate_each * i64::try_from(now.since(kafka.at).as_secs()).unwrap();
        kafka.at = now;
        let end = 1000 + kafka.end;
        let topic: Arc<str> = Arc::from("telemetry");
        let offsets = |partition| PartitionOffsets {
            id: PartitionId { topic: topic.clone(), partition },
            begin: 0,
            end: Some(end),
            committed: Some(end),
        };
        Ok(Seen { partitions: (0..12).map(offsets).collect(), ..Seen::default() })
    }
}

/// A target whose replicas are ready at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fake(pub(crate) Arc<Mutex<Deployment>>);

#[derive(Debug, Default)]
pub(crate) struct Deployment {
    pub(crate) replicas: u32,
    /// Answers that many orders with this.
    pub(crate) refuses: Option<(TargetErrorKind, u32)>,
    pub(crate) orders: Vec<u32>,
    pub(crate) looks: u32,
    pub(crate) stopped: bool,
}

impl Target for Fake {
    async fn observe(&mut self, _: Timestamp) -> Result<State, TargetError> {
        let mut deployment = self.0.lock().unwrap();
        deployment.looks += 1;
        let ordered = deployment.replicas;
        let replica = |n| Running {
            member: format!("member-{n}"),
            ordered_at: Timestamp::ZERO,
            spawned_at: Some(Timestamp::ZERO),
        };
        Ok(State { ordered, replicas: (0..ordered).map(replica).collect(), ..State::default() })
    }

    async fn scale(&mut self, replicas: u32, _: Timestamp) -> Result<(), TargetError> {
        let mut deployment = self.0.lock().unwrap();
        if let Some((kind, times)) = &mut deployment.refuses
            && *times > 0
        {
            *times -= 1;
            return Err(TargetError::new(*kind, "refused"));
        }
        deployment.replicas = replicas;
        deployment.orders.push(replicas);
        Ok(())
    }

    async fn shut_down(&mut self) -> Vec<String> {
        self.0.lock().unwrap().stopped = true;
        Vec::new()
    }
}

/// Settings of a group whose replicas do 100 messages per second.
pub(crate) fn settings() -> GroupSettings {
    let policy = Policy { capacity_per_replica: Some(100.0), ..Policy::new(Duration::from_secs(10), 1, 64) };
    GroupSettings {
        bootstrap_servers: String::new(),
        consumer_group: "g".to_owned(),
        topics: vec!["telemetry".to_owned()],
        policy,
    }
}

/// A report of a burst on the group's topic.
pub(crate) fn burst(seq: u64, rate: f64) -> GatewayReport {
    let load = OfferedLoad { offered_est: rate, ..OfferedLoad::default() };
    GatewayReport {
        gateway: "a".to_owned(),
        run: 1,
        seq,
        interval_ms: 1000,
        burst: true,
        topics: BTreeMap::from([("telemetry".to_owned(), BTreeMap::from([("sensor".to_owned(), load)]))]),
        ..GatewayReport::default()
    }
}
