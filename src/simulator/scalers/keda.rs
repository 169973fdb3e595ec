//! KEDA with its kafka trigger, from its documentation.
//!
//! Sources: keda.sh, "Apache Kafka" scaler (`lagThreshold` 10, `activationLagThreshold` 0, `allowIdleConsumers` false: the
//! total lag is cut to partitions x threshold) and "`ScaledObject` specification" (`pollingInterval` 30 s,
//! `cooldownPeriod` 300 s, `minReplicaCount` 0, `useCachedMetrics` false). KEDA itself only switches between none and the
//! least; between there and the most it is an HPA on an external metric of type `AverageValue`, which asks the operator,
//! and so Kafka, anew at each sync unless metrics are cached.

use std::time::Duration;

use tidegate_core::time::Timestamp;

use super::Scaler;
use super::hpa::{Hpa, SYNC};
use crate::cluster::Cluster;
use crate::num::real;

/// `cooldownPeriod`.
const COOLDOWN: Duration = Duration::from_mins(5);

/// A `ScaledObject` with one kafka trigger.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct KedaSettings {
    /// `lagThreshold`.
    pub lag_threshold: u64,
    /// `activationLagThreshold`.
    pub activation_lag_threshold: u64,
    /// `pollingInterval`.
    pub polling_interval: Duration,
    /// `useCachedMetrics`: the HPA sees the lag of the last poll.
    pub cached_metrics: bool,
    /// `minReplicaCount`.
    pub min: u32,
    /// `maxReplicaCount`.
    pub max: u32,
}

impl KedaSettings {
    /// The defaults of the documentation, but for the counts.
    #[must_use]
    pub const fn new(min: u32, max: u32) -> Self {
        Self {
            lag_threshold: 10,
            activation_lag_threshold: 0,
            polling_interval: Duration::from_secs(30),
            cached_metrics: false,
            min,
            max,
        }
    }
}

/// KEDA's operator and the HPA that it made.
#[derive(Clone, Debug)]
pub struct Keda {
    settings: KedaSettings,
    hpa: Hpa,
    next_sync: Timestamp,
    next_poll: Timestamp,
    polled: u64,
    active_at: Option<Timestamp>,
}

impl Keda {
    /// Returns a fresh one.
    #[must_use]
    pub fn new(settings: KedaSettings) -> Self {
        Self {
            settings,
            hpa: Hpa::new(settings.min.max(1), settings.max),
            next_sync: Timestamp::ZERO,
            next_poll: Timestamp::ZERO,
            polled: 0,
            active_at: None,
        }
    }

    /// Returns one whose first sync and first poll are at these times: in a cluster the two clocks are not aligned.
    #[must_use]
    pub fn from(mut self, first_sync: Timestamp, first_poll: Timestamp) -> Self {
        (self.next_sync, self.next_poll) = (first_sync, first_poll);
        self
    }

    /// What the trigger reports: the total lag, cut so that it never asks for more consumers than partitions.
    fn metric(&self, lag: u64, partitions: u32) -> u64 {
        lag.min(u64::from(partitions) * self.settings.lag_threshold)
    }

    /// The operator's loop: nothing but on and off. Returns the count to set, if it changes.
    pub(super) fn poll(&mut self, current: u32, lag: u64, partitions: u32, now: Timestamp) -> Option<u32> {
        if now < self.next_poll {
            return None;
        }
        self.next_poll = now + self.settings.polling_interval;
        self.polled = self.metric(lag, partitions);
        let active = lag > self.settings.activation_lag_threshold;
        if active {
            self.active_at = Some(now);
        }
        if current == 0 {
            return active.then_some(self.settings.min.max(1));
        }
        let cooled = self.active_at.is_none_or(|at| now.since(at) >= COOLDOWN);
        (self.settings.min == 0 && cooled).then_some(0)
    }

    /// The HPA's sync. Returns the count to set and the one that was asked for.
    pub(super) fn sync(
        &mut self,
        current: u32,
        lag: u64,
        partitions: u32,
        now: Timestamp,
    ) -> Option<(u32, u32)> {
        if now < self.next_sync {
            return None;
        }
        self.next_sync = now + SYNC;
        if current == 0 {
            // "ScalingDisabled": an HPA leaves what has no replicas alone.
            return None;
        }
        let usage = if self.settings.cached_metrics { self.polled } else { self.metric(lag, partitions) };
        let wanted = Hpa::for_average_value(current, real(usage), real(self.settings.lag_threshold));
        Some((self.hpa.settle(current, wanted, now), wanted))
    }
}

impl Scaler for Keda {
    fn act(&mut self, site: &mut Cluster, now: Timestamp) -> Option<String> {
        if now < self.next_poll && now < self.next_sync {
            return None;
        }
        let ((lag, partitions), (current, ..)) = (site.lag(), site.counts());
        if let Some(to) = self.poll(current, lag, partitions, now) {
            site.scale(to);
            return Some(if to == 0 { "inactive for 300 s" } else { "active" }.to_owned());
        }
        let (to, wanted) = self.sync(current, lag, partitions, now)?;
        (to != current).then(|| {
            site.scale(to);
            format!("a lag of {lag} asks for {wanted}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn the_lag_is_cut_to_the_partitions() {
        let keda = Keda::new(KedaSettings::new(1, 100));
        assert_eq!(keda.metric(1_000_000, 64), 640);
        assert_eq!(keda.metric(600, 64), 600);
    }

    #[test]
    fn from_and_to_nothing_is_decided_by_polling() {
        let mut keda = Keda::new(KedaSettings::new(0, 100));
        assert_eq!(keda.poll(0, 0, 8, at(0)), None);
        assert_eq!(keda.poll(0, 50, 8, at(15)), None, "not polled yet");
        assert_eq!(keda.sync(0, 50, 8, at(15)), None, "the HPA is off at 0");
        assert_eq!(keda.poll(0, 50, 8, at(30)), Some(1));
        assert_eq!(keda.poll(1, 0, 8, at(300)), None);
        assert_eq!(keda.poll(1, 0, 8, at(330)), Some(0));
    }

    #[test]
    fn cached_metrics_are_those_of_the_last_poll() {
        let cached = KedaSettings { cached_metrics: true, ..KedaSettings::new(1, 100) };
        let mut keda = Keda::new(cached);
        keda.poll(1, 10, 64, at(0));
        assert_eq!(keda.sync(1, 600, 64, at(15)), Some((1, 1)));
        keda.poll(1, 600, 64, at(30));
        assert_eq!(keda.sync(1, 0, 64, at(30)), Some((4, 60)));
    }
}
