//! What the controller shows of itself: the last observation and decision, for `/v1/decision` and the live screen.

use serde::Serialize;
use tidegate_core::scaling::Decision;
use tidegate_core::time::Timestamp;

/// State after a tick. Cloning copies a few hundred bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    /// Ticks so far.
    pub ticks: u64,
    /// Monotonic time of the last tick.
    #[serde(skip)]
    pub at: Timestamp,
    /// Replicas ordered, after the decision was applied.
    pub want: u32,
    /// Replicas that consume.
    pub have: u32,
    /// Replicas that are starting.
    pub starting: u32,
    /// Kafka delay in seconds; `None` if it is unknown or nothing consumes what waits.
    pub delay_secs: Option<f64>,
    /// Messages per second that devices offered to the gateways; `None` without a fresh report.
    pub offered_per_sec: Option<f64>,
    /// Messages that wait in Kafka, corrected for commits.
    pub backlog: f64,
    /// The last decision.
    pub decision: Option<Decision>,
    /// Its sentence.
    pub sentence: String,
    /// The last decision that changed the group, as a sentence.
    pub last_change: Option<String>,
    /// Number of decisions that changed the group.
    pub changes: u64,
    /// Why something could not be observed or applied in this tick; at most 16.
    pub problems: Vec<String>,
}
