//! Reading the log for those who hand it over to Kafka.
//!
//! Per lane a *front* reader goes through the log once. A route that cannot take its next record is parked; a *back*
//! reader sweeps what lies between the parked routes and the front, skipping segments by what they hold, and a route
//! that has caught up rejoins the front. So there are two reading positions in a lane, however many routes there are.

mod open;
mod progress;
mod sweep;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Base, Lane, Next};
use crate::disk::Disk;
use crate::format::frame::Frame;
use crate::health::Health;
use crate::ids::{GatewayId, LaneId, Position, RouteId, SegmentId};
use open::{OpenSegment, Place};
use progress::{Progress, Turn};
use sweep::Sweep;

/// The front waits for a window that has moved within this, and parks the route otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// How soon the front asks again while it waits.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// How soon the back asks again whether a parked route can take something.
const SWEEP_AGAIN: Duration = Duration::from_millis(20);
/// How often routes are told of what the log has lost, until that is done.
const TELL_LOST_EVERY: Duration = Duration::from_secs(1);
/// Records that one step may deliver or pass over, front and back each.
const STEP_RECORDS: usize = 512;
/// A read that fails is tried again after this ...
const READ_RETRY: Duration = Duration::from_secs(1);
/// ... so often, before what cannot be read is passed over. While the disk is down it is tried for as long as that lasts.
const READ_TRIES: u32 = 10;

/// What a route can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The last record that the route has got. If it goes down, records are delivered again from there: as soon as
    /// a reader comes to the route, or is told by `Spool::rewind`.
    pub after: Position,
    /// Whether there is room for one more.
    pub room: Room,
}

/// Room in a route's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The next record is welcome.
    Open,
    /// No room; the window last moved at that time.
    Shut {
        /// On the clock that the reader is stepped by.
        moved: Duration,
    },
}

/// A record out of the log.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Its lane.
    pub lane: LaneId,
    /// Identity of the gateway that received it: half of header `tg-gw`.
    pub gateway: GatewayId,
    /// The record.
    pub frame: Frame<'a>,
}

/// Where records go: the routes and their windows.
pub trait Sink: Send {
    /// Returns what the route can take. Asked for each record, and to see whether anything of a route is still wanted.
    fn ask(&mut self, lane: LaneId, route: RouteId) -> Ask;

    /// Takes the next record of a route that has just said [`Room::Open`]. From now on `after` is its position.
    fn take(&mut self, stored: Stored<'_>);

    /// Learns that the log has nothing of the route behind `after`, which it has just said, up to `until`: it is damaged
    /// there, or what stood there was dropped. What it knows better meanwhile goes before.
    fn lost(&mut self, lane: LaneId, route: RouteId, after: Position, until: Position);
}

/// The two readers of one lane.
pub(crate) struct Reader<D: Disk> {
    base: Arc<Base<D>>,
    lane: LaneId,
    front: Place,
    open: Option<OpenSegment<D::File>>,
    progress: Progress,
    sweep: Option<Sweep<D>>,
    /// Whoever rings the reader does not make it try again sooner.
    no_front_before: Duration,
    no_sweep_before: Duration,
    /// Reads that failed one after the other: front, back.
    failed_reads: (u32, u32),
    no_lost_before: Duration,
}

impl<D: Disk> Reader<D> {
    pub(crate) fn new(base: Arc<Base<D>>, lane: LaneId) -> Self {
        Self {
            base,
            lane,
            front: Place::START,
            open: None,
            progress: Progress::default(),
            sweep: None,
            no_front_before: Duration::ZERO,
            no_sweep_before: Duration::ZERO,
            failed_reads: (0, 0),
            no_lost_before: Duration::ZERO,
        }
    }

    /// Delivers what can be delivered, for a bounded while.
    pub(crate) fn step(&mut self, now: Duration, sink: &mut dyn Sink) -> Next {
        // Before the front moves: where it then comes to rest, all of this is behind it.
        let lost = self.base.lanes[self.lane.index()].catalog().lost().clone();
        let front = self.step_front(now, sink).unwrap_or_else(|error| {
            self.failed_reads.0 += self.counts_failure(now);
            // By its name, it is found on a disk that was mounted anew.
            self.open = None;
            self.no_front_before = now + READ_RETRY;
            self.read_failed(now, &error)
        });
        let back = self.step_back(now, sink).unwrap_or_else(|error| {
            self.failed_reads.1 += self.counts_failure(now);
            self.sweep = None;
            self.no_sweep_before = now + READ_RETRY;
            self.read_failed(now, &error)
        });
        let told = if front == Next::Idle { self.tell_lost(&lost, now, sink) } else { Next::Idle };
        front.min(back).min(told)
    }

    /// Tells routes up to where the log has nothing more of them, though it was said to have.
    fn tell_lost(&mut self, lost: &BTreeMap<RouteId, Position>, now: Duration, sink: &mut dyn Sink) -> Next {
        if lost.is_empty() {
            return Next::Idle;
        }
        if now < self.no_lost_before {
            return Next::At(self.no_lost_before);
        }
        for (route, until) in lost {
            let after = sink.ask(self.lane, *route).after;
            // What a route wants again, or has not taken yet, may well be there.
            let is_behind =
                self.progress.parked.contains_key(route) || self.progress.is_rewound(*route, after);
            if !is_behind && after < *until {
                sink.lost(self.lane, *route, after, *until);
            }
        }
        self.no_lost_before = now + TELL_LOST_EVERY;
        Next::At(self.no_lost_before)
    }

