use proptest::prelude::*;

use super::*;

const TOPIC: &str = "t";

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

fn rates(classes: &[(&str, f64)]) -> Rates {
    let classes = classes.iter().map(|(class, rate)| ((*class).to_owned(), *rate)).collect();
    BTreeMap::from([(TOPIC.to_owned(), classes)])
}

fn wanted(gateways: &[(&str, &[(&str, f64)])]) -> Allotment {
    let gateways = gateways.iter().map(|(name, classes)| ((*name).to_owned(), rates(classes))).collect();
    Allotment { gateways, ..Allotment::default() }
}

fn priority(class: &str) -> u8 {
    u8::from(class != "alarm")
}

/// A gateway that runs on the last lease it got.
#[derive(Clone, Debug, Default)]
struct Gateway {
    lease: BudgetLease,
}

struct Site {
    ledger: Ledger,
    gateways: BTreeMap<String, Gateway>,
    budget: f64,
}

impl Site {
    fn new(names: &[&str], budget: f64) -> Self {
        let gateways = names.iter().map(|name| ((*name).to_owned(), Gateway::default())).collect();
        Self { ledger: Ledger::new(0), gateways, budget }
    }

    fn report(&mut self, name: &str, secs: u64) {
        let lease = &self.gateways[name].lease;
        let report = GatewayReport {
            gateway: name.to_owned(),
            lease_epoch: lease.epoch,
            lease_rates: lease.rates.clone(),
            ..GatewayReport::default()
        };
        self.ledger.report(&report, at(secs));
    }

    fn grant(&mut self, wanted: &Allotment, secs: u64) -> BTreeMap<String, BudgetLease> {
        let budgets = BTreeMap::from([(TOPIC.to_owned(), self.budget)]);
        self.ledger.grant(wanted, &budgets, priority, at(secs))
    }

    /// What is really in force.
    fn in_force(&self) -> f64 {
        let of =
            |gateway: &Gateway| gateway.lease.rates.get(TOPIC).map_or(0.0, |classes| classes.values().sum());
        self.gateways.values().map(of).sum()
    }
}

#[test]
fn a_share_moves_only_when_its_holder_has_confirmed_giving_it_up() {
    let mut site = Site::new(&["a", "b"], 100.0);
    site.report("a", 0);
    site.report("b", 0);
    let half = site.grant(&wanted(&[("a", &[("s", 80.0)]), ("b", &[("s", 20.0)])]), 0);
    assert_eq!((half["a"].rates[TOPIC]["s"], half["b"].rates[TOPIC]["s"]), (80.0, 20.0));
    site.gateways.get_mut("a").unwrap().lease = half["a"].clone();
    site.gateways.get_mut("b").unwrap().lease = half["b"].clone();
    let turned = wanted(&[("a", &[("s", 30.0)]), ("b", &[("s", 70.0)])]);
    let first = site.grant(&turned, 5);
    assert_eq!((first["a"].rates[TOPIC]["s"], first["b"].rates[TOPIC]["s"]), (30.0, 20.0));
    // Its report says that it still runs on the old one.
    site.report("a", 6);
    assert!((site.grant(&turned, 10)["b"].rates[TOPIC]["s"] - 20.0).abs() < 1e-9);
    site.gateways.get_mut("a").unwrap().lease = first["a"].clone();
    site.report("a", 11);
    assert!((site.grant(&turned, 15)["b"].rates[TOPIC]["s"] - 70.0).abs() < 1e-9);
}

#[test]
fn a_silent_gateway_counts_for_75_seconds() {
    let mut site = Site::new(&["a", "b"], 100.0);
    site.report("a", 0);
    site.grant(&wanted(&[("a", &[("s", 100.0)])]), 0);
    let all = wanted(&[("b", &[("s", 100.0)])]);
    for secs in [1, 30, 74] {
        site.report("b", secs);
        assert!((site.grant(&all, secs)["b"].rates[TOPIC]["s"] - 0.0).abs() < 1e-9, "at {secs}");
    }
    site.report("b", 75);
    assert!((site.grant(&all, 75)["b"].rates[TOPIC]["s"] - 100.0).abs() < 1e-9);
}

#[test]
fn what_is_free_goes_to_the_urgent_first() {
    let mut site = Site::new(&["a", "b"], 100.0);
    site.report("a", 0);
    site.report("b", 0);
    site.grant(&wanted(&[("a", &[("sensor", 70.0)])]), 0);
    // The sensors of a shall give way, but have not confirmed: 30 are free.
    let more =
        wanted(&[("a", &[("alarm", 20.0), ("sensor", 10.0)]), ("b", &[("alarm", 20.0), ("sensor", 50.0)])]);
    let leases = site.grant(&more, 5);
    assert!((leases["a"].rates[TOPIC]["alarm"] - 15.0).abs() < 1e-9);
    assert_eq!((leases["b"].rates[TOPIC]["alarm"], leases["b"].rates[TOPIC]["sensor"]), (15.0, 0.0));
}

