//! What the scalers of one controller share.

use tidegate_core::time::{Clock, UnixMillis};
use tidegate_runtime::metrics::Registry;

use crate::config::Record;
use crate::error::Error;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::record::Records;
use crate::reports::Reports;
use crate::view::Views;

/// Reports, metrics, views, records and the clock. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) reports: Reports,
    pub(crate) events: Events,
    pub(crate) views: Views,
    pub(crate) records: Records,
    pub(crate) clock: Clock,
}

impl Shared {
    /// Registers the controller's metrics.
    ///
    /// # Errors
    /// If one of them is registered already.
    pub(crate) fn new(registry: &Registry, clock: Clock) -> Result<Self, Error> {
        Ok(Self {
            reports: Reports::default(),
            events: Events::new(Metrics::new(registry)?),
            views: Views::default(),
            records: Records::default(),
            clock,
        })
    }

    /// Keeps records as `settings` say, if there are any.
    ///
    /// # Errors
    /// If the system has no thread for them.
    pub(crate) fn recording(
        self,
        settings: Option<&Record>,
        wall: fn() -> UnixMillis,
    ) -> Result<Self, Error> {
        let Some(settings) = settings else { return Ok(self) };
        let records = Records::start(settings, self.events.metrics(), wall).map_err(Error::Records)?;
        Ok(Self { records, ..self })
    }
}
