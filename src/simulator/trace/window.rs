//! Which part of a trace is replayed: chosen by a fixed rule, never by hand.

use serde::Serialize;

use super::Trace;
use crate::num::{index, quantile, real_len};

/// Part of the windows' loads that the quiet one has: the lowest tenth, but not the hour in which nothing was recorded.
const QUIET: f64 = 0.1;
/// Windows begin on a grid of this part of their length.
const GRID: f64 = 1.0 / 12.0;

/// A part of a trace, in seconds from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Window {
    /// Where it begins.
    pub from_secs: f64,
    /// How long it is.
    pub secs: f64,
}

impl Trace {
    /// Returns the whole trace as a window.
    #[must_use]
    pub fn whole(&self) -> Window {
        Window { from_secs: 0.0, secs: self.secs() }
    }

    /// Returns the window of `secs` with the most messages; the first of equals, and the whole of a shorter trace.
    #[must_use]
    pub fn busiest(&self, secs: f64) -> Window {
        let best = self.windows(secs).into_iter().fold(None, |best: Option<(f64, f64)>, window| match best {
            Some((_, most)) if most >= window.1 => best,
            _ => Some(window),
        });
        Window { from_secs: best.map_or(0.0, |(from, _)| from), secs: secs.min(self.secs()) }
    }

    /// Returns the window of `secs` whose load a tenth of all windows stay below; the first of equals. `None` if the trace
    /// is too short for a second window beside the busiest.
    #[must_use]
    pub fn quiet(&self, secs: f64) -> Option<Window> {
        if self.secs() < 2.0 * secs {
            return None;
        }
        let windows = self.windows(secs);
        let loads: Vec<f64> = windows.iter().map(|(_, load)| *load).collect();
        let wanted = quantile(&loads, QUIET)?;
        let (from_secs, _) =
            windows.into_iter().min_by(|a, b| (a.1 - wanted).abs().total_cmp(&(b.1 - wanted).abs()))?;
        Some(Window { from_secs, secs })
    }

    /// Begin and messages of each window on the grid.
    fn windows(&self, secs: f64) -> Vec<(f64, f64)> {
        let bins = index(secs / self.bin_secs).clamp(1, self.counts.len().max(1));
        let step = index(real_len(bins) * GRID).max(1);
        let mut sums = vec![0.0];
        for count in &self.counts {
            sums.push(sums[sums.len() - 1] + count);
        }
        (0..=self.counts.len().saturating_sub(bins))
            .step_by(step)
            .map(|from| {
                (real_len(from) * self.bin_secs, sums[(from + bins).min(sums.len() - 1)] - sums[from])
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_window_holds_the_most_and_the_quiet_one_is_among_the_least() {
        let trace = Trace::from_counts(
            "t",
            60.0,
            (0..1000).map(|bin| if (700..760).contains(&bin) { 50 } else { bin / 100 }),
        );
        let busiest = trace.busiest(3600.0);
        assert!((busiest.from_secs - 42_000.0).abs() < 301.0, "{busiest:?}");
        let quiet = trace.quiet(3600.0).unwrap();
        assert!(quiet.from_secs < 6_000.0, "{quiet:?}");
    }

    #[test]
    fn a_short_trace_has_one_window() {
        let trace = Trace::from_counts("t", 1.0, [1; 100]);
        assert_eq!(trace.busiest(3600.0), Window { from_secs: 0.0, secs: 100.0 });
        assert_eq!(trace.quiet(3600.0), None);
    }
}
