//! What is run: traces, settings, seeds. All by fixed rules; nothing is chosen per trace.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tidegate_simulator::Site;
use tidegate_simulator::trace::{Shape, Trace, Window, parse};

/// Files of `bench/traces`, and the names of their rows.
const FILES: [(&str, &str); 5] = [
    ("GOOG", "nab_Twitter_volume_GOOG.csv"),
    ("AAPL", "nab_Twitter_volume_AAPL.csv"),
    ("elb", "nab_elb_request_count_8c0756.csv"),
    ("taxi", "nab_nyc_taxi.csv"),
    ("llm", "azure_llm_code.csv"),
];
/// Traces with a period that a forecast could learn.
pub(crate) const PERIODIC: [&str; 3] = ["taxi", "diurnal", "quarter-hour"];
/// Length of a window.
const WINDOW_SECS: f64 = 6.0 * 3600.0;
/// Replicas whose work the 99.9th percentile of each trace is scaled to.
pub(crate) const PEAK_REPLICAS: f64 = 20.0;
/// Fill at which the need for room is counted.
const FILL: f64 = 0.75;
/// Part of that need which a capped site has room for.
const ROOM_PART: f64 = 0.6;
/// Seed of the generated shapes: they are traces too, and the same in every run.
const SHAPE_SEED: u64 = 1;

/// A trace, scaled, and a window of it.
pub(crate) struct Load {
    /// Name of its row.
    pub(crate) name: String,
    pub(crate) trace: Trace,
    pub(crate) window: Window,
}

/// A site and a promise.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Unique, and stable: results are stored by it.
    pub(crate) name: &'static str,
    pub(crate) told: &'static str,
    pub(crate) slo: Duration,
    pub(crate) site: Site,
    /// The rule is told that a replica does the nominal rate; this is what it does.
    pub(crate) knobs: bool,
}

/// All of it.
pub(crate) struct Matrix {
    pub(crate) settings: Vec<Setting>,
    pub(crate) seeds: Vec<u64>,
    /// KEDA also with a 5 s poll, and with eager consumers.
    pub(crate) variants: bool,
}

impl Setting {
    pub(crate) fn is_capped(&self) -> bool {
        self.site.room.is_some()
    }

    /// Returns true if starts take so long that the promise is 300 s.
    pub(crate) fn starts_slowly(&self) -> bool {
        self.slo > Duration::from_secs(10)
    }
}

fn setting(
    name: &'static str,
    told: &'static str,
    start_secs: u64,
    change: impl FnOnce(&mut Site),
) -> Setting {
    let mut site = Site { start: Duration::from_secs(start_secs), ..Site::default() };
    change(&mut site);
    let slo = Duration::from_secs(if start_secs >= 120 { 300 } else { 10 });
    Setting { name, told, slo, site, knobs: false }
}

/// Room for 60 % of what the 99.9th percentile needs.
fn capped(site: &mut Site) {
    site.room = Some(room());
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few replicas, rounded on purpose"
)]
fn room() -> u32 {
    (ROOM_PART * (PEAK_REPLICAS / FILL)).round() as u32
}

/// Corner settings and two seeds: five minutes.
pub(crate) fn corners() -> Matrix {
    let settings = vec![
        Setting { knobs: true, ..setting("free-45", "room free, start 45 s", 45, |_| ()) },
        Setting { knobs: true, ..setting("free-120", "room free, start 120 s, promise 300 s", 120, |_| ()) },
        Setting { knobs: true, ..setting("capped-45", "room for 60 % of the need, start 45 s", 45, capped) },
        setting(
            "free-20-worse",
            "room free, start 20 s, a replica does 30 % less than configured, metrics 15 s old",
            20,
            |site| {
                site.mu *= 0.7;
                site.metric_delay = Duration::from_secs(15);
            },
        ),
    ];
    Matrix { settings, seeds: vec![1, 2], variants: false }
}

/// Room x start, and from 45 s with either room each other thing off by itself; five seeds.
pub(crate) fn full() -> Matrix {
    let less = |site: &mut Site| site.mu *= 0.7;
    let more = |site: &mut Site| site.mu *= 1.3;
    let late = |site: &mut Site| site.metric_delay = Duration::from_secs(15);
    let settings = vec![
        setting("free-20", "room free, start 20 s", 20, |_| ()),
        Setting { knobs: true, ..setting("free-45", "room free, start 45 s", 45, |_| ()) },
        Setting { knobs: true, ..setting("free-120", "room free, start 120 s, promise 300 s", 120, |_| ()) },
        setting("capped-20", "room for 60 % of the need, start 20 s", 20, capped),
        Setting { knobs: true, ..setting("capped-45", "room for 60 % of the need, start 45 s", 45, capped) },
        setting("capped-120", "room for 60 % of the need, start 120 s, promise 300 s", 120, capped),
        setting("free-45-less", "room free, start 45 s, a replica does 30 % less than configured", 45, less),
        setting("free-45-more", "room free, start 45 s, a replica does 30 % more than configured", 45, more),
        setting("free-45-late", "room free, start 45 s, metrics 15 s old", 45, late),
        setting(
            "capped-45-less",
            "room for 60 %, start 45 s, a replica does 30 % less than configured",
            45,
            |site| {
                capped(site);
                less(site);
            },
        ),
        setting(
            "capped-45-more",
            "room for 60 %, start 45 s, a replica does 30 % more than configured",
            45,
            |site| {
                capped(site);
                more(site);
            },
        ),
        setting("capped-45-late", "room for 60 %, start 45 s, metrics 15 s old", 45, |site| {
            capped(site);
            late(site);
        }),
    ];
    Matrix { settings, seeds: vec![1, 2, 3, 4, 5], variants: true }
}

/// Reads the files of `folder`, makes the shapes, and cuts their windows: the busiest six hours, and quiet ones.
///
/// # Errors
/// If a file cannot be used.
pub(crate) fn traces(folder: &Path) -> anyhow::Result<Vec<Load>> {
    let mut traces = Vec::new();
    for (name, file) in FILES {
        let path = folder.join(file);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        traces.push((name, parse(file, &text)?));
    }
    traces.extend(Shape::ALL.map(|shape| (shape.as_str(), shape.trace(SHAPE_SEED))));
    let mut loads = Vec::new();
    for (name, trace) in traces {
        let trace = trace.scaled_to(PEAK_REPLICAS * Site::default().mu);
        let quiet = trace.quiet(WINDOW_SECS);
        let window = trace.busiest(WINDOW_SECS);
        loads.push(Load { name: format!("{name} busiest"), trace: trace.clone(), window });
        loads.extend(quiet.map(|window| Load { name: format!("{name} quiet"), trace, window }));
    }
    Ok(loads)
}
