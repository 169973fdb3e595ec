//! What gateways and consumers reported lately.
//!
//! Owns who reported what and when; HTTP is `http`'s. Everything is bounded: names come from outside, even though
//! their senders hold the key.

pub(crate) mod check;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_core::scaling::{Busy, Offered};
use tidegate_core::time::Timestamp;
use tidegate_core::wire::{ConsumerReport, GatewayReport};
use tokio::sync::watch;
use tokio::time::timeout;

/// Gateways remembered: far more than a site has.
const GATEWAYS_MAX: usize = 256;
/// Consumers remembered: the most replicas a policy allows.
const CONSUMERS_MAX: usize = 10_000;
/// Age after which a gateway's offered load counts no more: three of its reports.
const OFFERED_FRESH: Duration = Duration::from_secs(3);
/// What a rate is taken over, and how long a burst must have lasted to count. A gateway tells of one after 200 ms, in
/// which a single device that flushes its buffer looks like five times what it is; a second later the rate is known,
/// so that the group grows in one step.
const SECOND_MS: u32 = 1000;
/// Within this the rate of a burst that a gateway told of is known, or it was none: the rest of its first report, a second,
/// and the way.
const BURST_SHOWS_WITHIN: Duration = Duration::from_millis(1500);
/// Reports of one gateway that are kept to cover a second: it sends five in one at most.
const RECENT_MAX: usize = 16;
/// Age after which whoever reported is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(75);

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is the newest of its sender.
    Newest,
    /// A newer one was there first, or it is of a run that has ended.
    Late,
    /// Too many senders.
    Full,
}

/// The reports of a site. Clones share them.
#[derive(Clone, Debug)]
pub struct Reports {
    state: Arc<Mutex<State>>,
    /// Counts the reports that tell of a burst.
    bursts: watch::Sender<u64>,
}

impl Default for Reports {
    fn default() -> Self {
        Self { state: Arc::default(), bursts: watch::Sender::new(0) }
    }
}

/// Bursts as one scaler hears of them.
#[derive(Debug)]
pub(crate) struct Bursts {
    reports: Reports,
    heard: watch::Receiver<u64>,
}

