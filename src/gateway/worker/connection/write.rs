//! Writing: answers leave at once if the socket takes them, and otherwise when it does.

use std::io;
use std::task::{Context, Poll};

use socket2::SockRef;
use tidegate_mqtt::ReasonCode;

use super::{Connection, Ended};
use crate::reason::CloseReason;

/// Answers that may wait for a client to read them: 16 000 PUBACKs.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

impl Connection {
    /// Says `reason` to the client, if its version has words for it, as the last thing it is sent.
    pub(crate) fn end(&mut self, reason: ReasonCode, out: &mut Vec<u8>) {
        // Too large for this client: closing says it.
        let _ = self.protocol.disconnect(reason, &[], out);
        self.part(out);
    }

    /// Sends the last answers.
    pub(crate) fn part(&mut self, out: &mut Vec<u8>) {
        self.unsent.append(out);
        say_last(&SockRef::from(&self.stream), &self.unsent);
        self.unsent.clear();
    }

    /// Sends `out` and leaves it empty; what the socket does not take waits for the task.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Ended> {
        if out.is_empty() {
            return Ok(());
        }
        let sent = if self.unsent.is_empty() {
            // Not through the runtime: it would not know yet that a fresh socket is writable.
            match SockRef::from(&self.stream).send(out) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return Err(CloseReason::Network),
            }
        } else {
            0
        };
        if sent < out.len() {
            self.unsent.extend_from_slice(&out[sent..]);
            self.wake();
        }
        out.clear();
        if self.unsent.len() > MAX_UNSENT_BYTES {
            return Err(CloseReason::SlowReader);
        }
        Ok(())
    }

    /// Sends what waits; pending until the socket took all of it.
    pub(super) fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            std::task::ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Sends the last bytes before a socket is closed. What the client sent meanwhile is taken from the socket: closing it
/// with unread bytes resets the connection, and the client might not see the answer.
pub(crate) fn say_last(socket: &SockRef<'_>, bytes: &[u8]) {
    let mut sink = [0; 4096];
    // As much as a receive buffer holds; who still sends then gets a reset.
    for _ in 0..8 {
        match io::Read::read(&mut &**socket, &mut sink) {
            Ok(count) if count > 0 => {}
            _ => break,
        }
    }
    let _ = socket.send(bytes);
}
