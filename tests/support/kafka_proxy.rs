//! A proxy that understands Kafka's requests and answers some Produce requests itself.
//!
//! [`inject`](KafkaProxy::inject) makes the one situation in which librdkafka reports a record as delivered that no broker has: the first
//! Produce request of a partition fails with a passing error while the second is already on its way to a broker
//! that knows nothing of the producer and takes it. The first request never reaches the broker; everything
//! else does, unchanged, and responses keep the order of their requests, as Kafka's own do.
//!
//! [`refuse`](KafkaProxy::refuse) answers requests in the middle of a stream, as a broker that does not take them.
//!
//! [`hide_brokers`](KafkaProxy::hide_brokers) changes metadata, to what a site's only broker says of itself while its
//! controller has it fenced: that there is no broker at all.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, BrokerId, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::door::Door;

/// Larger than any request or response of the tests; a longer length is a stream out of step.
const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;
/// Responses that a connection is waiting for. librdkafka sends five requests at a time.
const MAX_OUTSTANDING: usize = 64;
/// Kafka's error code of a partition that has no leader.
const LEADER_NOT_AVAILABLE: i16 = 5;
/// Topics beside those that were asked for in an answer without brokers. librdkafka is still at them when the thread of
/// the broker that it drops has ended: only in this order it does not look for another.
const MORE_TOPICS: u32 = 1000;

/// What the proxy answers to each producer's first Produce request of each partition.
#[derive(Clone, Copy, Debug)]
pub struct Injection {
    /// Kafka's error code, e.g. 3 `UNKNOWN_TOPIC_OR_PARTITION`, 6 `NOT_LEADER_OR_FOLLOWER`, 19 `NOT_ENOUGH_REPLICAS`.
    pub code: i16,
    /// How long the answer waits for a second Produce request of the partition. A client that sends none
    /// while the first is outstanding gets its answer then.
    pub patience: Duration,
}

/// A few requests that the broker seems to refuse.
///
/// Only batches of several records are refused: what was refused *alone* with a permanent error is rightly given up,
/// and a test that lets this happen would call it lost.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// Kafka's error code.
    pub code: i16,
    /// How many requests get it.
    pub requests: u32,
    /// The broker takes the request none the less, as one that reports 7 `REQUEST_TIMED_OUT` may have.
    pub written: bool,
}

/// What has been answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// First Produce requests that came and are withheld from the broker, answered or not.
    pub withheld: u32,
    /// Answered while a second request of the same partition was at the broker.
    pub with_second_on_the_wire: u32,
    /// Answered with nothing else of the partition under way.
    pub alone: u32,
}

/// A running proxy; dropping it closes its port and connections.
#[derive(Debug)]
pub struct KafkaProxy {
    door: Door,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

/// What a broker keeps producer state for, and what is fresh on its own: two producers may meet in a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    producer_id: i64,
    /// Name, or id from Produce version 13 on.
    topic: String,
    partition: i32,
}

#[derive(Debug, Default)]
struct State {
    injection: Option<Injection>,
    /// Where each producer has written so far.
    seen: BTreeSet<Place>,
    /// Rung when a second request of the partition has been sent on; one for each withheld request.
    waiting: Vec<(Place, oneshot::Sender<()>)>,
    injected: Injected,
    refusal: Option<Refusal>,
    refused: u32,
    /// Metadata answers that are still to list no broker.
    to_hide: u32,
}

impl KafkaProxy {
    /// Opens the proxy's port, on the current tokio runtime. It passes everything until told to
    /// [`inject`](Self::inject).
    ///
    /// # Errors
    /// No free port.
    pub async fn open() -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_connections = Arc::clone(&shared);
        let door =
            Door::open(move |client, server| serve(client, server, Arc::clone(&of_connections))).await?;
        Ok(Self { door, shared })
    }

    /// Returns the address that Kafka has to advertise.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Says where Kafka listens; until then connections are closed at once.
    pub fn forward_to(&self, kafka: SocketAddr) {
        self.door.forward_to(kafka);
    }

    /// From now on answers each producer's first Produce request of every partition that it has sent none for.
    pub fn inject(&self, injection: Injection) {
        let mut state = self.shared.lock();
        state.injection = Some(injection);
        state.injected = Injected::default();
    }

    /// Refuses the next requests.
    pub fn refuse(&self, refusal: Refusal) {
        let mut state = self.shared.lock();
        state.refusal = Some(refusal);
        state.refused = 0;
    }

    /// Makes the next answers with metadata list no broker and no leader.
    pub fn hide_brokers(&self, answers: u32) {
        self.shared.lock().to_hide = answers;
    }

    /// Returns how many of these are still to come.
    #[must_use]
    pub fn to_hide(&self) -> u32 {
        self.shared.lock().to_hide
    }

    /// Returns how many requests were refused since the last [`refuse`](Self::refuse).
    #[must_use]
    pub fn refused(&self) -> u32 {
        self.shared.lock().refused
    }

    /// Returns what has been answered since the last [`inject`](Self::inject).
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.shared.lock().injected
    }
}

