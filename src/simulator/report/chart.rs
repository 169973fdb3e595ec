//! Plots as HTML: lines in an SVG that stretches, and labels as text that does not.
//!
//! An SVG that keeps its proportions is unreadable on a narrow screen, and its text grows on a wide one. So only the
//! lines are in it; axes are HTML, placed in percent.

use std::fmt::Write as _;

use crate::num::{real, whole};

/// One line of a plot.
pub(super) struct Line {
    pub(super) label: String,
    /// CSS class that gives its colour: `ours`, `keda`, `hpa`, `load`.
    pub(super) class: &'static str,
    pub(super) values: Vec<f64>,
    /// Fill down to the axis.
    pub(super) filled: bool,
}

/// Values over time.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) note: &'static str,
    pub(super) lines: Vec<Line>,
    pub(super) unit: Unit,
    /// Hours that the whole width stands for.
    pub(super) hours: f64,
}

/// How a value is written on the axis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Percent,
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Self::Percent => format!("{:.0} %", 100.0 * value),
            Self::Count if value >= 1e6 => format!("{} M", trimmed(value / 1e6)),
            Self::Count if value >= 1e4 => format!("{} k", trimmed(value / 1e3)),
            Self::Count => trimmed(value),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Percent => "percent",
        }
    }
}

/// Without a needless decimal.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Returns the smallest round number that is not below `value`, and whose quarters can be read.
fn ceiling(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-3).log10().floor());
    [1.0, 1.2, 1.6, 2.0, 2.4, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|top| *top >= value)
        .unwrap_or(value)
}

impl Chart {
    pub(super) fn html(&self) -> String {
        let most = self.lines.iter().flat_map(|line| &line.values).copied().fold(0.0, f64::max);
        let top = match self.unit {
            Unit::Percent => ceiling(most.max(0.01)).min(1.0),
            Unit::Count => ceiling(most.max(4.0)),
        };
        let mut html = format!(
            "<section class=chart data-unit={}><h2>{}</h2><p class=note>{}</p><p class=legend>",
            self.unit.as_str(),
            self.title,
            self.note
        );
        for line in &self.lines {
            let _ = write!(html, "<span class={}><i></i>{} <b></b></span>", line.class, escape(&line.label));
        }
        html += "</p><div class=plot>";
        for quarter in 0..=4_u32 {
            let share = f64::from(quarter) / 4.0;
            let _ = write!(
                html,
                "<span class=y style=bottom:{}%>{}</span>",
                100.0 * share,
                self.unit.write(top * share)
            );
        }
        let width = self.lines.iter().map(|line| line.values.len()).max().unwrap_or(1);
        let _ = write!(
            html,
            "<div class=area><svg viewBox='0 0 {width} 100' preserveAspectRatio=none aria-hidden=true>"
        );
        for quarter in 1..=3 {
            let _ = write!(html, "<path class=grid d='M0 {0}H{width}'/>", 25 * quarter);
        }
        for line in &self.lines {
            let path = path(&line.values, top);
            if line.filled {
                let _ = write!(html, "<path class='fill {}' d='{path}V100H0Z'/>", line.class);
            }
            let _ = write!(html, "<path class='line {}' d='{path}'/>", line.class);
        }
        html += "</svg><div class=cross></div></div>";
        for (at, label) in hours(self.hours) {
            let _ = write!(html, "<span class=x style=left:{:.2}%>{label}</span>", 100.0 * at);
        }
        html += "</div></section>";
        html
    }

    /// The values, for the page's script: rounded, so that a page stays small.
    pub(super) fn json(&self) -> String {
        let line = |line: &Line| {
            let digits = if self.unit == Unit::Percent { 4 } else { 0 };
            let values: Vec<String> = line.values.iter().map(|value| format!("{value:.digits$}")).collect();
            format!("[{}]", values.join(","))
        };
        format!("[{}]", self.lines.iter().map(line).collect::<Vec<_>>().join(","))
    }
}

/// Steps, not slopes: a value holds for its part of the window.
fn path(values: &[f64], top: f64) -> String {
    let mut path = String::new();
    let mut last = None;
    for (part, value) in values.iter().enumerate() {
        let y = whole((1000.0 - 1000.0 * (value / top).clamp(0.0, 1.0)).round());
        match last {
            None => {
                let _ = write!(path, "M0 {}", trimmed(real(y) / 10.0));
            }
            Some(before) if before != y => {
                let _ = write!(path, "H{part}V{}", trimmed(real(y) / 10.0));
            }
            Some(_) => {}
        }
        last = Some(y);
    }
    let _ = write!(path, "H{}", values.len());
    path
}

