//! From an admitted message to Kafka and back: which topic, which queue, which marks.

mod elders;
mod flights;
mod handed;
mod logged;
mod memory;
mod queue;
mod ring;
mod router;
mod table;
mod turns;

pub(crate) use elders::Elders;
pub(crate) use flights::{Flight, Flights};
pub(crate) use handed::{Completed, Given};
pub(crate) use logged::{Logged, Owned};
pub(crate) use memory::{NewRecord, Queued};
pub(crate) use queue::{Next, Reported};
pub(crate) use router::{Destination, HeaderSet, KeyRule, Router, Rule, StreamId, TargetId};
pub(crate) use table::{RouteId, RouteKey, RouteTable, Turn, Wait};