impl Bursts {
    /// Waits until a gateway reports a burst on one of `topics`. Bursts reported while nobody waits count as one.
    pub(crate) async fn next(&mut self, topics: &[String]) {
        // Never an error: `reports` holds the sender.
        while self.heard.changed().await.is_ok() {
            if self.reports.bursts_on(topics) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Waits while a burst on one of `topics` has begun but its rate is not known yet, at most [`BURST_SHOWS_WITHIN`].
    /// Returns whether it is known now.
    pub(crate) async fn let_begun_show(&mut self, topics: &[String], now: Timestamp) -> bool {
        self.reports.burst_begins_on(topics, now)
            && timeout(BURST_SHOWS_WITHIN, self.next(topics)).await.is_ok()
    }
}

#[derive(Debug, Default)]
struct State {
    gateways: BTreeMap<String, Sender<Gateway>>,
    /// By group and member.
    consumers: BTreeMap<(String, String), Sender<Consumer>>,
}

impl State {
    /// Returns what gateways reported that is not too old to count.
    fn fresh(&self, now: Timestamp) -> impl Iterator<Item = &Gateway> {
        let fresh = move |gateway: &&Sender<Gateway>| now.since(gateway.at) <= OFFERED_FRESH;
        self.gateways.values().filter(fresh).map(|gateway| &gateway.last)
    }
}

#[derive(Debug)]
struct Sender<T> {
    run: u64,
    /// The run before: its stragglers must not look like another restart.
    run_before: Option<u64>,
    seq: u64,
    at: Timestamp,
    last: T,
}

/// What a gateway reported in its last full second.
#[derive(Debug, Default)]
struct Gateway {
    /// Oldest first; all but the oldest cover less than a second.
    recent: VecDeque<GatewayReport>,
    /// Time that the newest reports cover which tell of a burst, but for the first: it began somewhere in that one.
    bursting_ms: u32,
}

impl Gateway {
    fn add(&mut self, report: GatewayReport, new_run: bool) {
        if new_run {
            self.recent.clear();
        }
        let goes_on = report.burst && self.recent.back().is_some_and(|last| last.burst);
        self.bursting_ms = if goes_on { self.bursting_ms.saturating_add(report.interval_ms) } else { 0 };
        self.recent.push_back(report);
        while self.recent.len() > RECENT_MAX || covered_ms(self.recent.iter().skip(1)) >= SECOND_MS {
            self.recent.pop_front();
        }
    }

    fn bursts(&self) -> bool {
        self.bursting_ms >= SECOND_MS
    }

    fn begins_to_burst(&self) -> bool {
        !self.bursts() && self.recent.back().is_some_and(|last| last.burst)
    }

    /// Returns the devices that are held back on `topics`, by its last report.
    fn held_on(&self, topics: &[String]) -> f64 {
        let Some(last) = self.recent.back() else { return 0.0 };
        let classes = topics.iter().filter_map(|topic| last.topics.get(topic)).flat_map(BTreeMap::values);
        classes.map(|class| f64::from(class.constrained_devices)).sum()
    }

    fn carries(&self, topics: &[String]) -> bool {
        let last = self.recent.back();
        last.is_some_and(|last| topics.iter().any(|topic| last.topics.contains_key(topic)))
    }
}

fn covered_ms<'a>(reports: impl Iterator<Item = &'a GatewayReport>) -> u32 {
    reports.fold(0, |sum, report| sum.saturating_add(report.interval_ms))
}

#[derive(Debug, Default)]
struct Consumer {
    records: u64,
    seconds: f64,
    partitions: u32,
    first_fetch: Option<Duration>,
}

/// A consumer's state by its own report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberState {
    /// It has partitions or has fetched.
    pub(crate) consumes: bool,
    /// Process start to first fetch.
    pub(crate) first_fetch: Option<Duration>,
}

/// What reports say of one group.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) offered: Option<Offered>,
    /// Messages that gateways hold: at least so many. Reports tell bytes, and nobody the size of a message; but each device
    /// that is held back has one that is not in Kafka.
    pub(crate) held: f64,
    pub(crate) busy: Vec<Busy>,
    pub(crate) members: BTreeMap<String, MemberState>,
}

impl Reports {
    /// Takes in a gateway's report.
    pub(crate) fn gateway(&self, report: GatewayReport, now: Timestamp) -> Taken {
        let (run, seq, name) = (report.run, report.seq, report.gateway.clone());
        let mut burst = false;
        let taken =
            take(&mut self.lock().gateways, name, (run, seq), now, GATEWAYS_MAX, |gateway, new_run| {
                gateway.add(report, new_run);
                burst = gateway.bursts();
            });
        if taken == Taken::Newest && burst {
            self.bursts.send_modify(|count| *count = count.wrapping_add(1));
        }
        taken
    }

    /// Takes in a consumer's report.
    pub(crate) fn consumer(&self, report: &ConsumerReport, now: Timestamp) -> Taken {
        let key = (report.group.clone(), report.member.clone());
        let first_fetch = (report.first_fetch_ms > 0).then(|| Duration::from_millis(report.first_fetch_ms));
        let mut state = self.lock();
        take(&mut state.consumers, key, (report.run, report.seq), now, CONSUMERS_MAX, |consumer, new_run| {
            if new_run {
                consumer.first_fetch = None;
            }
            consumer.records = consumer.records.saturating_add(report.records);
            if report.busy_seconds.is_finite() && report.busy_seconds > 0.0 {
                consumer.seconds += report.busy_seconds;
            }
            consumer.partitions = if report.leaving { 0 } else { report.partitions };
            consumer.first_fetch = consumer.first_fetch.or(first_fetch);
        })
    }

    /// Returns the bursts from now on.
    pub(crate) fn bursts(&self) -> Bursts {
        Bursts { reports: self.clone(), heard: self.bursts.subscribe() }
    }

