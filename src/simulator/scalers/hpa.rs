//! The Horizontal Pod Autoscaler, from its documented algorithm and defaults.
//!
//! Sources: Kubernetes documentation, "Horizontal Pod Autoscaling" (algorithm details: `ceil(current x value / target)`,
//! tolerance 0.1, sync period 15 s, downscale stabilisation 5 min, unready pods count as 0 % on the way up); KEP-853
//! (configurable scale velocity). An HPA without `spec.behavior`, which is what KEDA creates by default, goes up to at most
//! `max(2 x current, 4)` in one sync (`calculateScaleUpLimit` in `pkg/controller/podautoscaler`).

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_core::time::Timestamp;

use super::Scaler;
use crate::cluster::Cluster;
use crate::num::{real_len, whole_u32};

/// `--horizontal-pod-autoscaler-sync-period`.
pub(super) const SYNC: Duration = Duration::from_secs(15);
/// `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
/// `--horizontal-pod-autoscaler-downscale-stabilization`.
const DOWN_WINDOW: Duration = Duration::from_mins(5);
/// `scaleUpLimitFactor` and `scaleUpLimitMinimum`.
const UP_LIMIT: (u32, u32) = (2, 4);

/// What every HPA does with a recommendation.
#[derive(Clone, Debug)]
pub struct Hpa {
    min: u32,
    max: u32,
    recommended: VecDeque<(Timestamp, u32)>,
}

impl Hpa {
    /// Returns one that keeps between `min` (at least 1) and `max`.
    #[must_use]
    pub const fn new(min: u32, max: u32) -> Self {
        Self { min, max, recommended: VecDeque::new() }
    }

    /// Returns `ceil(usage / target)` for a metric whose target is an average value per pod; `current` if it is within
    /// the tolerance.
    #[must_use]
    pub fn for_average_value(current: u32, usage: f64, target: f64) -> u32 {
        let ratio = usage / (target * f64::from(current.max(1)));
        if (ratio - 1.0).abs() <= TOLERANCE { current } else { whole_u32((usage / target).ceil()) }
    }

    /// Turns a recommendation into the count to set: the highest of the last five minutes, no faster up than allowed, and
    /// within the limits.
    pub fn settle(&mut self, current: u32, recommended: u32, now: Timestamp) -> u32 {
        if self.recommended.is_empty() {
            // It begins with what it finds.
            self.recommended.push_back((now, current));
        }
        self.recommended.push_back((now, recommended));
        while self.recommended.front().is_some_and(|(at, _)| now.since(*at) > DOWN_WINDOW) {
            self.recommended.pop_front();
        }
        let stable = self.recommended.iter().map(|(_, count)| *count).max().unwrap_or(recommended);
        let up_to = current.saturating_mul(UP_LIMIT.0).max(UP_LIMIT.1);
        stable.min(up_to).clamp(self.min, self.max)
    }
}

/// An HPA on CPU: the autoscaler that is there without installing anything.
#[derive(Clone, Debug)]
pub struct CpuHpa {
    hpa: Hpa,
    /// Utilisation aimed at, 0 to 1.
    target: f64,
    next_sync: Timestamp,
    /// Utilisation of each member over the last full period: metrics are that old when they are read.
    last: Vec<f64>,
}

impl CpuHpa {
    /// Returns an HPA that keeps the mean utilisation of ready pods at `target` (0 to 1), between `min` and `max`.
    #[must_use]
    pub const fn new(target: f64, min: u32, max: u32) -> Self {
        Self { hpa: Hpa::new(min, max), target, next_sync: Timestamp::ZERO, last: Vec::new() }
    }

    /// `ceil(current x value / target)` over pods with metrics; those that start count as idle on the way up.
    fn recommend(&self, current: u32, starting: usize) -> u32 {
        let mean = |pods: usize| self.last.iter().sum::<f64>() / real_len(pods.max(1)) / self.target;
        if self.last.is_empty() {
            return current;
        }
        let ratio = mean(self.last.len());
        let (ratio, pods) = if ratio > 1.0 && starting > 0 {
            let with_idle = mean(self.last.len() + starting);
            // Counting the starting ones as idle may stop a rise, never turn it round.
            if with_idle < 1.0 {
                return current;
            }
            (with_idle, self.last.len() + starting)
        } else {
            (ratio, self.last.len())
        };
        if (ratio - 1.0).abs() <= TOLERANCE { current } else { whole_u32((ratio * real_len(pods)).ceil()) }
    }
}

impl Scaler for CpuHpa {
    fn act(&mut self, site: &mut Cluster, now: Timestamp) -> Option<String> {
        if now < self.next_sync {
            return None;
        }
        self.next_sync = now + SYNC;
        let (current, ..) = site.counts();
        let wanted = self.recommend(current, site.starting().len());
        let period = SYNC.as_secs_f64();
        self.last = site.take_busy().iter().map(|busy| (busy.seconds / period).min(1.0)).collect();
        let to = self.hpa.settle(current, wanted, now);
        (to != current).then(|| {
            site.scale(to);
            format!("CPU asks for {wanted}")
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
    fn within_a_tenth_of_the_target_nothing_changes() {
        assert_eq!(Hpa::for_average_value(10, 1099.0, 100.0), 10);
        assert_eq!(Hpa::for_average_value(10, 901.0, 100.0), 10);
        assert_eq!(Hpa::for_average_value(10, 1101.0, 100.0), 12);
        assert_eq!(Hpa::for_average_value(10, 899.0, 100.0), 9);
    }

    #[test]
    fn a_fall_waits_for_five_minutes() {
        let mut hpa = Hpa::new(1, 100);
        assert_eq!(hpa.settle(10, 10, at(0)), 10);
        for secs in (15..=300).step_by(15) {
            assert_eq!(hpa.settle(10, 2, at(secs)), 10, "{secs}");
        }
        assert_eq!(hpa.settle(10, 2, at(315)), 2);
    }

    #[test]
    fn cpu_rises_by_its_ratio_and_counts_starting_pods_as_idle() {
        let mut hpa = CpuHpa::new(0.8, 1, 100);
        hpa.last = vec![1.0; 8];
        assert_eq!(hpa.recommend(8, 0), 10);
        assert_eq!(hpa.recommend(10, 2), 10);
        hpa.last = vec![0.2; 8];
        assert_eq!(hpa.recommend(8, 0), 2);
    }
}
