//! The gateways: what devices offer them, what they let into Kafka, and what they report each second.

use rand::rngs::StdRng;
use tidegate_core::scaling::Offered;

use super::group::Step;
use super::lane::{Lane, LaneLimits};
use super::log::{Cohort, Log};
use crate::arrivals::{Batch, Split};
use crate::fleet::{CLASSES, Fleet, PerClass};
use crate::num::{real, real_len};
use crate::site::{STEP, Site};

/// Messages in a spool lane: 256 MiB of 256 B records, what a small site's card holds beside its system.
const SPOOL_MESSAGES: u64 = 1_000_000;
/// Parts of its lane that a class may fill before it is paced: all of it, but sensors only half (design, 4.2).
const SPOOL_PARTS: PerClass<u64> = [2, 2, 1];
/// Messages that one connection's hold queue takes (MQTT 3.1.1; Receive Maximum of version 5 is 16). More stay unread.
const HOLD_PER_DEVICE: u64 = 32;
/// Time after which a device of which nothing got in is sent away.
const PATIENCE_SECS: f64 = 60.0;
/// Longest appointment given in this model; the series of the design goes on, but then the lane drains first.
const APPOINTMENT_SECS: f64 = 60.0;
/// Share that is told as not measured while anything waits: of no weight but for not being zero.
const LEAST_CENSORED: f64 = 1e-3;
/// As gateways see a burst (`src/gateway/reporter.rs`): this many times the last seconds' mean ...
const BURST_RATIO: f64 = 1.3;
/// ... and this many deviations of a Poisson count above it ...
const BURST_SIGMAS: f64 = 4.0;
/// ... with this time constant of the mean ...
const BURST_AVERAGE_SECS: f64 = 3.0;
/// ... and for as long as the controller wants to see it.
const BURST_LASTS_SECS: f64 = 1.0;

/// Messages per second that each gateway may let into Kafka, by class.
pub type Shares = Vec<PerClass<f64>>;

/// What one gateway counted lately.
#[derive(Clone, Debug, Default)]
struct Meter {
    mean_per_sec: f64,
    bursting_secs: f64,
    /// Messages in this second and in the last full one.
    second: PerClass<u32>,
    last: PerClass<u32>,
}

impl Meter {
    fn count(&mut self, arrived: &PerClass<u32>, step_secs: f64) {
        let messages = f64::from(arrived.iter().sum::<u32>());
        let expected = self.mean_per_sec * step_secs;
        let burst = messages > BURST_RATIO * expected
            && messages - expected > BURST_SIGMAS * expected.max(1.0).sqrt();
        let weight = 1.0 - (-step_secs / BURST_AVERAGE_SECS).exp();
        self.mean_per_sec += weight * (messages / step_secs - self.mean_per_sec);
        self.bursting_secs = if burst { self.bursting_secs + step_secs } else { 0.0 };
        for (sum, arrived) in self.second.iter_mut().zip(arrived) {
            *sum += arrived;
        }
    }

    fn turn(&mut self) {
        self.last = std::mem::take(&mut self.second);
    }
}

/// What waits in front of Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InFront {
    pub(crate) spooled: u64,
    pub(crate) held: u64,
}

impl InFront {
    pub(crate) const fn total(self) -> u64 {
        self.spooled + self.held
    }
}

/// All gateways of the site.
#[derive(Clone, Debug)]
pub(super) struct Gateways {
    lanes: Vec<PerClass<Lane>>,
    meters: Vec<Meter>,
    splits: PerClass<Split>,
    hold_capacity: u64,
    step_secs: f64,
    arrived: Vec<PerClass<u32>>,
}

impl Gateways {
    pub(super) fn new(site: &Site) -> Self {
        let step_secs = STEP.as_secs_f64();
        let limits = |class: usize| LaneLimits {
            spool: SPOOL_MESSAGES * SPOOL_PARTS[class] / 2,
            patience: super::group::steps(std::time::Duration::from_secs_f64(PATIENCE_SECS), step_secs),
            appointment: super::group::steps(std::time::Duration::from_secs_f64(APPOINTMENT_SECS), step_secs),
        };
        let gateways = site.gateways as usize;
        Self {
            lanes: (0..gateways).map(|_| std::array::from_fn(|class| Lane::new(limits(class)))).collect(),
            meters: vec![Meter::default(); gateways],
            splits: std::array::from_fn(|_| Split::new(gateways)),
            hold_capacity: HOLD_PER_DEVICE * u64::from(site.devices / site.gateways),
            step_secs,
            arrived: vec![PerClass::default(); gateways],
        }
    }

    /// Sets what each gateway may let in; `None` lifts all limits.
    pub(super) fn set_shares(&mut self, shares: Option<&Shares>) {
        for (gateway, lanes) in self.lanes.iter_mut().enumerate() {
            for (class, lane) in lanes.iter_mut().enumerate() {
                lane.per_step = shares.map(|shares| shares[gateway][class] * self.step_secs);
            }
        }
    }

