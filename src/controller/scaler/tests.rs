mod recording;

use std::cell::Cell;

use tidegate_core::scaling::Reason;
use tidegate_core::time::UnixMillis;
use tidegate_core::wire::GatewayReport;
use tidegate_runtime::metrics::Registry;

use super::*;
use crate::config::Record;
use crate::testing::{Fake, Script, burst, settings};

thread_local! {
    /// Each test is a thread of its own.
    static NOW: Cell<Timestamp> = const { Cell::new(Timestamp::ZERO) };
}

fn now() -> Timestamp {
    NOW.get()
}

fn wall() -> UnixMillis {
    UnixMillis(1_800_000_000_000 + i64::try_from(now().as_nanos() / 1_000_000).unwrap())
}

struct Site {
    scaler: Scaler<Script, Fake>,
    settings: watch::Sender<GroupSettings>,
    kafka: Script,
    target: Fake,
    registry: Registry,
    view: watch::Receiver<View>,
}

fn site(replicas: u32, rate_each: i64) -> Site {
    site_that_records(replicas, rate_each, None)
}

fn site_that_records(replicas: u32, rate_each: i64, record: Option<&Record>) -> Site {
    NOW.set(Timestamp::from_millis(1_000_000));
    let registry = Registry::new();
    let (kafka, target) = (Script::default(), Fake::default());
    kafka.0.lock().unwrap().rate_each = rate_each;
    target.0.lock().unwrap().replicas = replicas;
    let (view, receiver) = watch::channel(View::default());
    let shared = Shared::new(&registry, now).unwrap().recording(record, wall).unwrap();
    let (settings, told) = watch::channel(settings());
    let tick = Duration::from_secs(5);
    let scaler = Scaler::new("g", told, tick, kafka.clone(), target.clone(), shared, view);
    Site { scaler, settings, kafka, target, registry, view: receiver }
}

impl Site {
    async fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            NOW.set(now() + Duration::from_secs(5));
            self.scaler.tick().await;
        }
    }

    fn orders(&self) -> Vec<u32> {
        self.target.0.lock().unwrap().orders.clone()
    }

    fn reason(&self) -> Reason {
        self.view.borrow().decision.as_ref().unwrap().reason
    }
}

#[tokio::test]
async fn a_group_without_replicas_gets_its_fewest_even_if_kafka_is_away() {
    let mut site = site(0, 0);
    site.kafka.0.lock().unwrap().away = true;
    site.pass(1).await;
    assert_eq!(site.orders(), [1]);
    assert!(site.view.borrow().kafka_blind);
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
async fn without_kafka_the_group_is_held_and_the_view_says_why() {
    let mut site = site(5, 3);
    site.pass(70).await;
    let orders = site.orders();
    site.kafka.0.lock().unwrap().away = true;
    site.pass(100).await;
    assert_eq!((site.orders(), site.reason()), (orders, Reason::LagUnknown));
    assert_eq!(site.view.borrow().problems, ["no broker answers"]);
    assert_eq!(site.view.borrow().kafka_problem.as_deref(), Some("no broker answers"));
    assert!(site.registry.encode().contains("tidegate_controller_observe_failures_total 100"));
    site.kafka.0.lock().unwrap().away = false;
    site.pass(1).await;
    assert!(!site.view.borrow().kafka_blind && site.view.borrow().kafka_problem.is_none());
}

#[tokio::test]
async fn an_order_that_is_refused_is_given_again() {
    let mut site = site(1, 33);
    site.target.0.lock().unwrap().refuses = Some((TargetErrorKind::Forbidden, u32::MAX));
    site.pass(4).await;
    assert_eq!(site.orders(), [] as [u32; 0]);
    let told = site.view.borrow().target_problem.clone().map(|problem| problem.kind);
    assert_eq!(told, Some(TargetErrorKind::Forbidden));
    assert!(!site.registry.encode().contains("tidegate_controller_apply_failures_total 0"));
    site.target.0.lock().unwrap().refuses = None;
    site.pass(1).await;
    assert_eq!(site.orders().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_acted_on_at_once_and_not_at_the_next_tick() {
    let mut site = site(1, 3);
    site.pass(3).await;
    let (reports, target, mut view) =
        (site.scaler.shared.reports.clone(), site.target.clone(), site.view.clone());
    let ticks = tokio::spawn(async move { site.scaler.ticks().await });
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

#[tokio::test(start_paused = true)]
async fn a_tick_in_the_first_second_of_a_burst_waits_for_its_rate() {
    let mut site = site(1, 3);
    site.pass(3).await;
    let (reports, view) = (site.scaler.shared.reports.clone(), site.view.clone());
    let begins = |seq| GatewayReport { interval_ms: 200, ..burst(seq, 700.0) };
    let looks = async |secs: f64| {
        let before = view.borrow().ticks;
        tokio::time::sleep(Duration::from_secs_f64(secs)).await;
        view.borrow().ticks - before
    };
    let ticks = tokio::spawn(async move { site.scaler.ticks().await });
    assert_eq!(looks(4.9).await, 1, "the first look of the loop");
    reports.gateway(begins(1), now());
    assert_eq!(looks(0.8).await, 0, "a tick at 5 s");
    (2..=6).for_each(|seq| {
        reports.gateway(begins(seq), now());
    });
    assert_eq!(looks(0.1).await, 1, "the burst has lasted a second");
    // One that is none after all, or whose gateway is gone, holds the next tick up no longer than it takes to know.
    reports.gateway(GatewayReport { burst: false, ..begins(7) }, now());
    reports.gateway(begins(8), now());
    assert_eq!(looks(6.4).await, 0, "a tick at 10.7 s");
    assert_eq!(looks(0.2).await, 1);
    ticks.abort();
}

#[tokio::test(start_paused = true)]
async fn a_target_that_somebody_changed_is_looked_at_again_before_the_next_order() {
    let mut site = site(0, 0);
    site.target.0.lock().unwrap().refuses = Some((TargetErrorKind::Conflict, 1));
    let target = site.target.clone();
    let ticks = tokio::spawn(async move { site.scaler.ticks().await });
    tokio::time::sleep(3 * LOOK_APART).await;
    ticks.abort();
    let deployment = target.0.lock().unwrap();
    assert_eq!((deployment.orders.as_slice(), deployment.looks), ([1].as_slice(), 2));
}

#[tokio::test(start_paused = true)]
async fn whoever_changes_the_target_all_the_time_is_not_raced() {
    let mut site = site(0, 0);
    site.target.0.lock().unwrap().refuses = Some((TargetErrorKind::Conflict, u32::MAX));
    let target = site.target.clone();
    let ticks = tokio::spawn(async move { site.scaler.ticks().await });
    tokio::time::sleep(Duration::from_secs(4)).await;
    ticks.abort();
    assert_eq!(target.0.lock().unwrap().looks, 1 + AGAIN_MAX);
}

#[tokio::test(start_paused = true)]
async fn another_policy_is_followed_at_once() {
    let mut site = site(1, 0);
    let (settings, target) = (site.settings.clone(), site.target.clone());
    let ticks = tokio::spawn(async move { site.scaler.ticks().await });
    tokio::time::sleep(2 * LOOK_APART).await;
    settings.send_modify(|settings| settings.policy.min = 3);
    tokio::time::sleep(2 * LOOK_APART).await;
    ticks.abort();
    assert_eq!(target.0.lock().unwrap().orders, [3]);
}
