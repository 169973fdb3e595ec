//! The loop: observe, decide, apply; every tick, and at once when a gateway reports a burst.

use std::time::Duration;

use tidegate_core::scaling::{Decision, History, Membership, Observation, decide};
use tidegate_core::time::{Clock, Timestamp};
use tidegate_runtime::admin::{self, Readiness};
use tidegate_runtime::metrics::Registry;
use tidegate_runtime::report::Key;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::error::Error;
use crate::events::Events;
use crate::http;
use crate::metrics::Metrics;
use crate::observe::{Observe, Seen};
use crate::replicas::Starts;
use crate::reports::Reports;
use crate::target::{State, Target};
use crate::view::View;

/// Names that the caller's [`Readiness`] must know.
pub const READINESS: [&str; 2] = [KAFKA, TARGET];
const KAFKA: &str = "kafka";
const TARGET: &str = "target";
/// Least time between two looks, however often bursts are reported: Kafka is asked at most four times a second.
const LOOK_APART: Duration = Duration::from_millis(250);
/// Longest time for one look at Kafka, so that a frozen broker cannot stop the loop.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Problems shown in a view.
const PROBLEMS_MAX: usize = 16;

/// What the controller is given to run with.
#[derive(Debug)]
pub struct Resources<O, T> {
    /// Checked settings.
    pub settings: Settings,
    /// Looks at the group; [`crate::KafkaGroup`] in production.
    pub observe: O,
    /// Runs the replicas.
    pub target: T,
    /// Bound to `settings.listen`.
    pub listener: TcpListener,
    /// What reports must present.
    pub key: Key,
    /// For `/metrics`.
    pub registry: Registry,
    /// For `/readyz`; made with [`READINESS`].
    pub readiness: Readiness,
    /// The monotonic clock.
    pub clock: Clock,
    /// Gets a view after each tick.
    pub view: watch::Sender<View>,
}

/// Runs until `shutdown`, then stops what the target must not leave behind.
///
/// # Errors
/// If metrics are registered twice or the HTTP server ends by itself. Kafka or a target that fails is no error: the group
/// is held and both are tried again.
pub async fn run<O: Observe, T: Target>(
    resources: Resources<O, T>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Resources { settings, observe, target, listener, key, registry, readiness, clock, view } = resources;
    let events = Events::new(Metrics::new(&registry)?);
    let reports = Reports::default();
    let routes = http::router(key, reports.clone(), view.subscribe(), events.clone(), clock);
    // Ends with the loop, and the loop with it.
    let stop_http = shutdown.child_token();
    let serving = admin::serve(listener, registry, readiness.clone(), routes, stop_http.clone());
    let mut serving = tokio::spawn(serving);

    let mut controller = Controller {
        history: History::default(),
        starts: Starts::default(),
        readiness,
        view,
        settings,
        observe,
        target,
        reports,
        events,
        clock,
    };
    let ended_early = tokio::select! {
        () = controller.ticks() => None,
        () = shutdown.cancelled() => None,
        ended = &mut serving => Some(ended),
    };
    for member in controller.target.shut_down().await {
        controller.events.killed(&member);
    }
    stop_http.cancel();
    let ended = match ended_early {
        // Asked to stop at the same moment: then its end is no failure.
        Some(ended) => ended,
        None => serving.await,
    };
    ended.map_err(Error::Died)?.map_err(Error::Http)?;
    if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(Error::Http(std::io::Error::other("it stopped without being asked to")))
    }
}

struct Controller<O, T> {
    settings: Settings,
    observe: O,
    target: T,
    reports: Reports,
    history: History,
    starts: Starts,
    readiness: Readiness,
    events: Events,
    clock: Clock,
    view: watch::Sender<View>,
}

impl<O: Observe, T: Target> Controller<O, T> {
    async fn ticks(&mut self) {
        let mut ticks = interval(self.settings.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            tokio::join!(self.tick(), sleep(LOOK_APART));
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.reports.burst() => ticks.reset(),
            }
        }
    }

    async fn tick(&mut self) {
        let mut problems = Vec::new();
        let seen = self.look(&mut problems).await;
        let now = (self.clock)();
        let Some(state) = self.look_at_target(now, &mut problems).await else {
            // Without knowing what there is, any order could be a step in the wrong direction.
            problems.truncate(PROBLEMS_MAX);
            self.view.send_modify(|view| view.problems = problems);
            return;
        };
        let observation = self.assemble(seen, &state, now);
        self.history.record(&self.settings.policy, &observation);
        let decision = decide(&self.settings.policy, &observation, &self.history, now);
        let stands = self.apply(&decision, now, &mut problems).await;
        self.events.decided(&decision, stands);
        if stands {
            self.history.record_decision(&self.settings.policy, &decision, now);
        }
        problems.truncate(PROBLEMS_MAX);
        self.show(decision, stands, &observation, now, problems);
    }

    async fn look(&mut self, problems: &mut Vec<String>) -> Option<Seen> {
        let asked = timeout(LOOK_MAX, self.observe.observe((self.clock)())).await;
        let looked = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", LOOK_MAX.as_secs())));
        match looked {
            Ok(seen) => {
                problems.extend(seen.problems.iter().take(PROBLEMS_MAX).cloned());
                let blind = seen.partitions.iter().all(|partition| partition.end.is_none());
                self.readiness.set(KAFKA, if blind { Err(problems.join("; ")) } else { Ok(()) });
                Some(seen)
            }
            Err(problem) => {
                self.events.observe_failed(&problem);
                self.readiness.set(KAFKA, Err(problem.clone()));
                problems.push(problem);
                None
            }
        }
    }

    async fn look_at_target(&mut self, now: Timestamp, problems: &mut Vec<String>) -> Option<State> {
        match self.target.observe(now).await {
            Ok(state) => {
                for crash in &state.crashes {
                    self.events.crashed(&crash.member, &crash.ended, crash.restart_in_secs);
                    problems.push(format!("consumer {} ended by itself: {}", crash.member, crash.ended));
                }
                for member in &state.killed {
                    self.events.killed(member);
                }
                self.readiness.set(TARGET, Ok(()));
                Some(state)
            }
            Err(problem) => {
                self.readiness.set(TARGET, Err(problem.clone()));
                problems.push(problem);
                None
            }
        }
    }

    fn assemble(&mut self, seen: Option<Seen>, state: &State, now: Timestamp) -> Observation {
        let heard = self.reports.hear(&self.settings.consumer_group, &self.settings.topics, now);
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
            ..Observation::default()
        }
    }

    /// Returns whether the decision stands: it changes nothing, or the target took the order.
    async fn apply(&mut self, decision: &Decision, now: Timestamp, problems: &mut Vec<String>) -> bool {
        if !decision.changes() {
            return true;
        }
        match self.target.scale(decision.replicas, now).await {
            Ok(()) => true,
            Err(problem) => {
                self.events.apply_failed(decision.replicas, &problem);
                self.readiness.set(TARGET, Err(problem.clone()));
                problems.push(problem);
                false
            }
        }
    }

    fn show(
        &self,
        decision: Decision,
        stands: bool,
        observation: &Observation,
        now: Timestamp,
        problems: Vec<String>,
    ) {
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
            view.offered_per_sec = observation.offered.map(|offered| offered.rate);
            view.sentence = sentence;
            view.problems = problems;
            view.decision = Some(decision);
        });
    }
}

#[cfg(test)]
mod tests;
