//! One MQTT client whose every packet the test decides.
//!
//! Fleets of well-behaved devices are tidegate-fleet's; this one does what no library lets a client do, such as
//! sending on without waiting for acknowledgements.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidegate_mqtt::codec::{Connect, PINGREQ, Packet, Properties, Publish, decode, encode};
use tidegate_mqtt::{QoS, ReasonCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Patience with the CONNACK and with writes.
const SOON: Duration = Duration::from_secs(20);
/// Longer than any packet of the tests.
const MAX_PACKET_BYTES: u32 = 1024 * 1024;

/// A connected client.
#[derive(Debug)]
pub struct Device {
    socket: TcpStream,
    version: Version,
    unread: Vec<u8>,
    sent: u16,
}

/// What came from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// The acknowledgement of this packet id.
    PubAck(NonZeroU16, ReasonCode),
    /// The answer to a PINGREQ.
    PingResp,
    /// The server ends the connection and says why (MQTT 5).
    Disconnect(ReasonCode),
    /// The connection has ended.
    Closed,
}

impl Device {
    /// Connects with a clean session and without keep alive.
    ///
    /// # Errors
    /// No connection, or a CONNACK other than success.
    pub async fn connect(server: SocketAddr, client_id: &str, version: Version) -> Result<Self> {
        let socket = TcpStream::connect(server).await.context("connect to the gateway")?;
        socket.set_nodelay(true)?;
        let mut device = Self { socket, version, unread: Vec::new(), sent: 0 };
        let connect = Connect {
            version,
            clean_start: true,
            keep_alive_secs: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::default(),
        };
        device.write(&packet(&Packet::Connect(connect), version)?).await?;
        let accepted = timeout(SOON, device.connack()).await.context("no CONNACK")??;
        ensure!(accepted == ReasonCode::SUCCESS, "CONNACK {}", accepted.as_str());
        Ok(device)
    }

    /// Sends a message with QoS 1 and returns its packet id: 1 for the first, then upwards. Waits for no acknowledgement.
    ///
    /// # Errors
    /// The connection is gone, or does not take the bytes.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<NonZeroU16> {
        self.sent += 1;
        let packet_id = NonZeroU16::new(self.sent).context("a device of the tests sends few messages")?;
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic,
            packet_id: Some(packet_id),
            properties: Properties::default(),
            payload,
        };
        self.write(&packet(&Packet::Publish(publish), self.version)?).await?;
        Ok(packet_id)
    }

    /// Sends a PINGREQ.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn ping(&mut self) -> Result<()> {
        self.write(&PINGREQ).await
    }

    /// Returns the next packet, or `None` if nothing comes `within` this time.
    ///
    /// # Errors
    /// The server sent something that no server may send here.
    pub async fn next(&mut self, within: Duration) -> Result<Option<Got>> {
        match timeout(within, self.got()).await {
            Ok(got) => got.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn got(&mut self) -> Result<Got> {
        loop {
            if let Some((packet, length)) =
                decode(&self.unread, self.version, MAX_PACKET_BYTES).map_err(foul)?
            {
                let got = match packet {
                    Packet::PubAck(ack) => Got::PubAck(ack.packet_id, ack.reason),
                    Packet::PingResp => Got::PingResp,
                    Packet::Disconnect(disconnect) => Got::Disconnect(disconnect.reason),
                    other => bail!("unexpected {:?}", other.kind()),
                };
                self.unread.drain(..length);
                return Ok(got);
            }
            if !self.read().await {
                return Ok(Got::Closed);
            }
        }
    }

    async fn connack(&mut self) -> Result<ReasonCode> {
        loop {
            if let Some((packet, length)) =
                decode(&self.unread, self.version, MAX_PACKET_BYTES).map_err(foul)?
            {
                let Packet::ConnAck(connack) = packet else { bail!("{:?} before CONNACK", packet.kind()) };
                let reason = connack.reason;
                self.unread.drain(..length);
                return Ok(reason);
            }
            ensure!(self.read().await, "closed before CONNACK");
        }
    }

    /// Reads what is there; false if the connection has ended, in order or by a reset.
    async fn read(&mut self) -> bool {
        self.socket.read_buf(&mut self.unread).await.is_ok_and(|length| length > 0)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(SOON, self.socket.write_all(bytes)).await.context("the gateway takes no bytes")??;
        Ok(())
    }
}

fn packet(packet: &Packet<'_>, version: Version) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(packet, version, &mut bytes)?;
    Ok(bytes)
}

fn foul(violation: tidegate_mqtt::Violation) -> anyhow::Error {
    anyhow::anyhow!("the gateway sent a malformed packet: {violation:?}")
}
