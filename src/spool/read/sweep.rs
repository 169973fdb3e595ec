//! One sweep of the back reader: from the first record that a parked route can take now, to the front.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::open::{OpenSegment, Place};
use super::progress::{Progress, Turn};
use super::{Room, STEP_RECORDS, Sink, Stored};
use crate::base::Base;
use crate::disk::Disk;
use crate::ids::{LaneId, RouteId, SegmentId};

/// A sweep under way.
pub(super) struct Sweep<D: Disk> {
    lane: LaneId,
    /// Parked routes that had room until now. One that has none left waits for the next sweep: what is behind its
    /// next record is not its turn yet.
    taking: BTreeSet<RouteId>,
    place: Place,
    open: Option<OpenSegment<D::File>>,
    blind: bool,
}

impl<D: Disk> Sweep<D> {
    /// Begins at the first record of those parked routes that have room; `None` if none has.
    pub(super) fn begin(
        lane: LaneId,
        parked: &BTreeMap<RouteId, Place>,
        blind: bool,
        sink: &mut dyn Sink,
    ) -> Option<Self> {
        let taking: BTreeSet<RouteId> =
            parked.keys().copied().filter(|route| sink.ask(lane, *route).room == Room::Open).collect();
        let place =
            parked.iter().filter(|(route, _)| taking.contains(route)).map(|(_, place)| *place).min()?;
        Some(Self { lane, taking, place, open: None, blind })
    }

    /// Goes on for a while; true when the sweep has ended. Routes that came to the front are parked no more.
    pub(super) fn step(
        &mut self,
        base: &Base<D>,
        front: Place,
        progress: &mut Progress,
        sink: &mut dyn Sink,
    ) -> io::Result<bool> {
        for _ in 0..STEP_RECORDS {
            if self.taking.is_empty() {
                return Ok(true);
            }
            self.open(base, progress, sink)?;
            let open = self.open.as_mut().filter(|open| !open.place().has_reached(front));
            let Some(open) = open else {
                progress.parked.retain(|route, _| !self.taking.contains(route));
                return Ok(true);
            };
            let Some(found) = open.next(base)? else {
                self.place = Place::start_of(SegmentId(open.place().segment.0 + 1));
                self.open = None;
                continue;
            };
            let (here, behind) = (open.place_of(found.0), open.place());
            self.place = behind;
            let Some(frame) = open.record(found) else { continue };
            let route = frame.route();
            if !self.taking.contains(&route) {
                continue;
            }
            let ask = sink.ask(self.lane, route);
            match progress.turn(route, frame.position, ask.after) {
                Turn::Skip => {}
                Turn::Rewound => {
                    self.taking.remove(&route);
                    progress.rewind(&base.lanes[self.lane.index()], route, ask.after);
                }
                Turn::Offer if ask.room == Room::Open => {
                    sink.take(Stored { lane: self.lane, gateway: open.gateway(), frame });
                    progress.pass(route, frame.position);
                    progress.parked.insert(route, behind);
                }
                Turn::Offer => {
                    self.taking.remove(&route);
                    progress.parked.insert(route, here);
                }
            }
        }
        Ok(false)
    }

    fn open(&mut self, base: &Base<D>, progress: &mut Progress, sink: &mut dyn Sink) -> io::Result<()> {
        let lane = &base.lanes[self.lane.index()];
        if let Some(open) = &mut self.open
            && open.refresh(lane)
        {
            return Ok(());
        }
        let taking = &self.taking;
        let wanted = |route, last| {
            let after = |sink: &mut dyn Sink| sink.ask(self.lane, route).after;
            taking.contains(&route) && progress.turn(route, last, after(sink)) != Turn::Skip
        };
        self.open = OpenSegment::at_or_after(base, lane, self.place, self.blind, wanted)?;
        Ok(())
    }
}
