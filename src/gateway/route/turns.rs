//! Whose turn it is to hand over to a partition that has too little room for all.
//!
//! Live traffic goes first, and what waits on the disk gets a tenth even so. Does not know what a route is.

use std::collections::VecDeque;

/// Turns of live routes before one of a route that has fallen behind.
const LIVE_TURNS: u32 = 9;
/// Records that one turn may hand over while others of another kind wait.
const RECORDS_PER_TURN: usize = 16;

/// The routes that wait for one partition.
#[derive(Debug)]
pub(super) struct Turns<T> {
    live: VecDeque<T>,
    behind: VecDeque<T>,
    live_in_a_row: u32,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { live: VecDeque::new(), behind: VecDeque::new(), live_in_a_row: 0 }
    }
}

impl<T> Turns<T> {
    pub(super) fn push(&mut self, route: T, is_behind: bool) {
        if is_behind { &mut self.behind } else { &mut self.live }.push_back(route);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.behind.is_empty()
    }

    /// Returns whose turn it is, and how many records it may hand over.
    pub(super) fn next(&mut self) -> Option<(T, usize)> {
        let both = !self.live.is_empty() && !self.behind.is_empty();
        let limit = if both { RECORDS_PER_TURN } else { usize::MAX };
        let behind = self.live.is_empty() || (both && self.live_in_a_row >= LIVE_TURNS);
        let next = if behind {
            self.live_in_a_row = 0;
            self.behind.pop_front()
        } else {
            self.live_in_a_row += 1;
            self.live.pop_front()
        };
        next.map(|route| (route, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_routes_go_first_and_one_turn_in_ten_is_for_what_is_behind() {
        let mut turns = Turns::default();
        turns.push("live", false);
        turns.push("behind", true);
        let mut order = Vec::new();
        for _ in 0..30 {
            let (route, limit) = turns.next().unwrap();
            assert_eq!(limit, RECORDS_PER_TURN);
            turns.push(route, route == "behind");
            order.push(route);
        }
        assert_eq!(order.iter().filter(|route| **route == "behind").count(), 3);
        assert_eq!(&order[..10], [["live"; 9].as_slice(), &["behind"]].concat());
    }

    #[test]
    fn those_who_are_alone_take_all() {
        let mut turns = Turns::default();
        turns.push(1, true);
        turns.push(2, true);
        assert_eq!(turns.next(), Some((1, usize::MAX)));
        assert_eq!(turns.next(), Some((2, usize::MAX)));
        assert_eq!(turns.next(), None);
        assert!(turns.is_empty());
    }
}
