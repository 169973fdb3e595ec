//! The page as a whole.

use std::time::Duration;

use crate::trace::Trace;
use crate::{Peers, Run, Site, default_policy, study};

fn page() -> String {
    let trace = Trace::from_counts(
        "a <trace> & 'more'",
        60.0,
        (0..30).map(|m| if (10..20).contains(&m) { 60_000 } else { 9_000 }),
    );
    let site = Site { partitions: 32, ..Site::default() };
    let slo = Duration::from_secs(10);
    let spec = Run { trace: &trace, window: trace.whole(), slo, seed: 1, min: 1 };
    let peers = Peers { keda: true, hpa: true };
    let study = study(&spec, &site, &default_policy(slo, &site), peers, "tidegate simulate", |_| ()).unwrap();
    super::page(&study)
}

#[test]
fn the_page_needs_nothing_else_and_lets_no_name_be_markup() {
    let page = page();
    for reference in ["http:", "https:", " src=", " href=", "@import", "url("] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert!(page.contains("a &lt;trace&gt; &amp; &#39;more&#39;") && !page.contains("<trace>"));
    assert!(page.len() < 200_000, "{} bytes", page.len());
    for heading in ["Load", "Replicas", "Waiting in Kafka", "Late", "Late and cost", "All of them", "Setting"]
    {
        assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    // One series of data for each line of each plot over time.
    let lines = page.matches("<i></i>").count();
    let data = page.split("const DATA=").nth(1).unwrap().split(";const plots").next().unwrap();
    let data: Vec<Vec<Vec<f64>>> = serde_json::from_str(data).unwrap();
    assert_eq!(data.iter().map(Vec::len).sum::<usize>(), lines);
}
