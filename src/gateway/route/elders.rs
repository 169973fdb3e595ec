//! Routes with records that were routed by other settings, which go before their successors.
//!
//! The settings say of which class a device is, and so in which route its messages are. If they changed while messages waited in
//! the log, those that come now may be in another route that ends in the same topic-partition, and would overtake them there.
//! Owns which route waits for which; what the settings were is the spool's to know.

use std::collections::BTreeMap;

use tidegate_spool::{Position, RouteId as Place};

use super::table::RouteId;

/// See the module. Empty unless the settings changed over a log that was not.
#[derive(Debug, Default)]
pub(crate) struct Elders {
    /// By where they end: the routes, and the last record of each that was there before this run.
    last: BTreeMap<Place, Vec<(RouteId, Position)>>,
}

impl Elders {
    /// Notes a route that has records up to `last`, to go before those of other routes that end in `place`.
    pub(crate) fn add(&mut self, place: Place, route: RouteId, last: Position) {
        self.last.entry(place).or_default().push((route, last));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Returns true if the route must hand over nothing yet: another that ends in the same place has older records. Of two
    /// that an earlier run has left, those of the earlier run are older.
    pub(crate) fn hold_back(&self, place: Place, route: RouteId) -> bool {
        let Some(elders) = self.last.get(&place) else { return false };
        let own = elders.iter().find(|(elder, _)| *elder == route);
        let epoch = own.map_or(u32::MAX, |(_, last)| last.epoch);
        elders.iter().any(|(elder, last)| *elder != route && last.epoch < epoch)
    }

    /// Notes up to where Kafka has the route's records; true if others may have waited for that.
    pub(crate) fn done(&mut self, place: Place, route: RouteId, done: Position) -> bool {
        let Some(elders) = self.last.get_mut(&place) else { return false };
        let before = elders.len();
        elders.retain(|(elder, last)| *elder != route || done < *last);
        let is_done = elders.len() < before;
        if elders.is_empty() {
            self.last.remove(&place);
        }
        is_done
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::time::Timestamp;
    use tidegate_spool::TopicId;

    use super::super::{RouteKey, RouteTable, StreamId};
    use super::*;
    use crate::ceiling::Ceiling;

    const PLACE: Place = Place { shard: 3, topic: TopicId(0), partition: 1 };

    fn route_ids() -> [RouteId; 3] {
        let mut table = RouteTable::<()>::new(&Ceiling::new(0), 1, false);
        [0, 1, 2].map(|stream| {
            table.open(RouteKey { shard: 3, stream: StreamId(stream), partition: 1 }, Timestamp::ZERO)
        })
    }

    const fn at(epoch: u32, seq: u64) -> Position {
        Position { epoch, seq }
    }

    #[test]
    fn a_route_waits_until_kafka_has_what_was_there_before_it() {
        let [old, new, _] = route_ids();
        let mut elders = Elders::default();
        assert!(!elders.hold_back(PLACE, new));
        elders.add(PLACE, old, at(1, 7));
        assert!(elders.hold_back(PLACE, new) && !elders.hold_back(PLACE, old));
        assert!(!elders.hold_back(Place { partition: 2, ..PLACE }, new), "it ends elsewhere");
        assert!(!elders.done(PLACE, old, at(1, 6)) && elders.hold_back(PLACE, new));
        assert!(elders.done(PLACE, old, at(1, 7)) && !elders.hold_back(PLACE, new));
        assert!(!elders.done(PLACE, old, at(2, 1)), "once");
    }

    #[test]
    fn of_two_that_were_left_the_earlier_run_goes_first_and_equals_wait_for_nobody() {
        let [first, second, third] = route_ids();
        let mut elders = Elders::default();
        elders.add(PLACE, second, at(2, 9));
        elders.add(PLACE, third, at(2, 5));
        elders.add(PLACE, first, at(1, 4));
        let held = |elders: &Elders| [first, second, third].map(|route| elders.hold_back(PLACE, route));
        assert_eq!(held(&elders), [false, true, true]);
        assert!(elders.done(PLACE, first, at(1, 4)));
        assert_eq!(held(&elders), [true, false, false], "what comes now to the first waits for both");
    }
}
