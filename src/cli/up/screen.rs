//! The live lines of `tidegate up`: one a second, and one with the reason at each decision.
//!
//! Plain lines rather than a redrawn screen: they read the same in a terminal, a log and a recording.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::Duration;

use tidegate_controller::View;
use tidegate_fleet::Progress;
use tidegate_gateway::Stats;

/// New problems that a second shows: a broker that goes away is one for each of its partitions.
const PROBLEMS_SHOWN: usize = 3;
/// A header line stands above every so many lines.
const HEADER_EVERY: u32 = 20;

/// Changes of the count kept for the summary; the oldest give way.
const HISTORY_MAX: usize = 200;

/// Where the lines get their figures from.
pub(super) struct Screen {
    progress: std::sync::Arc<Progress>,
    gateway: Stats,
    shown: Shown,
    lines: u32,
    /// Replicas wanted and had, for the summary: (seconds, want, have), an entry per change.
    history: VecDeque<(u64, u32, u32)>,
    peak: u32,
    /// Problems on the screen: each is shown once, until it is gone.
    problems: Vec<String>,
}

/// Totals at the last line.
#[derive(Clone, Copy, Default)]
struct Shown {
    at: Duration,
    published: u64,
    admitted: u64,
    acknowledged: u64,
    changes: u64,
}

impl Screen {
    /// Makes a screen over the fleet's and the gateway's live figures.
    pub(super) fn new(progress: std::sync::Arc<Progress>, gateway: Stats) -> Self {
        Self {
            progress,
            gateway,
            shown: Shown::default(),
            lines: 0,
            history: VecDeque::new(),
            peak: 0,
            problems: Vec::new(),
        }
    }

    /// Prints the decision and the problems if they are new, and the line of this second.
    ///
    /// # Errors
    /// If nobody reads them.
    pub(super) fn show(&mut self, at: Duration, view: &View) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let new: Vec<&String> =
            view.problems.iter().filter(|problem| !self.problems.contains(problem)).collect();
        for problem in new.iter().take(PROBLEMS_SHOWN) {
            writeln!(out, "     !! {problem}")?;
        }
        if new.len() > PROBLEMS_SHOWN {
            writeln!(out, "     !! and {} more like these", new.len() - PROBLEMS_SHOWN)?;
        }
        self.problems.clone_from(&view.problems);
        if view.changes > self.shown.changes {
            writeln!(out, "  scale  {}", view.last_change.as_deref().unwrap_or("the count changed"))?;
        }
        if self.lines.is_multiple_of(HEADER_EVERY) {
            writeln!(
                out,
                "{:>7} {:>8} {:>10} {:>10} {:>9} {:>8} {:>8}  {:<9} slo",
                "time", "devices", "publish/s", "admitted/s", "acked/s", "backlog", "delay", "want/have"
            )?;
        }
        self.lines += 1;
        let figures = self.gateway.figures();
        let now = Shown {
            at,
            published: self.progress.messages_published(),
            admitted: figures.admitted,
            acknowledged: figures.acknowledged,
            changes: view.changes,
        };
        let seconds = now.at.saturating_sub(self.shown.at).as_secs_f64().max(0.001);
        let delay = view.delay_secs.map_or_else(|| "-".to_owned(), |secs| format!("{secs:.1} s"));
        writeln!(
            out,
            "{:>5} s {:>8} {:>10} {:>10} {:>9} {:>8.0} {:>8}  {:<9} {}",
            at.as_secs(),
            figures.connections,
            per_sec(now.published - self.shown.published, seconds),
            per_sec(now.admitted - self.shown.admitted, seconds),
            per_sec(now.acknowledged - self.shown.acknowledged, seconds),
            view.backlog,
            delay,
            format!("{} / {}", view.want, view.have),
            view.delay_secs.map_or("", |secs| if secs <= super::scenario::SLO.as_secs_f64() {
                "met"
            } else {
                "missed"
            }),
        )?;
        self.shown = now;
        if self.history.back().is_none_or(|(_, want, have)| (*want, *have) != (view.want, view.have)) {
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back((at.as_secs(), view.want, view.have));
        }
        self.peak = self.peak.max(view.want);
        Ok(())
    }

    /// Returns the replicas over time, as `0 s 1/1, 5 s 8/1, ...`.
    pub(super) fn replicas_over_time(&self) -> String {
        let entries: Vec<String> =
            self.history.iter().map(|(at, want, have)| format!("{at} s {want}/{have}")).collect();
        entries.join(", ")
    }

    /// Returns the most replicas that were wanted.
    pub(super) fn peak(&self) -> u32 {
        self.peak
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate on a screen, far below 2^52"
)]
fn per_sec(count: u64, seconds: f64) -> u64 {
    (count as f64 / seconds).round() as u64
}
