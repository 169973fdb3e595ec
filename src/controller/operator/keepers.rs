//! Makes, keeps and stops the tasks of the objects: one scaler and one clerk each.
//!
//! Owns which tasks run, and starts again what died. What should run comes as a plan of all objects; how it came to be
//! is not asked. A target never has two scalers: the next starts when the one before has ended.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tidegate_core::time::{Clock, Timestamp};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::api::Regarding;
use super::events::Events;
use super::index::Entry;
use super::office::{Office, Sheet, Standing};
use super::plan::{TargetKey, Wish, plan};
use super::trouble::{Kind, Trouble};
use crate::crd::{IngestScalerStatus, ScaleTargetRef};
use crate::error::Error;
use crate::observe::Observe;
use crate::scaler::{GroupSettings, Scaler, Shared};
use crate::target::Target;
use crate::view::View;

/// First pause before a task that died is made again; doubled up to [`AGAIN_MAX`].
const AGAIN: Duration = Duration::from_secs(1);
/// Longest pause: something that always dies costs a line a minute.
const AGAIN_MAX: Duration = Duration::from_mins(1);
/// A task that ran this long before it died starts from the first pause again.
const HEALTHY_AFTER: Duration = Duration::from_mins(10);

/// Makes what a scaler works with.
pub(super) trait Parts: Send + 'static {
    /// Looks at a group.
    type Observe: Observe;
    /// Runs its replicas.
    type Target: Target;

    /// Returns an observer of the group.
    ///
    /// # Errors
    /// If the settings name no Kafka.
    fn observe(&self, settings: &GroupSettings) -> Result<Self::Observe, Error>;

    /// Returns the target.
    fn target(&self, target: &ScaleTargetRef) -> Self::Target;
}

/// The tasks of all objects.
pub(super) struct Keepers<P> {
    parts: P,
    office: Office,
    shared: Shared,
    tick: Duration,
    events: Events,
    clock: Clock,
    by_name: BTreeMap<String, Keeper>,
    tasks: JoinSet<()>,
    /// What each task does: as many as there are tasks.
    roles: HashMap<Id, Role>,
}

struct Keeper {
    uid: String,
    sheet: watch::Sender<Sheet>,
    refused: Option<Trouble>,
    stop: CancellationToken,
    scaler: Option<Running>,
    revival: Revival,
    clerk_revival: Revival,
}

struct Running {
    wish: Wish<ScaleTargetRef>,
    settings: watch::Sender<GroupSettings>,
    stop: CancellationToken,
}

enum Role {
    Scaler { name: String, uid: String, target: TargetKey, stop: CancellationToken },
    Clerk { name: String, uid: String, stop: CancellationToken },
}

/// When something that died may be made again.
#[derive(Clone, Copy, Debug, Default)]
struct Revival {
    deaths: u32,
    started: Timestamp,
    not_before: Timestamp,
}

impl Revival {
    /// Takes in a death and returns the pause.
    fn died(&mut self, now: Timestamp) -> Duration {
        if now.since(self.started) > HEALTHY_AFTER {
            self.deaths = 0;
        }
        let pause = AGAIN.saturating_mul(1 << self.deaths.min(6)).min(AGAIN_MAX);
        self.deaths = self.deaths.saturating_add(1);
        self.not_before = now + pause;
        pause
    }
}

/// Takes in that an object gets no scaler; said in the log only if it was not said `before`.
fn refuse(keeper: &mut Keeper, name: &str, trouble: Trouble, before: Option<&Trouble>) -> Standing {
    if before != Some(&trouble) {
        Events::refused(name, trouble.kind.as_str(), &trouble.sentence());
    }
    keeper.refused = Some(trouble.clone());
    Standing::Refused(trouble)
}

impl<P: Parts> Keepers<P> {
    pub(super) fn new(parts: P, office: Office, shared: Shared, tick: Duration) -> Self {
        Self {
            parts,
            events: office.events.clone(),
            clock: office.clock,
            office,
            shared,
            tick,
            by_name: BTreeMap::new(),
            tasks: JoinSet::new(),
            roles: HashMap::new(),
        }
    }

