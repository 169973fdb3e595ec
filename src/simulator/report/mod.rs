//! What a run looks like to people: a table for the terminal, and one page that needs nothing else.

mod chart;
mod page;
#[cfg(test)]
#[path = "tests.rs"]
mod page_tests;
mod table;

pub use page::page;
pub use table::{Column, text};

use serde::Serialize;

use crate::run::Outcome;
use crate::site::Site;
use crate::trace::Window;

/// One run and what it was given.
#[derive(Clone, Debug, Serialize)]
pub struct Study {
    /// The trace.
    pub trace: String,
    /// The part of it that counts.
    pub window: Window,
    /// The promise, in seconds.
    pub slo_secs: f64,
    /// The site.
    pub site: Site,
    /// Command that makes this page again.
    pub command: String,
    /// The rule's outcome.
    pub ours: Outcome,
    /// KEDA's, by threshold; may be empty.
    pub kedas: Vec<Outcome>,
    /// Which of them is the best at our cost.
    pub best_keda: Option<usize>,
    /// Others.
    pub others: Vec<Outcome>,
}

impl Study {
    /// Returns all outcomes, ours first.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        std::iter::once(&self.ours).chain(&self.kedas).chain(&self.others)
    }

    /// Returns the result in one sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        let ours = format!(
            "{} late with {:.1} replica-hours",
            percent(self.ours.late_share()),
            self.ours.replica_hours
        );
        match self.best_keda.and_then(|best| self.kedas.get(best)) {
            Some(best) => format!(
                "{ours}; the best KEDA at that cost ({}): {} late with {:.1}.",
                best.label,
                percent(best.late_share()),
                best.replica_hours
            ),
            None if self.kedas.is_empty() => format!("{ours}."),
            None => format!("{ours}; no KEDA of the {} tried is as cheap.", self.kedas.len()),
        }
    }
}

/// Returns a share as people read it: `0 %`, `0.02 %`, `3.2 %`, `57 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent <= 0.0 {
        "0 %".to_owned()
    } else if percent < 0.01 {
        "< 0.01 %".to_owned()
    } else if percent < 1.0 {
        format!("{percent:.2} %")
    } else if percent < 10.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// Returns a count as people read it: `950`, `12 345`, `3.1 M`.
#[must_use]
pub fn grouped(count: u64) -> String {
    if count >= 10_000_000 {
        return format!("{:.1} M", crate::num::real(count) / 1e6);
    }
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Returns a time as people read it: `45 s`, `12:30 min`, `5:03 h`.
#[must_use]
pub fn span(secs: f64) -> String {
    let whole = crate::num::whole(secs.round());
    if secs < 10.0 && secs.fract() > 0.0 {
        format!("{secs:.1} s")
    } else if whole < 120 {
        format!("{whole} s")
    } else if whole < 7200 {
        format!("{}:{:02} min", whole / 60, whole % 60)
    } else {
        format!("{}:{:02} h", whole / 3600, whole % 3600 / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            [0.0, 0.00001, 0.0023, 0.0317, 0.571].map(percent),
            ["0 %", "< 0.01 %", "0.23 %", "3.2 %", "57 %"]
        );
        assert_eq!(
            [7, 950, 12_345, 1_234_567, 31_000_000].map(grouped),
            ["7", "950", "12 345", "1 234 567", "31.0 M"]
        );
        assert_eq!([0.5, 45.0, 750.0, 18_180.0].map(span), ["0.5 s", "45 s", "12:30 min", "5:03 h"]);
    }
}
