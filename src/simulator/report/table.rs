//! Outcomes as a table of text, for a terminal and, with bars, for Markdown.

use super::{grouped, percent, span};
use crate::run::Outcome;

/// A column: its heading, and what an outcome has there.
pub type Column = (&'static str, fn(&Outcome) -> String);

/// Columns of the terminal's table.
const COLUMNS: [Column; 9] = [
    ("scaler", |outcome| outcome.label.clone()),
    ("late", |outcome| percent(outcome.late_share())),
    ("alarms late", |outcome| percent(outcome.classes[0].late_share())),
    ("never", |outcome| grouped(outcome.total.never)),
    ("replica-hours", |outcome| format!("{:.1}", outcome.replica_hours)),
    ("peak in Kafka", |outcome| grouped(outcome.peak_lag)),
    ("peak in front", |outcome| grouped(outcome.peak_in_front)),
    ("p99 delay", |outcome| outcome.delay_p99.map_or_else(|| "never".to_owned(), span)),
    ("changes", |outcome| outcome.changes.len().to_string()),
];

/// Returns the headings and rows of the terminal's table.
pub(super) fn cells<'a>(
    outcomes: impl Iterator<Item = &'a Outcome>,
) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let rows = outcomes.map(|outcome| COLUMNS.iter().map(|(_, cell)| cell(outcome)).collect()).collect();
    (COLUMNS.map(|(heading, _)| heading).to_vec(), rows)
}

/// Returns the outcomes as aligned text, a line each, under headings.
#[must_use]
pub fn text<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let (headings, rows) = cells(outcomes);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut headings.iter().copied());
    for row in &rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let outcomes = [Outcome::new("a"), Outcome { peak_lag: 1_234_567, ..Outcome::new("a longer name") }];
        let text = text(outcomes.iter());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
        assert!(lines[2].starts_with("a longer name") && lines[2].contains("1 234 567"));
    }
}
