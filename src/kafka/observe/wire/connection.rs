//! One connection to one broker, over any byte stream.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::api::Request;
use super::error::WireError;
use super::frame;
use super::versions::Versions;

/// Port of Kafka where an address names none, as librdkafka has it.
const DEFAULT_PORT: u16 = 9092;
/// Version of `ApiVersions` asked first: the first that names the client's software. Older brokers refuse it in v0.
const API_VERSIONS_FIRST: i16 = 3;

/// What a connection runs over: TCP now, TLS over TCP later, an in-memory pipe in tests.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An open connection whose broker's versions are known. After any error it must be dropped: an answer may still be
/// on the wire.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    client_id: StrBytes,
    timeout: Duration,
    versions: Versions,
    next_correlation_id: i32,
}

impl<S: Stream> Connection<S> {
    /// Learns the broker's versions over `stream`. Every request, this one included, has `timeout` for its answer.
    pub(crate) async fn open(stream: S, client_id: StrBytes, timeout: Duration) -> Result<Self, WireError> {
        let versions = Versions::default();
        let mut connection = Self { stream, client_id, timeout, versions, next_correlation_id: 0 };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("tidegate"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let (id, answer) = connection.round_trip(&request, API_VERSIONS_FIRST).await?;
        let answer = match frame::api_versions_error(&answer).and_then(ResponseError::try_from_code) {
            None => frame::decode::<ApiVersionsRequest>(answer, API_VERSIONS_FIRST, id)?,
            // Such a refusal is written as version 0 (KIP-511), which every broker also takes.
            Some(ResponseError::UnsupportedVersion) => {
                let (id, answer) = connection.round_trip(&ApiVersionsRequest::default(), 0).await?;
                frame::decode::<ApiVersionsRequest>(answer, 0, id)?
            }
            Some(error) => return Err(WireError::Malformed(format!("ApiVersions refused: {error}"))),
        };
        connection.versions = Versions::from_answer(&answer);
        Ok(connection)
    }

    /// Returns the version of `R` to use with this broker; `None` if it has none that we speak.
    pub(crate) fn version<R: Request>(&self) -> Option<i16> {
        self.versions.highest::<R>()
    }

    /// As [`Self::version`], for a request without which nothing can be done.
    pub(crate) fn required<R: Request>(&self) -> Result<i16, WireError> {
        self.version::<R>().ok_or(WireError::NoCommonVersion(R::NAME))
    }

    /// Returns the time that a request has for its answer.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends `request` in `version` and returns its answer.
    pub(crate) async fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, WireError> {
        let (id, answer) = self.round_trip(request, version).await?;
        frame::decode::<R>(answer, version, id)
    }

    async fn round_trip<R: Request>(&mut self, request: &R, version: i16) -> Result<(i32, Bytes), WireError> {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1);
        let request = frame::encode(request, version, id, &self.client_id)?;
        let exchange = async {
            self.stream.write_all(&request).await?;
            self.stream.flush().await?;
            let mut prefix = [0; frame::LENGTH_BYTES];
            self.stream.read_exact(&mut prefix).await?;
            let mut answer = vec![0; frame::response_bytes(prefix)?];
            self.stream.read_exact(&mut answer).await?;
            Ok::<_, WireError>(Bytes::from(answer))
        };
        let answer = tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| WireError::TimedOut(self.timeout))?;
        Ok((id, answer?))
    }
}

/// Connects to `address` (`host:port`) over TCP.
pub(super) async fn dial(
    address: &str,
    client_id: StrBytes,
    timeout: Duration,
) -> Result<Connection<TcpStream>, WireError> {
    let connecting = tokio::time::timeout(timeout, TcpStream::connect(address));
    let stream = connecting.await.map_err(|_| WireError::TimedOut(timeout))?.map_err(WireError::Connect)?;
    // A request is one write; waiting to fill a segment would only add its delay.
    stream.set_nodelay(true).map_err(WireError::Connect)?;
    Connection::open(stream, client_id, timeout).await
}

/// Splits a `bootstrap.servers` list into `host:port` addresses; a missing port is 9092.
pub(crate) fn bootstrap_addresses(list: &str) -> Vec<String> {
    let with_port = |host: &str| {
        let named =
            host.rsplit_once(':').is_some_and(|(host, port)| !port.ends_with(']') && !host.is_empty());
        if named { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") }
    };
    list.split(',').map(str::trim).filter(|host| !host.is_empty()).map(with_port).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    async fn read_request(broker: &mut DuplexStream) -> Vec<u8> {
        let mut prefix = [0; 4];
        broker.read_exact(&mut prefix).await.expect("a length");
        let mut request = vec![0; usize::try_from(i32::from_be_bytes(prefix)).expect("a length")];
        broker.read_exact(&mut request).await.expect("a request");
        request
    }

    async fn answer(broker: &mut DuplexStream, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("short");
        broker.write_all(&length.to_be_bytes()).await.expect("written");
        broker.write_all(body).await.expect("written");
    }

    fn open(stream: DuplexStream) -> impl Future<Output = Result<Connection<DuplexStream>, WireError>> {
        Connection::open(stream, StrBytes::from_static_str("tg"), Duration::from_secs(3))
    }

    #[tokio::test]
    async fn a_broker_that_refuses_the_first_version_is_asked_in_version_0() {
        let (ours, mut broker) = tokio::io::duplex(4096);
        let script = async {
            assert_eq!(read_request(&mut broker).await[2..4], [0, 3]);
            answer(&mut broker, &[0, 0, 0, 0, 0, 35, 0, 0, 0, 0]).await;
            assert_eq!(read_request(&mut broker).await[2..4], [0, 0]);
            answer(&mut broker, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 9, 0, 0, 0, 6]).await;
        };
        let (connection, ()) = tokio::join!(open(ours), script);
        let connection = connection.expect("the second attempt is answered");
        assert_eq!(connection.version::<kafka_protocol::messages::OffsetFetchRequest>(), Some(6));
        assert_eq!(connection.version::<kafka_protocol::messages::DescribeGroupsRequest>(), None);
    }

    #[tokio::test]
    async fn a_silent_broker_times_out() {
        let (ours, _broker) = tokio::io::duplex(4096);
        let opening = Connection::open(ours, StrBytes::from_static_str("tg"), Duration::from_millis(10));
        assert!(matches!(opening.await, Err(WireError::TimedOut(_))));
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_is_a_lost_connection() {
        let (ours, broker) = tokio::io::duplex(4096);
        drop(broker);
        assert!(open(ours).await.expect_err("nobody is there").is_lost());
    }

    #[tokio::test]
    async fn a_peer_that_speaks_http_is_refused_by_its_length() {
        let (ours, mut broker) = tokio::io::duplex(4096);
        broker.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("written");
        assert!(matches!(open(ours).await, Err(WireError::Malformed(_))));
    }

    #[test]
    fn bootstrap_lists_name_hosts_with_and_without_ports() {
        assert_eq!(bootstrap_addresses("a:1, b ,,[::1]:3,[::1]"), ["a:1", "b:9092", "[::1]:3", "[::1]:9092"]);
        assert!(bootstrap_addresses(" , ").is_empty());
    }
}
