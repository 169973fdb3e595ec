//! How a consumer group would deal out its partitions to a number of members.
//!
//! Kafka's assignors balance counts, never rates, so which member is the hottest is theirs to say. Sources: the class
//! comments of Kafka's `RangeAssignor` and `RoundRobinAssignor`; `AbstractStickyAssignor` for members that subscribe alike
//! (KIP-54, KIP-429): a member keeps what it has up to its quota, the rest goes to whoever is below theirs. The `uniform`
//! assignor of KIP-848 keeps the same quotas and keeps what it can.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::observation::PartitionId;

/// How a group deals out partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assignor {
    /// Not known; taken for round robin.
    #[default]
    Unknown,
    /// Consecutive partitions of each topic; the first members have one more of each topic.
    Range,
    /// All partitions of all topics in a row, dealt like cards.
    RoundRobin,
    /// `sticky` and `cooperative-sticky`.
    Sticky,
    /// `uniform` of KIP-848.
    Uniform,
}

impl Assignor {
    /// Returns the assignor of Kafka's name for it (`range`, `roundrobin`, `sticky`, `cooperative-sticky`, `uniform`).
    #[must_use]
    pub fn from_kafka(name: &str) -> Self {
        match name {
            "range" => Self::Range,
            "roundrobin" => Self::RoundRobin,
            "sticky" | "cooperative-sticky" => Self::Sticky,
            "uniform" => Self::Uniform,
            _ => Self::Unknown,
        }
    }

    /// Returns whether members keep what they have, so that who has what now matters.
    pub(super) const fn keeps(self) -> bool {
        matches!(self, Self::Sticky | Self::Uniform)
    }

    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::Uniform => "uniform",
        }
    }
}

/// The partitions of a group, in order of topic and number, and who has them now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Deck {
    pub(super) assignor: Assignor,
    /// Partitions of each topic.
    topics: Vec<usize>,
    /// The member that has each partition now.
    owners: Vec<Option<usize>>,
}

impl Deck {
    /// Returns the deck of `partitions`, which must be sorted, with the owner of each.
    pub(super) fn new(
        assignor: Assignor,
        partitions: &[&PartitionId],
        owners: &BTreeMap<&PartitionId, usize>,
    ) -> Self {
        let topics = partitions.chunk_by(|a, b| a.topic == b.topic).map(<[_]>::len).collect();
        Self { assignor, topics, owners: partitions.iter().map(|id| owners.get(id).copied()).collect() }
    }

    /// Returns the member, below `members`, that each partition would go to.
    pub(super) fn deal(&self, members: usize) -> Vec<usize> {
        match self.assignor {
            Assignor::Range => {
                self.topics.iter().flat_map(|&partitions| range(partitions, members)).collect()
            }
            Assignor::Unknown | Assignor::RoundRobin => {
                (0..self.owners.len()).map(|partition| partition % members).collect()
            }
            Assignor::Sticky | Assignor::Uniform => self.keep(members),
        }
    }

    /// Returns the most partitions that one of `members` has.
    pub(super) fn most(&self, members: usize) -> usize {
        match self.assignor {
            Assignor::Range => self.topics.iter().map(|partitions| partitions.div_ceil(members)).sum(),
            _ => self.owners.len().div_ceil(members),
        }
    }

