//! How far the readers have come with each route.

use std::collections::BTreeMap;

use super::open::Place;
use crate::base::Lane;
use crate::ids::{Position, RouteId};

/// What to do with a record that a reader has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The route has it.
    Skip,
    /// It is the route's next.
    Offer,
    /// The route wants earlier records again, which the reader has passed.
    Rewound,
}

/// Where the routes of a lane stand.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Where the first record lies that a parked route has not got, or before.
    pub(super) parked: BTreeMap<RouteId, Place>,
    /// The last record of each route that was passed, by the front or, if it is parked, by the back.
    passed: BTreeMap<RouteId, Position>,
}

impl Progress {
    /// Says what to do with a record of a route that has everything up to `after`.
    pub(super) fn turn(&mut self, route: RouteId, position: Position, after: Position) -> Turn {
        let passed = self.passed.entry(route).or_default();
        if after < *passed {
            Turn::Rewound
        } else if position <= after {
            *passed = position.max(*passed);
            Turn::Skip
        } else {
            Turn::Offer
        }
    }

    /// Notes that the route's records up to `position` are behind the reader.
    pub(super) fn pass(&mut self, route: RouteId, position: Position) {
        let passed = self.passed.entry(route).or_default();
        *passed = position.max(*passed);
    }

    /// Whether a route wants something again that was passed.
    pub(super) fn is_rewound(&self, route: RouteId, after: Position) -> bool {
        self.passed.get(&route).is_some_and(|passed| after < *passed)
    }

    /// Parks a route before its first record behind `after`.
    pub(super) fn rewind(&mut self, lane: &Lane, route: RouteId, after: Position) {
        self.passed.insert(route, after);
        let catalog = lane.catalog();
        let mut segments = catalog.segments.values();
        let segment =
            segments.find(|segment| segment.spans.get(&route).is_some_and(|span| span.last > after));
        if let Some(segment) = segment {
            self.parked.insert(route, Place::start_of(segment.id));
        }
    }
}
