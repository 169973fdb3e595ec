//! A worker: one thread that owns all devices of its shards.
//!
//! [`Worker`] is a plain state machine behind an `Rc<RefCell>`; the tasks around it only wait (for sockets,
//! reports, timers, arrivals) and then call it. No call waits, so no borrow is held across an await.

mod arrival;
mod connection;
mod door;
mod intake;
mod pipeline;
mod slab;
mod thread;
mod timers;

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_core::admission::DeviceBuckets;
use tidegate_core::time::Timestamp;
use tidegate_kafka::delivery::Port;
use tidegate_mqtt::ReasonCode;
use tokio::sync::Notify;

pub(crate) use arrival::Arrival;
pub(crate) use thread::{Seed, spawn};

use crate::reason::CloseReason;
use crate::session::Sessions;
use crate::shared::Shared;
use crate::stats::Counters;
use connection::{Connection, Desk, SCRATCH_BYTES};
use pipeline::{AckTarget, Pipeline};
use slab::{ConnectionId, Slab};
use timers::Timers;

/// Used-up buckets of devices that are away, per worker; each matters for a few seconds only.
const PARKED_BUCKETS: usize = 65_536;

type Shelf = Rc<RefCell<Worker>>;

pub(crate) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    pipeline: Pipeline,
    connections: Slab<Connection>,
    by_client: HashMap<Rc<str>, ConnectionId>,
    devices: DeviceBuckets,
    sessions: Sessions,
    timers: Timers,
    /// Read buffer of whichever connection reads.
    scratch: Box<[u8]>,
    /// Answers of whichever connection is served; empty between calls.
    out: Vec<u8>,
    /// Kept for their memory, empty between calls.
    confirmed: Vec<AckTarget>,
    dirty: Vec<ConnectionId>,
    /// The gateway stops, or drains.
    stopping: bool,
}

impl Worker {
    fn new(index: usize, shared: &Arc<Shared>, counters: &Arc<Counters>, port: Port) -> Self {
        Self {
            index,
            shared: Arc::clone(shared),
            counters: Arc::clone(counters),
            pipeline: Pipeline::new(index, shared, counters, port),
            connections: Slab::new(),
            by_client: HashMap::new(),
            devices: DeviceBuckets::new(PARKED_BUCKETS),
            sessions: Sessions::default(),
            timers: Timers::new((shared.clock)()),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            out: Vec::new(),
            confirmed: Vec::new(),
            dirty: Vec::new(),
            stopping: false,
        }
    }

