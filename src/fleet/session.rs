//! The messages of one device: which are on their way, which goes next, which goes again. Pure.
//!
//! Owns the window. Messages have consecutive numbers, so three marks say it all: every message below `done` is
//! settled, those below `next` are on this connection, those below `fresh` went out before.
//!
//! ```text
//! settled | on this connection | to be sent again | never sent
//! 0 ... done ............... next ............. fresh ........ end
//! ```

use std::collections::VecDeque;
use std::num::NonZeroU16;

use tidegate_core::time::Timestamp;

/// Packet identifiers that the standard has: 1 to 65 535.
const PACKET_IDS: u32 = u16::MAX as u32;

/// State of a device's messages, over all of its connections.
#[derive(Debug)]
pub(crate) struct Session {
    done: u32,
    next: u32,
    fresh: u32,
    end: u32,
    window: u32,
    /// Messages from `done` to `fresh`; never more than the window.
    flight: VecDeque<Flight>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    sent: Timestamp,
    settled: bool,
}

/// A message to put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) seq: u32,
    pub(crate) packet_id: NonZeroU16,
    /// When it was first sent.
    pub(crate) sent: Timestamp,
    pub(crate) resend: bool,
}

impl Session {
    /// A device with `end` messages. Nothing goes out before it is [`connected`](Self::connected).
    pub(crate) fn new(end: u32) -> Self {
        Self { done: 0, next: 0, fresh: 0, end, window: 0, flight: VecDeque::new() }
    }

    /// Begins a connection on which `window` messages may be unacknowledged: all that are not settled go again.
    pub(crate) fn connected(&mut self, window: u16) {
        self.next = self.done;
        self.window = u32::from(window);
    }

    /// Takes no more new messages; those on their way still end.
    pub(crate) fn close(&mut self) {
        self.end = self.fresh;
    }

    /// Returns true once every message is settled.
    pub(crate) fn is_finished(&self) -> bool {
        self.done == self.end
    }

    /// Returns how many messages are not settled.
    pub(crate) fn unfinished(&self, planned: u32) -> u32 {
        planned
            - self.done
            - u32::try_from(self.flight.iter().filter(|one| one.settled).count()).unwrap_or(u32::MAX)
    }

    /// Returns the number of the next new message, if there is one and it may go out on this connection now.
    pub(crate) fn wants(&self) -> Option<u32> {
        (self.next == self.fresh && self.has_room() && self.fresh < self.end).then_some(self.fresh)
    }

    /// Returns the next message that goes again.
    pub(crate) fn resend(&mut self) -> Option<Outgoing> {
        while self.next < self.fresh && self.has_room() {
            let seq = self.next;
            self.next += 1;
            let one = self.flight[(seq - self.done) as usize];
            if !one.settled {
                return Some(Outgoing { seq, packet_id: packet_id(seq), sent: one.sent, resend: true });
            }
        }
        None
    }

    /// Sends the message that [`wants`](Self::wants) returned, with an acknowledgement to come.
    pub(crate) fn send(&mut self, now: Timestamp) -> Outgoing {
        let seq = self.fresh;
        self.flight.push_back(Flight { sent: now, settled: false });
        self.fresh += 1;
        self.next = self.fresh;
        Outgoing { seq, packet_id: packet_id(seq), sent: now, resend: false }
    }

    /// Sends the message that [`wants`](Self::wants) returned and forgets it (QoS 0). Returns its number.
    pub(crate) fn send_and_forget(&mut self) -> u32 {
        let seq = self.fresh;
        self.fresh += 1;
        (self.done, self.next) = (self.fresh, self.fresh);
        seq
    }

    /// Settles a message. Returns its number and when it was first sent; `None` if no message waits for this.
    pub(crate) fn settle(&mut self, id: NonZeroU16) -> Option<(u32, Timestamp)> {
        let ahead = (u32::from(id.get()) - 1 + PACKET_IDS - self.done % PACKET_IDS) % PACKET_IDS;
        let one = self.flight.get_mut(ahead as usize).filter(|one| !one.settled)?;
        one.settled = true;
        let settled = (self.done + ahead, one.sent);
        while self.flight.front().is_some_and(|first| first.settled) {
            self.flight.pop_front();
            self.done += 1;
        }
        self.next = self.next.max(self.done);
        Some(settled)
    }

    fn has_room(&self) -> bool {
        self.next - self.done < self.window
    }
}

