//! Tells the controller what devices offer: every second, and at once when a burst begins.
//!
//! Owns when to report and what. A controller that is away costs nothing but its reports: the gateway goes on, and
//! the log says once that it is away and once that it is back.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::time::Timestamp;
use tidegate_core::wire::{GATEWAY_REPORT_PATH, GatewayReport, OfferedLoad};
use tidegate_runtime::report::Reporter;
use tokio::time::MissedTickBehavior;

use crate::shared::Shared;
use crate::stats::{Counter, Counters, StreamCounters};

/// How often the offered rate is looked at, and so the least time between two reports.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Time between two reports without a burst.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A burst is this many times what the last seconds offered.
const BURST_RATIO: f64 = 1.3;
/// And this many standard deviations of a Poisson count above it, so that a quiet site's noise is none.
const BURST_SIGMAS: f64 = 4.0;
/// Time constant of the average that a burst is compared with. A threefold rise counts as a burst for three seconds: longer
/// than the second for which the controller wants to see one, and short enough that a level which has lasted is
/// none, so that a next rise is seen as a new one.
const AVERAGE_OVER_SECS: f64 = 3.0;

/// Reports until the task is dropped.
pub(crate) async fn report(
    reporter: Reporter,
    gateway: String,
    run: u64,
    shared: Arc<Shared>,
    workers: Vec<Arc<Counters>>,
) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Since the start of the process, not of this task: workers may have taken something already.
    let mut totals = Totals(vec![Total::default(); shared.topic_names.len()]);
    let mut bursts = Bursts::new(totals.arrived(), (shared.clock)());
    let mut reported_at = (shared.clock)();
    let (mut seq, mut reachable) = (0, true);
    loop {
        ticks.tick().await;
        let now = (shared.clock)();
        let current = Totals::read(&workers, &shared);
        let burst = bursts.look(current.arrived(), now);
        let interval = now.since(reported_at);
        if !burst && interval < REPORT_EVERY {
            continue;
        }
        seq += 1;
        let mut report =
            GatewayReport { gateway: gateway.clone(), run, seq, burst, ..GatewayReport::default() };
        report.interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        for (index, (now, before)) in current.0.iter().zip(&totals.0).enumerate() {
            let class = &shared.classes.get(shared.router.destinations[index].class).name;
            let by_class = report.topics.entry(shared.topic_names[index].clone()).or_default();
            by_class.insert(class.clone(), now.since(before, interval));
        }
        (totals, reported_at) = (current, now);
        match reporter.post(GATEWAY_REPORT_PATH, &report).await {
            Ok(_) if !reachable => {
                reachable = true;
                tracing::info!("the controller takes reports again");
            }
            Err(error) if reachable => {
                reachable = false;
                tracing::warn!(%error, "reports do not reach the controller; the gateway goes on");
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// Counts of one stream, over all workers, at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    arrived: u64,
    admitted: u64,
    shed: u64,
    held_bytes: u64,
    unread_bytes: u64,
    constrained: u64,
    hidden_milli: u64,
}

impl Total {
    /// Returns the load between `before` and now.
    #[expect(clippy::cast_precision_loss, reason = "counts of one interval are far below 2^52")]
    fn since(&self, before: &Self, interval: Duration) -> OfferedLoad {
        let seconds = interval.as_secs_f64().max(0.001);
        let measured = self.arrived.saturating_sub(before.arrived) as f64 / seconds;
        let hidden = self.hidden_milli as f64 / 1000.0;
        let offered_est = measured + hidden;
        OfferedLoad {
            admitted: self.admitted.saturating_sub(before.admitted),
            shed: self.shed.saturating_sub(before.shed),
            held_bytes: self.held_bytes,
            unread_bytes: self.unread_bytes,
            constrained_devices: u32::try_from(self.constrained).unwrap_or(u32::MAX),
            offered_est,
            censored: if offered_est > 0.0 { hidden / offered_est } else { 0.0 },
            ..OfferedLoad::default()
        }
    }
}

struct Totals(Vec<Total>);

impl Totals {
    fn read(workers: &[Arc<Counters>], shared: &Shared) -> Self {
        let sum = |index: usize, counter: fn(&StreamCounters) -> &Counter| {
            workers.iter().map(|counters| counter(&counters.streams[index]).get()).sum()
        };
        let total = |index| Total {
            arrived: sum(index, |stream| &stream.arrived),
            admitted: sum(index, |stream| &stream.admitted),
            shed: sum(index, |stream| &stream.shed),
            held_bytes: sum(index, |stream| &stream.held_bytes),
            unread_bytes: sum(index, |stream| &stream.unread_bytes),
            constrained: sum(index, |stream| &stream.constrained),
            hidden_milli: sum(index, |stream| &stream.hidden_milli),
        };
        Self((0..shared.topic_names.len()).map(total).collect())
    }

    fn arrived(&self) -> u64 {
        self.0.iter().map(|total| total.arrived).sum()
    }
}

/// Sees a burst in a growing count.
#[derive(Debug)]
struct Bursts {
    arrived: u64,
    at: Timestamp,
    average_per_sec: f64,
}

impl Bursts {
    fn new(arrived: u64, now: Timestamp) -> Self {
        Self { arrived, at: now, average_per_sec: 0.0 }
    }

    /// Returns true if the time since the last look brought far more than the seconds before it.
    #[expect(clippy::cast_precision_loss, reason = "counts of one interval are far below 2^52")]
    fn look(&mut self, arrived: u64, now: Timestamp) -> bool {
        let seconds = now.since(self.at).as_secs_f64();
        if seconds < 0.001 {
            return false;
        }
        let count = arrived.saturating_sub(self.arrived) as f64;
        let expected = self.average_per_sec * seconds;
        let burst =
            count > BURST_RATIO * expected && count - expected > BURST_SIGMAS * expected.max(1.0).sqrt();
        let weight = 1.0 - (-seconds / AVERAGE_OVER_SECS).exp();
        self.average_per_sec += weight * (count / seconds - self.average_per_sec);
        (self.arrived, self.at) = (arrived, now);
        burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(per_look: impl IntoIterator<Item = u64>) -> Vec<bool> {
        let mut bursts = Bursts::new(0, Timestamp::ZERO);
        let (mut arrived, mut now) = (0, Timestamp::ZERO);
        let look = |count| {
            arrived += count;
            now = now + LOOK_EVERY;
            bursts.look(arrived, now)
        };
        per_look.into_iter().map(look).collect()
    }

    #[test]
    fn a_steady_rate_is_no_burst_and_three_times_of_it_is() {
        let seen = looks(std::iter::repeat_n(200, 100).chain([600]));
        assert!(seen[50..100].iter().all(|burst| !burst));
        assert!(seen[100]);
    }

    #[test]
    fn a_new_level_stops_being_a_burst() {
        let seen = looks(std::iter::repeat_n(200, 100).chain(std::iter::repeat_n(600, 100)));
        assert!(seen[100..105].iter().all(|burst| *burst));
        assert!(seen[150..].iter().all(|burst| !burst));
    }

    #[test]
    fn the_noise_of_a_quiet_site_is_no_burst() {
        let seen = looks((0..200).map(|look| if look % 7 == 0 { 3 } else { 0 }));
        assert!(seen[50..].iter().all(|burst| !burst));
    }

    #[test]
    fn hidden_load_is_offered_and_censored() {
        let before = Total { arrived: 100, admitted: 90, ..Total::default() };
        let now =
            Total { arrived: 130, admitted: 120, hidden_milli: 10_000, constrained: 2, ..Total::default() };
        let load = now.since(&before, Duration::from_secs(1));
        assert_eq!((load.admitted, load.constrained_devices), (30, 2));
        assert!((load.offered_est - 40.0).abs() < 1e-9 && (load.censored - 0.25).abs() < 1e-9, "{load:?}");
    }
}
