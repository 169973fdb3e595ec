//! Looking ahead: PINGREQs behind packets that may not be decoded yet are answered all the same.

use std::io;

use tidegate_mqtt::codec::{Frame, PINGRESP, PacketType, frame};

use super::{Connection, Desk, Ended};
use crate::reason::CloseReason;

/// Unread bytes that are searched for a PINGREQ while the connection is stopped.
const LOOK_AHEAD_BYTES: usize = 16 * 1024;

impl Connection {
    /// Reads a bounded way beyond where decoding stopped, and answers the PINGREQs found there.
    ///
    /// A client whose PINGREQ lies unread takes the connection for dead, whatever we think of it.
    pub(super) fn look_ahead(&mut self, desk: &mut Desk<'_>) -> Result<(), Ended> {
        let kept = self.tail.len();
        if kept < LOOK_AHEAD_BYTES {
            let scratch = &mut desk.scratch[..LOOK_AHEAD_BYTES - kept];
            match self.stream.try_read(scratch) {
                Ok(0) => return Err(CloseReason::ClosedByClient),
                Ok(count) => {
                    self.tail.extend_from_slice(&scratch[..count]);
                    self.last_seen = desk.now;
                    self.account()?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(CloseReason::Network),
            }
        }
        let limit = desk.pipeline.shared.limits.max_packet_bytes;
        answer_pings(&mut self.tail, limit, desk.out);
        Ok(())
    }
}

/// Cuts the PINGREQs out of undecoded packets and appends an answer for each.
fn answer_pings(bytes: &mut Vec<u8>, max_packet_bytes: u32, out: &mut Vec<u8>) {
    let (mut at, mut kept) = (0, 0);
    // What is malformed is found, and answered, when it is decoded.
    while let Ok(Frame::Whole(header)) = frame(&bytes[at..], max_packet_bytes) {
        let len = header.packet_len();
        match header.kind() {
            PacketType::PingReq if len == 2 => out.extend_from_slice(&PINGRESP),
            // Nothing after it counts.
            PacketType::Disconnect => break,
            _ => {
                bytes.copy_within(at..at + len, kept);
                kept += len;
            }
        }
        at += len;
    }
    bytes.drain(kept..at);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_between_other_packets_are_answered_once_and_cut_out() {
        let publish = [0x30, 5, 0, 1, b't', 1, 2];
        let mut bytes = [&publish[..], &[0xC0, 0], &publish, &[0xC0, 0, 0xC0, 0], &publish[..3]].concat();
        let mut out = Vec::new();
        answer_pings(&mut bytes, 1_000, &mut out);
        assert_eq!(out, [PINGRESP, PINGRESP, PINGRESP].concat());
        assert_eq!(bytes, [&publish[..], &publish, &publish[..3]].concat());
        answer_pings(&mut bytes, 1_000, &mut out);
        assert_eq!(out.len(), 6);
    }

    #[test]
    fn a_ping_after_disconnect_is_not_answered() {
        let (mut bytes, mut out) = (vec![0xE0, 0, 0xC0, 0], Vec::new());
        answer_pings(&mut bytes, 1_000, &mut out);
        assert!(out.is_empty() && bytes.len() == 4);
    }
}
