//! One connected device: socket, protocol state, and what of its bytes is not done with.
//!
//! Owns reading and writing. An idle connection holds no buffer: it reads into the worker's, and keeps the tail of
//! a partial packet only. It never waits: it is polled by its task, by reports that release PUBACKs, and by timers.

mod decode;
mod look_ahead;
mod write;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tidegate_core::time::Timestamp;
use tidegate_mqtt::{AckSlot, Protocol, ReasonCode, Version};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::intake::Intake;
use super::pipeline::Pipeline;
use crate::ceiling::Share;
use crate::reason::CloseReason;
use crate::shared::Place;
pub(crate) use write::say_last;

/// Bytes taken from a socket at once; as much as its receive buffer holds.
pub(crate) const READ_BYTES: usize = 16 * 1024;
/// A tail up to this size is copied in front of the next read; a longer one is read behind where it is, so that a
/// packet that comes byte by byte is not copied as often.
const SMALL_TAIL_BYTES: usize = 2 * 1024;
/// Size of a worker's read buffer.
pub(crate) const SCRATCH_BYTES: usize = SMALL_TAIL_BYTES + READ_BYTES;
/// Reads of one connection before others have their turn.
const READS_PER_TURN: usize = 4;
/// Longest time between two looks ahead.
const LOOK_AHEAD_EVERY: Duration = Duration::from_secs(1);

/// What a connection works with that is the worker's.
pub(crate) struct Desk<'a> {
    pub(crate) pipeline: &'a mut Pipeline,
    pub(crate) scratch: &'a mut [u8],
    /// Answers of this turn; empty between turns.
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) now: Timestamp,
}

/// Whether the client is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    On,
    /// Nothing is decoded: the window or the hold queue is full.
    Stopped,
    /// The gateway stops: nothing is read any more.
    Over,
}

/// What ends a connection; the worker tells the client, as far as its version has words for it.
pub(crate) type Ended = CloseReason;

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) protocol: Protocol,
    pub(crate) intake: Intake,
    /// Accept number: a connection never takes over from a newer one.
    pub(crate) accepted: u64,
    /// How long its session outlives it.
    pub(crate) session: Duration,
    /// 1.5 times the keep-alive; zero is none.
    pub(crate) silence: Duration,
    pub(crate) last_seen: Timestamp,
    /// Messages with Kafka or on the way there that have a PUBACK to come.
    pub(crate) in_flight: u32,
    /// The timer of the pace wheel that counts.
    pub(crate) paced_for: Option<Timestamp>,
    /// The worker will let out PUBACKs at the end of this turn.
    pub(crate) dirty: bool,
    reading: Reading,
    /// Bytes that were read and not decoded.
    tail: Vec<u8>,
    tail_share: Share,
    /// Answers that the socket did not take.
    unsent: Vec<u8>,
    waker: Option<Waker>,
    _place: (Place, Place),
}

