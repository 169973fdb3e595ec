//! A connection on its way to its owner, and what the owner does with it.

use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tidegate_mqtt::{Accept, Protocol, ReasonCode};
use tokio::net::TcpStream;

use super::connection::{Connection, say_last};
use super::door::Card;
use super::intake::Intake;
use super::slab::ConnectionId;
use super::{ConnectionTask, Shelf, Worker};
use crate::ceiling::Share;
use crate::reason::{CloseReason, RefuseReason};
use crate::session::MAX_SESSION;
use crate::shared::Place;

/// A connection whose CONNECT is read and not yet answered: socket, protocol state, unread bytes, accept number.
pub(crate) struct Arrival {
    pub(super) socket: Socket,
    pub(super) protocol: Protocol,
    pub(super) unread: Vec<u8>,
    pub(super) card: Card,
    pub(super) number: u64,
    pub(super) place: (Place, Place),
}

pub(super) enum Socket {
    /// Registered with this worker's runtime.
    Here(TcpStream),
    /// On its way from another worker's.
    Moved(std::net::TcpStream),
}

impl Arrival {
    /// Answers CONNECT with a refusal and closes.
    pub(super) fn refuse(&mut self, code: ReasonCode) {
        let mut out = Vec::new();
        if self.protocol.refuse(code, &[], &mut out).is_ok() {
            let socket = match &self.socket {
                Socket::Here(stream) => SockRef::from(stream),
                Socket::Moved(stream) => SockRef::from(stream),
            };
            say_last(&socket, &out);
        }
    }
}

impl Worker {
    /// Makes an arrival a session of this worker, or refuses it.
    pub(super) fn receive(worker: &Shelf, mut arrival: Arrival) {
        let mut here = worker.borrow_mut();
        if here.stopping {
            arrival.refuse(ReasonCode::SERVER_UNAVAILABLE);
            here.counters.refused(RefuseReason::Stopping);
            return;
        }
        let older = here.by_client.get(&*arrival.card.client_id).copied();
        let is_older = |id| here.connections.get_mut(id).is_some_and(|other| other.accepted > arrival.number);
        if older.is_some_and(is_older) {
            // It was accepted before the connection that is there: the client has given it up.
            here.counters.refused(RefuseReason::Overtaken);
            return;
        }
        match here.settle(older, arrival) {
            Ok(id) => {
                drop(here);
                tokio::task::spawn_local(ConnectionTask { worker: Rc::clone(worker), id });
            }
            Err(reason) => here.counters.refused(reason),
        }
    }

    fn settle(
        &mut self,
        older: Option<ConnectionId>,
        arrival: Arrival,
    ) -> Result<ConnectionId, RefuseReason> {
        let Arrival { socket, mut protocol, unread, card, number, place } = arrival;
        let now = (self.shared.clock)();
        let stream = match socket {
            Socket::Here(stream) => stream,
            Socket::Moved(stream) => TcpStream::from_std(stream).map_err(|_| RefuseReason::System)?,
        };
        if let Some(older) = older {
            // Parks its bucket and its session, for the new connection to find.
            self.close(older, CloseReason::TakenOver, now);
        }
        let known = self.sessions.resume(card.client_hash, now);
        let session = card.session.min(MAX_SESSION);
        let accept = Accept {
            session_present: known && !card.clean_start,
            session_expiry_secs: (session < card.session).then_some(seconds(session)),
            assigned_client_id: card.assigned.then_some(&card.client_id),
            server_keep_alive_secs: None,
        };
        protocol.accept(&accept, &mut self.out).map_err(|_| RefuseReason::Unanswerable)?;
        let client_id: Rc<str> = card.client_id.into();
        let bucket = self.devices.take(card.client_hash);
        let share = Share::none(&self.shared.hold_ceiling);
        let id = self.connections.insert_with(|id| {
            let intake =
                Intake::new(id, Rc::clone(&client_id), card.client_hash, card.shard, card.class, bucket);
            Connection::new(
                stream,
                protocol,
                intake,
                number,
                card.keep_alive,
                session,
                unread,
                share,
                place,
                now,
            )
        });
        self.by_client.insert(client_id, id);
        self.counters.opened.add(1);
        if !card.keep_alive.is_zero() {
            self.timers.keep_alive(id, now + card.keep_alive + card.keep_alive / 2);
        }
        // What came behind CONNECT is decoded before the task first waits for the socket.
        self.serve(id, now, |connection, desk| {
            connection.flush(desk.out)?;
            connection.advance(desk)?;
            connection.flush(desk.out)
        });
        Ok(id)
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
