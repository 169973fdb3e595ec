//! Uneven intervals made into even steps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The step that is being filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Steps {
    /// Start of the open step; `None` before the first interval.
    open_from: Option<Timestamp>,
    messages: f64,
}

impl Steps {
    /// Takes in a mean rate over the `interval` that ends `at` and returns the rates of the steps that are whole now.
    ///
    /// An interval that reaches over several steps counts for each in its part. After a gap longer than `kept` steps, or a
    /// clock that went backwards, the steps begin anew.
    pub(super) fn add(
        &mut self,
        per_sec: f64,
        interval: Duration,
        at: Timestamp,
        step: Duration,
        kept: usize,
    ) -> Vec<f64> {
        let mut from = at - interval;
        let open = *self.open_from.get_or_insert(from);
        let gone_too_long = at.since(open) > step.saturating_mul(u32::try_from(kept).unwrap_or(u32::MAX));
        if at < open || gone_too_long {
            *self = Self { open_from: Some(at), messages: 0.0 };
            return Vec::new();
        }
        let mut whole = Vec::new();
        let mut open = open;
        from = from.max(open);
        while at >= open + step {
            let end = open + step;
            self.messages += per_sec * end.since(from).as_secs_f64();
            whole.push(self.messages / step.as_secs_f64());
            (open, from, self.messages) = (end, from.max(end), 0.0);
        }
        self.messages += per_sec * at.since(from).as_secs_f64();
        self.open_from = Some(open);
        whole
    }

    /// Continues at `now` after having been away and returns how many whole steps were missed; `None` if more than `kept`.
    pub(super) fn resume(
        &mut self,
        away: Duration,
        now: Timestamp,
        step: Duration,
        kept: usize,
    ) -> Option<usize> {
        let missed = usize::try_from(away.as_nanos() / step.as_nanos()).ok()?;
        *self = Self { open_from: Some(now), messages: 0.0 };
        (missed <= kept).then_some(missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_mins(1);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn uneven_intervals_keep_their_messages() {
        let mut steps = Steps::default();
        let mut whole = Vec::new();
        let mut now = 100;
        for (rate, secs) in [(10.0, 7), (20.0, 50), (40.0, 6), (5.0, 180), (1.0, 57)] {
            now += secs;
            whole.extend(steps.add(rate, Duration::from_secs(secs), at(now), STEP, 100));
        }
        // 300 s are five steps of a minute.
        assert_eq!(whole.len(), 5);
        let messages: f64 = whole.iter().map(|rate| rate * 60.0).sum();
        assert!((messages - (70.0 + 1_000.0 + 240.0 + 900.0 + 57.0)).abs() < 1e-6, "{messages}");
        assert!((whole[0] - (70.0 + 1_000.0 + 120.0) / 60.0).abs() < 1e-9);
    }

    #[test]
    fn a_gap_that_is_too_long_begins_anew() {
        let mut steps = Steps::default();
        steps.add(10.0, Duration::from_secs(5), at(5), STEP, 3);
        assert!(steps.add(10.0, Duration::from_secs(5), at(1_000), STEP, 3).is_empty());
        assert_eq!(steps.add(7.0, Duration::from_mins(1), at(1_060), STEP, 3), [7.0]);
    }

    #[test]
    fn away_steps_are_counted_up_to_what_is_kept() {
        let mut steps = Steps::default();
        assert_eq!(steps.resume(Duration::from_secs(190), at(7), STEP, 3), Some(3));
        assert_eq!(steps.resume(Duration::from_mins(4), at(7), STEP, 3), None);
    }
}
