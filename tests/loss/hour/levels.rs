//! How full the lanes of a gateway are, look by look.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tidegate_tests::support::tidegate::Gateway;

use super::super::spool;

/// A lane at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) used_bytes: u64,
    pub(super) backlog_bytes: u64,
}

/// All lanes at the last look.
#[derive(Debug, Default)]
pub(super) struct Levels(BTreeMap<String, Level>);

impl Levels {
    /// Asks the gateway.
    ///
    /// # Errors
    /// It does not answer; a lane is not well, is full, or was full since the last look and held somebody back.
    pub(super) async fn look(&mut self, gateway: &Gateway) -> Result<()> {
        let said = spool::said(gateway).await?;
        for lane in said["lanes"].as_array().context("/v1/spool has lanes")? {
            let name = lane["name"].as_str().context("a lane has a name")?;
            let number = |key: &str| lane[key].as_u64().with_context(|| format!("a lane has {key}: {lane}"));
            let well = lane["health"] == "ok" && number("used_bytes")? < number("full_bytes")?;
            ensure!(well && number("waited")? == 0, "lane {name}: {lane}");
            let level = Level { used_bytes: number("used_bytes")?, backlog_bytes: number("backlog_bytes")? };
            self.0.insert(name.to_owned(), level);
        }
        Ok(())
    }

    /// Returns a lane at the last look.
    pub(super) fn now(&self, lane: &str) -> Result<Level> {
        self.0.get(lane).copied().with_context(|| format!("there is no lane {lane}"))
    }

    /// Returns what waits in all lanes, at the last look.
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.0.values().map(|level| level.backlog_bytes).sum()
    }
}
