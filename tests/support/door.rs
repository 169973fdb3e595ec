//! The listening side that both proxies share.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// More than any test opens; a client that reconnects in a loop is refused rather than fed.
const MAX_CONNECTIONS: usize = 4096;

/// Accepts connections and dials the other side for each.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    upstream: watch::Sender<Option<SocketAddr>>,
    accepting: JoinHandle<()>,
}

impl Door {
    /// Opens a port, and serves each connection with `serve(client, server)` until the door is dropped. Until
    /// [`forward_to`](Self::forward_to) has said where the server is, connections are closed at once.
    pub(super) async fn open<F, S>(serve: F) -> Result<Self>
    where
        F: Fn(TcpStream, TcpStream) -> S + Clone + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a proxy's port")?;
        let address = listener.local_addr()?;
        let (upstream, seen) = watch::channel(None);
        let accepting = tokio::spawn(accept(listener, seen, serve));
        Ok(Self { address, upstream, accepting })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn forward_to(&self, server: SocketAddr) {
        self.upstream.send_replace(Some(server));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // The connections' tasks belong to the accepting one and end with it.
        self.accepting.abort();
    }
}

async fn accept<F, S>(listener: TcpListener, upstream: watch::Receiver<Option<SocketAddr>>, serve: F)
where
    F: Fn(TcpStream, TcpStream) -> S + Clone + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        // An error is one client that has already gone.
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let server = *upstream.borrow();
        let (Some(server), true) = (server, connections.len() < MAX_CONNECTIONS) else { continue };
        let serve = serve.clone();
        connections.spawn(async move {
            // A server that cannot be reached shows to the client as a closed connection.
            if let Ok(server) = dial(server, &client).await {
                serve(client, server).await;
            }
        });
    }
}

async fn dial(server: SocketAddr, client: &TcpStream) -> io::Result<TcpStream> {
    let server = TcpStream::connect(server).await?;
    // A proxy that batches would add its own latency to the one it was asked for.
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    Ok(server)
}
