//! One scaler: observes a consumer group, decides, and orders; every tick, and at once when a gateway reports a burst.
//!
//! Owns the loop of one group. Where its settings come from and who shows what it saw is not its business; several run
//! side by side and share the site's reports. A failure of Kafka or of the target is a state it goes on with.

mod group;
mod shared;

use std::time::Duration;

use tidegate_core::scaling::{Decision, History, Membership, Observation, decide};
use tidegate_core::time::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::events::ScalerEvents;
use crate::observe::{Observe, Seen};
use crate::record::Recorder;
use crate::replicas::Starts;
use crate::reports::Bursts;
use crate::target::{State, Target, TargetErrorKind};
use crate::view::{Shown, View};

pub use group::GroupSettings;
pub(crate) use shared::Shared;

/// Least time between two looks, however often bursts are reported: Kafka is asked at most four times a second.
const LOOK_APART: Duration = Duration::from_millis(250);
/// Longest time for one look at Kafka, so that a frozen broker cannot stop the loop.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Looks in a row that need not wait for the tick because somebody changed the target meanwhile: whoever changes it all
/// the time is not raced.
const AGAIN_MAX: u32 = 3;
/// Problems shown in a view.
const PROBLEMS_MAX: usize = 16;

/// Whether an order was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    /// It was, or there was nothing to order.
    Stands,
    /// The target refused.
    Refused,
    /// The target is not what it was when it was looked at.
    Outdated,
}

/// The loop of one group.
pub(crate) struct Scaler<O, T> {
    settings: watch::Receiver<GroupSettings>,
    tick: Duration,
    observe: O,
    target: T,
    shared: Shared,
    bursts: Bursts,
    /// Boxed: kilobytes of forecasts, which would otherwise make every future that holds a scaler as large.
    history: Box<History>,
    starts: Starts,
    events: ScalerEvents,
    recorder: Recorder,
    view: watch::Sender<View>,
    _shown: Shown,
}

impl<O: Observe, T: Target> Scaler<O, T> {
    /// Prepares a scaler; nothing is observed yet. `name` must be its own among those that share `shared`.
    pub(crate) fn new(
        name: &str,
        settings: watch::Receiver<GroupSettings>,
        tick: Duration,
        observe: O,
        target: T,
        shared: Shared,
        view: watch::Sender<View>,
    ) -> Self {
        Self {
            settings,
            tick,
            observe,
            target,
            bursts: shared.reports.bursts(),
            history: Box::default(),
            starts: Starts::default(),
            events: shared.events.of_scaler(name),
            recorder: shared.records.of_scaler(name),
            _shown: shared.views.show(name, view.subscribe()),
            shared,
            view,
        }
    }