/// What the client is to get as the answer to one request.
enum Answer {
    /// The broker's next response.
    FromBroker,
    /// The same, to a Metadata request of this version.
    Metadata(i16),
    /// This frame, once the bell has rung or patience is over.
    Ours { frame: Bytes, patience: Duration, second: oneshot::Receiver<()> },
    /// This frame; if `written`, in the place of the broker's.
    Refusal { frame: Bytes, written: bool },
}

/// What to do with a Produce request.
enum Verdict {
    Withhold(Injection, oneshot::Receiver<()>),
    /// Send on, then ring these bells.
    Forward(Vec<oneshot::Sender<()>>),
    Refuse(Refusal),
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is consistent between statements, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether one more answer is to list no broker.
    fn hides(&self) -> bool {
        let to_hide = &mut self.lock().to_hide;
        std::mem::replace(to_hide, to_hide.saturating_sub(1)) > 0
    }

    /// Withholds a request that is its producer's first of its partition (librdkafka sends one partition a request).
    fn judge(&self, places: &[Place], records: i32) -> Verdict {
        let mut state = self.lock();
        let refused = state.refused;
        if let Some(refusal) = state.refusal.filter(|refusal| records > 1 && refused < refusal.requests) {
            state.refused += 1;
            return Verdict::Refuse(refusal);
        }
        let fresh = places.iter().filter(|place| !state.seen.contains(*place)).count();
        state.seen.extend(places.iter().cloned());
        if let (Some(injection), [place], 1) = (state.injection, places, fresh) {
            let (bell, second) = oneshot::channel();
            state.waiting.push((place.clone(), bell));
            state.injected.withheld += 1;
            return Verdict::Withhold(injection, second);
        }
        let mut bells = Vec::new();
        while let Some(index) = state.waiting.iter().position(|(waiting, _)| places.contains(waiting)) {
            bells.push(state.waiting.swap_remove(index).1);
        }
        Verdict::Forward(bells)
    }
}

async fn serve(mut client: TcpStream, mut server: TcpStream, shared: Arc<Shared>) {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let (answers, expected) = mpsc::channel(MAX_OUTSTANDING);
    // Either side's end ends the connection: Kafka clients do not half-close.
    tokio::select! {
        _ = requests(from_client, to_server, answers, &shared) => {}
        _ = responses(from_server, to_client, expected, &shared) => {}
    }
}

async fn requests(
    mut from_client: ReadHalf<'_>,
    mut to_server: WriteHalf<'_>,
    answers: mpsc::Sender<Answer>,
    shared: &Shared,
) -> Result<()> {
    loop {
        let frame = read_frame(&mut from_client).await?;
        let Some((header, request)) = produce(&frame)? else {
            let (api_key, version) = ((&frame[4..]).get_i16(), (&frame[6..]).get_i16());
            let of_metadata = api_key == ApiKey::Metadata as i16;
            answers.send(if of_metadata { Answer::Metadata(version) } else { Answer::FromBroker }).await?;
            to_server.write_all(&frame).await?;
            continue;
        };
        match shared.judge(&places(&request)?, records(&request)?) {
            Verdict::Withhold(Injection { code, patience }, second) => {
                let frame = refusal(&header, &request, code)?;
                answers.send(Answer::Ours { frame, patience, second }).await?;
            }
            Verdict::Refuse(Refusal { code, written, .. }) => {
                let answer = Answer::Refusal { frame: refusal(&header, &request, code)?, written };
                answers.send(answer).await?;
                if written {
                    to_server.write_all(&frame).await?;
                }
            }
            Verdict::Forward(bells) => {
                // With acks = 0 there is no response to wait for.
                if request.acks != 0 {
                    answers.send(Answer::FromBroker).await?;
                }
                to_server.write_all(&frame).await?;
                for bell in bells {
                    // Nobody listens if patience was over.
                    let _ = bell.send(());
                }
            }
        }
    }
}

async fn responses(
    mut from_server: ReadHalf<'_>,
    mut to_client: WriteHalf<'_>,
    mut expected: mpsc::Receiver<Answer>,
    shared: &Shared,
) -> Result<()> {
    while let Some(answer) = expected.recv().await {
        let frame = match answer {
            Answer::FromBroker => read_frame(&mut from_server).await?,
            Answer::Metadata(version) => {
                let frame = read_frame(&mut from_server).await?;
                if shared.hides() { without_brokers(&frame, version)? } else { frame }
            }
            Answer::Refusal { frame, written } => {
                if written {
                    read_frame(&mut from_server).await?;
                }
                frame
            }
            Answer::Ours { frame, patience, second } => {
                let rung = tokio::time::timeout(patience, second).await.is_ok();
                let injected = &mut shared.lock().injected;
                if rung {
                    injected.with_second_on_the_wire += 1;
                } else {
                    injected.alone += 1;
                }
                frame
            }
        };
        to_client.write_all(&frame).await?;
    }
    Ok(())
}

