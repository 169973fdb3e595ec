//! A TCP proxy that does to a connection what networks and frozen peers do.
//!
//! Each direction has a [`Link`] that can be changed while connections are open. Nothing is reordered, and no
//! byte is left out of a stream that goes on: what a black hole has swallowed ends the connection when it heals.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidegate_core::time::Timestamp;
use tidegate_runtime::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use super::door::Door;

/// Read at once; also the granularity of the rate limit.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks under way in one direction of one connection, 1 MiB: a full one stops reading, as a full pipe would.
const CHUNKS_UNDER_WAY: usize = 64;

/// The two directions of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// How one direction behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Time that every byte is under way.
    pub latency: Duration,
    /// Most bytes per second and connection; `None` is no limit.
    pub bytes_per_sec: Option<NonZeroU32>,
    /// What becomes of the bytes.
    pub flow: Flow,
}

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They arrive.
    #[default]
    Pass,
    /// They wait here and arrive later; soon the sender cannot write, as with a frozen peer.
    Stall,
    /// They vanish and the sender notices nothing. Connections that lost bytes are reset when the flow changes.
    BlackHole,
    /// The receiver gets an end of stream, for good; the other direction goes on.
    HalfClosed,
}

/// A running proxy; dropping it closes its port and connections.
#[derive(Debug)]
pub struct Proxy {
    door: Door,
    control: Arc<Control>,
}

#[derive(Debug)]
struct Control {
    to_server: watch::Sender<Link>,
    to_client: watch::Sender<Link>,
    /// Number of cuts so far.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Opens the proxy's port, on the current tokio runtime.
    ///
    /// # Errors
    /// No free port.
    pub async fn open() -> Result<Self> {
        let control = Arc::new(Control {
            to_server: watch::Sender::default(),
            to_client: watch::Sender::default(),
            cuts: watch::Sender::default(),
        });
        let shared = Arc::clone(&control);
        let door = Door::open(move |client, server| serve(client, server, Arc::clone(&shared))).await?;
        Ok(Self { door, control })
    }

    /// Returns the address that clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Says where new connections lead; until then they are closed at once.
    pub fn forward_to(&self, server: SocketAddr) {
        self.door.forward_to(server);
    }

    /// Changes one direction of all connections, open and new.
    pub fn set(&self, direction: Direction, link: Link) {
        match direction {
            Direction::ToServer => &self.control.to_server,
            Direction::ToClient => &self.control.to_client,
        }
        .send_replace(link);
    }

    /// Resets all open connections; new ones are served.
    pub fn cut(&self) {
        self.control.cuts.send_modify(|cuts| *cuts += 1);
    }
}

/// A socket failed, or bytes are missing from the stream: the connection cannot go on.
#[derive(Debug)]
struct Broken;

async fn serve(mut client: TcpStream, mut server: TcpStream, control: Arc<Control>) {
    let mut cuts = control.cuts.subscribe();
    cuts.mark_unchanged();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let both = async {
        tokio::try_join!(
            pump(from_client, to_server, control.to_server.subscribe()),
            pump(from_server, to_client, control.to_client.subscribe()),
        )
    };
    let reset = tokio::select! {
        ended = both => ended.is_err(),
        _ = cuts.changed() => true,
    };
    if reset {
        // What fails here is already closed.
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// Moves one direction until its sender closes; an error breaks the other one, too.
async fn pump(from: ReadHalf<'_>, to: WriteHalf<'_>, link: watch::Receiver<Link>) -> Result<(), Broken> {
    let (queue, under_way) = mpsc::channel(CHUNKS_UNDER_WAY);
    tokio::try_join!(take(from, queue, link.clone()), give(to, under_way, link)).map(|_| ())
}

/// Reads, and stamps each chunk with the time at which it is due on the other side.
async fn take(
    mut from: ReadHalf<'_>,
    queue: mpsc::Sender<(Timestamp, Vec<u8>)>,
    mut link: watch::Receiver<Link>,
) -> Result<(), Broken> {
    loop {
        let Link { latency, flow, .. } = *link.borrow_and_update();
        if flow == Flow::Stall {
            link.changed().await.map_err(|_| Broken)?;
            continue;
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = tokio::select! {
            read = from.read(&mut chunk) => read.map_err(|_| Broken)?,
            changed = link.changed() => {
                changed.map_err(|_| Broken)?;
                continue;
            }
        };
        if length == 0 {
            return Ok(());
        }
        chunk.truncate(length);
        if queue.send((clock::monotonic() + latency, chunk)).await.is_err() {
            return Err(Broken);
        }
    }
}

/// Writes each chunk when it is due, if the link lets it.
async fn give(
    mut to: WriteHalf<'_>,
    mut under_way: mpsc::Receiver<(Timestamp, Vec<u8>)>,
    mut link: watch::Receiver<Link>,
) -> Result<(), Broken> {
    let mut swallowed = false;
    let mut closed = false;
    loop {
        let Link { bytes_per_sec, flow, .. } = *link.borrow_and_update();
        if swallowed && flow != Flow::BlackHole {
            return Err(Broken);
        }
        if flow == Flow::HalfClosed && !closed {
            to.shutdown().await.map_err(|_| Broken)?;
            closed = true;
        }
        if flow == Flow::Stall {
            link.changed().await.map_err(|_| Broken)?;
            continue;
        }
        let chunk = tokio::select! {
            chunk = under_way.recv() => chunk,
            changed = link.changed() => {
                changed.map_err(|_| Broken)?;
                continue;
            }
        };
        let Some((due, chunk)) = chunk else {
            if !closed {
                to.shutdown().await.map_err(|_| Broken)?;
            }
            return Ok(());
        };
        tokio::time::sleep(due.since(clock::monotonic())).await;
        // The link may have changed while the chunk was under way.
        let flow = link.wait_for(|link| link.flow != Flow::Stall).await.map_err(|_| Broken)?.flow;
        match flow {
            Flow::BlackHole => swallowed = true,
            Flow::Pass | Flow::Stall if !closed => {
                to.write_all(&chunk).await.map_err(|_| Broken)?;
                if let Some(rate) = bytes_per_sec {
                    let bytes = u32::try_from(chunk.len()).expect("a chunk is 16 KiB");
                    tokio::time::sleep(Duration::from_secs(1) * bytes / rate.get()).await;
                }
            }
            Flow::Pass | Flow::Stall | Flow::HalfClosed => {}
        }
    }
}

#[cfg(test)]
mod tests;
