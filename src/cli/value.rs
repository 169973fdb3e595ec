//! Values of options that more than one command takes: text to value, or to what is allowed.

use std::time::Duration;

/// Reads a duration such as `5ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<humantime::Duration>()
        .map(Into::into)
        .map_err(|error| format!("{error}; allowed is a number with ns, us, ms, s, m"))
}

/// Reads a setting of librdkafka such as `linger.ms=20`.
pub(crate) fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("allowed is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads bootstrap servers such as `kafka-1:9092,kafka-2:9092`.
pub(crate) fn servers(text: &str) -> Result<String, String> {
    let is_server = |server: &str| {
        let parts = server.trim().rsplit_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    if text.split(',').all(is_server) {
        return Ok(text.to_owned());
    }
    Err("allowed is HOST:PORT, several separated by commas".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts_with_ports() {
        for right in ["kafka:9092", "10.0.0.1:1,[::1]:65535", "a:1, b:2"] {
            assert_eq!(servers(right).as_deref(), Ok(right));
        }
        for wrong in ["", "kafka", "kafka:", ":9092", "kafka:0", "kafka:65536", "a:1,", "a:1,b"] {
            assert!(servers(wrong).is_err(), "{wrong}");
        }
    }
}