    /// Each keeps what it has up to its quota; who goes is the last.
    fn keep(&self, members: usize) -> Vec<usize> {
        let (least, mut with_one_more) = (self.owners.len() / members, self.owners.len() % members);
        let mut has = vec![0_usize; members];
        for owner in self.owners.iter().flatten().filter(|owner| **owner < members) {
            has[*owner] += 1;
        }
        // The first that have more than the least keep one more, as long as there are some.
        let quota: Vec<usize> = has
            .iter()
            .map(|&has| {
                let more = usize::from(has > least && with_one_more > 0);
                with_one_more -= more;
                least + more
            })
            .collect();
        let mut kept = vec![0_usize; members];
        let mut dealt: Vec<Option<usize>> = self
            .owners
            .iter()
            .map(|owner| {
                let owner = owner.filter(|&owner| owner < members && kept[owner] < quota[owner])?;
                kept[owner] += 1;
                Some(owner)
            })
            .collect();
        // Members below the least are filled first, then one more each.
        let mut missing: usize = kept.iter().map(|kept| least.saturating_sub(*kept)).sum();
        let mut member = 0;
        for partition in dealt.iter_mut().filter(|partition| partition.is_none()) {
            let bound = if missing > 0 { least } else { least + 1 };
            while kept[member] >= bound {
                member = (member + 1) % members;
            }
            kept[member] += 1;
            missing = missing.saturating_sub(1);
            *partition = Some(member);
            member = (member + 1) % members;
        }
        dealt.into_iter().flatten().collect()
    }
}

fn range(partitions: usize, members: usize) -> impl Iterator<Item = usize> {
    let (each, more) = (partitions / members, partitions % members);
    (0..members).flat_map(move |member| std::iter::repeat_n(member, each + usize::from(member < more)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn ids(topics: &[u32]) -> Vec<PartitionId> {
        let topic = |n: usize| -> Arc<str> { Arc::from(format!("t{n}")) };
        let of = |(n, count): (usize, &u32)| {
            (0..*count).map(move |partition| PartitionId { topic: topic(n), partition })
        };
        topics.iter().enumerate().flat_map(of).collect()
    }

    fn deck(assignor: Assignor, topics: &[u32], owners: &[usize]) -> Deck {
        let ids = ids(topics);
        let owners = ids.iter().zip(owners.iter().copied()).collect();
        Deck::new(assignor, &ids.iter().collect::<Vec<_>>(), &owners)
    }

    #[test]
    fn range_gives_the_first_members_one_more_of_each_topic() {
        let deck = deck(Assignor::Range, &[3, 3], &[]);
        assert_eq!(deck.deal(2), [0, 0, 1, 0, 0, 1]);
        assert_eq!(deck.most(2), 4);
    }

    #[test]
    fn round_robin_deals_across_topics() {
        let deck = deck(Assignor::RoundRobin, &[3, 3], &[]);
        assert_eq!(deck.deal(2), [0, 1, 0, 1, 0, 1]);
        assert_eq!(deck.most(2), 3);
    }

    #[test]
    fn sticky_members_keep_what_they_have_and_newcomers_get_what_is_over() {
        let deck = deck(Assignor::Sticky, &[7], &[0, 0, 0, 0, 1, 1, 1]);
        assert_eq!(deck.deal(2), [0, 0, 0, 0, 1, 1, 1]);
        assert_eq!(deck.deal(3), [0, 0, 0, 2, 1, 1, 2]);
        assert_eq!(deck.deal(1), [0; 7]);
    }

    #[test]
    fn a_member_that_goes_leaves_its_partitions_to_the_others() {
        let deck = deck(Assignor::Uniform, &[6], &[0, 1, 2, 0, 1, 2]);
        assert_eq!(deck.deal(2), [0, 1, 0, 0, 1, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_assignor_balances_counts_and_leaves_nothing_over(
            topics in prop::collection::vec(1..20_u32, 1..4),
            owners in prop::collection::vec(0..12_usize, 0..80),
            members in 1..16_usize,
            kind in 0..5_usize,
        ) {
            let all = [
                Assignor::Unknown, Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::Uniform,
            ];
            let deck = deck(all[kind], &topics, &owners);
            let dealt = deck.deal(members);
            prop_assert_eq!(dealt.len(), topics.iter().sum::<u32>() as usize);
            let counts: Vec<usize> =
                (0..members).map(|member| dealt.iter().filter(|to| **to == member).count()).collect();
            prop_assert_eq!(counts.iter().max(), Some(&deck.most(members)), "{:?}", counts);
            let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            prop_assert!(all[kind] == Assignor::Range || spread <= 1, "{:?}", counts);
        }
    }
}
