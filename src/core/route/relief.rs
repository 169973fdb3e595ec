//! Which routes go to the disk because memory runs short.

use crate::time::Timestamp;

/// From this share of the pool on, in percent, the oldest routes go BEHIND: the rest takes what comes until the disk has
/// what they hold.
const RELIEF_PERCENT: usize = 75;

/// Returns the bytes above the share of the pool that is to stay free; 0 if there are none.
#[must_use]
pub const fn excess_bytes(used_bytes: usize, limit_bytes: usize) -> usize {
    used_bytes.saturating_sub(limit_bytes / 100 * RELIEF_PERCENT)
}

/// Keeps of `routes` (when their oldest record was queued, their bytes, their name) the oldest ones that together hold
/// `excess` bytes, or all if that is not enough.
pub fn relieve<T>(routes: &mut Vec<(Timestamp, usize, T)>, excess: usize) {
    routes.sort_by_key(|(oldest, _, _)| *oldest);
    let mut bytes = 0;
    let enough = routes.iter().take_while(|(_, held, _)| {
        let more = bytes < excess;
        bytes += held;
        more
    });
    let count = enough.count();
    routes.truncate(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_routes_go_until_their_bytes_suffice() {
        let routes = || {
            [(5, 10, 'a'), (1, 20, 'b'), (3, 30, 'c')]
                .map(|(ms, bytes, name)| (Timestamp::from_millis(ms), bytes, name))
                .to_vec()
        };
        for (excess, expected) in
            [(0, ""), (1, "b"), (20, "b"), (21, "bc"), (50, "bc"), (51, "bca"), (999, "bca")]
        {
            let mut left = routes();
            relieve(&mut left, excess);
            assert_eq!(left.iter().map(|(_, _, name)| *name).collect::<String>(), expected, "{excess}");
        }
    }

    #[test]
    fn a_quarter_of_the_pool_stays_free() {
        assert_eq!(excess_bytes(75, 100), 0);
        assert_eq!(excess_bytes(80, 100), 5);
        assert_eq!(excess_bytes(7, 0), 7);
    }
}
