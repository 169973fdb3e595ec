//! Which objects get a scaler: a pure function of all of them, so that no order of events can matter.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::jiff;

use super::trouble::{Kind, Trouble};
use crate::scaler::GroupSettings;

/// Scalers that one controller runs. Each holds a Kafka connection per broker and a task; far more than a namespace of
/// an edge site has, and few enough that a mistake with a generator cannot take the node down.
pub(super) const SCALERS_MAX: usize = 1000;

/// What is scaled, whatever version of its API names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TargetKey {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) name: String,
}

impl TargetKey {
    pub(super) fn new(api_version: &str, kind: &str, name: &str) -> Self {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Self { group: group.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
    }
}

/// What an object asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish<R> {
    pub(super) settings: GroupSettings,
    pub(super) target: TargetKey,
    /// The target as the object names it.
    pub(super) target_ref: R,
}

impl<R> Wish<R> {
    /// Returns whether a scaler made for `self` can do what `other` asks for, with another policy at most.
    pub(super) fn same_work(&self, other: &Self) -> bool {
        // Destructured, so that a new setting must be thought of here.
        let GroupSettings { bootstrap_servers, consumer_group, topics, policy: _ } = &self.settings;
        *bootstrap_servers == other.settings.bootstrap_servers
            && *consumer_group == other.settings.consumer_group
            && *topics == other.settings.topics
            && self.target == other.target
    }
}

/// An object as the API server has it.
#[derive(Clone, Debug)]
pub(super) struct Object<R> {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) created: Option<jiff::Timestamp>,
    /// What it asks for, or what is wrong with it.
    pub(super) wish: Result<Wish<R>, String>,
}

impl<R> Object<R> {
    /// The older wins; the uid decides between two of the same second, the same way after every restart.
    fn age(&self) -> (jiff::Timestamp, &str) {
        (self.created.unwrap_or(jiff::Timestamp::MAX), &self.uid)
    }
}

