//! What was measured, as a table.

use std::fmt;

use tidegate_core::time::Timestamp;

/// One burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    /// From the burst to the first write, in seconds; negative if it came before the burst was complete.
    pub(super) first_secs: f64,
    /// Replicas that the first write asked for.
    pub(super) first: u32,
    /// Replicas that were asked for in the end.
    pub(super) last: u32,
    /// From the burst to the write that asked for these, in seconds.
    pub(super) last_secs: f64,
    /// Writes after the first.
    pub(super) further: usize,
}

impl Burst {
    /// Returns how much of the final count the first write asked for, in percent.
    fn share_percent(self) -> f64 {
        100.0 * f64::from(self.first) / f64::from(self.last.max(1))
    }

    /// Returns whether it went as wished: within 2 s, nearly all at once.
    fn is_as_wished(self) -> bool {
        self.first_secs <= 2.0 && self.share_percent() >= 90.0 && self.further <= 1
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first_secs, first, last, last_secs, further } = self;
        let share = self.share_percent();
        write!(f, "first write after {first_secs:.2} s, to {first} of {last} ({share:.0} %)")?;
        if *further > 0 {
            write!(f, "; the last of {further} further after {last_secs:.2} s")
        } else {
            Ok(())
        }
    }
}

/// Returns the seconds from `begin` to `end`, whichever came first.
pub(super) fn secs_between(begin: Timestamp, end: Timestamp) -> f64 {
    end.since(begin).as_secs_f64() - begin.since(end).as_secs_f64()
}

/// All bursts of a case.
pub(super) struct Report {
    case: &'static str,
    bursts: Vec<Burst>,
}

impl Report {
    pub(super) fn new(case: &'static str) -> Self {
        Self { case, bursts: Vec::new() }
    }

    pub(super) fn add(&mut self, burst: Burst) {
        self.bursts.push(burst);
    }
}

/// Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted = |of: fn(&Burst) -> f64| {
            let mut values: Vec<f64> = self.bursts.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (secs, last_secs) = (sorted(|it| it.first_secs), sorted(|it| it.last_secs));
        let further = sorted(|it| f64::from(u32::try_from(it.further).unwrap_or(u32::MAX)));
        let (shares, last) = (sorted(|it| it.share_percent()), sorted(|it| it.last.into()));
        let ranks = |values: &[f64], percents: &[usize], digits| {
            let shown: Vec<_> =
                percents.iter().map(|percent| format!("{:.digits$}", rank(values, *percent))).collect();
            shown.join(" / ")
        };
        let columns = [
            ("burst", self.case.to_owned()),
            ("n", self.bursts.len().to_string()),
            ("first write after, s: min / median / p90 / max", ranks(&secs, &[0, 50, 90, 100], 2)),
            ("it asked for, % of the final count: min / median", ranks(&shares, &[0, 50], 0)),
            ("further writes in 20 s: median / max", ranks(&further, &[50, 100], 0)),
            ("final count: min / median / max", ranks(&last, &[0, 50, 100], 0)),
            ("asked for after, s: median / max", ranks(&last_secs, &[50, 100], 2)),
            ("as wished", self.bursts.iter().filter(|it| it.is_as_wished()).count().to_string()),
        ];
        let row = |of: fn(&(&str, String)) -> String| columns.iter().map(of).collect::<Vec<_>>().join(" | ");
        writeln!(f, "| {} |", row(|(head, _)| (*head).to_owned()))?;
        writeln!(f, "|{}", "---|".repeat(columns.len()))?;
        writeln!(f, "| {} |", row(|(_, value)| value.clone()))
    }
}

/// Returns the smallest value that `percent` of all are not above (nearest rank); 0 of none.
fn rank(sorted: &[f64], percent: usize) -> f64 {
    let rank = (percent * sorted.len()).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_table_has_the_ranks_of_all_bursts_in_whatever_order_they_came() {
        let mut report = Report::new("a case");
        for tenths in [20_u32, 5, 10, 15, 40, 25, 30, 35, 45, 50] {
            let further = usize::from(tenths > 40);
            let first = if tenths > 40 { 10 } else { 20 };
            let first_secs = f64::from(tenths) / 10.0;
            report.add(Burst { first_secs, first, last: 20, last_secs: first_secs + 1.0, further });
        }
        let table = report.to_string();
        let row =
            "| a case | 10 | 0.50 / 2.50 / 4.50 / 5.00 | 50 / 100 | 0 / 1 | 20 / 20 / 20 | 3.50 / 6.00 | 4 |";
        assert_eq!(table.lines().last(), Some(row), "{table}");
    }

    #[test]
    fn a_write_before_the_end_of_the_burst_has_a_negative_time() {
        let begin = Timestamp::from_millis(1500);
        assert!((secs_between(begin, begin + Duration::from_millis(250)) - 0.25).abs() < 1e-9);
        assert!((secs_between(begin, Timestamp::from_millis(1000)) + 0.5).abs() < 1e-9);
    }
}