/// Unique among unacknowledged messages, which are consecutive and fewer than there are identifiers.
fn packet_id(seq: u32) -> NonZeroU16 {
    let id = u16::try_from(seq % PACKET_IDS + 1).expect("1 to 65535");
    NonZeroU16::new(id).expect("at least 1")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(7);

    fn send_all(session: &mut Session) -> Vec<Outgoing> {
        let mut sent: Vec<_> = std::iter::from_fn(|| session.resend()).collect();
        while session.wants().is_some() {
            sent.push(session.send(NOW));
        }
        sent
    }

    fn numbers(sent: &[Outgoing]) -> Vec<(u32, bool)> {
        sent.iter().map(|one| (one.seq, one.resend)).collect()
    }

    #[test]
    fn the_window_bounds_what_is_unacknowledged() {
        let mut session = Session::new(5);
        assert!(session.wants().is_none(), "not connected");
        session.connected(3);
        let sent = send_all(&mut session);
        assert_eq!(numbers(&sent), [(0, false), (1, false), (2, false)]);
        // Out of order: the window is a span of numbers and moves with its first one.
        assert_eq!(session.settle(sent[1].packet_id), Some((1, NOW)));
        assert!(session.wants().is_none());
        assert_eq!(session.settle(sent[0].packet_id), Some((0, NOW)));
        assert_eq!(numbers(&send_all(&mut session)), [(3, false), (4, false)]);
        assert_eq!(session.settle(sent[0].packet_id), None, "a second acknowledgement");
        assert_eq!(session.unfinished(5), 3);
    }

    #[test]
    fn after_a_reconnect_what_is_unsettled_goes_again_first_and_in_order() {
        let mut session = Session::new(6);
        session.connected(4);
        let sent = send_all(&mut session);
        session.settle(sent[1].packet_id);
        session.connected(2);
        assert_eq!(numbers(&send_all(&mut session)), [(0, true)], "the new window is smaller");
        session.settle(sent[0].packet_id);
        assert_eq!(numbers(&send_all(&mut session)), [(2, true), (3, true)]);
        // The server may acknowledge what an earlier connection brought it.
        session.connected(4);
        session.settle(sent[2].packet_id);
        assert_eq!(numbers(&send_all(&mut session)), [(3, true), (4, false), (5, false)]);
    }

    #[test]
    fn a_closed_session_ends_with_what_is_on_its_way() {
        let mut session = Session::new(100);
        session.connected(2);
        let sent = send_all(&mut session);
        session.close();
        assert!(!session.is_finished());
        assert!(sent.iter().all(|one| session.settle(one.packet_id).is_some()));
        assert!(session.is_finished() && session.wants().is_none());
    }

    proptest! {
        #[test]
        fn every_message_is_settled_once_and_first_sent_in_order(
            end in 1u32..200,
            window in 1u16..20,
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0u8..10), 1..2000),
        ) {
            let mut session = Session::new(end);
            // Packet identifiers wrap within the run.
            let begin = PACKET_IDS - 50;
            (session.done, session.next, session.fresh, session.end) = (begin, begin, begin, begin + end);
            session.connected(window);
            let (mut wire, mut first, mut settled) = (Vec::new(), Vec::new(), Vec::new());
            for (which, action) in steps {
                if action == 0 {
                    wire.clear();
                    session.connected(window);
                }
                let sent = send_all(&mut session);
                first.extend(sent.iter().filter(|one| !one.resend).map(|one| one.seq));
                wire.extend(sent);
                prop_assert!(wire.len() <= usize::from(window));
                prop_assert!(wire.is_sorted_by_key(|one: &Outgoing| one.seq), "order on the wire");
                if !wire.is_empty() {
                    let one = wire.remove(which.index(wire.len()));
                    prop_assert_eq!(session.settle(one.packet_id), Some((one.seq, NOW)));
                    settled.push(one.seq);
                }
            }
            prop_assert!(first.iter().copied().eq(begin..begin + u32::try_from(first.len()).unwrap()));
            settled.sort_unstable();
            prop_assert!(settled.windows(2).all(|pair| pair[0] < pair[1]), "settled twice");
            prop_assert_eq!(session.unfinished(begin + end) as usize, end as usize - settled.len());
            prop_assert_eq!(session.is_finished(), settled.len() == end as usize);
        }
    }
}
