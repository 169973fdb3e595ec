//! The fronts as small plots, one picture for each setting.

use std::fmt::Write as _;

use crate::cell::{HPA, KEDA, OURS};
use crate::judge::{mean, thresholds};
use crate::matrix::Matrix;
use crate::store::Results;

/// Plots in a row.
const COLUMNS: usize = 4;
/// Size of one plot and the space around it.
const SIZE: (f64, f64) = (190.0, 120.0);
const GAP: (f64, f64) = (52.0, 56.0);
/// Least late share that is told apart from none.
const FLOOR: f64 = 1e-4;

const STYLE: &str = "text{font:11px system-ui,sans-serif;fill:#4b5159}.t{font-weight:600;fill:#1c1e21}.g{stroke:#d9dbde;stroke-width:1}\
                     .k{stroke:#c2570c;fill:none;stroke-width:1.2;stroke-dasharray:3 3}.kd{fill:#c2570c}.o{fill:#1d5fd1}.h{fill:#7a5cc2}\
                     @media(prefers-color-scheme:dark){text{fill:#9aa2ac}.t{fill:#e7e9ec}.g{stroke:#3a3f47}.k{stroke:#f0975a}.kd{fill:#f0975a}.o{fill:#74a8ff}.h{fill:#b79cf2}}";

/// Returns a picture for each setting: file name and SVG.
pub(crate) fn all(matrix: &Matrix, results: &Results) -> Vec<(String, String)> {
    let settings = matrix.settings.iter().zip(results);
    settings.map(|(setting, loads)| (format!("{}.svg", setting.name), picture(loads))).collect()
}

fn picture(loads: &[(String, Vec<Vec<crate::cell::Row>>)]) -> String {
    let rows = loads.len().div_ceil(COLUMNS);
    let (width, height) = (4.0 * (SIZE.0 + GAP.0) + 20.0, place(rows) * (SIZE.1 + GAP.1) + 40.0);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}'><style>{STYLE}</style>\
         <text x='50' y='16'>late share over replica-hours: <tspan class='o'>&#9679; Tidegate</tspan> \
         <tspan class='kd'>&#9679; KEDA by lagThreshold</tspan> <tspan class='h'>&#9679; HPA on CPU</tspan></text>"
    );
    for (index, (load, seeds)) in loads.iter().enumerate() {
        let x = 50.0 + place(index % COLUMNS) * (SIZE.0 + GAP.0);
        let y = 48.0 + place(index / COLUMNS) * (SIZE.1 + GAP.1);
        let _ = write!(svg, "<g transform='translate({x} {y})'>{}</g>", plot(load, seeds));
    }
    svg + "</svg>\n"
}

fn place(index: usize) -> f64 {
    crate::cell::real(index as u64)
}

fn plot(load: &str, seeds: &[Vec<crate::cell::Row>]) -> String {
    let mut kedas = thresholds(seeds, KEDA);
    kedas.sort_by(|a, b| a.replica_hours.total_cmp(&b.replica_hours));
    let (ours, hpa) = (mean(seeds, OURS), mean(seeds, HPA));
    let most = kedas.iter().chain(&ours).chain(&hpa).map(|mean| mean.replica_hours).fold(1.0, f64::max);
    let x = |hours: f64| SIZE.0 * hours / most;
    let y = |late: f64| -SIZE.1 * late.max(FLOOR).log10() / 4.0;
    let mut svg = format!("<text class='t' x='0' y='-8'>{load}</text>");
    for (late, label) in [(1.0, "100 %"), (0.1, "10 %"), (0.01, "1 %"), (0.001, "0.1 %"), (FLOOR, "0")] {
        let at = y(late);
        let _ = write!(
            svg,
            "<path class='g' d='M0 {at:.1}H{}'/><text x='-6' y='{:.1}' text-anchor='end'>{label}</text>",
            SIZE.0,
            at + 4.0
        );
    }
    let points: Vec<String> =
        kedas.iter().map(|keda| format!("{:.1},{:.1}", x(keda.replica_hours), y(keda.late))).collect();
    let _ = write!(svg, "<polyline class='k' points='{}'/>", points.join(" "));
    let mut dot = |class: &str, hours: f64, late: f64, radius: f64| {
        let _ =
            write!(svg, "<circle class='{class}' cx='{:.1}' cy='{:.1}' r='{radius}'/>", x(hours), y(late));
    };
    for keda in &kedas {
        dot("kd", keda.replica_hours, keda.late, 2.5);
    }
    if let Some(hpa) = &hpa {
        dot("h", hpa.replica_hours, hpa.late, 3.5);
    }
    if let Some(ours) = &ours {
        dot("o", ours.replica_hours, ours.late, 4.5);
    }
    let _ = write!(
        svg,
        "<text x='0' y='{0:.1}'>0</text><text x='{1}' y='{0:.1}' text-anchor='end'>{most:.0} h</text>",
        SIZE.1 + 15.0,
        SIZE.0
    );
    svg
}
