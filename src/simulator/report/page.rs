//! The page: one HTML file without a reference to anything outside it.

use std::fmt::Write as _;

use super::chart::{Chart, Line, Point, Unit, escape, front};
use super::table::cells;
use super::{Study, grouped, percent, span};
use crate::fleet::class_names;
use crate::run::Outcome;
use crate::series::Series;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Changes listed; more are counted.
const CHANGES_SHOWN: usize = 200;

/// Returns the page.
#[must_use]
pub fn page(study: &Study) -> String {
    let shown = shown(study);
    let charts = charts(study, &shown);
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>\
         <title>{0}: simulated by Tidegate</title><style>{STYLE}</style><main>\
         <header><h1>{0}</h1><p class=lead>{1}</p></header>",
        escape(&study.trace),
        escape(&study.verdict())
    );
    html += &tiles(study);
    for chart in &charts {
        html += &chart.html();
    }
    html += &cost(study);
    html += &table(study);
    html += &changes(&study.ours);
    html += &settings(study);
    let data: Vec<String> = charts.iter().map(Chart::json).collect();
    let _ = writeln!(html, "</main><script>const DATA=[{}];{SCRIPT}</script></html>", data.join(","));
    html
}

/// What the plots over time show: ours, the best KEDA (or the cheapest), the first of the others.
fn shown(study: &Study) -> Vec<(&Outcome, &'static str)> {
    let cheapest = || {
        let kedas = study.kedas.iter().enumerate();
        kedas.min_by(|(_, a), (_, b)| a.replica_hours.total_cmp(&b.replica_hours)).map(|(index, _)| index)
    };
    let keda = study.best_keda.or_else(cheapest).and_then(|index| study.kedas.get(index));
    let mut shown = vec![(&study.ours, "ours")];
    shown.extend(keda.map(|keda| (keda, "keda")));
    shown.extend(study.others.first().map(|other| (other, "hpa")));
    shown
}

