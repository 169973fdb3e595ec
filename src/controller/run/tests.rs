use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tidegate_core::scaling::{PartitionId, PartitionOffsets, Policy, Reason};
use tidegate_core::wire::{
    CONSUMER_REPORT_PATH, ConsumerReport, GATEWAY_REPORT_PATH, GatewayReport, OfferedLoad,
};
use tidegate_runtime::clock::monotonic;
use tidegate_runtime::report::{ReportError, Reporter};

use super::*;
use crate::config::RawProcesses;
use crate::target::Running;

thread_local! {
    /// Each test is a thread of its own.
    static NOW: Cell<Timestamp> = const { Cell::new(Timestamp::ZERO) };
}

fn now() -> Timestamp {
    NOW.get()
}

/// Kafka as a script says: 12 partitions, a rate, a lag, or nothing.
#[derive(Clone, Debug, Default)]
struct Script(Arc<Mutex<Kafka>>);

#[derive(Debug, Default)]
struct Kafka {
    away: bool,
    /// Whole messages per second on each of the 12 partitions.
    rate_each: i64,
    end: i64,
    at: Timestamp,
}

impl Observe for Script {
    async fn observe(&mut self, now: Timestamp) -> Result<Seen, String> {
        let mut kafka = self.0.lock().unwrap();
        if kafka.away {
            return Err("no broker answers".to_owned());
        }
        kafka.end += kafka.rate_each * i64::try_from(now.since(kafka.at).as_secs()).unwrap();
        kafka.at = now;
        let end = 1000 + kafka.end;
        let topic: Arc<str> = Arc::from("telemetry");
        let offsets = |partition| PartitionOffsets {
            id: PartitionId { topic: topic.clone(), partition },
            begin: 0,
            end: Some(end),
            committed: Some(end),
        };
        Ok(Seen { partitions: (0..12).map(offsets).collect(), ..Seen::default() })
    }
}

/// A target whose replicas are ready at once.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<Deployment>>);

#[derive(Debug, Default)]
struct Deployment {
    replicas: u32,
    refuses: bool,
    orders: Vec<u32>,
    stopped: bool,
}

impl Target for Fake {
    async fn observe(&mut self, _: Timestamp) -> Result<State, String> {
        let ordered = self.0.lock().unwrap().replicas;
        let replica = |n| Running {
            member: format!("member-{n}"),
            ordered_at: Timestamp::ZERO,
            spawned_at: Some(Timestamp::ZERO),
        };
        Ok(State { ordered, replicas: (0..ordered).map(replica).collect(), ..State::default() })
    }

    async fn scale(&mut self, replicas: u32, _: Timestamp) -> Result<(), String> {
        let mut deployment = self.0.lock().unwrap();
        if deployment.refuses {
            return Err("forbidden".to_owned());
        }
        deployment.replicas = replicas;
        deployment.orders.push(replicas);
        Ok(())
    }

    async fn shut_down(&mut self) -> Vec<String> {
        self.0.lock().unwrap().stopped = true;
        Vec::new()
    }
}

fn settings() -> Settings {
    let policy = Policy { capacity_per_replica: Some(100.0), ..Policy::new(Duration::from_secs(10), 1, 64) };
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        key_file: PathBuf::new(),
        tick: Duration::from_secs(5),
        bootstrap_servers: String::new(),
        consumer_group: "g".to_owned(),
        topics: vec!["telemetry".to_owned()],
        policy,
        processes: RawProcesses {
            command: PathBuf::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            stop_timeout: Duration::ZERO,
            log_file: None,
        },
    }
}

struct Site {
    controller: Controller<Script, Fake>,
    kafka: Script,
    target: Fake,
    registry: Registry,
    view: watch::Receiver<View>,
}

fn site(replicas: u32, rate_each: i64) -> Site {
    NOW.set(Timestamp::from_millis(1_000_000));
    let registry = Registry::new();
    let (kafka, target) = (Script::default(), Fake::default());
    kafka.0.lock().unwrap().rate_each = rate_each;
    target.0.lock().unwrap().replicas = replicas;
    let (view, receiver) = watch::channel(View::default());
    let controller = Controller {
        settings: settings(),
        observe: kafka.clone(),
        target: target.clone(),
        reports: Reports::default(),
        history: History::default(),
        starts: Starts::default(),
        readiness: Readiness::new(&READINESS),
        events: Events::new(Metrics::new(&registry).unwrap()),
        clock: now,
        view,
    };
    Site { controller, kafka, target, registry, view: receiver }
}

impl Site {
    async fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            NOW.set(now() + Duration::from_secs(5));
            self.controller.tick().await;
        }
    }

    fn orders(&self) -> Vec<u32> {
        self.target.0.lock().unwrap().orders.clone()
    }

    fn reason(&self) -> Reason {
        self.view.borrow().decision.as_ref().unwrap().reason
    }
}

