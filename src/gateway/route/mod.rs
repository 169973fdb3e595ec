//! From an admitted message to Kafka and back: which topic, which queue, which marks.

mod flights;
mod queue;
mod ring;
mod router;
mod table;

pub(crate) use flights::Flights;
pub(crate) use queue::{Completed, NewRecord, Queued};
pub(crate) use router::{Destination, HeaderSet, KeyRule, Router, Rule, StreamId, TargetId};
pub(crate) use table::{RouteId, RouteKey, RouteTable, Wait};
