//! A load over time: how many messages devices sent in each bin.
//!
//! Owns the bins and what is asked of them: rates, quantiles, windows, other bin widths. Where the numbers come from is
//! its submodules' business: a CSV file ([`parse`]) or a generated shape ([`Shape`]).

mod csv;
mod error;
mod shapes;
mod time;
mod window;

pub use csv::parse;
pub use error::TraceError;
pub use shapes::Shape;
pub use window::Window;

use crate::num::{index, quantile, real, real_len};

/// Bins of the longest trace: 215 days in seconds fit twenty times over, and so does the memory for them.
pub const BINS_MAX: usize = 20_000_000;
/// Share of messages that alarm devices send unless a trace says otherwise: their share of the devices.
pub const ALARM_SHARE: f64 = 0.05;

/// Messages sent per bin, without a gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// For headings and messages: a file's or a shape's name.
    pub name: String,
    /// Width of every bin, in seconds.
    pub bin_secs: f64,
    /// Messages in each bin; not whole once a trace has been scaled.
    pub counts: Vec<f64>,
    /// Share of each bin's messages that alarm devices sent; empty: [`ALARM_SHARE`] throughout.
    pub alarm_share: Vec<f64>,
}

impl Trace {
    /// Returns the length in seconds.
    #[must_use]
    pub fn secs(&self) -> f64 {
        self.bin_secs * real_len(self.counts.len())
    }

    /// Returns the rate at `secs` from the beginning, in messages per second. Before the first and after the last bin it
    /// is theirs, so that a run may begin before its window and end after it.
    #[must_use]
    pub fn rate_at(&self, secs: f64) -> f64 {
        self.counts.get(self.bin_at(secs)).map_or(0.0, |count| count / self.bin_secs)
    }

    /// Returns the share of alarm devices in the messages at `secs` from the beginning.
    #[must_use]
    pub fn alarm_share_at(&self, secs: f64) -> f64 {
        self.alarm_share.get(self.bin_at(secs)).copied().unwrap_or(ALARM_SHARE)
    }

    fn bin_at(&self, secs: f64) -> usize {
        index(secs.max(0.0) / self.bin_secs).min(self.counts.len().saturating_sub(1))
    }

    /// Returns the rate that the part `q` of the bins stays below, in messages per second.
    #[must_use]
    pub fn rate_quantile(&self, q: f64) -> f64 {
        quantile(&self.counts, q).unwrap_or(0.0) / self.bin_secs
    }

    /// Returns the same shape with `factor` times the messages.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        for count in &mut self.counts {
            *count *= factor;
        }
        self
    }

    /// Returns the trace scaled so that its 99.9th percentile is `per_sec` messages per second. A trace without
    /// messages stays as it is.
    #[must_use]
    pub fn scaled_to(self, per_sec: f64) -> Self {
        let now = self.rate_quantile(0.999);
        if now > 0.0 { self.scaled(per_sec / now) } else { self }
    }

    /// Returns the trace with bins of `secs`. Wider ones sum what falls into them; narrower ones share it out evenly, since
    /// nothing is known of what happened inside.
    ///
    /// # Errors
    /// If `secs` is not a positive number, or makes more than [`BINS_MAX`] bins.
    pub fn rebinned(&self, secs: f64) -> Result<Self, TraceError> {
        let bins = (self.secs() / secs).ceil();
        if !(secs.is_finite() && secs > 0.0 && bins >= 1.0 && bins <= real_len(BINS_MAX)) {
            return Err(TraceError::BinWidth { name: self.name.clone(), secs, most: BINS_MAX });
        }
        let mut counts = vec![0.0; index(bins)];
        let mut alarms = vec![0.0; if self.alarm_share.is_empty() { 0 } else { counts.len() }];
        for (bin, count) in self.counts.iter().enumerate() {
            let (from, to) = (real_len(bin) * self.bin_secs, real_len(bin + 1) * self.bin_secs);
            let last = counts.len() - 1;
            let touched = index(from / secs).min(last)..=index(to / secs).min(last);
            for (new, sum) in touched.clone().zip(&mut counts[touched]) {
                let (begin, end) = (real_len(new) * secs, real_len(new + 1) * secs);
                let overlap = (to.min(end) - from.max(begin)).max(0.0);
                let part = count * overlap / self.bin_secs;
                *sum += part;
                if let Some(alarm) = alarms.get_mut(new) {
                    *alarm += part * self.alarm_share[bin];
                }
            }
        }
        let alarm_share = alarms
            .iter()
            .zip(&counts)
            .map(|(alarm, count)| if *count > 0.0 { alarm / count } else { ALARM_SHARE })
            .collect();
        Ok(Self { name: self.name.clone(), bin_secs: secs, counts, alarm_share })
    }

    /// Returns the messages of the whole trace.
    #[must_use]
    pub fn messages(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// Returns the mean rate in messages per second.
    #[must_use]
    pub fn mean_rate(&self) -> f64 {
        let secs = self.secs();
        if secs > 0.0 { self.messages() / secs } else { 0.0 }
    }
}

