//! At most one connection per broker, kept from tick to tick, made again with jittered backoff.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use tidegate_core::time::Timestamp;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::backoff;
use super::connection::{Connection, Stream, dial};
use super::error::WireError;

/// What is asked of one broker, in one or more requests on its connection. Only reads, so it may be asked again.
pub(crate) trait Inquiry: Send + Sync + 'static {
    /// What all its answers say together.
    type Answer: Send + 'static;

    /// Asks over `connection`.
    fn ask<S: Stream>(
        &self,
        connection: &mut Connection<S>,
    ) -> impl Future<Output = Result<Self::Answer, WireError>> + Send;
}

/// How connections are made.
#[derive(Clone, Debug)]
pub(crate) struct Dialing {
    pub(crate) client_id: StrBytes,
    /// Time for a connection, and for each answer on it.
    pub(crate) timeout: Duration,
    /// Spreads reconnections of several observers.
    pub(crate) seed: u64,
}

#[derive(Debug, Default)]
struct Link {
    /// Taken out while it is in use: an inquiry that fails or is cancelled leaves nothing half read behind.
    open: Option<Connection<TcpStream>>,
    failures: u32,
    retry_at: Timestamp,
    last_error: String,
}

/// The connections, by `host:port`. Bounded by [`Links::keep_only`] to the brokers of the cluster.
#[derive(Debug)]
pub(crate) struct Links {
    dialing: Dialing,
    by_address: BTreeMap<String, Link>,
}

impl Links {
    pub(crate) const fn new(dialing: Dialing) -> Self {
        Self { dialing, by_address: BTreeMap::new() }
    }

    /// Closes connections to all but `addresses`.
    pub(crate) fn keep_only(&mut self, addresses: &BTreeSet<String>) {
        self.by_address.retain(|address, _| addresses.contains(address));
    }

    /// Returns the number of open connections.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.by_address.values().filter(|link| link.open.is_some()).count()
    }

    /// Asks the first of `addresses`, and if it fails all others at once; returns one answer and whose it is, or every
    /// error. So two time-outs are the longest wait, however many brokers are gone.
    pub(crate) async fn ask_first<I: Inquiry + Clone>(
        &mut self,
        addresses: &[String],
        inquiry: &I,
        now: Timestamp,
    ) -> Result<(String, I::Answer), Vec<(String, WireError)>> {
        let mut errors = Vec::new();
        let (first, others) = addresses.split_at(addresses.len().min(1));
        for some in [first, others] {
            let work = some.iter().map(|address| (address.clone(), inquiry.clone())).collect();
            for (address, answer) in self.ask_each(work, now).await {
                match answer {
                    Ok(answer) => return Ok((address, answer)),
                    Err(error) => errors.push((address, error)),
                }
            }
        }
        Err(errors)
    }

    /// Asks each broker its inquiry, all at once, so that a frozen one delays none of the others' answers by more
    /// than its time-out. Brokers in backoff are not asked.
    pub(crate) async fn ask_each<I: Inquiry>(
        &mut self,
        work: BTreeMap<String, I>,
        now: Timestamp,
    ) -> BTreeMap<String, Result<I::Answer, WireError>> {
        let mut answers = BTreeMap::new();
        let mut asking = JoinSet::new();
        for (address, inquiry) in work {
            let link = self.by_address.entry(address.clone()).or_default();
            if link.open.is_none() && now < link.retry_at {
                answers.insert(address, Err(WireError::BackingOff(link.last_error.clone())));
                continue;
            }
            let (open, dialing) = (link.open.take(), self.dialing.clone());
            asking.spawn(async move {
                let asked = ask(open, &address, &dialing, &inquiry).await;
                (address, asked)
            });
        }
        while let Some(done) = asking.join_next().await {
            // Nothing aborts these tasks while we wait for them, so a failed join is a panic of ours: pass it on.
            let (address, asked) = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            answers.insert(address.clone(), self.settle(&address, asked, now));
        }
        answers
    }

    fn settle<A>(
        &mut self,
        address: &str,
        asked: Result<(Connection<TcpStream>, A), WireError>,
        now: Timestamp,
    ) -> Result<A, WireError> {
        let link = self.by_address.entry(address.to_owned()).or_default();
        match asked {
            Ok((connection, answer)) => {
                *link = Link { open: Some(connection), ..Link::default() };
                Ok(answer)
            }
            Err(error) => {
                link.failures = link.failures.saturating_add(1);
                let of_address = BuildHasherDefault::<DefaultHasher>::default().hash_one(address);
                link.retry_at = now + backoff::delay(link.failures, self.dialing.seed ^ of_address);
                link.last_error = error.to_string();
                // One line per failed connection; what it means for lag is said by the observation.
                tracing::debug!(broker = address, failures = link.failures, %error, "broker did not answer");
                Err(error)
            }
        }
    }
}

/// Asks on the open connection if there is one; if that was closed since the last tick, once more on a new one.
async fn ask<I: Inquiry>(
    open: Option<Connection<TcpStream>>,
    address: &str,
    dialing: &Dialing,
    inquiry: &I,
) -> Result<(Connection<TcpStream>, I::Answer), WireError> {
    if let Some(mut connection) = open {
        match inquiry.ask(&mut connection).await {
            Ok(answer) => return Ok((connection, answer)),
            Err(error) if error.is_lost() => {}
            Err(error) => return Err(error),
        }
    }
    let mut connection = dial(address, dialing.client_id.clone(), dialing.timeout).await?;
    let answer = inquiry.ask(&mut connection).await?;
    Ok((connection, answer))
}
