//! All faults at once, in an order that the seed says: they overlap, and heal in another order.

use anyhow::Result;
use tidegate_tests::support::disk::take_all_but;
use tidegate_tests::support::proxy::{Link, Proxy};

use super::case::Case;
use super::disk_full::others;
use super::gateway_killed;
use super::lot::Lot;
use super::site::{BLACK_HOLE, Site, set};

pub(super) const CASE: Case = Case {
    name: "all-together",
    promise: "gateway and broker killed, broker frozen, broker hidden, network cut, disk full at once: nothing is lost",
    brokers: 3,
    disk_mebibytes: Some(256),
    needs_spool: true,
    cuts_devices: true,
    ..Case::USUAL
};

#[derive(Clone, Copy, Debug)]
enum Fault {
    GatewayKilled,
    BrokerFrozen,
    BrokerHidden,
    BrokerKilled,
    NetworkCut,
    DiskFull,
}

const ALL: [Fault; 6] = [
    Fault::GatewayKilled,
    Fault::BrokerFrozen,
    Fault::BrokerHidden,
    Fault::BrokerKilled,
    Fault::NetworkCut,
    Fault::DiskFull,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_together_lose_nothing_acknowledged() -> Result<()> {
    CASE.holds(async |site, lot| {
        let mut faults = ALL;
        lot.shuffle(&mut faults);
        for fault in faults {
            fault.strike(site, lot).await?;
            lot.pause(0..2500).await;
        }
        lot.pause(0..4000).await;
        lot.shuffle(&mut faults);
        for fault in faults {
            fault.heal(site).await?;
            lot.pause(0..1500).await;
        }
        Ok(())
    })
    .await
}

impl Fault {
    async fn strike(self, site: &mut Site, lot: &mut Lot) -> Result<()> {
        match self {
            Self::GatewayKilled => gateway_killed::strike(site, lot).await,
            Self::BrokerFrozen => site.brokers[0].stand_still(),
            Self::BrokerHidden => {
                set(&site.uplinks[1], BLACK_HOLE);
                Ok(())
            }
            Self::BrokerKilled => site.brokers[2].kill(),
            Self::NetworkCut => {
                site.uplinks.iter().for_each(Proxy::cut);
                site.posts.iter().for_each(|post| post.door.cut());
                Ok(())
            }
            Self::DiskFull => take_all_but(&others(site)?, 0),
        }
    }

    async fn heal(self, site: &mut Site) -> Result<()> {
        match self {
            Self::GatewayKilled | Self::NetworkCut => Ok(()),
            Self::BrokerFrozen => site.brokers[0].go_on(),
            Self::BrokerHidden => {
                set(&site.uplinks[1], Link::default());
                Ok(())
            }
            Self::BrokerKilled => site.brokers[2].restart().await,
            Self::DiskFull => Ok(std::fs::remove_file(others(site)?)?),
        }
    }
}
