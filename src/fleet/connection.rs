//! Puts a device on the network: connects, moves bytes, keeps its times, connects again.
//!
//! A device keeps no buffers of its own while nothing is stuck: it reads into and writes from its thread's scratch space.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_core::time::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::device::{Device, Lost};
use crate::observer::Observer;
use crate::report::Tally;
use crate::run::Fleet;

/// Longest time for a TCP connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longest time for the last bytes to leave.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// First wait before connecting again; it doubles with each attempt that brought nothing.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Doublings of it: at most 6.4 s.
const MAX_DOUBLINGS: u32 = 6;
/// Bytes taken from a socket at a time: two thousand PUBACKs.
const READ_BYTES: usize = 8 * 1024;

struct Scratch {
    read: Box<[u8]>,
    write: Vec<u8>,
    payload: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: vec![0; READ_BYTES].into_boxed_slice(),
        write: Vec::new(),
        payload: Vec::new(),
    });
}

/// Lives the life of one device.
pub(crate) async fn run<O: Observer>(fleet: Arc<Fleet<O>>, number: u32) -> Tally {
    let mut device = Device::new(Arc::clone(&fleet), number);
    let mut wait = fleet.plan.load.connect_at(number);
    let mut fruitless = 0;
    // Bounded: every attempt is followed by a wait, and the device's time ends.
    while pause(&fleet, &mut device, wait).await {
        let settled = device.tally.acknowledged;
        let Err(lost) = converse(&fleet, &mut device).await else { break };
        tracing::debug!(device = number, %lost, "connection lost");
        device.disconnected();
        fruitless = if device.tally.acknowledged > settled { 0 } else { fruitless + 1 };
        wait = backoff(fleet.plan.seed, number, fruitless);
        match lost {
            Lost::Refused { retry_after, .. } => wait = retry_after.unwrap_or(wait),
            _ => device.tally.lost_connections += 1,
        }
    }
    device.into_tally()
}

/// Waits; returns false if the device's work ended meanwhile.
async fn pause<O: Observer>(fleet: &Fleet<O>, device: &mut Device<O>, wait: Duration) -> bool {
    let until = (fleet.clock)() + wait;
    loop {
        let now = (fleet.clock)();
        if device.is_over(now) || now >= until {
            return !device.is_over(now);
        }
        let wake_at = until.min(device.wake_at());
        tokio::select! {
            () = sleep(wake_at.since(now)) => {}
            () = fleet.shutdown.cancelled(), if !device.is_stopping() => device.stop((fleet.clock)()),
        }
    }
}

/// One connection, from TCP to DISCONNECT. Returns `Ok` if the device's work is over.
async fn converse<O: Observer>(fleet: &Fleet<O>, device: &mut Device<O>) -> Result<(), Lost> {
    let stream =
        timeout(CONNECT_TIME, TcpStream::connect(fleet.gateway)).await.map_err(|_| Lost::Silent)??;
    // Batches are made here, not by the kernel.
    stream.set_nodelay(true)?;
    let mut wire = Wire { stream, unsent: Vec::new(), unread: Vec::new() };
    wire.send(|out, _| device.connect((fleet.clock)(), out))?;

    let mut shutdown = pin!(fleet.shutdown.cancelled());
    let mut timer = pin!(sleep(Duration::ZERO));
    let mut armed: Option<Timestamp> = None;
    loop {
        let now = (fleet.clock)();
        if wire.unsent.is_empty() {
            wire.send(|out, payload| device.fill(now, out, payload))?;
        }
        if device.is_over(now) {
            wire.send(|out, _| device.disconnect(out))?;
            // Whether the farewell arrives is not known to the device either way.
            let _ = timeout(CLOSE_TIME, wire.close()).await;
            return Ok(());
        }
        if device.is_waiting_in_vain(now) {
            return Err(Lost::Silent);
        }
        // A timer that fires too early costs one turn; one that is set anew for every packet costs more.
        let wake_at = device.wake_at();
        if armed.is_none_or(|at| wake_at < at) {
            timer.set(sleep(wake_at.since(now)));
            armed = Some(wake_at);
        }
        tokio::select! {
            biased;
            moved = poll_fn(|cx| wire.poll(cx, fleet, device)) => moved?,
            () = timer.as_mut(), if armed.is_some() => armed = None,
            () = shutdown.as_mut(), if !device.is_stopping() => device.stop(now),
        }
    }
}

/// A socket, with what it did not take and what is not yet a whole packet: both almost always empty.
struct Wire {
    stream: TcpStream,
    /// Bounded by one batch: nothing new is written while it holds anything.
    unsent: Vec<u8>,
    /// Bounded by the longest packet and one read.
    unread: Vec<u8>,
}

impl Wire {
    /// Writes what `fill` appends, as far as the socket takes it.
    fn send(&mut self, fill: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> io::Result<()> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.write.clear();
            fill(&mut scratch.write, &mut scratch.payload);
            if scratch.write.is_empty() {
                return Ok(());
            }
            if !self.unsent.is_empty() {
                self.unsent.extend_from_slice(&scratch.write);
                return Ok(());
            }
            let taken = match self.stream.try_write(&scratch.write) {
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => 0,
                other => other?,
            };
            self.unsent.extend_from_slice(&scratch.write[taken..]);
            Ok(())
        })
    }

    /// Is ready when the device has something to do: everything is written, or something was received.
    fn poll<O: Observer>(
        &mut self,
        cx: &mut Context<'_>,
        fleet: &Fleet<O>,
        device: &mut Device<O>,
    ) -> Poll<Result<(), Lost>> {
        if !self.unsent.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, &self.unsent)
        {
            self.unsent.drain(..written?);
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(&mut scratch.read);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
            }
            Poll::Ready(self.take(buf.filled(), (fleet.clock)(), device))
        })
    }

    fn take<O: Observer>(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
        device: &mut Device<O>,
    ) -> Result<(), Lost> {
        if self.unread.is_empty() {
            let used = device.receive(bytes, now)?;
            self.unread.extend_from_slice(&bytes[used..]);
        } else {
            self.unread.extend_from_slice(bytes);
            let used = device.receive(&self.unread, now)?;
            self.unread.drain(..used);
        }
        Ok(())
    }

    /// Ends the connection in order: a socket that is closed with unread bytes is reset, and may take with it what
    /// the peer has not read yet.
    async fn close(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.unsent).await?;
        self.stream.shutdown().await?;
        tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
        Ok(())
    }
}

/// Half to one and a half of the doubled wait, by lot: devices that lost their server together do not return together.
fn backoff(seed: u64, device: u32, attempt: u32) -> Duration {
    let mut lot = StdRng::seed_from_u64(seed ^ u64::from(device).rotate_left(32) ^ u64::from(attempt));
    (FIRST_BACKOFF * 2_u32.pow(attempt.min(MAX_DOUBLINGS))).mul_f64(lot.random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_differ_between_devices() {
        for (attempt, base) in [(0, 100), (1, 200), (6, 6400), (7, 6400), (u32::MAX, 6400)] {
            let wait = backoff(1, 2, attempt);
            let base = Duration::from_millis(base);
            assert!((base / 2..base * 3 / 2).contains(&wait), "{attempt}: {wait:?}");
            assert_eq!(wait, backoff(1, 2, attempt));
        }
        assert_ne!(backoff(1, 2, 3), backoff(1, 3, 3));
    }
}