/// Returns for each object, by name, what its scaler works on, or why it gets none.
///
/// An object with a wrong spec scales nothing, so it keeps no other from its target either.
pub(super) fn plan<R: Clone>(objects: &[Object<R>]) -> BTreeMap<String, Result<Wish<R>, Trouble>> {
    let mut by_age: Vec<_> = objects.iter().collect();
    by_age.sort_by(|a, b| a.age().cmp(&b.age()));
    let mut owners: HashMap<&TargetKey, &str> = HashMap::new();
    let mut running = 0;
    let mut decide = |object: &Object<R>, wish: &Wish<R>, owner: Option<&str>| {
        if let Some(owner) = owner {
            let TargetKey { kind, name, .. } = &wish.target;
            return Err(Trouble::new(
                Kind::TargetOwned,
                format!(
                    "ingestscaler {owner} is older and scales {kind} {name} already: delete one of {owner} and {}",
                    object.name
                ),
            ));
        }
        if running == SCALERS_MAX {
            let what = format!("{SCALERS_MAX} older ingestscalers run in this namespace, which is the most");
            return Err(Trouble::new(Kind::TooManyScalers, what));
        }
        running += 1;
        Ok(wish.clone())
    };
    let mut plan = BTreeMap::new();
    for object in by_age {
        let verdict = match &object.wish {
            Err(problem) => Err(Trouble::new(Kind::InvalidSpec, problem)),
            Ok(wish) => {
                let verdict = decide(object, wish, owners.get(&wish.target).copied());
                if verdict.is_ok() {
                    owners.insert(&wish.target, &object.name);
                }
                verdict
            }
        };
        plan.insert(object.name.clone(), verdict);
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tidegate_core::scaling::Policy;

    use super::*;

    fn object(name: &str, created_secs: i64, target: &str) -> Object<()> {
        Object {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            created: Some(jiff::Timestamp::from_second(created_secs).unwrap()),
            wish: Ok(wish(target)),
        }
    }

    fn wish(target: &str) -> Wish<()> {
        Wish {
            settings: GroupSettings {
                bootstrap_servers: "kafka:9092".to_owned(),
                consumer_group: "g".to_owned(),
                topics: vec!["t".to_owned()],
                policy: Policy::new(Duration::from_secs(10), 1, 8),
            },
            target: TargetKey::new("apps/v1", "Deployment", target),
            target_ref: (),
        }
    }

    fn reasons(objects: &[Object<()>]) -> Vec<(String, Option<Kind>)> {
        plan(objects).into_iter().map(|(name, verdict)| (name, verdict.err().map(|it| it.kind))).collect()
    }

    fn named(reasons: &[(&str, Option<Kind>)]) -> Vec<(String, Option<Kind>)> {
        reasons.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
    }

    #[test]
    fn the_older_of_two_on_one_target_runs_and_the_younger_names_it() {
        let objects = [object("a", 200, "consumer"), object("b", 100, "consumer"), object("c", 300, "other")];
        assert_eq!(reasons(&objects), named(&[("a", Some(Kind::TargetOwned)), ("b", None), ("c", None)]));
        let told = plan(&objects)["a"].clone().unwrap_err().sentence();
        assert_eq!(
            told,
            "ingestscaler b is older and scales Deployment consumer already: delete one of b and a"
        );
        assert_eq!(reasons(&objects[..1]), named(&[("a", None)]), "the older went");
    }

    #[test]
    fn the_uid_decides_between_two_of_the_same_second() {
        let mut objects = [object("a", 100, "consumer"), object("b", 100, "consumer")];
        objects[0].uid = "z".to_owned();
        assert_eq!(reasons(&objects), named(&[("a", Some(Kind::TargetOwned)), ("b", None)]));
    }

    #[test]
    fn another_version_of_the_same_kind_is_the_same_target_and_another_group_is_not() {
        let mut objects =
            [object("a", 100, "consumer"), object("b", 200, "consumer"), object("c", 300, "consumer")];
        let target = |version| TargetKey::new(version, "Deployment", "consumer");
        objects[1].wish.as_mut().unwrap().target = target("apps/v1beta2");
        objects[2].wish.as_mut().unwrap().target = target("example.com/v1");
        assert_eq!(reasons(&objects), named(&[("a", None), ("b", Some(Kind::TargetOwned)), ("c", None)]));
    }

    #[test]
    fn a_wrong_spec_scales_nothing_and_keeps_nobody_from_its_target() {
        let mut objects = [object("a", 100, "consumer"), object("b", 200, "consumer")];
        objects[0].wish = Err("slo.delay = 0s: allowed is more than 0".to_owned());
        assert_eq!(reasons(&objects), named(&[("a", Some(Kind::InvalidSpec)), ("b", None)]));
    }

    #[test]
    fn the_youngest_are_too_many() {
        let count = i64::try_from(SCALERS_MAX).unwrap() + 1;
        let objects: Vec<_> =
            (0..count).map(|n| object(&format!("s{n:04}"), 5000 - n, &format!("t{n}"))).collect();
        let plan = plan(&objects);
        let refused: Vec<_> = plan.iter().filter(|(_, verdict)| verdict.is_err()).collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(
            (refused[0].0.as_str(), refused[0].1.as_ref().unwrap_err().kind),
            ("s0000", Kind::TooManyScalers)
        );
    }

    #[test]
    fn only_a_policy_can_change_under_a_running_scaler() {
        let before = wish("consumer");
        let mut policy = before.clone();
        policy.settings.policy = Policy::new(Duration::from_secs(20), 2, 6);
        assert!(before.same_work(&policy));
        let changes: [fn(&mut Wish<()>); 4] = [
            |wish| wish.settings.bootstrap_servers.push('1'),
            |wish| wish.settings.consumer_group.push('1'),
            |wish| wish.settings.topics.push("more".to_owned()),
            |wish| wish.target.name.push('1'),
        ];
        for change in changes {
            let mut after = before.clone();
            change(&mut after);
            assert!(!before.same_work(&after));
        }
    }

    proptest! {
        #[test]
        fn every_target_has_one_scaler_whatever_order_the_objects_come_in(
            seen in proptest::collection::vec((0_i64..4, 0_u8..4), 1..20),
        ) {
            let objects: Vec<_> = seen
                .iter()
                .enumerate()
                .map(|(n, (created, target))| object(&format!("s{n}"), *created, &format!("t{target}")))
                .collect();
            let mut reversed = objects.clone();
            reversed.reverse();
            prop_assert_eq!(reasons(&objects), reasons(&reversed));
            let mut scaled: Vec<_> = plan(&objects).into_values().flatten().map(|wish| wish.target.name).collect();
            scaled.sort();
            let mut targets: Vec<_> = seen.iter().map(|(_, target)| format!("t{target}")).collect();
            targets.sort();
            targets.dedup();
            prop_assert_eq!(scaled, targets, "each once, none left out");
        }
    }
}