    /// Serves one connection, and closes it or sets its timer as it comes out.
    fn serve<T>(
        &mut self,
        id: ConnectionId,
        now: Timestamp,
        serve: impl FnOnce(&mut Connection, &mut Desk<'_>) -> Result<T, CloseReason>,
    ) -> Option<T> {
        let Self { connections, pipeline, scratch, out, timers, .. } = self;
        let connection = connections.get_mut(id)?;
        let mut desk = Desk { pipeline, scratch, out, now };
        match serve(connection, &mut desk) {
            Ok(served) => {
                if let Some(due) = connection.pace_due(&mut desk)
                    && connection.paced_for.is_none_or(|set| due < set)
                {
                    connection.paced_for = Some(due);
                    timers.pace(id, due);
                }
                if let Some(due) = desk.pipeline.retry_at() {
                    timers.tell(due);
                }
                Some(served)
            }
            Err(ended) => {
                self.close(id, ended, now);
                None
            }
        }
    }

    fn poll_connection(&mut self, id: ConnectionId, cx: &mut Context<'_>) -> Poll<()> {
        let now = (self.shared.clock)();
        let polled = self.serve(id, now, |connection, desk| match connection.poll(desk, cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(ended) => Err(ended),
        });
        polled.map_or(Poll::Ready(()), |()| Poll::Pending)
    }

    /// Takes what Kafka and the disk have said, and lets out the PUBACKs that it releases.
    fn on_news(&mut self) {
        let now = (self.shared.clock)();
        self.pipeline.take_news(&mut self.confirmed, now);
        self.let_out(now);
    }

    /// The same, and judges the routes afterwards: none may look slow for want of a look.
    fn judge(&mut self) {
        let now = (self.shared.clock)();
        self.pipeline.take_news(&mut self.confirmed, now);
        self.pipeline.judge(&mut self.confirmed, now);
        self.let_out(now);
    }

    /// Lets out the PUBACKs of what was confirmed, one write per connection.
    fn let_out(&mut self, now: Timestamp) {
        let mut confirmed = std::mem::take(&mut self.confirmed);
        for target in confirmed.drain(..) {
            // Whoever is gone sends the message again to its next connection.
            let (Some(connection), Some(ack)) = (self.connections.get_mut(target.connection), target.ack)
            else {
                self.counters.ack_orphans.add(1);
                continue;
            };
            connection.confirm(ack);
            if !std::mem::replace(&mut connection.dirty, true) {
                self.dirty.push(target.connection);
            }
        }
        self.confirmed = confirmed;
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.serve(id, now, |connection, desk| {
                connection.dirty = false;
                connection.acknowledge(desk)
            });
            if self.stopping {
                self.close_if_done(id, now);
            }
        }
        self.dirty = dirty;
        if let Some(due) = self.pipeline.retry_at() {
            self.timers.tell(due);
        }
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason, now: Timestamp) {
        let Some(mut connection) = self.connections.remove(id) else {
            return;
        };
        match reason {
            CloseReason::KeepAlive => connection.end(ReasonCode::KEEP_ALIVE_TIMEOUT, &mut self.out),
            CloseReason::TakenOver => connection.end(ReasonCode::SESSION_TAKEN_OVER, &mut self.out),
            CloseReason::Stopping => connection.end(ReasonCode::SERVER_SHUTTING_DOWN, &mut self.out),
            CloseReason::NoMemory => connection.end(ReasonCode::SERVER_BUSY, &mut self.out),
            CloseReason::Disconnect | CloseReason::Violation | CloseReason::Unacceptable => {
                connection.part(&mut self.out);
            }
            CloseReason::ClosedByClient | CloseReason::Network | CloseReason::SlowReader => {}
        }
        self.out.clear();
        connection.intake.drop_held(&self.pipeline);
        self.counters.closed(reason, &connection.intake.client_id);
        self.devices.park(connection.intake.client_hash, connection.intake.bucket, now);
        if self.by_client.get(&connection.intake.client_id) == Some(&id) {
            self.by_client.remove(&connection.intake.client_id);
            self.sessions.park(connection.intake.client_hash, connection.session, now);
        }
        connection.wake();
    }

    /// Stops taking in: connections without unconfirmed messages are closed, the others when theirs are confirmed.
    ///
    /// The server must not send anything after DISCONNECT [MQTT-3.14.4-1], so 0x8B comes after the last PUBACK.
    fn begin_stop(&mut self, now: Timestamp) {
        self.pipeline.stop_reading_all();
        self.close_door(now);
    }

    /// The same, and goes on with what is in the log.
    fn close_door(&mut self, now: Timestamp) {
        self.stopping = true;
        for id in self.connections.ids() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.stop_reading(&self.pipeline);
            }
            self.close_if_done(id, now);
        }
    }

    fn close_if_done(&mut self, id: ConnectionId, now: Timestamp) {
        if self.connections.get_mut(id).is_some_and(|connection| connection.in_flight == 0) {
            self.close(id, CloseReason::Stopping, now);
        }
    }

    fn close_all(&mut self, now: Timestamp) {
        for id in self.connections.ids() {
            self.close(id, CloseReason::Stopping, now);
        }
    }

    /// Returns true if nobody is connected and memory has nothing that neither Kafka nor the disk has.
    fn is_empty(&self) -> bool {
        self.connections.len() == 0 && self.pipeline.routes.records() == 0
    }

    /// Returns true if nothing is left to wait for.
    fn is_done(&self) -> bool {
        self.is_empty() && !self.pipeline.routes.is_in_flight()
    }
}

/// The task of one connection: nothing but its name, since all else is the worker's.
struct ConnectionTask {
    worker: Shelf,
    id: ConnectionId,
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _watch = FailOnPanic(&self.worker);
        self.worker.borrow_mut().poll_connection(self.id, cx)
    }
}

/// Stops the gateway if its scope panics.
///
/// The runtime would swallow the panic of a task that nobody joins, and a device would be left that nobody serves.
struct FailOnPanic<'a>(&'a Shelf);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(worker) = self.0.try_borrow()
        {
            worker.shared.fail(crate::Error::Died("a connection's task"));
        }
    }
}

/// Wakes of a worker, from any thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Notify>);

impl Bell {
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }

    async fn rung(&self) {
        self.0.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_and_its_task_stay_within_512_bytes() {
        let bytes = size_of::<ConnectionTask>() + size_of::<Connection>();
        assert!(bytes <= 512, "{bytes}");
    }
}