    /// Takes in what devices send in step `now` and passes on to Kafka what may pass.
    pub(super) fn take(
        &mut self,
        batch: &Batch,
        fleet: &Fleet,
        logs: &mut [Log],
        now: Step,
        rng: &mut StdRng,
    ) {
        self.arrived.fill(PerClass::default());
        for class in 0..CLASSES {
            let arrived = &mut self.arrived;
            self.splits[class].deal(batch.total[class], fleet.gateway_shares(class), |gateway, messages| {
                arrived[gateway][class] += messages;
            });
        }
        for (meter, arrived) in self.meters.iter_mut().zip(&self.arrived) {
            meter.count(arrived, self.step_secs);
        }
        let passes: PerClass<bool> = std::array::from_fn(|class| {
            let lanes = self.lanes.iter_mut().zip(&self.arrived);
            lanes.fold(true, |passes, (lanes, arrived)| {
                lanes[class].refill();
                passes & lanes[class].passes(arrived[class])
            })
        });
        // A class of which nothing waits anywhere goes on at once: its messages are where the batch has them.
        for (log, arrived) in logs.iter_mut().zip(&batch.by_partition) {
            let counts = std::array::from_fn(|class| if passes[class] { arrived[class] } else { 0 });
            log.append(Cohort { born: now, counts });
        }
        for (class, passes) in passes.into_iter().enumerate() {
            if !passes {
                self.queue(class, fleet, logs, now, rng);
                continue;
            }
            for (lanes, arrived) in self.lanes.iter_mut().zip(&self.arrived) {
                lanes[class].pass(arrived[class]);
            }
        }
    }

    /// Some of a class has to wait somewhere.
    fn queue(&mut self, class: usize, fleet: &Fleet, logs: &mut [Log], now: Step, rng: &mut StdRng) {
        for (lanes, arrived) in self.lanes.iter_mut().zip(&self.arrived) {
            let mut admitted = Vec::new();
            lanes[class].queue(arrived[class], now, rng, |born, messages| admitted.push((born, messages)));
            for (born, messages) in admitted {
                for _ in 0..messages {
                    let mut counts = PerClass::default();
                    counts[class] = 1;
                    logs[fleet.partition(class, rng)].append(Cohort { born, counts });
                }
            }
        }
    }

    /// Ends a second: reports are of full ones.
    pub(super) fn turn_second(&mut self) {
        self.meters.iter_mut().for_each(Meter::turn);
    }

    /// Returns whether a gateway reports a burst that lasts.
    pub(super) fn bursts(&self) -> bool {
        self.meters.iter().any(|meter| meter.bursting_secs >= BURST_LASTS_SECS)
    }

    /// Returns messages offered in the last full second, by gateway and class.
    pub(super) fn offered_by_class(&self) -> impl Iterator<Item = PerClass<f64>> {
        self.meters.iter().map(|meter| meter.last.map(f64::from))
    }

    /// Returns the load as the controller puts it together from the reports.
    pub(super) fn offered(&self) -> Offered {
        let rate = self.offered_by_class().flatten().sum();
        let hidden: f64 = self.lanes.iter().flatten().map(|lane| lane.hidden_share(self.hold_capacity)).sum();
        let mut censored = hidden / real_len(CLASSES * self.lanes.len());
        if self.in_front().total() > 0 {
            // Kafka does not see all that is offered: that much must be told, however little is hidden from the gateways.
            censored = censored.max(LEAST_CENSORED);
        }
        Offered { rate, burst: self.bursts(), censored }
    }

    /// Returns messages waiting, by gateway and class.
    pub(super) fn waiting(&self) -> impl Iterator<Item = PerClass<f64>> {
        self.lanes.iter().map(|lanes| std::array::from_fn(|class| real(lanes[class].waiting())))
    }

    pub(super) fn in_front(&self) -> InFront {
        let lanes = self.lanes.iter().flatten();
        lanes.fold(InFront::default(), |sum, lane| InFront {
            spooled: sum.spooled + lane.spooled(),
            held: sum.held + lane.held(),
        })
    }

    pub(super) fn refused(&self) -> u64 {
        self.lanes.iter().flatten().map(|lane| lane.refused).sum()
    }

    /// What is still in front of Kafka: class, step of first sending, messages.
    pub(super) fn rest(&self) -> impl Iterator<Item = (usize, Step, u32)> {
        self.lanes.iter().flat_map(|lanes| {
            lanes.iter().enumerate().flat_map(|(class, lane)| {
                lane.rest().map(move |waiting| (class, waiting.born, waiting.messages))
            })
        })
    }
}
