//! A fleet of simulated devices, and its account for the verifier.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tidegate_fleet::{Clocks, Identity, Observer, Payload, Plan, Report};
use tidegate_runtime::clock;
use tokio_util::sync::CancellationToken;

use super::verifier::{Decode, Ledger, Message, Stream};

/// Devices of one plan.
#[derive(Clone, Debug)]
pub struct Fleet {
    plan: Plan,
    acknowledged: Arc<tidegate_fleet::Ledger>,
}

impl Fleet {
    /// Prepares a fleet; nothing is sent yet.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let acknowledged = Arc::new(tidegate_fleet::Ledger::new(&plan));
        Self { plan, acknowledged }
    }

    /// Plays the plan against a gateway until all is settled or the plan's deadline.
    ///
    /// # Errors
    /// The plan is out of bounds.
    pub async fn run(&self, gateway: SocketAddr, observer: impl Observer) -> Result<Report> {
        self.run_until(gateway, observer, CancellationToken::new()).await
    }

    /// As [`run`](Self::run); after `stop` nothing new is sent, and devices have the plan's grace to settle.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_until(
        &self,
        gateway: SocketAddr,
        observer: impl Observer,
        stop: CancellationToken,
    ) -> Result<Report> {
        let clocks = Clocks { monotonic: clock::monotonic, unix_millis: clock::unix_millis };
        let observers = (Arc::clone(&self.acknowledged), observer);
        Ok(tidegate_fleet::run(self.plan.clone(), gateway, clocks, observers, stop).await?)
    }

    /// Returns how many messages were acknowledged until now.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.count()
    }

    /// Writes what was published and acknowledged into `ledger`.
    pub fn account(&self, ledger: &mut Ledger) {
        for device in 0..self.plan.load.devices {
            let identity = Identity::draw(self.plan.seed, device, self.plan.versions);
            let messages = self.plan.load.messages_of(identity.phase);
            ledger.published(&self.stream(&identity), (0..messages).map(u64::from));
        }
        for (device, seq) in self.acknowledged.iter() {
            let identity = Identity::draw(self.plan.seed, device, self.plan.versions);
            ledger.acknowledged(&self.stream(&identity), [u64::from(seq)]);
        }
    }

    fn stream(&self, identity: &Identity) -> Stream {
        Stream::new(identity.client_id(&self.plan.prefix), identity.class.as_str())
    }
}

/// A record is a message of the fleet if every byte of its payload is right, and its key is the device's client id.
impl Decode for Fleet {
    fn decode(&self, _topic: &str, key: &[u8], payload: &[u8]) -> Option<Message> {
        let payload = Payload::decode(payload).ok().filter(|payload| payload.run == self.plan.run)?;
        let client_id = format!("{}-{}", self.plan.prefix, payload.device);
        let stream = Stream::new(client_id, payload.class.as_str());
        (stream.key.as_bytes() == key).then_some(Message { stream, seq: payload.seq.into() })
    }
}
