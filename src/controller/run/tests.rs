use std::time::Duration;

use tidegate_core::scaling::Reason;
use tidegate_core::wire::{CONSUMER_REPORT_PATH, ConsumerReport, GATEWAY_REPORT_PATH};
use tidegate_runtime::clock::{monotonic, unix_millis};
use tidegate_runtime::report::{ReportError, Reporter};

use super::*;
use crate::testing::{Fake, Script, burst, settings};

#[tokio::test]
async fn reports_need_the_key_and_the_decision_can_be_read() {
    let (view, mut seen) = watch::channel(View::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (key, shutdown, registry) = (Key::generate(), CancellationToken::new(), Registry::new());
    let (kafka, target) = (Script::default(), Fake::default());
    let tick = Duration::from_millis(200);
    let site = Site {
        listener,
        key: key.clone(),
        registry: registry.clone(),
        clock: monotonic,
        unix_clock: unix_millis,
        tick,
        record: None,
    };
    let group = Group { settings: settings(), observe: kafka.clone(), target: target.clone(), view };
    let running = tokio::spawn(run(site, group, shutdown.clone()));
    seen.wait_for(|view| view.ticks >= 2).await.unwrap();

    let stranger = Reporter::new(url.clone(), &Key::generate()).unwrap();
    let refused = stranger.post(GATEWAY_REPORT_PATH, &burst(1, 700.0)).await.unwrap_err();
    assert!(matches!(refused, ReportError::Refused(status) if status == 401), "{refused}");
    assert_eq!(target.0.lock().unwrap().orders, [1], "a stranger orders nothing");

    let reporter = Reporter::new(url.clone(), &key).unwrap();
    assert_eq!(reporter.post(GATEWAY_REPORT_PATH, &burst(2, 700.0)).await.unwrap().seq, 2);
    assert_eq!(reporter.post(GATEWAY_REPORT_PATH, &burst(3, 700.0)).await.unwrap().seq, 3);
    let refused = reporter.post(GATEWAY_REPORT_PATH, &burst(4, -1.0)).await.unwrap_err();
    assert!(matches!(refused, ReportError::Refused(status) if status == 422), "{refused}");
    let report =
        ConsumerReport { group: "g".to_owned(), member: "m".to_owned(), seq: 5, ..ConsumerReport::default() };
    assert_eq!(reporter.post(CONSUMER_REPORT_PATH, &report).await.unwrap().seq, 5);
    let grown = tokio::time::timeout(Duration::from_secs(10), seen.wait_for(|view| view.want == 12));
    let view = grown.await.expect("the burst is acted on").unwrap().clone();
    assert_eq!(view.decision.as_ref().unwrap().reason, Reason::Burst, "{}", view.sentence);

    let shown = get(&url, "/v1/decision").await;
    assert!(shown.contains("\"want\":12") && shown.contains("\"partitions\":12"), "{shown}");
    assert!(get(&url, "/v1/decision?scaler=g").await.contains("\"want\":12"));
    let unknown = get(&url, "/v1/decision?scaler=h").await;
    assert!(unknown.starts_with("HTTP/1.1 404") && unknown.contains("there are: g"), "{unknown}");
    assert!(get(&url, "/readyz").await.contains("kafka: ok\ntarget: ok"));
    let ticks = seen.borrow().ticks;
    kafka.0.lock().unwrap().away = true;
    seen.wait_for(|view| view.ticks >= ticks + 3).await.unwrap();
    let ready = get(&url, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("kafka: no broker answers"), "{ready}");
    assert!(
        registry
            .encode()
            .contains("tidegate_controller_reports_total{kind=\"gateway\",outcome=\"unauthorized\"} 1")
    );

    shutdown.cancel();
    running.await.unwrap().unwrap();
    assert!(target.0.lock().unwrap().stopped, "replicas do not outlive the controller");
}

async fn get(url: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}
