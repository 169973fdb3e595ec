//! Which counts are allowed at all.

use serde::Serialize;

use super::policy::Policy;

/// The one constraint that kept a decision from what the load asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Nothing: the count is what the load asks for.
    #[default]
    Demand,
    /// `replicas.min`.
    Min,
    /// `replicas.max`.
    Max,
    /// More members than partitions would idle.
    Partitions,
    /// `behavior.up.max_step`.
    UpStep,
    /// `behavior.down.max_step`.
    DownStep,
    /// Fewer would do, but not yet for the whole of `behavior.down.after`, or nothing may be concluded now.
    Hold,
}

impl Bound {
    /// Every bound, for metric labels.
    pub const ALL: [Self; 7] =
        [Self::Demand, Self::Min, Self::Max, Self::Partitions, Self::UpStep, Self::DownStep, Self::Hold];

    /// Returns the name that labels and JSON use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::Min => "min",
            Self::Max => "max",
            Self::Partitions => "partitions",
            Self::UpStep => "up_step",
            Self::DownStep => "down_step",
            Self::Hold => "hold",
        }
    }
}

/// Counts between which a decision lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) lower: u32,
    pub(super) upper: u32,
    upper_is: Bound,
}

impl Limits {
    /// Returns the limits; without a known partition count only the policy's.
    pub(super) fn new(policy: &Policy, partitions: Option<u32>) -> Self {
        let partitions = partitions.unwrap_or(u32::MAX);
        let upper_is = if partitions < policy.max { Bound::Partitions } else { Bound::Max };
        Self { lower: policy.min, upper: policy.max.min(partitions).max(policy.min), upper_is }
    }

    /// Brings `wanted` within the limits and says which of them did.
    pub(super) fn clamp(self, wanted: u32) -> (u32, Bound) {
        if wanted < self.lower {
            (self.lower, Bound::Min)
        } else if wanted > self.upper {
            (self.upper, self.upper_is)
        } else {
            (wanted, Bound::Demand)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_smaller_of_max_and_partitions_bounds_above_but_never_below_min() {
        let policy = Policy::new(Duration::from_secs(10), 2, 8);
        assert_eq!(Limits::new(&policy, Some(12)).clamp(20), (8, Bound::Max));
        assert_eq!(Limits::new(&policy, Some(6)).clamp(20), (6, Bound::Partitions));
        assert_eq!(Limits::new(&policy, Some(1)).clamp(20), (2, Bound::Partitions));
        assert_eq!(Limits::new(&policy, Some(12)).clamp(1), (2, Bound::Min));
        assert_eq!(Limits::new(&policy, None).clamp(5), (5, Bound::Demand));
    }
}
