//! Who reads which partition: the two ways in which Kafka's own assignors balance counts.

use std::collections::BTreeMap;

/// Owner of each partition, by member id.
pub(super) type Owners = Vec<Option<u32>>;

/// Returns what `range` gives on one topic: partitions in blocks, members in order, the first ones get one more.
pub(super) fn range(partitions: usize, members: &[u32]) -> Owners {
    if members.is_empty() {
        return vec![None; partitions];
    }
    let (each, more) = (partitions / members.len(), partitions % members.len());
    let quotas =
        members.iter().enumerate().map(|(place, member)| (*member, each + usize::from(place < more)));
    quotas.flat_map(|(member, quota)| std::iter::repeat_n(Some(member), quota)).collect()
}

/// Returns a balanced assignment that moves as little as can be, as `cooperative-sticky` does: members keep up to their
/// quota, and who has most may keep the one that is over.
pub(super) fn sticky(before: &Owners, members: &[u32]) -> Owners {
    if members.is_empty() {
        return vec![None; before.len()];
    }
    let mut held: BTreeMap<u32, usize> = members.iter().map(|member| (*member, 0)).collect();
    for owner in before.iter().flatten() {
        if let Some(count) = held.get_mut(owner) {
            *count += 1;
        }
    }
    let (each, more) = (before.len() / members.len(), before.len() % members.len());
    let mut by_count: Vec<(u32, usize)> = held.into_iter().collect();
    by_count.sort_by_key(|(member, count)| (usize::MAX - count, *member));
    let mut quota: BTreeMap<u32, usize> = by_count
        .into_iter()
        .enumerate()
        .map(|(place, (member, _))| (member, each + usize::from(place < more)))
        .collect();
    let mut after: Owners = before
        .iter()
        .map(|owner| {
            let left = quota.get_mut(owner.as_ref()?)?;
            *left = left.checked_sub(1)?;
            *owner
        })
        .collect();
    let mut free = quota.into_iter().flat_map(|(member, left)| std::iter::repeat_n(member, left));
    for owner in after.iter_mut().filter(|owner| owner.is_none()) {
        *owner = free.next();
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(owners: &Owners, members: &[u32]) -> Vec<usize> {
        members.iter().map(|member| owners.iter().filter(|owner| **owner == Some(*member)).count()).collect()
    }

    #[test]
    fn range_gives_blocks_and_the_first_members_one_more() {
        let owners = range(7, &[4, 9, 11]);
        assert_eq!(counts(&owners, &[4, 9, 11]), [3, 2, 2]);
        assert!(owners.is_sorted());
        assert_eq!(range(2, &[]), [None, None]);
    }

    #[test]
    fn sticky_is_balanced_and_moves_no_more_than_it_must() {
        let mut owners: Owners = vec![None; 64];
        for next in [1, 2, 3, 8, 9, 10, 20, 40] {
            let members: Vec<u32> = (0..next).collect();
            let before = owners;
            owners = sticky(&before, &members);
            let held = counts(&owners, &members);
            assert!(held.iter().max().unwrap() - held.iter().min().unwrap() <= 1, "{held:?}");
            // Whatever moved went to a member that had none: nobody swaps.
            let old: Vec<u32> = before.iter().copied().flatten().collect();
            let mut moved = before.iter().zip(&owners).filter(|(before, after)| before != after);
            assert!(moved.all(|(_, after)| !old.contains(&after.unwrap())), "{before:?} -> {owners:?}");
        }
        let gone = sticky(&owners, &[0, 1]);
        assert_eq!(counts(&gone, &[0, 1]), [32, 32]);
        assert!(
            owners.iter().zip(&gone).all(|(before, after)| !matches!(before, Some(0 | 1)) || before == after)
        );
    }
}