#[test]
fn a_new_controller_counts_what_an_old_one_gave_and_numbers_above_it() {
    let mut site = Site::new(&["a", "b"], 100.0);
    site.gateways.get_mut("a").unwrap().lease =
        BudgetLease { epoch: 900, rates: rates(&[("s", 60.0)]), ..BudgetLease::default() };
    site.report("a", 0);
    site.report("b", 0);
    assert!((site.ledger.spent(TOPIC) - 60.0).abs() < 1e-9);
    let leases = site.grant(&wanted(&[("a", &[("s", 10.0)]), ("b", &[("s", 90.0)])]), 0);
    assert_eq!((leases["a"].rates[TOPIC]["s"], leases["b"].rates[TOPIC]["s"]), (10.0, 40.0));
    assert!(leases.values().all(|lease| lease.epoch > 900));
}

#[test]
fn unchanged_rates_keep_their_epoch() {
    let mut site = Site::new(&["a"], 100.0);
    site.report("a", 0);
    let same = wanted(&[("a", &[("s", 80.0)])]);
    let first = site.grant(&same, 0);
    assert_eq!(site.grant(&same, 5), first);
}

#[derive(Clone, Debug)]
enum Event {
    /// The gateway reports and, if its answer arrives, runs on the lease it gets.
    Report {
        gateway: usize,
        arrives: bool,
    },
    /// New shares are wanted.
    Want {
        parts: Vec<f64>,
    },
    Wait {
        secs: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4_usize, any::<bool>()).prop_map(|(gateway, arrives)| Event::Report { gateway, arrives }),
        2 => prop::collection::vec(0.0..1.0_f64, 8).prop_map(|parts| Event::Want { parts }),
        1 => (1..40_u64).prop_map(|secs| Event::Wait { secs }),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Shares of the whole budget in the proportions of `parts`, two classes a gateway.
fn by_parts(parts: &[f64], budget: f64) -> Allotment {
    let sum: f64 = parts.iter().sum::<f64>().max(1e-9);
    let share = |index: usize| parts[index] / sum * budget;
    let classes: Vec<[(&str, f64); 2]> =
        (0..4).map(|n| [("alarm", share(2 * n)), ("sensor", share(2 * n + 1))]).collect();
    let gateways: Vec<(&str, &[(&str, f64)])> =
        NAMES.iter().zip(&classes).map(|(name, classes)| (*name, &classes[..])).collect();
    wanted(&gateways)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn budgets_that_are_out_never_sum_to_more_than_the_budget(
        events in prop::collection::vec(event(), 1..120), budget in 1.0..10_000.0_f64,
    ) {
        let mut site = Site::new(&NAMES, budget);
        let mut shares = by_parts(&[1.0; 8], budget);
        let mut secs = 0;
        let mut heard = [0; 4];
        for event in events {
            match event {
                Event::Wait { secs: wait } => secs += wait,
                Event::Want { parts } => shares = by_parts(&parts, budget),
                Event::Report { gateway, arrives } => {
                    site.report(NAMES[gateway], secs);
                    let leases = site.grant(&shares, secs);
                    if arrives {
                        heard[gateway] = secs;
                        let held = site.gateways.get_mut(NAMES[gateway]).unwrap();
                        held.lease = leases[NAMES[gateway]].clone();
                    }
                }
            }
            // Without an answer for 75 s it no longer goes by a lease.
            for (gateway, name) in NAMES.iter().enumerate() {
                if secs - heard[gateway] >= 75 {
                    site.gateways.get_mut(*name).unwrap().lease = BudgetLease::default();
                }
            }
            prop_assert!(site.ledger.spent(TOPIC) <= budget * (1.0 + 1e-9), "{}", site.ledger.spent(TOPIC));
            prop_assert!(site.in_force() <= budget * (1.0 + 1e-9), "{}", site.in_force());
            prop_assert!(site.ledger.gateways.values().all(|holder| holder.out.len() <= OUT_MAX));
        }
    }

    #[test]
    fn a_budget_that_falls_is_met_as_soon_as_gateways_answer(budget in 10.0..1_000.0_f64, part in 0.0..1.0_f64) {
        let mut site = Site::new(&NAMES, budget);
        let round = |site: &mut Site, secs| {
            let shares = by_parts(&[1.0; 8], site.budget);
            for name in NAMES {
                site.report(name, secs);
                let leases = site.grant(&shares, secs);
                site.gateways.get_mut(name).unwrap().lease = leases[name].clone();
            }
        };
        (0..3).for_each(|n| round(&mut site, n));
        prop_assert!((site.in_force() - budget).abs() < 1e-6 * budget, "{}", site.in_force());
        site.budget = part * budget;
        round(&mut site, 5);
        prop_assert!(site.in_force() <= part * budget + 1e-6, "{} of {}", site.in_force(), part * budget);
    }
}