/// Reads one frame, its length field included.
async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Result<Bytes> {
    let length = usize::try_from(from.read_i32().await?).context("a frame of negative length")?;
    ensure!(length <= MAX_FRAME_BYTES, "a frame of {length} bytes");
    let mut frame = BytesMut::with_capacity(4 + length);
    frame.put_i32(i32::try_from(length).expect("it was one"));
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame.freeze())
}

/// Decodes the request if it is a Produce.
fn produce(frame: &Bytes) -> Result<Option<(RequestHeader, ProduceRequest)>> {
    let mut body = frame.slice(4..);
    ensure!(body.remaining() >= 8, "a request without a header");
    if (&body[..2]).get_i16() != ApiKey::Produce as i16 {
        return Ok(None);
    }
    let header = decode_request_header_from_buffer(&mut body)?;
    let request = ProduceRequest::decode(&mut body, header.request_api_version)?;
    Ok(Some((header, request)))
}

fn places(request: &ProduceRequest) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for topic in &request.topic_data {
        // Version 13 names topics by id alone, older ones by name alone.
        let name =
            if topic.name.0.is_empty() { topic.topic_id.to_string() } else { topic.name.0.to_string() };
        for data in &topic.partition_data {
            let producer_id = producer_id(data.records.as_deref().unwrap_or_default())?;
            places.push(Place { producer_id, topic: name.clone(), partition: data.index });
        }
    }
    Ok(places)
}

/// Returns the number of records in the smallest batch of a request.
fn records(request: &ProduceRequest) -> Result<i32> {
    let batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let counts = batches.map(|data| record_count(data.records.as_deref().unwrap_or_default()));
    counts.collect::<Result<Vec<i32>>>()?.into_iter().min().context("a Produce request without a batch")
}

/// Reads the producer id of a record batch of magic 2 (Kafka documentation, "Record Batch").
fn producer_id(batch: &[u8]) -> Result<i64> {
    const AT: usize = 43;
    let mut id = batch.get(AT..AT + 8).context("a record batch without a whole head")?;
    Ok(id.get_i64())
}

/// Reads the number of its records.
fn record_count(batch: &[u8]) -> Result<i32> {
    const AT: usize = 57;
    let mut count = batch.get(AT..AT + 4).context("a record batch without a whole head")?;
    Ok(count.get_i32())
}

/// Returns the response frame that refuses every partition of a request.
fn refusal(header: &RequestHeader, request: &ProduceRequest, code: i16) -> Result<Bytes> {
    let version = header.request_api_version;
    let refused = request.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|partition| {
            PartitionProduceResponse::default()
                .with_index(partition.index)
                .with_error_code(code)
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
        });
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partition_responses(partitions.collect())
    });
    let response = ProduceResponse::default().with_responses(refused.collect());
    let header = ResponseHeader::default().with_correlation_id(header.correlation_id);
    respond(&header, &response, version)
}

/// Returns a Metadata response's frame without brokers, and so without leaders.
fn without_brokers(frame: &Bytes, version: i16) -> Result<Bytes> {
    let mut body = frame.slice(4..);
    let header = ResponseHeader::decode(&mut body, MetadataResponse::header_version(version))?;
    let mut response = MetadataResponse::decode(&mut body, version)?;
    response.brokers.clear();
    response.controller_id = BrokerId(-1);
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.leader_id = BrokerId(-1);
        partition.error_code = LEADER_NOT_AVAILABLE;
    }
    if let Some(topic) = response.topics.first().cloned() {
        let unnamed = MetadataResponseTopic::default().topic_id;
        let name = |number| TopicName(StrBytes::from_string(format!("nobody-wants-{number}")));
        let others = (0..MORE_TOPICS).map(|n| topic.clone().with_name(Some(name(n))).with_topic_id(unnamed));
        response.topics.extend(others);
    }
    respond(&header, &response, version)
}

fn respond<R: Encodable + HeaderVersion>(
    header: &ResponseHeader,
    response: &R,
    version: i16,
) -> Result<Bytes> {
    let mut body = BytesMut::new();
    header.encode(&mut body, R::header_version(version))?;
    response.encode(&mut body, version)?;
    let mut frame = BytesMut::with_capacity(4 + body.len());
    frame.put_i32(i32::try_from(body.len()).context("a response of 2 GiB")?);
    frame.put(body);
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests;