fn burst(seq: u64, rate: f64) -> GatewayReport {
    let load = OfferedLoad { offered_est: rate, ..OfferedLoad::default() };
    GatewayReport {
        gateway: "a".to_owned(),
        run: 1,
        seq,
        interval_ms: 1000,
        burst: true,
        topics: BTreeMap::from([("telemetry".to_owned(), BTreeMap::from([("sensor".to_owned(), load)]))]),
        ..GatewayReport::default()
    }
}

#[tokio::test]
async fn a_group_without_replicas_gets_its_fewest_even_if_kafka_is_away() {
    let mut site = site(0, 0);
    site.kafka.0.lock().unwrap().away = true;
    site.pass(1).await;
    assert_eq!(site.orders(), [1]);
    assert!(!site.controller.readiness.is_ready());
}

#[tokio::test]
async fn load_that_rises_and_falls_orders_more_once_and_later_fewer() {
    let mut site = site(1, 3);
    site.pass(70).await;
    assert_eq!(site.orders(), [] as [u32; 0]);
    site.kafka.0.lock().unwrap().rate_each = 33;
    site.pass(12).await;
    assert_eq!(*site.orders().last().unwrap(), 6, "{:?}", site.view.borrow().sentence);
    let risen = site.orders().len();
    site.kafka.0.lock().unwrap().rate_each = 3;
    site.pass(58).await;
    assert_eq!(site.orders().len(), risen, "not before five minutes of quiet");
    site.pass(60).await;
    assert_eq!(*site.orders().last().unwrap(), 1, "{:?}", site.orders());
}

#[tokio::test]
async fn a_restarted_controller_changes_nothing_by_itself() {
    let mut site = site(5, 3);
    site.pass(59).await;
    assert_eq!(site.orders(), [] as [u32; 0]);
    assert_eq!(site.reason(), Reason::CoolingDown);
    site.pass(5).await;
    assert_eq!(site.orders(), [1], "but it does in the end: {}", site.view.borrow().sentence);
}

#[tokio::test]
async fn without_kafka_the_group_is_held_and_readiness_names_it() {
    let mut site = site(5, 3);
    site.pass(70).await;
    let orders = site.orders();
    site.kafka.0.lock().unwrap().away = true;
    site.pass(100).await;
    assert_eq!((site.orders(), site.reason()), (orders, Reason::LagUnknown));
    assert!(!site.controller.readiness.is_ready());
    assert_eq!(site.view.borrow().problems, ["no broker answers"]);
    assert!(site.registry.encode().contains("tidegate_controller_observe_failures_total 100"));
    site.kafka.0.lock().unwrap().away = false;
    site.pass(1).await;
    assert!(site.controller.readiness.is_ready());
}

#[tokio::test]
async fn an_order_that_is_refused_is_given_again() {
    let mut site = site(1, 33);
    site.target.0.lock().unwrap().refuses = true;
    site.pass(4).await;
    assert_eq!((site.orders(), site.controller.readiness.is_ready()), (vec![], false));
    assert!(!site.registry.encode().contains("tidegate_controller_apply_failures_total 0"));
    site.target.0.lock().unwrap().refuses = false;
    site.pass(1).await;
    assert_eq!(site.orders().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_acted_on_at_once_and_not_at_the_next_tick() {
    let mut site = site(1, 3);
    site.pass(3).await;
    let (reports, target, mut view) =
        (site.controller.reports.clone(), site.target.clone(), site.view.clone());
    let ticks = tokio::spawn(async move { site.controller.ticks().await });
    // The first look of the loop.
    view.mark_unchanged();
    view.changed().await.unwrap();
    let deadline = tokio::time::sleep(2 * LOOK_APART);
    NOW.set(now() + Duration::from_secs(1));
    // The burst began in the first report; the second covers a full second of it.
    reports.gateway(burst(1, 700.0), now());
    reports.gateway(burst(2, 700.0), now());
    tokio::select! {
        changed = view.changed() => changed.unwrap(),
        () = deadline => panic!("it waited for the next tick"),
    }
    assert_eq!(target.0.lock().unwrap().orders, [12]);
    assert_eq!(view.borrow().decision.as_ref().unwrap().reason, Reason::Burst);
    ticks.abort();
}

#[tokio::test]
async fn reports_need_the_key_and_the_decision_can_be_read() {
    let (view, mut seen) = watch::channel(View::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (key, shutdown, target, registry) =
        (Key::generate(), CancellationToken::new(), Fake::default(), Registry::new());
    let resources = Resources {
        settings: Settings { tick: Duration::from_millis(200), ..settings() },
        observe: Script::default(),
        target: target.clone(),
        listener,
        key: key.clone(),
        registry: registry.clone(),
        readiness: Readiness::new(&READINESS),
        clock: monotonic,
        view,
    };
    let running = tokio::spawn(run(resources, shutdown.clone()));
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
    assert!(get(&url, "/readyz").await.contains("kafka: ok"));
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