    fn bursts_on(&self, topics: &[String]) -> bool {
        self.lock().gateways.values().any(|gateway| gateway.last.bursts() && gateway.last.carries(topics))
    }

    fn burst_begins_on(&self, topics: &[String], now: Timestamp) -> bool {
        self.lock().fresh(now).any(|gateway| gateway.begins_to_burst() && gateway.carries(topics))
    }

    /// Returns what is known of `group` and the load on `topics`, and begins to count busy time anew.
    pub(crate) fn hear(&self, group: &str, topics: &[String], now: Timestamp) -> Heard {
        let mut state = self.lock();
        state.gateways.retain(|_, gateway| now.since(gateway.at) <= FORGET_AFTER);
        state.consumers.retain(|_, consumer| now.since(consumer.at) <= FORGET_AFTER);
        let offered = offered(state.fresh(now), topics);
        let held = state.fresh(now).map(|gateway| gateway.held_on(topics)).sum();
        let mut heard = Heard { offered, held, ..Heard::default() };
        for ((of, member), consumer) in &mut state.consumers {
            if of != group {
                continue;
            }
            let consumer = &mut consumer.last;
            let (records, seconds) =
                (std::mem::take(&mut consumer.records), std::mem::take(&mut consumer.seconds));
            if seconds > 0.0 {
                heard.busy.push(Busy { member: member.clone(), records, seconds });
            }
            let fetches = consumer.partitions > 0 || consumer.first_fetch.is_some();
            heard
                .members
                .insert(member.clone(), MemberState { consumes: fetches, first_fetch: consumer.first_fetch });
        }
        heard
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A report is taken in whole or not at all, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take<K: Ord, T: Default>(
    senders: &mut BTreeMap<K, Sender<T>>,
    key: K,
    (run, seq): (u64, u64),
    now: Timestamp,
    most: usize,
    merge: impl FnOnce(&mut T, bool),
) -> Taken {
    if let Some(sender) = senders.get_mut(&key) {
        let new_run = run != sender.run;
        if (new_run && sender.run_before == Some(run)) || (!new_run && seq <= sender.seq) {
            return Taken::Late;
        }
        if new_run {
            sender.run_before = Some(sender.run);
        }
        (sender.run, sender.seq, sender.at) = (run, seq, now);
        merge(&mut sender.last, new_run);
        return Taken::Newest;
    }
    if senders.len() >= most {
        senders.retain(|_, sender| now.since(sender.at) <= FORGET_AFTER);
    }
    if senders.len() >= most {
        return Taken::Full;
    }
    let mut last = T::default();
    merge(&mut last, true);
    senders.insert(key, Sender { run, run_before: None, seq, at: now, last });
    Taken::Newest
}

/// Sums what gateways say of `topics` for their last full second; `None` if none does.
fn offered<'a>(gateways: impl Iterator<Item = &'a Gateway>, topics: &[String]) -> Option<Offered> {
    let mut sum: Option<Offered> = None;
    for gateway in gateways {
        let covered = f64::from(covered_ms(gateway.recent.iter()).max(1));
        for report in &gateway.recent {
            let secs = f64::from(report.interval_ms) / 1000.0;
            let share = f64::from(report.interval_ms) / covered;
            let classes =
                topics.iter().filter_map(|topic| report.topics.get(topic)).flat_map(BTreeMap::values);
            for class in classes {
                let sum = sum.get_or_insert(Offered { rate: 0.0, burst: false, censored: 0.0 });
                let counted =
                    u32::try_from(class.admitted.saturating_add(class.shed)).map_or(f64::MAX, f64::from);
                let counted = if secs > 0.0 { counted / secs } else { 0.0 };
                let rate =
                    if class.offered_est.is_finite() { class.offered_est.max(counted) } else { counted };
                sum.rate += share * rate;
                sum.burst |= gateway.bursts();
                sum.censored += share * rate * class.censored.clamp(0.0, 1.0);
            }
        }
    }
    sum.map(|sum| Offered { censored: if sum.rate > 0.0 { sum.censored / sum.rate } else { 0.0 }, ..sum })
}

#[cfg(test)]
mod tests {
    use tidegate_core::wire::OfferedLoad;

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn gateway(name: &str, run: u64, seq: u64, admitted: u64) -> GatewayReport {
        let load = OfferedLoad { admitted, ..OfferedLoad::default() };
        GatewayReport {
            gateway: name.to_owned(),
            run,
            seq,
            interval_ms: 500,
            topics: BTreeMap::from([("telemetry".to_owned(), BTreeMap::from([("sensor".to_owned(), load)]))]),
            ..GatewayReport::default()
        }
    }