    /// Looks at a route that wants earlier records again.
    pub(crate) fn rewind(&mut self, route: RouteId, sink: &mut dyn Sink) {
        let after = sink.ask(self.lane, route).after;
        if self.progress.is_rewound(route, after) {
            self.progress.rewind(&self.base.lanes[self.lane.index()], route, after);
            // A sweep that has passed this place begins anew.
            self.sweep = None;
            if self.failed_reads.1 == 0 {
                self.no_sweep_before = Duration::ZERO;
            }
        }
    }

    pub(crate) const fn lane(&self) -> LaneId {
        self.lane
    }

    /// Number of parked routes.
    pub(crate) fn parked(&self) -> usize {
        self.progress.parked.len()
    }

    fn step_front(&mut self, now: Duration, sink: &mut dyn Sink) -> io::Result<Next> {
        if now < self.no_front_before {
            return Ok(Next::At(self.no_front_before));
        }
        for _ in 0..STEP_RECORDS {
            self.open_front(sink)?;
            let Some(open) = &mut self.open else { return Ok(Next::Idle) };
            let Some(found) = open.next(&self.base)? else {
                let closed = open.closed();
                self.front = open.place();
                if !closed {
                    return Ok(Next::Idle);
                }
                self.front = Place::start_of(SegmentId(self.front.segment.0 + 1));
                self.open = None;
                continue;
            };
            self.failed_reads.0 = 0;
            self.front = open.place();
            let here = open.place_of(found.0);
            let Some(frame) = open.record(found) else { continue };
            let route = frame.route();
            if self.progress.parked.contains_key(&route) {
                continue;
            }
            let ask = sink.ask(self.lane, route);
            match self.progress.turn(route, frame.position, ask.after) {
                Turn::Skip => {}
                Turn::Rewound => {
                    self.progress.rewind(&self.base.lanes[self.lane.index()], route, ask.after);
                    self.sweep = None;
                }
                Turn::Offer => match ask.room {
                    Room::Open => {
                        sink.take(Stored { lane: self.lane, gateway: open.gateway(), frame });
                        self.progress.pass(route, frame.position);
                    }
                    Room::Shut { moved } if now < moved + PATIENCE => {
                        open.back_to(found.0);
                        self.front = here;
                        return Ok(Next::At(now + ASK_AGAIN));
                    }
                    Room::Shut { .. } => {
                        self.progress.parked.insert(route, here);
                    }
                },
            }
        }
        Ok(Next::Now)
    }

    /// Opens the segment at the front, or the next one with something wanted in it, if there is one.
    fn open_front(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        let lane = &self.base.lanes[self.lane.index()];
        let progress = &mut self.progress;
        let mut wanted = |route: RouteId, last: Position| {
            if progress.parked.contains_key(&route) {
                return false;
            }
            // A route that was rewound is wanted too: reading on is what notices it.
            progress.turn(route, last, sink.ask(self.lane, route).after) != Turn::Skip
        };
        let was_behind = self.open.as_ref().is_some_and(|open| open.unread_bytes() > 0);
        if self.open.as_mut().is_some_and(|open| open.refresh(lane)) {
            if was_behind {
                return Ok(());
            }
        } else {
            // A disk may come back; what it will never give back must not stop the rest.
            let blind = self.failed_reads.0 >= READ_TRIES;
            self.open = OpenSegment::at_or_after(&self.base, lane, self.front, blind, &mut wanted)?;
        }
        if let Some(open) = &mut self.open {
            if open.skip_unwanted(lane, wanted) {
                // What could not be read is wanted no more.
                self.failed_reads.0 = 0;
            }
            self.front = open.place();
        }
        Ok(())
    }

    fn step_back(&mut self, now: Duration, sink: &mut dyn Sink) -> io::Result<Next> {
        if self.progress.parked.is_empty() {
            self.sweep = None;
            return Ok(Next::Idle);
        }
        if self.sweep.is_none() {
            if now < self.no_sweep_before {
                return Ok(Next::At(self.no_sweep_before));
            }
            let blind = self.failed_reads.1 >= READ_TRIES;
            self.sweep = Sweep::begin(self.lane, &self.progress.parked, blind, sink);
        }
        let Some(sweep) = &mut self.sweep else {
            self.no_sweep_before = now + SWEEP_AGAIN;
            return Ok(Next::At(self.no_sweep_before));
        };
        if sweep.step(&self.base, self.front, &mut self.progress, sink)? {
            self.sweep = None;
            self.failed_reads.1 = 0;
            self.no_sweep_before = now + SWEEP_AGAIN;
            return Ok(Next::At(self.no_sweep_before));
        }
        Ok(Next::Now)
    }

    /// Returns 1 if a failed read brings nearer that what it wanted is passed over, 0 while the disk is down: all lanes are
    /// on one, and it may come back whole.
    fn counts_failure(&self, now: Duration) -> u32 {
        let is_down = |lane: &Lane| self.base.status.get(lane.id, now) == Health::Down;
        u32::from(!self.base.lanes.iter().any(is_down))
    }

    fn read_failed(&self, now: Duration, error: &io::Error) -> Next {
        let name = &self.base.lanes[self.lane.index()].name;
        self.base.stats(|stats| stats.failed_reads += 1);
        tracing::error!(lane = %name, %error, "the spool cannot be read");
        Next::At(now + READ_RETRY)
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
