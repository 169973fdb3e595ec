//! The network between gateway and Kafka fails in one way after the other, and the devices' own once.

use anyhow::Result;
use tidegate_tests::support::proxy::{Direction, Flow, Link, Proxy};

use super::case::Case;
use super::lot::Lot;
use super::site::Site;

pub(super) const CASE: Case = Case {
    name: "network-cut",
    promise: "connections to Kafka and to devices cut, stalled, swallowed: nothing acknowledged is lost, order is kept",
    cuts_devices: true,
    ..Case::USUAL
};

/// A way in which a network fails.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// All connections to Kafka are reset.
    Reset,
    /// Nothing arrives in this direction, and nobody is told. Answers that vanish are the worst: the records are written.
    Swallow(Direction),
    /// Everything waits, and goes on later.
    Stall,
    /// All connections of devices are reset.
    ResetDevices,
}

const WAYS: [Way; 5] = [
    Way::Reset,
    Way::Swallow(Direction::ToServer),
    Way::Swallow(Direction::ToClient),
    Way::Stall,
    Way::ResetDevices,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_fails_in_every_way_loses_nothing_acknowledged() -> Result<()> {
    CASE.holds(async |site, lot| {
        let mut ways = WAYS;
        lot.shuffle(&mut ways);
        for way in ways {
            lot.pause(300..1500).await;
            way.strike(site, lot).await;
        }
        Ok(())
    })
    .await
}

impl Way {
    async fn strike(self, site: &Site, lot: &mut Lot) {
        match self {
            Self::Reset => site.uplinks.iter().for_each(Proxy::cut),
            Self::Swallow(direction) => fail(site, lot, direction, Flow::BlackHole).await,
            Self::Stall => fail(site, lot, Direction::ToServer, Flow::Stall).await,
            Self::ResetDevices => site.posts.iter().for_each(|post| post.door.cut()),
        }
    }
}

/// Lets one direction fail for some seconds.
async fn fail(site: &Site, lot: &mut Lot, direction: Direction, flow: Flow) {
    for uplink in &site.uplinks {
        uplink.set(direction, Link { flow, ..Link::default() });
    }
    lot.pause(1500..5000).await;
    for uplink in &site.uplinks {
        uplink.set(direction, Link::default());
    }
}