/// Marks on the time axis: where, 0 to 1, and what; at most seven.
fn hours(hours: f64) -> Vec<(f64, String)> {
    let steps = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 24.0, 48.0, 168.0, 336.0, 1000.0];
    let step = steps.into_iter().find(|step| hours / step <= 6.01).unwrap_or(hours);
    (0..=whole(hours / step))
        .map(|mark| {
            let at = real(mark) * step;
            let label =
                if step >= 24.0 { format!("{} d", trimmed(at / 24.0)) } else { format!("{} h", short(at)) };
            (at / hours, label)
        })
        .collect()
}

fn short(hours: f64) -> String {
    let text = format!("{hours:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A point of the cost plot.
pub(super) struct Point {
    pub(super) label: String,
    pub(super) class: &'static str,
    pub(super) cost: f64,
    pub(super) late: f64,
}

/// Least late share that the cost plot tells apart from none.
const LATE_FLOOR: f64 = 1e-4;

/// Returns late share over cost: the front that one knob can reach, and where others are.
pub(super) fn front(points: &[Point]) -> String {
    let top = ceiling(points.iter().map(|point| point.cost).fold(1.0, f64::max));
    // Four decades, from 0.01 % to 100 %.
    let height = |late: f64| 100.0 + 25.0 * late.max(LATE_FLOOR).log10();
    let mut html = String::from("<div class='plot scatter'>");
    for (late, label) in
        [(1.0, "100 %"), (0.1, "10 %"), (0.01, "1 %"), (0.001, "0.1 %"), (LATE_FLOOR, "&le; 0.01 %")]
    {
        let _ = write!(html, "<span class=y style=bottom:{}%>{label}</span>", height(late));
    }
    html += "<div class=area><svg viewBox='0 0 100 100' preserveAspectRatio=none aria-hidden=true>";
    for quarter in 1..=3 {
        let _ = write!(html, "<path class=grid d='M0 {0}H100'/>", 25 * quarter);
    }
    // In the order of their thresholds: what turning the knob does.
    let joined: Vec<String> = points
        .iter()
        .filter(|point| point.class == "keda")
        .map(|point| format!("{:.1},{:.1}", 100.0 * point.cost / top, 100.0 - height(point.late)))
        .collect();
    let _ = write!(html, "<polyline class='line keda' points='{}'/></svg>", joined.join(" "));
    for point in points {
        let left = 100.0 * point.cost / top;
        // Ours to the left, where no KEDA should be, so that no name lies on another.
        let side = if left > 80.0 || (point.class == "ours" && left > 15.0) { "before" } else { "after" };
        let _ = write!(
            html,
            "<span class='dot {} {side}' style='left:{left:.1}%;bottom:{:.1}%'>{}</span>",
            point.class,
            height(point.late),
            escape(&point.label)
        );
    }
    html += "</div>";
    for quarter in 0..=4_u32 {
        let share = f64::from(quarter) / 4.0;
        let _ = write!(html, "<span class=x style=left:{}%>{}</span>", 100.0 * share, trimmed(top * share));
    }
    html += "</div>";
    html
}

/// Returns `text` so that HTML shows it as it is.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_long_as_its_values_and_turns_only_where_they_change() {
        assert_eq!(path(&[0.0, 5.0, 5.0, 10.0], 10.0), "M0 100H1V50H3V0H4");
        assert_eq!(path(&[1.0; 480], 2.0), "M0 50H480");
    }

    #[test]
    fn the_axis_ends_at_a_round_number_above_the_largest_value() {
        let table = [(0.9, 1.0), (37.0, 40.0), (64.0, 80.0), (101.0, 120.0), (81_000.0, 100_000.0)];
        for (largest, end) in table {
            assert!((ceiling(largest) - end).abs() < 1e-9 * end, "{largest}: {}", ceiling(largest));
        }
        assert_eq!(Unit::Count.write(25_000.0), "25 k");
        assert_eq!(Unit::Count.write(7.5), "7.5");
        assert_eq!(Unit::Percent.write(0.25), "25 %");
    }

    #[test]
    fn time_has_at_most_seven_marks() {
        for length in [0.01, 0.95, 6.0, 24.0, 336.0, 5160.0] {
            let marks = hours(length);
            assert!((1..=7).contains(&marks.len()), "{length}: {marks:?}");
        }
        assert_eq!(hours(6.0)[1].1, "1 h");
        assert_eq!(hours(0.5)[1].1, "0.1 h");
    }

    #[test]
    fn names_cannot_be_markup() {
        assert_eq!(escape("<b>'\"&"), "&lt;b&gt;&#39;&quot;&amp;");
    }
}
