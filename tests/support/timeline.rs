//! What happened when: the table that an end-to-end test prints.

use std::fmt;
use std::time::Duration;

/// Rows kept: ten minutes at one a second. A longer test keeps its beginning.
const MAX_ROWS: usize = 600;

/// State of the system at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Time since the test began.
    pub at: Duration,
    /// Messages that devices published, per second, since the row before.
    pub offered_per_sec: f64,
    /// Records in Kafka that the group has not committed.
    pub lag: u64,
    /// Consumers that run.
    pub replicas: u32,
}

/// Rows in order of time.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    rows: Vec<Row>,
}

impl Timeline {
    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        if self.rows.len() < MAX_ROWS {
            self.rows.push(row);
        }
    }

    /// Returns the rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the most consumers that ran at once.
    #[must_use]
    pub fn peak_replicas(&self) -> u32 {
        self.rows.iter().map(|row| row.replicas).max().unwrap_or(0)
    }
}

/// One line for each change of the replicas and for every fifth row otherwise: a screenful.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>8}  {:>11}  {:>8}  {:>8}", "time", "offered/s", "lag", "replicas")?;
        let mut before = None;
        for (index, row) in self.rows.iter().enumerate() {
            let last = index + 1 == self.rows.len();
            if before != Some(row.replicas) || index % 5 == 0 || last {
                let Row { at, offered_per_sec, lag, replicas } = row;
                writeln!(f, "{:>7.1}s  {offered_per_sec:>11.0}  {lag:>8}  {replicas:>8}", at.as_secs_f64())?;
            }
            before = Some(row.replicas);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_the_replicas_is_shown() {
        let mut timeline = Timeline::default();
        for (second, replicas) in [(0, 1), (1, 1), (2, 4), (3, 4), (4, 1)] {
            timeline.push(Row { at: Duration::from_secs(second), offered_per_sec: 10.0, lag: 5, replicas });
        }
        let text = timeline.to_string();
        let shown: Vec<&str> = text.lines().skip(1).map(str::trim_start).collect();
        assert_eq!(shown.len(), 3, "{text}");
        assert!(shown[1].starts_with("2.0s") && shown[1].ends_with('4'), "{text}");
        assert_eq!(timeline.peak_replicas(), 4);
    }
}
