//! Each fault is seen from both ends of a connection to an echo server.

use tokio::net::TcpListener;

use super::*;

const SOON: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes: the loopback takes microseconds.
const QUIET: Duration = Duration::from_millis(100);

/// A proxy in front of a server that sends back what it gets.
async fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::open().await.unwrap();
    proxy.forward_to(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = socket.split();
                // An error is the fault under test.
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    proxy
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn answer(socket: &mut TcpStream, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    tokio::time::timeout(SOON, socket.read_exact(&mut bytes)).await??;
    Ok(bytes)
}

async fn is_silent(socket: &mut TcpStream) -> bool {
    tokio::time::timeout(QUIET, socket.read_u8()).await.is_err()
}

fn flow(flow: Flow) -> Link {
    Link { flow, ..Link::default() }
}

#[tokio::test]
async fn bytes_pass_and_an_end_of_stream_passes() {
    let proxy = echo().await;
    let mut socket = connect(&proxy).await;
    socket.write_all(b"hello").await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(answer(&mut socket, 5).await.unwrap(), b"hello");
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn latency_delays_each_way_by_itself() {
    let proxy = echo().await;
    let latency = Duration::from_millis(150);
    proxy.set(Direction::ToServer, Link { latency, ..Link::default() });
    let mut socket = connect(&proxy).await;
    let start = clock::monotonic();
    socket.write_all(b"ping").await.unwrap();
    answer(&mut socket, 4).await.unwrap();
    let one_way = clock::monotonic().since(start);
    assert!(one_way >= latency, "{one_way:?}");
}

#[tokio::test]
async fn latency_does_not_add_up_over_the_chunks_of_a_stream() {
    let proxy = echo().await;
    let latency = Duration::from_millis(100);
    proxy.set(Direction::ToClient, Link { latency, ..Link::default() });
    let mut socket = connect(&proxy).await;
    let start = clock::monotonic();
    for _ in 0..30 {
        socket.write_all(b"x").await.unwrap();
        tokio::task::yield_now().await;
    }
    answer(&mut socket, 30).await.unwrap();
    let all = clock::monotonic().since(start);
    assert!(all >= latency && all < 30 * latency, "{all:?}");
}

#[tokio::test]
async fn a_rate_limit_stretches_a_stream() {
    let proxy = echo().await;
    let rate = NonZeroU32::new(256 * 1024);
    proxy.set(Direction::ToServer, Link { bytes_per_sec: rate, ..Link::default() });
    let mut socket = connect(&proxy).await;
    let sent = vec![7; 64 * 1024];
    let start = clock::monotonic();
    socket.write_all(&sent).await.unwrap();
    assert_eq!(answer(&mut socket, sent.len()).await.unwrap(), sent);
    // A quarter of a second in all; the last chunk's own share is slept after it.
    let took = clock::monotonic().since(start);
    assert!(took >= Duration::from_millis(180), "{took:?}");
}

#[tokio::test]
async fn what_was_stalled_arrives_later() {
    let proxy = echo().await;
    let mut socket = connect(&proxy).await;
    proxy.set(Direction::ToClient, flow(Flow::Stall));
    socket.write_all(b"wait").await.unwrap();
    assert!(is_silent(&mut socket).await);
    proxy.set(Direction::ToClient, Link::default());
    assert_eq!(answer(&mut socket, 4).await.unwrap(), b"wait");
}

#[tokio::test]
async fn a_stalled_connection_takes_only_a_bounded_amount() {
    let proxy = echo().await;
    proxy.set(Direction::ToServer, flow(Flow::Stall));
    let mut socket = connect(&proxy).await;
    let endless = async {
        loop {
            socket.write_all(&[0; 16 * 1024]).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), endless).await.is_err());
}

#[tokio::test]
async fn a_black_hole_is_silent_and_its_connection_is_reset_when_it_heals() {
    let proxy = echo().await;
    let mut socket = connect(&proxy).await;
    proxy.set(Direction::ToServer, flow(Flow::BlackHole));
    socket.write_all(b"gone").await.unwrap();
    assert!(is_silent(&mut socket).await);
    proxy.set(Direction::ToServer, Link::default());
    answer(&mut socket, 1).await.unwrap_err();
    let mut next = connect(&proxy).await;
    next.write_all(b"back").await.unwrap();
    assert_eq!(answer(&mut next, 4).await.unwrap(), b"back");
}

#[tokio::test]
async fn a_half_closed_direction_ends_and_the_other_goes_on() {
    let proxy = echo().await;
    let mut socket = connect(&proxy).await;
    socket.write_all(b"before").await.unwrap();
    answer(&mut socket, 6).await.unwrap();
    // The echo server sees the end, and its own end comes back.
    proxy.set(Direction::ToServer, flow(Flow::HalfClosed));
    let end = tokio::time::timeout(SOON, socket.read(&mut [0; 1])).await.unwrap();
    assert_eq!(end.unwrap(), 0);
    // This direction is still taken, to nowhere.
    socket.write_all(b"after").await.unwrap();
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_spares_what_comes_next() {
    let proxy = echo().await;
    let mut socket = connect(&proxy).await;
    socket.write_all(b"x").await.unwrap();
    answer(&mut socket, 1).await.unwrap();
    proxy.cut();
    let error = answer(&mut socket, 1).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let mut next = connect(&proxy).await;
    next.write_all(b"y").await.unwrap();
    assert_eq!(answer(&mut next, 1).await.unwrap(), b"y");
}
