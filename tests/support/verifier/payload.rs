//! From a payload back to the message it is.

use super::ledger::{Message, Stream};

/// Finds out which message a record is. Implemented by closures, too.
pub trait Decode {
    /// Returns the message, or `None` if nobody can have published this.
    fn decode(&self, topic: &str, key: &[u8], payload: &[u8]) -> Option<Message>;
}

impl<F: Fn(&str, &[u8], &[u8]) -> Option<Message>> Decode for F {
    fn decode(&self, topic: &str, key: &[u8], payload: &[u8]) -> Option<Message> {
        self(topic, key, payload)
    }
}

/// The first that knows the record, where several kinds of publishers share a topic.
impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(&self, topic: &str, key: &[u8], payload: &[u8]) -> Option<Message> {
        self.0.decode(topic, key, payload).or_else(|| self.1.decode(topic, key, payload))
    }
}

/// Numbered lines `PUBLISHER NUMBER`, as a test gives them to `mosquitto_pub -l`; the record's key is the publisher.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Class that the lines are published with.
    pub class: String,
}

impl Lines {
    /// Returns the line of a message.
    #[must_use]
    pub fn line(publisher: &str, seq: u64) -> String {
        format!("{publisher} {seq}")
    }
}

impl Decode for Lines {
    fn decode(&self, _topic: &str, key: &[u8], payload: &[u8]) -> Option<Message> {
        let (publisher, seq) = std::str::from_utf8(payload).ok()?.rsplit_once(' ')?;
        (publisher.as_bytes() == key)
            .then_some(Message { stream: Stream::new(publisher, self.class.clone()), seq: seq.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_as_its_message() {
        let lines = Lines { class: "sensor".to_owned() };
        let message = lines.decode("t", b"pub-3", Lines::line("pub-3", 17).as_bytes());
        assert_eq!(message, Some(Message { stream: Stream::new("pub-3", "sensor"), seq: 17 }));
        for foreign in [&b"pub-3"[..], b"pub-3 x", b"\xff 1", b"", b"pub-4 17"] {
            assert_eq!(lines.decode("t", b"pub-3", foreign), None);
        }
    }
}
