//! Bounds on the admin port's connections: how many, and how long one may stay silent.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Connections at a time: probes, scrapers, a site's gateways and consumers, an operator. More wait in the backlog.
const MAX_CONNECTIONS: usize = 256;
/// A peer that neither sends nor is sent anything for this long is gone. Two scrape intervals of a minute.
const MAX_SILENCE: Duration = Duration::from_mins(2);

/// Listener that accepts a bounded number of connections at a time.
pub(super) struct Bounded {
    inner: TcpListener,
    free: Arc<Semaphore>,
    cut: CancellationToken,
}

impl Bounded {
    /// All connections end when `cut` is cancelled.
    pub(super) fn new(inner: TcpListener, cut: CancellationToken) -> Self {
        Self { inner, free: Arc::new(Semaphore::new(MAX_CONNECTIONS)), cut }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let held = Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = Listener::accept(&mut self.inner).await;
        let silence = Box::pin(sleep(MAX_SILENCE));
        let cut = Box::pin(self.cut.clone().cancelled_owned());
        (Connection { stream, silence, cut, _held: held }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// One connection; it gives its place back when it is dropped.
pub(super) struct Connection {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _held: OwnedSemaphorePermit,
}

impl Connection {
    /// Passes on what the stream said, and begins the count of silence anew if it moved.
    fn heard<T>(&mut self, moved: Poll<T>) -> Poll<T> {
        if moved.is_ready() {
            self.silence.set(sleep(MAX_SILENCE));
        }
        moved
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_pending() && self.silence.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.heard(read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.heard(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_peer, (mut connection, _)) = tokio::join!(TcpStream::connect(address), async {
            Bounded::new(listener, CancellationToken::new()).accept().await
        });
        let problem = connection.read_u8().await.unwrap_err();
        assert_eq!(problem.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_closed_connection_gives_its_place_back() {
        let mut listener =
            Bounded::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
        let address = listener.local_addr().unwrap();
        let (_peer, (connection, _)) = tokio::join!(TcpStream::connect(address), listener.accept());
        assert_eq!(listener.free.available_permits(), MAX_CONNECTIONS - 1);
        drop(connection);
        assert_eq!(listener.free.available_permits(), MAX_CONNECTIONS);
    }
}