impl Connection {
    #[expect(
        clippy::too_many_arguments,
        reason = "it is made in one place, from what CONNECT and the worker know"
    )]
    pub(crate) fn new(
        stream: TcpStream,
        protocol: Protocol,
        intake: Intake,
        accepted: u64,
        keep_alive: Duration,
        session: Duration,
        unread: Vec<u8>,
        share: Share,
        place: (Place, Place),
        now: Timestamp,
    ) -> Self {
        Self {
            stream,
            protocol,
            intake,
            accepted,
            session,
            silence: keep_alive + keep_alive / 2,
            last_seen: now,
            in_flight: 0,
            paced_for: None,
            dirty: false,
            reading: Reading::On,
            tail: unread,
            tail_share: share,
            unsent: Vec::new(),
            waker: None,
            _place: place,
        }
    }

    /// The connection's task: writes what waits, reads what came. `Ready` once it has ended.
    pub(crate) fn poll(&mut self, desk: &mut Desk<'_>, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        for _ in 0..READS_PER_TURN {
            if !self.unsent.is_empty() {
                match self.poll_unsent(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(CloseReason::Network),
                    // A client that does not read its answers is not read either.
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.reading != Reading::On {
                return Poll::Pending;
            }
            let read = match self.poll_read(desk, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => read,
            };
            if let Err(ended) = read {
                return Poll::Ready(ended);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Decodes what was read, as far as it may be.
    pub(crate) fn advance(&mut self, desk: &mut Desk<'_>) -> Result<(), Ended> {
        let mut tail = std::mem::take(&mut self.tail);
        let used = self.decode(&tail, desk);
        tail.drain(..*used.as_ref().unwrap_or(&0));
        self.tail = tail;
        used.and_then(|_| self.account())
    }

    /// Lets go what waited, decodes on, and if that is not possible looks ahead for a PINGREQ.
    pub(crate) fn pace(&mut self, desk: &mut Desk<'_>) -> Result<(), Ended> {
        self.release(desk);
        self.drain_acks(desk);
        if self.is_stopped() {
            self.advance(desk)?;
            if self.is_stopped() {
                self.look_ahead(desk)?;
            } else {
                self.wake();
            }
        }
        self.flush(desk.out)
    }

    /// Returns when [`Self::pace`] is due; none if nothing waits.
    pub(crate) fn pace_due(&mut self, desk: &mut Desk<'_>) -> Option<Timestamp> {
        let held = self.release(desk);
        let look = self.is_stopped().then(|| {
            if self.intake.held() == 0 && !self.window_is_full(desk.pipeline) {
                // What was in the way has gone a moment ago.
                return desk.now;
            }
            // Two thirds of the silence are the keep-alive; a quarter of that leaves room for a lost look.
            let every = if self.silence.is_zero() {
                LOOK_AHEAD_EVERY
            } else {
                LOOK_AHEAD_EVERY.min(self.silence / 6)
            };
            desk.now + every
        });
        match (held, look) {
            (Some(held), Some(look)) => Some(held.min(look)),
            (held, look) => held.or(look),
        }
    }

    /// Notes that Kafka has a message; its PUBACK leaves with [`Self::acknowledge`].
    pub(crate) fn confirm(&mut self, ack: AckSlot) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.protocol.complete(ack, ReasonCode::SUCCESS);
    }

    /// Writes the PUBACKs that may leave, all at once, and decodes on if only they were in the way.
    pub(crate) fn acknowledge(&mut self, desk: &mut Desk<'_>) -> Result<(), Ended> {
        let count = self.drain_acks(desk);
        if self.is_stopped() && count > 0 {
            self.advance(desk)?;
            if !self.is_stopped() {
                self.wake();
            }
        }
        self.flush(desk.out)
    }

    /// Stops reading, since the gateway stops: what waits or is not decoded is the device's to send again.
    pub(crate) fn stop_reading(&mut self, pipeline: &Pipeline) {
        self.reading = Reading::Over;
        self.intake.drop_held(pipeline);
        self.tail = Vec::new();
        self.tail_share.force_resize(0);
    }

    /// Lets the task see what changed.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        !self.silence.is_zero() && now.since(self.last_seen) >= self.silence && !self.has_unread()
    }

    /// Returns true if the client has sent what we have not read: a full look-ahead hides it, or this process was
    /// stopped for a while. A client that does not read its answers is not read, and does not count.
    fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        self.unsent.is_empty() && SockRef::from(&self.stream).peek(&mut byte).is_ok_and(|count| count > 0)
    }

    /// Notes whether something holds the device back: its bucket, a queue, or a window without acknowledgements.
    pub(crate) fn note_constraint(&mut self, pipeline: &Pipeline, second: u32) {
        let constrained = self.intake.held() > 0 || self.is_stopped() || self.window_is_full(pipeline);
        self.intake.demand.constrain(constrained, second);
    }

    /// Returns how many bytes were read and not decoded.
    pub(crate) const fn unread_bytes(&self) -> usize {
        self.tail.len()
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn rest(&mut self) {
        self.intake.rest();
        if self.tail.is_empty() {
            self.tail = Vec::new();
            self.tail_share.force_resize(0);
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
    }

    /// Returns true if the client may not send another QoS 1 message.
    fn window_is_full(&self, pipeline: &Pipeline) -> bool {
        let limits = &pipeline.shared.limits;
        let window = match self.protocol.version() {
            Version::V311 => limits.v311_window,
            Version::V5 => limits.receive_maximum,
        };
        self.protocol.unacknowledged() >= usize::from(window.get())
    }

    fn is_stopped(&self) -> bool {
        self.reading == Reading::Stopped
    }

    /// Counts the tail towards the ceiling. Beyond what every connection is guaranteed, a packet that the ceiling has
    /// no room for ends its connection: to stop reading would let half packets wait for one another for ever.
    fn account(&mut self) -> Result<(), Ended> {
        if self.tail.len() <= SMALL_TAIL_BYTES && self.tail.capacity() > SCRATCH_BYTES {
            self.tail.shrink_to_fit();
        }
        let bytes = self.tail.capacity();
        if self.tail.len() <= SCRATCH_BYTES {
            self.tail_share.force_resize(bytes);
        } else if !self.tail_share.try_resize(bytes) {
            return Err(CloseReason::NoMemory);
        }
        Ok(())
    }

    /// Lets go what waited; returns when to call [`Self::pace`].
    fn release(&mut self, desk: &mut Desk<'_>) -> Option<Timestamp> {
        if self.reading == Reading::Over {
            return None;
        }
        let Self { protocol, intake, in_flight, .. } = self;
        let before = intake.held_acks();
        let mut expired = 0;
        let due = intake.release(desk.pipeline, desk.now, |ack| {
            protocol.complete(ack, ReasonCode::SUCCESS);
            expired += 1;
        });
        *in_flight += before - intake.held_acks() - expired;
        // Their PUBACKs are still to be written.
        if expired > 0 { Some(desk.now) } else { due }
    }

    /// Writes the PUBACKs that may leave to the answers of this turn; returns how many.
    fn drain_acks(&mut self, desk: &mut Desk<'_>) -> usize {
        let count = self.protocol.drain_acks(desk.out);
        desk.pipeline.counters.acknowledged.add(count as u64);
        count
    }

    fn poll_read(&mut self, desk: &mut Desk<'_>, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let kept = self.tail.len();
        let small = kept <= SMALL_TAIL_BYTES;
        let filled = if small {
            desk.scratch[..kept].copy_from_slice(&self.tail);
            std::task::ready!(read_into(&mut self.stream, &mut desk.scratch[kept..kept + READ_BYTES], cx))
        } else {
            self.tail.resize(kept + READ_BYTES, 0);
            let filled = read_into(&mut self.stream, &mut self.tail[kept..], cx);
            self.tail.truncate(kept + if let Poll::Ready(Ok(filled)) = filled { filled } else { 0 });
            std::task::ready!(filled)
        };
        let filled = match filled {
            Ok(0) => return Poll::Ready(Err(CloseReason::ClosedByClient)),
            Err(_) => return Poll::Ready(Err(CloseReason::Network)),
            Ok(filled) => filled,
        };
        self.last_seen = desk.now;
        let done = if small {
            let scratch = std::mem::take(&mut desk.scratch);
            let bytes = &scratch[..kept + filled];
            let used = self.decode(bytes, desk);
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[*used.as_ref().unwrap_or(&0)..]);
            desk.scratch = scratch;
            used.and_then(|_| self.account())
        } else {
            self.advance(desk)
        };
        Poll::Ready(done.and_then(|()| self.flush(desk.out)))
    }
}

fn read_into(stream: &mut TcpStream, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    // `poll_read` knows that a short read has emptied the socket, which saves the read that would say so.
    Pin::new(stream).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
}

#[cfg(test)]
mod tests {
    use tidegate_core::admission::Bucket;

    use super::super::slab::Slab;
    use super::*;
    use crate::ceiling::Ceiling;
    use crate::shared::Places;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 512, "{}", size_of::<Connection>());
    }

    #[tokio::test]
    async fn a_client_whose_bytes_lie_unread_is_not_silent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let class = crate::config::Settings::minimal("127.0.0.1:1").classes.by_name("sensor").unwrap();
        let places = Places::new(2);
        let (keep_alive, start) = (Duration::from_secs(10), Timestamp::from_millis(1_000));
        let mut slab = Slab::new();
        let id = slab.insert_with(|id| {
            let intake = Intake::new(id, "device-1".into(), 1, 0, class, Bucket::default());
            let (protocol, share) = (Protocol::new(tidegate_mqtt::Limits::default()), Ceiling::new(1));
            let place = (places.take().unwrap(), places.take().unwrap());
            let (session, unread) = (Duration::ZERO, Vec::new());
            let share = Share::none(&share);
            Connection::new(stream, protocol, intake, 0, keep_alive, session, unread, share, place, start)
        });
        let connection = slab.get_mut(id).unwrap();
        assert!(!connection.is_silent(start + Duration::from_millis(14_999)));
        assert!(connection.is_silent(start + Duration::from_secs(15)));
        // The process was stopped for a minute, and now the timer is seen before the socket.
        io::Write::write_all(&mut client, &tidegate_mqtt::codec::PINGREQ).unwrap();
        connection.stream.readable().await.unwrap();
        assert!(!connection.is_silent(start + Duration::from_mins(1)));
        connection.unsent = vec![0];
        assert!(connection.is_silent(start + Duration::from_mins(1)), "it does not read its answers");
    }
}
