//! One number out of another process's metrics page.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// A page takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns the value of a metric without labels.
///
/// # Errors
/// If the page is not there, or the metric is not in it.
pub(crate) fn read(admin: SocketAddr, name: &str) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(admin).with_context(|| format!("cannot reach {admin}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    value(&page, name).with_context(|| format!("no metric {name}"))
}

fn value(page: &str, name: &str) -> Option<u64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let page = "# HELP a_total x\na_total_more 1\na_total{lane=\"b\"} 2\na_total 3\n";
        assert_eq!(value(page, "a_total"), Some(3));
        assert_eq!(value(page, "a"), None);
    }
}
