//! The door: accepts connections, reads their CONNECT, and sends them to the worker they belong to.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tidegate_mqtt::codec::Connect;
use tidegate_mqtt::{Event, Protocol, ReasonCode, Version};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::error::TrySendError;

use super::arrival::{Arrival, Socket};
use super::connection::say_last;
use super::{FailOnPanic, Shelf, Worker};
use crate::reason::RefuseReason;
use crate::shard::{client_hash, shard_of, worker_of};
use crate::shared::{Place, Shared};
use crate::stats::Counters;

/// Bytes read at once before CONNECT: most fit, and what comes behind it is not for this worker.
const READ_BYTES: usize = 2048;
/// Pause after the system refused to accept, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the gateway stops, or is to drain; without a listener there is nobody to accept.
pub(super) async fn accept(worker: Shelf, listener: Option<TcpListener>) {
    let Some(listener) = listener else { return };
    let (shared, counters) = {
        let worker = worker.borrow();
        (Arc::clone(&worker.shared), Arc::clone(&worker.counters))
    };
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            () = shared.emptying.asked() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failing = false;
                counters.accepted.add(1);
                let number = shared.accept_numbers.fetch_add(1, Ordering::Relaxed);
                match shared.sockets.take() {
                    Some(place) => {
                        tokio::task::spawn_local(enter(Rc::clone(&worker), stream, number, place));
                    }
                    None => counters.refused(RefuseReason::ConnectionLimit),
                }
            }
            Err(error) => {
                counters.refused(RefuseReason::System);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "connections cannot be accepted; trying on");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection before its session.
struct Visitor {
    stream: TcpStream,
    protocol: Protocol,
    bytes: Vec<u8>,
}

async fn enter(worker: Shelf, stream: TcpStream, number: u64, place: Place) {
    let _watch = FailOnPanic(&worker);
    let (shared, counters) = {
        let worker = worker.borrow();
        (Arc::clone(&worker.shared), Arc::clone(&worker.counters))
    };
    let mut visitor = Visitor { stream, protocol: Protocol::new(shared.limits), bytes: Vec::new() };
    let greeted = tokio::time::timeout(shared.connect_time, visitor.greet(&shared, &counters, number)).await;
    let card = match greeted {
        Ok(Ok(card)) => card,
        Ok(Err(reason)) => return visitor.turn_away(reason, &counters),
        Err(_) => return visitor.turn_away(RefuseReason::ConnectTime, &counters),
    };
    if shared.is_closing() {
        return visitor.turn_away(RefuseReason::Stopping, &counters);
    }
    let Some(session) = shared.connections.take() else {
        return visitor.turn_away(RefuseReason::ConnectionLimit, &counters);
    };
    let Visitor { stream, protocol, bytes } = visitor;
    let owner = worker_of(card.shard, shared.inboxes.len());
    let arrival = |socket| Arrival { socket, protocol, unread: bytes, card, number, place: (place, session) };
    if owner == worker.borrow().index {
        Worker::receive(&worker, arrival(Socket::Here(stream)));
        return;
    }
    let Ok(stream) = stream.into_std() else {
        counters.refused(RefuseReason::System);
        return;
    };
    if let Err(TrySendError::Full(mut lost) | TrySendError::Closed(mut lost)) =
        shared.inboxes[owner].try_send(arrival(Socket::Moved(stream)))
    {
        lost.refuse(ReasonCode::SERVER_BUSY);
        counters.refused(RefuseReason::WorkerBusy);
    }
}

/// What CONNECT said.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) client_id: Box<str>,
    /// The server chose the client id.
    pub(super) assigned: bool,
    pub(super) client_hash: u64,
    pub(super) shard: u8,
    pub(super) class: tidegate_core::admission::ClassId,
    pub(super) clean_start: bool,
    pub(super) keep_alive: Duration,
    /// How long the client wants its session to outlive the connection; `Duration::MAX` is for ever.
    pub(super) session: Duration,
}

impl Card {
    fn new(connect: &Connect<'_>, shared: &Shared, number: u64) -> Self {
        let assigned = connect.client_id.is_empty();
        let client_id: Box<str> = if assigned {
            // The run is in it, so the id is unique over restarts.
            format!("{}-{number}", shared.identity.run).into()
        } else {
            connect.client_id.into()
        };
        let client_hash = client_hash(&client_id);
        let session = match (connect.version, connect.properties.session_expiry_secs()) {
            (Version::V311, _) if connect.clean_start => Duration::ZERO,
            (Version::V311, _) | (Version::V5, Some(u32::MAX)) => Duration::MAX,
            (Version::V5, secs) => Duration::from_secs(secs.unwrap_or(0).into()),
        };
        Self {
            assigned,
            client_hash,
            shard: shard_of(client_hash),
            class: shared.classes.at_connect(connect.user_name, &client_id),
            clean_start: connect.clean_start,
            keep_alive: Duration::from_secs(connect.keep_alive_secs.into()),
            session,
            client_id,
        }
    }
}

impl Visitor {
    /// Reads until CONNECT is whole; the protocol bounds how long it may be.
    async fn greet(
        &mut self,
        shared: &Shared,
        counters: &Counters,
        number: u64,
    ) -> Result<Card, RefuseReason> {
        loop {
            match self.protocol.step(&self.bytes) {
                Ok(Some((Event::Connect(connect), len))) => {
                    let card = Card::new(&connect, shared, number);
                    self.bytes.drain(..len);
                    return Ok(card);
                }
                // Before CONNECT nothing else is an event.
                Ok(_) => {}
                Err(violation) => {
                    counters.violation(&violation, "");
                    let mut out = Vec::new();
                    self.protocol.violation_reply(&violation, &mut out);
                    say_last(&SockRef::from(&self.stream), &out);
                    return Err(RefuseReason::Violation);
                }
            }
            self.stream.readable().await.map_err(|_| RefuseReason::System)?;
            let kept = self.bytes.len();
            self.bytes.resize(kept + READ_BYTES, 0);
            let read = self.stream.try_read(&mut self.bytes[kept..]);
            self.bytes.truncate(kept + read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(RefuseReason::ClosedEarly),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(RefuseReason::ClosedEarly);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn turn_away(mut self, reason: RefuseReason, counters: &Counters) {
        counters.refused(reason);
        let code = match reason {
            RefuseReason::ConnectionLimit => ReasonCode::SERVER_BUSY,
            RefuseReason::Stopping => ReasonCode::SERVER_UNAVAILABLE,
            // A violation has been answered; the others sent nothing to answer.
            _ => return,
        };
        let mut out = Vec::new();
        if self.protocol.refuse(code, &[], &mut out).is_ok() {
            say_last(&SockRef::from(&self.stream), &out);
        }
    }
}
