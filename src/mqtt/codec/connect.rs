//! CONNECT (section 3.1).

use super::PacketType;
use super::properties::{Place, Properties};
use super::reader::{Reader, varint};
use super::writer::{EncodeError, Sink};
use crate::violation::{Violation, ViolationReason as Reason};
use crate::{QoS, Version};

const NAME: &str = "MQTT";
/// Protocol name of MQTT 3.1, which is older than the standard.
const NAME_OF_31: &[u8] = b"MQIsdp";
const PLACE: Place = Place::Packet(PacketType::Connect);

const USER_NAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const WILL: u8 = 0x04;
const CLEAN_START: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// A client asks for a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Connect<'a> {
    /// The version that the whole connection speaks.
    pub version: Version,
    /// Clean Start (MQTT 5) or Clean Session (3.1.1).
    pub clean_start: bool,
    /// Largest time between two packets of the client, in seconds; 0 is none.
    pub keep_alive_secs: u16,
    /// Client identifier; empty if the server is to choose one.
    pub client_id: &'a str,
    /// What to publish should the connection end without DISCONNECT.
    pub will: Option<Will<'a>>,
    /// User name.
    pub user_name: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
    /// Properties of the connection.
    pub properties: Properties<'a>,
}

/// The Will Message of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Will<'a> {
    /// QoS to publish it with.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Topic to publish it to.
    pub topic: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
    /// Its properties.
    pub properties: Properties<'a>,
}

/// What a server may answer to a CONNECT it cannot accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// A version that is spoken here.
    Known(Version),
    /// An older one: it understands return code 1 of 3.1.1.
    Older,
    /// A newer one: it most likely understands MQTT 5.
    Newer,
    /// Not MQTT.
    Foreign,
}

/// Looks at name and level of a CONNECT only, so that the answer to a malformed one has the right form.
pub(crate) fn greeting(buf: &[u8]) -> Greeting {
    let Ok(Some((_, length_len))) = varint(buf.get(1..).unwrap_or_default()) else {
        return Greeting::Foreign;
    };
    let mut reader = Reader::new(&buf[1 + length_len..]);
    match (reader.binary(), reader.u8()) {
        (Ok(b"MQTT"), Ok(4)) => Greeting::Known(Version::V311),
        (Ok(b"MQTT"), Ok(5)) => Greeting::Known(Version::V5),
        (Ok(b"MQTT"), Ok(6..)) => Greeting::Newer,
        (Ok(b"MQTT" | NAME_OF_31), Ok(_)) => Greeting::Older,
        _ => Greeting::Foreign,
    }
}

impl<'a> Connect<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        if reader.binary()? != NAME.as_bytes() {
            return Err(Violation::new(Reason::ProtocolName, "MQTT-3.1.2-1"));
        }
        let version = match reader.u8()? {
            4 => Version::V311,
            5 => Version::V5,
            _ => return Err(Violation::new(Reason::ProtocolLevel, "MQTT-3.1.2-2")),
        };
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let keep_alive_secs = reader.u16()?;
        let properties = Properties::read(reader, PLACE, version)?;
        let client_id = reader.utf8()?;
        let will = if flags & WILL == 0 { None } else { Some(Will::read(flags, reader, version)?) };
        let user_name = if flags & USER_NAME == 0 { None } else { Some(reader.utf8()?) };
        let password = if flags & PASSWORD == 0 { None } else { Some(reader.binary()?) };
        let clean_start = flags & CLEAN_START != 0;
        Ok(Self { version, clean_start, keep_alive_secs, client_id, will, user_name, password, properties })
    }

    pub(crate) fn write(&self, out: &mut impl Sink) -> Result<(), EncodeError> {
        out.utf8(NAME)?;
        out.u8(match self.version {
            Version::V311 => 4,
            Version::V5 => 5,
        });
        out.u8(self.flags()?);
        out.u16(self.keep_alive_secs);
        self.properties.write(PLACE, self.version, out)?;
        out.utf8(self.client_id)?;
        if let Some(will) = &self.will {
            will.properties.write(Place::Will, self.version, out)?;
            out.utf8(will.topic)?;
            out.binary(will.payload)?;
        }
        self.user_name.map_or(Ok(()), |name| out.utf8(name))?;
        self.password.map_or(Ok(()), |password| out.binary(password))
    }

    fn flags(&self) -> Result<u8, EncodeError> {
        let mut flags = if self.clean_start { CLEAN_START } else { 0 };
        if let Some(will) = &self.will {
            flags |= WILL | (will.qos as u8) << 3 | if will.retain { WILL_RETAIN } else { 0 };
        }
        if self.user_name.is_some() {
            flags |= USER_NAME;
        }
        if self.password.is_some() {
            if self.version == Version::V311 && self.user_name.is_none() {
                return Err(EncodeError::NotInVersion);
            }
            flags |= PASSWORD;
        }
        Ok(flags)
    }
}

fn check_flags(flags: u8, version: Version) -> Result<(), Violation> {
    let wrong = |statement| Err(Violation::new(Reason::ConnectFlags, statement));
    if flags & RESERVED != 0 {
        return wrong("MQTT-3.1.2-3");
    }
    if flags & WILL == 0 && flags & WILL_QOS != 0 {
        return wrong("MQTT-3.1.2-11");
    }
    if flags & WILL_QOS == WILL_QOS {
        return wrong("MQTT-3.1.2-12");
    }
    if flags & WILL == 0 && flags & WILL_RETAIN != 0 {
        return wrong("MQTT-3.1.2-13");
    }
    // A rule of 3.1.1 only: MQTT 5 allows a password, such as a token, without a user name.
    if version == Version::V311 && flags & USER_NAME == 0 && flags & PASSWORD != 0 {
        return wrong("MQTT-3.1.2-22");
    }
    Ok(())
}

impl<'a> Will<'a> {
    fn read(flags: u8, reader: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let properties = Properties::read(reader, Place::Will, version)?;
        let topic = reader.topic_name("MQTT-4.7.0-1")?;
        if topic.is_empty() {
            return Err(Violation::new(Reason::TopicName, "MQTT-4.7.3-1"));
        }
        let payload = reader.binary()?;
        let qos = QoS::from_bits((flags & WILL_QOS) >> 3).expect("qos 3 was refused with the flags");
        Ok(Self { qos, retain: flags & WILL_RETAIN != 0, topic, payload, properties })
    }
}
