//! From budgets to what each gateway should have, and how much of it one device.

use std::collections::BTreeMap;

use super::fill::{ClassDemand, fill, shares};
use crate::admission::RateHistogram;
use crate::wire::Rates;

/// What one class offers on one topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassLoad {
    /// 0 is served first.
    pub priority: u8,
    /// Messages per second that it gets before anyone gets more than theirs.
    pub floor: f64,
    /// Messages per second that each gateway is offered.
    pub offered: BTreeMap<String, f64>,
    /// Devices of all gateways by their rate.
    pub rates: RateHistogram,
}

/// One topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicLoad {
    /// Messages per second that may enter; `None`: it is not limited.
    pub budget: Option<f64>,
    /// Its classes.
    pub classes: BTreeMap<String, ClassLoad>,
}

/// What should be out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allotment {
    /// Messages per second of each gateway.
    pub gateways: BTreeMap<String, Rates>,
    /// Messages per second of one device, where not all can have what they offer.
    pub device_levels: Rates,
    /// Messages per second that each class may let in.
    pub classes: Rates,
}

/// Returns who should get what: the budget of each topic over its classes, each class's over the gateways and, where it is
/// less than what is offered, the level for its devices.
#[must_use]
pub fn allot(topics: &BTreeMap<String, TopicLoad>) -> Allotment {
    let mut allotment = Allotment::default();
    for (topic, load) in topics {
        let Some(budget) = load.budget else { continue };
        let demands: Vec<ClassDemand> = load.classes.values().map(demand).collect();
        for ((name, class), given) in load.classes.iter().zip(fill(budget, &demands)) {
            let offered: Vec<f64> = class.offered.values().copied().collect();
            for (gateway, share) in class.offered.keys().zip(shares(given, &offered)) {
                let rates = allotment.gateways.entry(gateway.clone()).or_default();
                rates.entry(topic.clone()).or_default().insert(name.clone(), share);
            }
            if let Some(level) = class.rates.level(given) {
                allotment.device_levels.entry(topic.clone()).or_default().insert(name.clone(), level);
            }
            allotment.classes.entry(topic.clone()).or_default().insert(name.clone(), given);
        }
    }
    allotment
}

fn demand(class: &ClassLoad) -> ClassDemand {
    let offered = class.offered.values().filter(|offered| offered.is_finite()).sum();
    ClassDemand { priority: class.priority, floor: class.floor, demand: offered }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_goes_by_priority_to_classes_by_load_to_gateways_and_fairly_to_devices() {
        let offered = |a, b| BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]);
        let mut rates = RateHistogram::default();
        [1.0; 20].into_iter().chain([40.0; 2]).for_each(|rate| rates.add(rate));
        let alarm = ClassLoad { offered: offered(10.0, 30.0), ..ClassLoad::default() };
        let sensor = ClassLoad { priority: 2, offered: offered(50.0, 50.0), rates, ..ClassLoad::default() };
        let classes = BTreeMap::from([("alarm".to_owned(), alarm), ("sensor".to_owned(), sensor)]);
        let topic = TopicLoad { budget: Some(80.0), classes: classes.clone() };
        let free = TopicLoad { budget: None, classes };
        let given = allot(&BTreeMap::from([("t".to_owned(), topic), ("free".to_owned(), free)]));
        assert_eq!(
            given.classes["t"],
            BTreeMap::from([("alarm".to_owned(), 40.0), ("sensor".to_owned(), 40.0)])
        );
        let of = |gateway: &str, class: &str| given.gateways[gateway]["t"][class];
        assert!((of("a", "alarm") - (0.8 * 10.0 + 0.2 * 20.0)).abs() < 1e-9);
        assert!((of("b", "sensor") - 20.0).abs() < 1e-9);
        // 20 devices keep their 1 msg/s, two share what is left of 40.
        assert!((given.device_levels["t"]["sensor"] - 10.0).abs() < 1e-9);
        assert!(!given.device_levels["t"].contains_key("alarm"), "nobody of it is held back");
        assert!(!given.classes.contains_key("free"));
    }
}