    fn consumer(run: u64, seq: u64, records: u64) -> ConsumerReport {
        ConsumerReport {
            group: "g".to_owned(),
            member: "m".to_owned(),
            run,
            seq,
            records,
            busy_seconds: 0.5,
            ..ConsumerReport::default()
        }
    }

    fn hear(reports: &Reports, secs: u64) -> Heard {
        reports.hear("g", &["telemetry".to_owned()], at(secs))
    }

    #[test]
    fn the_offered_load_is_summed_over_gateways_and_only_while_fresh() {
        let reports = Reports::default();
        assert_eq!(hear(&reports, 0).offered, None);
        reports.gateway(gateway("a", 1, 1, 50), at(1));
        reports.gateway(gateway("b", 2, 1, 25), at(3));
        assert_eq!(hear(&reports, 4).offered, Some(Offered { rate: 150.0, burst: false, censored: 0.0 }));
        assert_eq!(hear(&reports, 5).offered, Some(Offered { rate: 50.0, burst: false, censored: 0.0 }));
        assert_eq!(hear(&reports, 8).offered, None);
    }

    #[test]
    fn a_message_for_each_device_that_is_held_back_is_known_to_wait_at_the_gateways() {
        let reports = Reports::default();
        let report = |name: &str, seq, constrained_devices| {
            let mut report = gateway(name, 1, seq, 50);
            for load in report.topics.values_mut().flat_map(BTreeMap::values_mut) {
                load.constrained_devices = constrained_devices;
            }
            report
        };
        assert!(hear(&reports, 0).held.abs() < 1e-9);
        reports.gateway(report("a", 1, 30), at(1));
        reports.gateway(report("a", 2, 3), at(1));
        reports.gateway(report("b", 1, 2), at(2));
        assert!((hear(&reports, 2).held - 5.0).abs() < 1e-9, "now, and not in the last second");
        assert!((hear(&reports, 5).held - 2.0).abs() < 1e-9, "of reports that are fresh");
        assert!(reports.hear("g", &["alarms".to_owned()], at(2)).held.abs() < 1e-9);
    }

    #[test]
    fn a_burst_counts_once_it_lasted_a_second_and_with_the_rate_of_that_second() {
        let reports = Reports::default();
        let report = |seq, interval_ms, admitted, burst| GatewayReport {
            interval_ms,
            burst,
            ..gateway("a", 1, seq, admitted)
        };
        let offered = |seq, interval_ms, admitted, burst| {
            reports.gateway(report(seq, interval_ms, admitted, burst), at(1));
            let offered = hear(&reports, 1).offered.unwrap();
            (offered.rate.round(), offered.burst)
        };
        assert_eq!(offered(1, 1000, 100, false), (100.0, false));
        // 50 messages at once: not 250 a second.
        assert_eq!(offered(2, 200, 70, true), (142.0, false));
        for seq in 3..7 {
            assert!(!offered(seq, 200, 200, true).1, "report {seq}");
        }
        assert_eq!(offered(7, 200, 200, true), (1000.0, true));
        assert_eq!(offered(8, 1000, 100, false), (100.0, false));
    }

