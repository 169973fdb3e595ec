//! Who gets which part of a budget: classes by priority, gateways by what they are offered.

/// Part of a class's budget that goes to gateways by what each is offered; the rest is shared evenly, so that one whose devices
/// wake up has something until the next report.
const BY_OFFERED: f64 = 0.8;

/// What a class asks for. Rates in messages per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassDemand {
    /// 0 is served first.
    pub priority: u8,
    /// What it gets before anyone gets more than theirs.
    pub floor: f64,
    /// What its devices offer.
    pub demand: f64,
}

/// Returns what each class may let in; the sum is `budget`.
///
/// First each gets the smaller of floor and demand, the most urgent first if not even that fits; then what is left goes to
/// the rest of the demands, by priority: `f_k = min(floor_k, demand_k)`, `a_k = f_k + min(demand_k - f_k, what is left)`.
/// Classes of one priority share in proportion to what each still asks for. What nobody asked for is headroom, in proportion to
/// what each has, so that a rise is not paced before the next look.
#[must_use]
pub fn fill(budget: f64, classes: &[ClassDemand]) -> Vec<f64> {
    let asks: Vec<(u8, f64, f64)> = classes
        .iter()
        .map(|class| {
            let demand = sane(class.demand);
            let floor = sane(class.floor).min(demand);
            (class.priority, floor, demand)
        })
        .collect();
    let mut given = vec![0.0; classes.len()];
    let mut left = sane(budget);
    let mut priorities: Vec<u8> = classes.iter().map(|class| class.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    for whole in [false, true] {
        for priority in &priorities {
            let wants = |(of, floor, demand): &(u8, f64, f64), has: f64| {
                if of == priority { (if whole { *demand } else { *floor } - has).max(0.0) } else { 0.0 }
            };
            let wanted: f64 = asks.iter().zip(&given).map(|(ask, has)| wants(ask, *has)).sum();
            let part = if wanted > left { left / wanted } else { 1.0 };
            for (ask, has) in asks.iter().zip(&mut given) {
                *has += part * wants(ask, *has);
            }
            left = (left - wanted).max(0.0);
        }
    }
    let sum: f64 = given.iter().sum();
    let count = f64::from(u32::try_from(given.len()).unwrap_or(u32::MAX));
    given.iter().map(|has| has + left * if sum > 0.0 { has / sum } else { 1.0 / count }).collect()
}

/// Returns each gateway's part of a class's `budget`: 0.8 of it by what each is offered and 0.2 evenly.
#[must_use]
pub fn shares(budget: f64, offered: &[f64]) -> Vec<f64> {
    let count = f64::from(u32::try_from(offered.len()).unwrap_or(u32::MAX));
    let sum: f64 = offered.iter().map(|offered| sane(*offered)).sum();
    let by_offered = if sum > 0.0 { BY_OFFERED } else { 0.0 };
    let part = |offered: &f64| {
        let own = if sum > 0.0 { sane(*offered) / sum } else { 0.0 };
        budget * (by_offered * own + (1.0 - by_offered) / count)
    };
    offered.iter().map(part).collect()
}

/// Reports come from outside: what is no rate counts as none.
fn sane(rate: f64) -> f64 {
    if rate.is_finite() { rate.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(priority: u8, floor: f64, demand: f64) -> ClassDemand {
        ClassDemand { priority, floor, demand }
    }

    #[test]
    fn the_urgent_are_served_whole_and_the_others_keep_their_floors() {
        let classes = [class(0, 10.0, 100.0), class(1, 20.0, 400.0), class(2, 30.0, 900.0)];
        assert_eq!(fill(330.0, &classes), [100.0, 200.0, 30.0]);
        assert_eq!(fill(50.0, &classes), [10.0, 20.0, 20.0]);
        // A floor that nobody uses is not kept free.
        assert_eq!(fill(100.0, &[class(0, 10.0, 90.0), class(2, 50.0, 10.0)]), [90.0, 10.0]);
    }

    #[test]
    fn equal_priorities_share_by_what_they_ask_for_and_headroom_goes_to_all() {
        assert_eq!(fill(90.0, &[class(1, 0.0, 100.0), class(1, 0.0, 200.0)]), [30.0, 60.0]);
        assert_eq!(fill(200.0, &[class(0, 0.0, 25.0), class(1, 0.0, 75.0)]), [50.0, 150.0]);
        assert_eq!(fill(200.0, &[class(0, 0.0, 0.0), class(1, 0.0, 0.0)]), [100.0, 100.0]);
    }

    #[test]
    fn a_gateway_that_is_offered_nothing_has_its_part_of_a_fifth() {
        let shares = shares(100.0, &[30.0, 10.0, 0.0, 0.0]);
        for (share, expected) in shares.iter().zip([65.0, 25.0, 5.0, 5.0]) {
            assert!((share - expected).abs() < 1e-9, "{shares:?}");
        }
        assert_eq!(super::shares(100.0, &[0.0, f64::NAN]), [50.0, 50.0]);
    }

    prop_compose! {
        fn any_class()(priority in 0..4_u8, floor in 0.0..200.0_f64, demand in 0.0..2_000.0_f64) -> ClassDemand {
            class(priority, floor, demand)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_class_is_never_paced_while_a_less_important_one_has_more_than_its_floor(
            classes in prop::collection::vec(any_class(), 1..8), budget in 0.0..8_000.0_f64,
        ) {
            let given = fill(budget, &classes);
            for (class, has) in classes.iter().zip(&given) {
                let paced = *has < class.demand * (1.0 - 1e-9);
                for (other, has) in classes.iter().zip(&given).filter(|(other, _)| other.priority > class.priority) {
                    let beyond = *has > other.floor.min(other.demand) * (1.0 + 1e-9) + 1e-9;
                    prop_assert!(!(paced && beyond), "{classes:?} {given:?}");
                }
            }
        }

        #[test]
        fn what_is_given_is_the_budget_and_shares_of_it_are_all_of_it(
            classes in prop::collection::vec(any_class(), 1..8), budget in 0.0..8_000.0_f64,
            offered in prop::collection::vec(0.0..500.0_f64, 1..10),
        ) {
            let given = fill(budget, &classes);
            prop_assert!((given.iter().sum::<f64>() - budget).abs() <= 1e-6, "{given:?}");
            prop_assert!(given.iter().all(|has| *has >= 0.0));
            let shares = shares(budget, &offered);
            prop_assert!((shares.iter().sum::<f64>() - budget).abs() <= 1e-6, "{shares:?}");
        }
    }
}
