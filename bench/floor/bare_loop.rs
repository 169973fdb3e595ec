//! The least that can stand between MQTT QoS 1 and Kafka: the yardstick for the gateway's CPU.
//!
//! tokio, a decoder written for this one case (MQTT 3.1.1, PUBLISH QoS 1, PINGREQ) and librdkafka with the
//! producer settings that carry the gateway's promise. PUBACK goes out after the delivery report. It has no
//! admission, no order of acknowledgements, no limits and no defence: it trusts its load generator.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// Bytes read from a socket at a time; the gateway uses the same.
const READ_BYTES: usize = 64 * 1024;

/// Settings of the bare loop.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kafka bootstrap servers.
    #[arg(long)]
    kafka: String,
    /// Topic that all messages go to.
    #[arg(long, default_value = "floor")]
    topic: String,
    /// Give each record the four headers that the gateway gives it.
    #[arg(long)]
    headers: bool,
}

/// Headers as the gateway writes them; only their number and length matter here.
const HEADERS: [(&str, &str); 4] =
    [("tg-gw", "gateway-0123456789abcdef"), ("tg-src", "17.sensor"), ("tg-epoch", "1"), ("tg-seq", "123456")];

/// Reports that the loop has not turned into PUBACKs yet.
#[derive(Default)]
struct Reports {
    done: Mutex<Vec<(u32, u16)>>,
    wake: Notify,
}

struct Context(Arc<Reports>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        if let Err((error, _)) = result {
            eprintln!("bare loop: {error}");
            std::process::exit(1);
        }
        let mut done = self.0.done.lock().expect("no holder of this lock panics");
        let was_empty = done.is_empty();
        done.push(unpack(opaque));
        if was_empty {
            self.0.wake.notify_one();
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "packs a u32 and a u16 that unpack takes apart again")]
fn unpack(opaque: usize) -> (u32, u16) {
    ((opaque >> 16) as u32, opaque as u16)
}

fn pack(connection: u32, packet_id: u16) -> usize {
    (connection as usize) << 16 | usize::from(packet_id)
}

/// Sockets by connection number, for the task that writes PUBACKs.
type Sockets = Rc<RefCell<Vec<Option<Rc<TcpStream>>>>>;

/// Serves until killed. Prints the address it listens on as its first line.
///
/// # Errors
/// If Kafka's settings are refused or no port can be bound.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let reports = Arc::new(Reports::default());
    let producer: ThreadedProducer<Context> = ClientConfig::new()
        .set("bootstrap.servers", &args.kafka)
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("message.timeout.ms", "0")
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.messages", "1000000")
        .create_with_context(Context(Arc::clone(&reports)))
        .context("the bare loop's producer")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(producer, args.topic.clone(), args.headers, reports))
}

async fn serve(
    producer: ThreadedProducer<Context>,
    topic: String,
    headers: bool,
    reports: Arc<Reports>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    let sockets = Sockets::default();
    tokio::task::spawn_local(acknowledge(Rc::clone(&sockets), reports));
    let producer = Rc::new(producer);
    let topic: Rc<str> = topic.into();
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let socket = Rc::new(socket);
        let number = u32::try_from(sockets.borrow().len()).context("too many connections")?;
        sockets.borrow_mut().push(Some(Rc::clone(&socket)));
        let (producer, topic, sockets) = (Rc::clone(&producer), Rc::clone(&topic), Rc::clone(&sockets));
        tokio::task::spawn_local(async move {
            if let Err(error) = connection(number, &socket, &producer, &topic, headers).await
                && error.kind() != io::ErrorKind::ConnectionReset
            {
                eprintln!("bare loop: connection {number}: {error}");
            }
            sockets.borrow_mut()[number as usize] = None;
        });
    }
}

/// Writes PUBACKs in the order of the reports, one write per connection and wake.
async fn acknowledge(sockets: Sockets, reports: Arc<Reports>) {
    let mut batch = Vec::new();
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut touched = Vec::new();
    loop {
        reports.wake.notified().await;
        std::mem::swap(&mut batch, &mut *reports.done.lock().expect("no holder of this lock panics"));
        for (connection, packet_id) in batch.drain(..) {
            let at = connection as usize;
            if out.len() <= at {
                out.resize_with(at + 1, Vec::new);
            }
            if out[at].is_empty() {
                touched.push(at);
            }
            let [high, low] = packet_id.to_be_bytes();
            out[at].extend_from_slice(&[0x40, 2, high, low]);
        }
        for at in touched.drain(..) {
            // The generator's window is smaller than a socket buffer: a short write cannot happen.
            if let Some(socket) = &sockets.borrow()[at]
                && let Err(error) = socket.try_write(&out[at])
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                eprintln!("bare loop: {error}");
            }
            out[at].clear();
        }
    }
}

async fn connection(
    number: u32,
    socket: &TcpStream,
    producer: &ThreadedProducer<Context>,
    topic: &str,
    headers: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    let mut client_id = Vec::new();
    loop {
        socket.readable().await?;
        match socket.try_read(&mut buffer[filled..]) {
            Ok(0) => return Ok(()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let mut at = 0;
        while let Some((first, body, end)) = packet(&buffer[at..filled]) {
            match first >> 4 {
                1 => {
                    // CONNECT: 10 bytes of variable header, then the client id.
                    let length = usize::from(u16::from_be_bytes([body[10], body[11]]));
                    client_id = body[12..12 + length].to_vec();
                    socket.try_write(&[0x20, 2, 0, 0])?;
                }
                3 => {
                    let name = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    let packet_id = u16::from_be_bytes([body[2 + name], body[3 + name]]);
                    let payload = &body[4 + name..];
                    let mut record = BaseRecord::with_opaque_to(topic, pack(number, packet_id))
                        .key(&client_id[..])
                        .payload(payload);
                    if headers {
                        record = record.headers(owned_headers());
                    }
                    producer.send(record).map_err(|(error, _)| io::Error::other(error))?;
                }
                12 => {
                    socket.try_write(&[0xD0, 0])?;
                }
                _ => return Ok(()),
            }
            at += end;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

fn owned_headers() -> OwnedHeaders {
    HEADERS.iter().fold(OwnedHeaders::new_with_capacity(HEADERS.len()), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(*value) })
    })
}

/// Returns the first byte, the body and the whole length of the packet that `bytes` starts with, if it is
/// all there (MQTT 3.1.1 section 2.2).
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((bytes[0], bytes.get(at..at + length)?, at + length))
}
