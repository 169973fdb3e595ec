//! What the scalers of one controller share.

use prometheus::Error;
use tidegate_core::time::Clock;
use tidegate_runtime::metrics::Registry;

use crate::events::Events;
use crate::metrics::Metrics;
use crate::reports::Reports;
use crate::view::Views;

/// Reports, metrics, views and the clock. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) reports: Reports,
    pub(crate) events: Events,
    pub(crate) views: Views,
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
            clock,
        })
    }
}