    /// Runs until `stop`, then ends what the target must not leave behind.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let work = async {
            self.remember().await;
            self.ticks().await;
        };
        stop.run_until_cancelled(work).await;
        let settings = self.settings.borrow().clone();
        self.recorder.end(&settings, &self.history, (self.shared.clock)());
        for member in self.target.shut_down().await {
            self.events.killed(&member);
        }
    }

    /// Begins with what an earlier scaler of this name learned, if that was kept.
    async fn remember(&mut self) {
        let settings = self.settings.borrow().clone();
        let now = (self.shared.clock)();
        if let Some(history) = self.recorder.resume(&settings, now).await {
            *self.history = history;
        }
    }

    async fn ticks(&mut self) {
        let mut ticks = interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut outdated = 0;
        loop {
            let topics = self.settings.borrow_and_update().topics.clone();
            let (applied, ()) = tokio::join!(self.tick(), sleep(LOOK_APART));
            outdated = if applied == Applied::Outdated { outdated + 1 } else { 0 };
            if (1..=AGAIN_MAX).contains(&outdated) {
                continue;
            }
            tokio::select! {
                // An order by what has come so far would be the first of two, and each costs a rebalance.
                _ = ticks.tick() => if self.bursts.let_begun_show(&topics, (self.shared.clock)()).await {
                    ticks.reset();
                },
                () = self.bursts.next(&topics) => ticks.reset(),
                Ok(()) = self.settings.changed() => ticks.reset(),
            }
        }
    }

    async fn tick(&mut self) -> Applied {
        let settings = self.settings.borrow().clone();
        let mut looked = Looked::default();
        let seen = self.look(&mut looked).await;
        let now = (self.shared.clock)();
        let Some(state) = self.look_at_target(now, &mut looked).await else {
            // Without knowing what there is, any order could be a step in the wrong direction.
            self.view.send_modify(|view| looked.write(view));
            return Applied::Stands;
        };
        let observation = self.assemble(&settings, seen, &state, now);
        self.recorder.before(&settings.policy, &self.history, now);
        self.history.record(&settings.policy, &observation);
        let decision = decide(&settings.policy, &observation, &self.history, now);
        let applied = self.apply(&decision, now, &mut looked).await;
        let stands = applied == Applied::Stands;
        self.events.decided(&decision, stands);
        if stands {
            self.history.record_decision(&settings.policy, &decision, now);
        }
        let offered = observation.offered.map(|offered| offered.rate);
        self.recorder.look(observation, &decision, stands, now);
        self.recorder.learned(&settings, &self.history, now);
        self.show(decision, stands, offered, now, looked);
        applied
    }

    async fn look(&mut self, looked: &mut Looked) -> Option<Seen> {
        let asked = timeout(LOOK_MAX, self.observe.observe((self.shared.clock)())).await;
        let answer = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", LOOK_MAX.as_secs())));
        match answer {
            Ok(seen) => {
                self.events.observed();
                let blind = seen.partitions.iter().all(|partition| partition.end.is_none());
                looked.kafka_blind = blind;
                looked.kafka.extend(seen.problems.iter().take(PROBLEMS_MAX).cloned());
                if blind && looked.kafka.is_empty() {
                    looked.kafka.push("kafka tells of no partition of the topics".to_owned());
                }
                Some(seen)
            }
            Err(problem) => {
                self.events.observe_failed(&problem);
                looked.kafka_blind = true;
                looked.kafka.push(problem);
                None
            }
        }
    }

    async fn look_at_target(&mut self, now: Timestamp, looked: &mut Looked) -> Option<State> {
        match self.target.observe(now).await {
            Ok(state) => {
                for crash in &state.crashes {
                    self.events.crashed(&crash.member, &crash.ended, crash.restart_in_secs);
                    looked
                        .crashes
                        .push(format!("consumer {} ended by itself: {}", crash.member, crash.ended));
                }
                for member in &state.killed {
                    self.events.killed(member);
                }
                Some(state)
            }
            Err(problem) => {
                self.events.target_failed(&problem);
                looked.target = Some(problem);
                None
            }
        }
    }

    fn assemble(
        &mut self,
        settings: &GroupSettings,
        seen: Option<Seen>,
        state: &State,
        now: Timestamp,
    ) -> Observation {
        let heard = self.shared.reports.hear(&settings.consumer_group, &settings.topics, now);
        let (replicas, started) = self.starts.look(state.ordered, &state.replicas, &heard.members, now);
        let (offsets, membership) = match seen {
            Some(seen) => (Some(seen.partitions), seen.membership),
            None => (None, Membership::Unknown),
        };
        Observation {
            at: now,
            offsets,
            membership,
            replicas,
            offered: heard.offered,
            busy: heard.busy,
            started,
            held: heard.held,
            ..Observation::default()
        }
    }

    async fn apply(&mut self, decision: &Decision, now: Timestamp, looked: &mut Looked) -> Applied {
        if !decision.changes() {
            return Applied::Stands;
        }
        match self.target.scale(decision.replicas, now).await {
            Ok(()) => Applied::Stands,
            Err(problem) => {
                self.events.apply_failed(decision.replicas, &problem);
                let outdated = problem.kind == TargetErrorKind::Conflict;
                looked.target = Some(problem);
                if outdated { Applied::Outdated } else { Applied::Refused }
            }
        }
    }

    fn show(&self, decision: Decision, stands: bool, offered: Option<f64>, now: Timestamp, looked: Looked) {
        self.view.send_modify(|view| {
            let sentence = decision.to_string();
            if stands && decision.changes() {
                view.changes += 1;
                view.last_change = Some(sentence.clone());
            }
            view.ticks += 1;
            view.at = now;
            view.want = if stands { decision.replicas } else { decision.terms.current };
            view.have = decision.terms.ready;
            view.starting = decision.terms.starting;
            view.delay_secs = decision.terms.delay_secs;
            view.backlog = decision.terms.backlog;
            view.offered_per_sec = offered;
            view.sentence = sentence;
            view.decision = Some(decision);
            looked.write(view);
        });
    }
}

/// What went wrong in one look.
#[derive(Debug, Default)]
struct Looked {
    kafka: Vec<String>,
    kafka_blind: bool,
    target: Option<crate::target::TargetError>,
    crashes: Vec<String>,
}

impl Looked {
    fn write(self, view: &mut View) {
        let target = self.target.iter().map(ToString::to_string);
        view.problems =
            self.kafka.iter().cloned().chain(self.crashes.iter().cloned()).chain(target).collect();
        view.problems.truncate(PROBLEMS_MAX);
        view.kafka_blind = self.kafka_blind;
        view.kafka_problem = self.kafka.into_iter().next();
        view.target_problem = self.target;
        view.crashes += u64::try_from(self.crashes.len()).unwrap_or(u64::MAX);
        view.last_crash = self.crashes.into_iter().last().or(view.last_crash.take());
    }
}

#[cfg(test)]
mod tests;