/// A trace of whole numbers, one bin a step: for tests and for loads that are no recording.
impl Trace {
    /// Returns a trace of `bin_secs` wide bins with these counts.
    #[must_use]
    pub fn from_counts(name: &str, bin_secs: f64, counts: impl IntoIterator<Item = u64>) -> Self {
        Self {
            name: name.to_owned(),
            bin_secs,
            counts: counts.into_iter().map(real).collect(),
            alarm_share: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        Trace::from_counts("t", 60.0, [60, 120, 0, 600])
    }

    #[test]
    fn rates_are_per_second_and_hold_beyond_both_ends() {
        let trace = trace();
        let at = |secs| trace.rate_at(secs);
        assert!(
            (at(-5.0) - 1.0).abs() < 1e-9 && (at(61.0) - 2.0).abs() < 1e-9 && (at(900.0) - 10.0).abs() < 1e-9
        );
        assert!((trace.rate_quantile(0.999) - 10.0).abs() < 1e-9);
        assert!((trace.mean_rate() - 780.0 / 240.0).abs() < 1e-9);
    }

    #[test]
    fn scaling_moves_the_percentile_where_it_is_wanted() {
        let scaled = trace().scaled_to(2000.0);
        assert!((scaled.rate_quantile(0.999) - 2000.0).abs() < 1e-9);
        assert!((scaled.rate_at(0.0) - 200.0).abs() < 1e-9);
        let silent = Trace::from_counts("silent", 1.0, [0, 0]);
        assert_eq!(silent.clone().scaled_to(5.0), silent);
    }

    #[test]
    fn other_bins_hold_the_same_messages() {
        for secs in [1.0, 7.0, 30.0, 60.0, 100.0, 240.0, 1000.0] {
            let other = trace().rebinned(secs).unwrap();
            assert!((other.messages() - 780.0).abs() < 1e-6, "{secs}: {other:?}");
        }
        assert_eq!(trace().rebinned(120.0).unwrap().counts, [180.0, 600.0]);
        assert_eq!(trace().rebinned(30.0).unwrap().counts[..4], [30.0, 30.0, 60.0, 60.0]);
        assert!(trace().rebinned(0.0).is_err() && trace().rebinned(f64::NAN).is_err());
        assert!(trace().rebinned(1e-6).is_err());
    }

    #[test]
    fn the_share_of_alarms_is_weighted_by_messages() {
        let storm = Trace { alarm_share: vec![0.0, 0.5, 0.9, 0.0], ..trace() };
        let wide = storm.rebinned(120.0).unwrap();
        assert!((wide.alarm_share[0] - 60.0 / 180.0).abs() < 1e-9);
        assert!((trace().alarm_share_at(0.0) - ALARM_SHARE).abs() < 1e-9);
    }
}
