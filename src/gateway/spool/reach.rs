//! Which routes of the log a run brings to Kafka: all of them, but for one that empties what another gateway has left.

use std::collections::BTreeMap;

use tidegate_spool::{LaneId, RouteId as LogRoute, TopicId};

/// See the module. The default reaches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Only this lane.
    pub(crate) lane: Option<LaneId>,
    /// Only partitions below this, by topic: what Kafka has. A record's partition is final, so one of a partition that is
    /// not there can only stay; asking for it would cost its class a producer each time.
    pub(crate) partitions: Option<BTreeMap<TopicId, u32>>,
}

impl Reach {
    /// Returns whether the run brings the records of a route to Kafka.
    pub(crate) fn has(&self, lane: LaneId, route: LogRoute) -> bool {
        let there = |partitions: &BTreeMap<TopicId, u32>| {
            partitions.get(&route.topic).is_some_and(|count| route.partition < *count)
        };
        self.lane.is_none_or(|only| only == lane) && self.partitions.as_ref().is_none_or(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_and_the_partitions_that_kafka_has_bound_what_is_reached() {
        let (lane, other) = (LaneId(0), LaneId(1));
        let route = |topic, partition| LogRoute { shard: 0, topic: TopicId(topic), partition };
        assert!(Reach::default().has(other, route(7, 9)));
        let only = Reach { lane: Some(lane), ..Reach::default() };
        assert!(only.has(lane, route(7, 9)) && !only.has(other, route(7, 9)));
        let partitions = Some([(TopicId(0), 4)].into());
        let there = Reach { partitions, ..Reach::default() };
        assert!(there.has(other, route(0, 3)));
        assert!(!there.has(other, route(0, 4)) && !there.has(other, route(1, 0)));
    }
}