    #[tokio::test]
    async fn only_a_burst_that_lasts_wakes_the_controller() {
        let reports = Reports::default();
        let (mut ours, mut others) = (reports.bursts(), reports.bursts());
        let (topics, other_topics) = (["telemetry".to_owned()], ["alarms".to_owned()]);
        let mut woken = std::pin::pin!(ours.next(&topics));
        let mut not_woken = std::pin::pin!(others.next(&other_topics));
        let mut wakes = |seq| {
            reports.gateway(GatewayReport { burst: true, ..gateway("a", 1, seq, 500) }, at(1));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(not_woken.as_mut().poll(&mut context).is_pending(), "a burst on another's topics");
            woken.as_mut().poll(&mut context).is_ready()
        };
        assert_eq!([wakes(1), wakes(2), wakes(3)], [false, false, true]);
    }

    #[test]
    fn another_topics_load_is_not_ours() {
        let reports = Reports::default();
        reports.gateway(gateway("a", 1, 1, 50), at(1));
        assert_eq!(reports.hear("g", &["alarms".to_owned()], at(1)).offered, None);
    }

    #[test]
    fn late_and_repeated_reports_count_once_and_a_new_run_begins_anew() {
        let reports = Reports::default();
        assert_eq!(reports.consumer(&consumer(7, 2, 10), at(1)), Taken::Newest);
        assert_eq!(reports.consumer(&consumer(7, 2, 10), at(1)), Taken::Late);
        assert_eq!(reports.consumer(&consumer(7, 1, 10), at(1)), Taken::Late);
        assert_eq!(reports.consumer(&consumer(8, 1, 5), at(2)), Taken::Newest);
        assert_eq!(
            reports.consumer(&consumer(7, 3, 10), at(2)),
            Taken::Late,
            "a straggler of the run before"
        );
        let busy = hear(&reports, 2).busy;
        assert_eq!(busy, [Busy { member: "m".to_owned(), records: 15, seconds: 1.0 }]);
        assert!(hear(&reports, 2).busy.is_empty(), "busy time is handed out once");
    }

    #[test]
    fn a_member_consumes_once_it_has_partitions_or_fetched_and_is_forgotten_in_silence() {
        let reports = Reports::default();
        reports.consumer(&consumer(7, 1, 0), at(1));
        assert!(!hear(&reports, 1).members["m"].consumes);
        reports.consumer(&ConsumerReport { partitions: 2, ..consumer(7, 2, 0) }, at(2));
        assert!(hear(&reports, 2).members["m"].consumes);
        reports.consumer(&ConsumerReport { first_fetch_ms: 1500, ..consumer(7, 3, 9) }, at(3));
        assert_eq!(hear(&reports, 3).members["m"].first_fetch, Some(Duration::from_millis(1500)));
        reports.consumer(&consumer(8, 1, 0), at(4));
        assert!(!hear(&reports, 4).members["m"].consumes, "a restarted member has not fetched");
        assert!(hear(&reports, 80).members.is_empty());
    }

    #[test]
    fn senders_are_bounded_and_silent_ones_make_room() {
        let reports = Reports::default();
        for n in 0..GATEWAYS_MAX {
            assert_eq!(reports.gateway(gateway(&n.to_string(), 1, 1, 1), at(1)), Taken::Newest);
        }
        assert_eq!(reports.gateway(gateway("more", 1, 1, 1), at(2)), Taken::Full);
        assert_eq!(reports.gateway(gateway("more", 1, 1, 1), at(100)), Taken::Newest);
    }

    #[test]
    fn numbers_that_are_none_do_no_harm() {
        let reports = Reports::default();
        let mut report = gateway("a", 1, 1, 50);
        report.interval_ms = 0;
        for load in report.topics.values_mut().flat_map(BTreeMap::values_mut) {
            (load.offered_est, load.censored) = (f64::NAN, 7.0);
        }
        reports.gateway(report, at(1));
        reports.consumer(&ConsumerReport { busy_seconds: f64::NAN, ..consumer(7, 1, 3) }, at(1));
        let heard = hear(&reports, 1);
        assert_eq!(heard.offered, Some(Offered { rate: 0.0, burst: false, censored: 0.0 }));
        assert!(heard.busy.is_empty());
    }
}