    /// Makes what runs equal to what `entries` ask for. Doing it twice changes nothing.
    pub(super) fn apply(&mut self, entries: &BTreeMap<String, Entry>) {
        let now = (self.clock)();
        let objects: Vec<_> = entries.values().map(|entry| entry.object.clone()).collect();
        let mut plan = plan(&objects);
        let gone: Vec<_> = self
            .by_name
            .iter()
            .filter(|(name, keeper)| entries.get(*name).is_none_or(|entry| entry.object.uid != keeper.uid))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(mut keeper) = self.by_name.remove(&name) {
                self.stop_scaler(&name, &mut keeper, "the object is gone");
                keeper.stop.cancel();
            }
        }
        // First everything that has to end: what starts may need its target.
        for (name, verdict) in &plan {
            let Some(mut keeper) = self.by_name.remove(name) else { continue };
            let wrong = match (&keeper.scaler, verdict) {
                (None, _) => None,
                (Some(_), Err(trouble)) => Some(trouble.kind.as_str()),
                (Some(running), Ok(wish)) => (!running.wish.same_work(wish)).then_some("the spec changed"),
            };
            if let Some(why) = wrong {
                self.stop_scaler(name, &mut keeper, why);
            }
            self.by_name.insert(name.clone(), keeper);
        }
        for (name, entry) in entries {
            let Some(verdict) = plan.remove(name) else { continue };
            let mut keeper = self.by_name.remove(name).unwrap_or_else(|| self.hire(entry, now));
            self.settle(&mut keeper, entry, verdict, now);
            self.by_name.insert(name.clone(), keeper);
        }
    }

    /// Brings one object to where its verdict wants it, as far as that can be done now.
    fn settle(
        &mut self,
        keeper: &mut Keeper,
        entry: &Entry,
        verdict: Result<Wish<ScaleTargetRef>, Trouble>,
        now: Timestamp,
    ) {
        let name = &entry.object.name;
        let mut standing = None;
        match verdict {
            Err(trouble) => {
                let before = keeper.refused.take();
                standing = Some(refuse(keeper, name, trouble, before.as_ref()));
            }
            Ok(mut wish) => {
                wish.settings = wish.settings.looked_at_every(self.tick);
                let before = keeper.refused.take();
                if before.is_some() {
                    standing = Some(Standing::Waiting);
                }
                if let Some(running) = &mut keeper.scaler {
                    let changed = running.settings.send_if_modified(|settings| {
                        let changed = *settings != wish.settings;
                        settings.clone_from(&wish.settings);
                        changed
                    });
                    if changed {
                        Events::policy_changed(name);
                    }
                    running.wish = wish;
                } else if now >= keeper.revival.not_before && !self.is_taken(&wish.target) {
                    let started = self.start(keeper, entry, wish, now);
                    standing =
                        Some(started.unwrap_or_else(|wrong| refuse(keeper, name, wrong, before.as_ref())));
                }
            }
        }
        let slo = entry.object.wish.as_ref().ok().map(|wish| wish.settings.policy.slo_delay);
        keeper.sheet.send_if_modified(|sheet| {
            let changed = standing.is_some() || sheet.generation != entry.generation || sheet.slo != slo;
            sheet.generation = entry.generation;
            sheet.slo = slo;
            if let Some(standing) = standing {
                sheet.standing = standing;
            }
            changed
        });
    }

    fn is_taken(&self, target: &TargetKey) -> bool {
        self.roles.values().any(|role| matches!(role, Role::Scaler { target: taken, .. } if taken == target))
    }

    fn start(
        &mut self,
        keeper: &mut Keeper,
        entry: &Entry,
        wish: Wish<ScaleTargetRef>,
        now: Timestamp,
    ) -> Result<Standing, Trouble> {
        let name = &entry.object.name;
        let observe = self
            .parts
            .observe(&wish.settings)
            .map_err(|problem| Trouble::new(Kind::InvalidSpec, problem.to_string()))?;
        let target = self.parts.target(&wish.target_ref);
        let (settings, told) = watch::channel(wish.settings.clone());
        let (shows, view) = watch::channel(View::default());
        let stop = CancellationToken::new();
        let scaler = Scaler::new(name, told, self.tick, observe, target, self.shared.clone(), shows);
        let task = self.tasks.spawn(scaler.run(stop.clone())).id();
        let role = Role::Scaler {
            name: name.clone(),
            uid: keeper.uid.clone(),
            target: wish.target.clone(),
            stop: stop.clone(),
        };
        self.roles.insert(task, role);
        keeper.revival.started = now;
        self.events.started(name, &format!("{} {}", wish.target.kind, wish.target.name));
        keeper.scaler = Some(Running { wish, settings, stop });
        Ok(Standing::Running(view))
    }

    fn hire(&mut self, entry: &Entry, now: Timestamp) -> Keeper {
        let sheet = Sheet { generation: entry.generation, slo: None, standing: Standing::Waiting };
        let keeper = Keeper {
            uid: entry.object.uid.clone(),
            sheet: watch::Sender::new(sheet),
            refused: None,
            stop: CancellationToken::new(),
            scaler: None,
            revival: Revival::default(),
            clerk_revival: Revival { started: now, ..Revival::default() },
        };
        self.keep_books(entry.object.name.clone(), &keeper, entry.stored.clone(), Duration::ZERO);
        keeper
    }

    fn keep_books(
        &mut self,
        name: String,
        keeper: &Keeper,
        stored: Option<IngestScalerStatus>,
        pause: Duration,
    ) {
        let object = Regarding { name: name.clone(), uid: keeper.uid.clone() };
        let work = self.office.clone().keep(object, stored, keeper.sheet.subscribe(), keeper.stop.clone());
        let task = self.tasks.spawn(async move {
            sleep(pause).await;
            work.await;
        });
        let task = task.id();
        self.roles.insert(task, Role::Clerk { name, uid: keeper.uid.clone(), stop: keeper.stop.clone() });
    }

    fn stop_scaler(&mut self, name: &str, keeper: &mut Keeper, why: &'static str) {
        if let Some(running) = keeper.scaler.take() {
            running.stop.cancel();
            self.events.stopped(name, why);
            keeper.sheet.send_modify(|sheet| sheet.standing = Standing::Waiting);
        }
    }

    /// Waits until something is to be done without a new event: a task ended, or one that died may be made again.
    /// For ever, if there is nothing of that kind. May be cancelled.
    pub(super) async fn changed(&mut self, entries: Option<&BTreeMap<String, Entry>>) {
        let now = (self.clock)();
        let revival = self
            .by_name
            .values()
            .filter(|keeper| keeper.scaler.is_none() && keeper.refused.is_none())
            .map(|keeper| keeper.revival.not_before)
            .filter(|again| *again > now)
            .min();
        let wait = async {
            match revival {
                Some(again) => sleep(again.since(now)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = self.tasks.join_next_with_id() => self.ended(ended, entries),
            () = wait => {}
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>, entries: Option<&BTreeMap<String, Entry>>) {
        let (task, problem) = match ended {
            Ok((task, ())) => (task, "it returned".to_owned()),
            Err(error) => (error.id(), error.to_string()),
        };
        let now = (self.clock)();
        match self.roles.remove(&task) {
            Some(Role::Scaler { name, uid, stop, .. }) if !stop.is_cancelled() => {
                let Some(keeper) = self.by_name.get_mut(&name).filter(|keeper| keeper.uid == uid) else {
                    return;
                };
                keeper.scaler = None;
                let pause = keeper.revival.died(now);
                self.events.died(&name, "scaler", &problem, pause.as_secs());
                let trouble =
                    Trouble::new(Kind::ScalerDied, format!("the scaler ended by itself ({problem})"));
                keeper.sheet.send_modify(|sheet| sheet.standing = Standing::Refused(trouble));
            }
            Some(Role::Clerk { name, uid, stop }) if !stop.is_cancelled() => {
                let Some(mut keeper) = self.by_name.remove(&name) else { return };
                if keeper.uid == uid {
                    let pause = keeper.clerk_revival.died(now);
                    keeper.clerk_revival.started = now + pause;
                    self.events.died(&name, "clerk", &problem, pause.as_secs());
                    let entry = entries.and_then(|entries| entries.get(&name));
                    self.keep_books(name.clone(), &keeper, entry.and_then(|it| it.stored.clone()), pause);
                }
                self.by_name.insert(name, keeper);
            }
            // It was asked to.
            _ => {}
        }
    }

    /// Stops everything and waits, at most `deadline`.
    pub(super) async fn shut_down(mut self, deadline: Duration) {
        for (name, mut keeper) in std::mem::take(&mut self.by_name) {
            self.stop_scaler(&name, &mut keeper, "the controller stops");
            keeper.stop.cancel();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(deadline, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}