fn charts(study: &Study, shown: &[(&Outcome, &'static str)]) -> Vec<Chart> {
    let hours = study.window.secs / 3600.0;
    let lines = |values: &dyn Fn(&Series) -> Vec<f64>| -> Vec<Line> {
        // Ours last, so that it is drawn above the others.
        let with_series = shown
            .iter()
            .rev()
            .filter_map(|(outcome, class)| Some((outcome, class, outcome.series.as_ref()?)));
        with_series
            .map(|(outcome, class, series)| Line {
                label: outcome.label.clone(),
                class,
                values: values(series),
                filled: false,
            })
            .collect()
    };
    let load = study.ours.series.as_ref().map(|series| Line {
        label: "sent".to_owned(),
        class: "load",
        values: series.sent_per_sec.clone(),
        filled: true,
    });
    let chart = |title, note, unit, lines| Chart { title, note, lines, unit, hours };
    let mut charts = vec![
        chart("Load", "messages per second that devices first send", Unit::Count, load.into_iter().collect()),
        chart(
            "Replicas",
            "that a node runs, starting ones included",
            Unit::Count,
            lines(&|series| series.placed.iter().map(|count| f64::from(*count)).collect()),
        ),
        chart(
            "Waiting in Kafka",
            "messages sent but not processed",
            Unit::Count,
            lines(&|series| series.lag.iter().map(|count| crate::num::real(*count)).collect()),
        ),
    ];
    if shown.iter().any(|(outcome, _)| outcome.peak_in_front > 0) {
        charts.push(chart(
            "Waiting in front of Kafka",
            "messages in spools and hold queues, or with devices that were told to come back",
            Unit::Count,
            lines(&|series| series.in_front.iter().map(|count| crate::num::real(*count)).collect()),
        ));
    }
    charts.push(chart(
        "Late",
        "share of the messages sent at that time",
        Unit::Percent,
        lines(&|series| series.late_share.clone()),
    ));
    charts
}

fn tiles(study: &Study) -> String {
    let ours = &study.ours;
    let tile = |value: String, what: String| {
        format!("<div><b>{}</b><span>{}</span></div>", escape(&value), escape(&what))
    };
    let mut html = String::from("<div class=tiles>");
    html += &tile(percent(ours.late_share()), format!("later than {}", span(study.slo_secs)));
    html += &tile(percent(ours.classes[0].late_share()), "of the alarms".to_owned());
    html += &tile(format!("{:.1}", ours.replica_hours), "replica-hours".to_owned());
    html += &tile(grouped(ours.peak_lag), "waited in Kafka at most".to_owned());
    html +=
        &tile(ours.delay_p99.map_or_else(|| "never".to_owned(), span), "or less for 99 of 100".to_owned());
    html += "</div>";
    html
}

fn cost(study: &Study) -> String {
    if study.kedas.is_empty() {
        return String::new();
    }
    let point = |outcome: &Outcome, class, label: &str| Point {
        label: label.to_owned(),
        class,
        cost: outcome.replica_hours,
        late: outcome.late_share(),
    };
    let mut points: Vec<Point> = study
        .kedas
        .iter()
        .map(|keda| point(keda, "keda", keda.label.rsplit(' ').next().unwrap_or_default()))
        .collect();
    points.extend(study.others.iter().map(|other| point(other, "hpa", &other.label)));
    points.push(point(&study.ours, "ours", &study.ours.label));
    format!(
        "<section class=chart><h2>Late and cost</h2><p class=note>share of late messages over replica-hours; the numbers \
         are KEDA's lagThreshold. Lower and further left is better.</p>{}</section>",
        front(&points)
    )
}

fn table(study: &Study) -> String {
    let (headings, rows) = cells(study.outcomes());
    let mut html = String::from("<section><h2>All of them</h2><div class=scroll><table><tr>");
    for heading in headings {
        let _ = write!(html, "<th>{heading}</th>");
    }
    html += "</tr>";
    let best = study.best_keda.map(|index| index + 1);
    for (row, cells) in rows.iter().enumerate() {
        let mark = if row == 0 {
            " class=ours"
        } else if Some(row) == best {
            " class=keda"
        } else {
            ""
        };
        let _ = write!(html, "<tr{mark}>");
        for cell in cells {
            let _ = write!(html, "<td>{}</td>", escape(cell));
        }
        html += "</tr>";
    }
    html += "</table></div>";
    let _ = write!(
        html,
        "<h3>By class</h3><div class=scroll><table><tr><th>class</th><th>sent</th><th>late</th><th>never</th></tr>"
    );
    for (name, class) in class_names().iter().zip(&study.ours.classes) {
        let _ = write!(
            html,
            "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            grouped(class.sent),
            percent(class.late_share()),
            grouped(class.never)
        );
    }
    html += "</table></div></section>";
    html
}

fn changes(ours: &Outcome) -> String {
    let mut html = format!(
        "<section><details><summary>What was decided, and why: {} changes</summary><ol class=changes>",
        ours.changes.len()
    );
    for change in ours.changes.iter().take(CHANGES_SHOWN) {
        let _ = write!(html, "<li><time>{}</time> {}</li>", span(change.at_secs), escape(&change.why));
    }
    html += "</ol>";
    if ours.changes.len() > CHANGES_SHOWN {
        let _ = write!(html, "<p class=note>{} more are not shown.</p>", ours.changes.len() - CHANGES_SHOWN);
    }
    html += "</details></section>";
    html
}

fn settings(study: &Study) -> String {
    let site = &study.site;
    let room = site.room.map_or_else(|| "no limit".to_owned(), |room| format!("{room} replicas"));
    let rows = [
        ("window", format!("{} from {} on", span(study.window.secs), span(study.window.from_secs))),
        ("promise", span(study.slo_secs)),
        ("one replica does", format!("{} messages per second", site.mu)),
        ("a start takes", span(site.start.as_secs_f64())),
        ("partitions", format!("{}, devices' rates fall as rank^-{}", site.partitions, site.zipf)),
        ("rebalance", format!("{:?}, {}", site.assignor, span(site.rebalance.as_secs_f64())).to_lowercase()),
        ("commits every", span(site.commit_interval.as_secs_f64())),
        ("metrics are old by", span(site.metric_delay.as_secs_f64())),
        ("room on nodes", room),
        ("seed", site.seed.to_string()),
    ];
    let mut html = String::from("<section><h2>Setting</h2><dl>");
    for (name, value) in rows {
        let _ = write!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    let _ = write!(html, "</dl><pre>{}</pre></section>", escape(&study.command));
    html
}
