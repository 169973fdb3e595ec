//! Whether the wall clock may be believed.
//!
//! An edge box may wake in 1970, and know better a minute later. What is received before that is sent with the time of
//! its sending, and does not expire across boots. Owns what is known of the clock, asked for once a second, so that a
//! record costs no more than a look at it; that a clock which nobody knows to be right counts as wrong; and who is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_runtime::clock::Synchronisation;

use crate::config::ClockTrust;
use crate::shared::Shared;

/// How often the kernel is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Wall {
    trust: ClockTrust,
    kernel: fn() -> Synchronisation,
    is_sure: AtomicBool,
}

impl Wall {
    pub(crate) fn new(trust: ClockTrust, kernel: fn() -> Synchronisation) -> Self {
        let wall = Self { trust, kernel, is_sure: AtomicBool::new(false) };
        wall.look();
        wall
    }

    /// Returns whether the clock is right, for all that was known a second ago.
    pub(crate) fn is_sure(&self) -> bool {
        self.is_sure.load(Ordering::Relaxed)
    }

    /// Asks the kernel; returns the answer as a word.
    pub(crate) fn look(&self) -> &'static str {
        let (state, is_sure) = match self.trust {
            ClockTrust::Always => ("trusted", true),
            ClockTrust::Kernel => match (self.kernel)() {
                Synchronisation::Synchronised => ("synchronised", true),
                Synchronisation::Unsynchronised => ("unsynchronised", false),
                Synchronisation::Unknown => ("unknown", false),
            },
        };
        self.is_sure.store(is_sure, Ordering::Relaxed);
        state
    }
}

/// Watches until it is dropped.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut said = None;
    loop {
        let state = shared.wall.look();
        let is_sure = shared.wall.is_sure();
        // A clock that is right from the start is nothing to talk about.
        if is_sure != said.unwrap_or(true) {
            tell(state, is_sure);
        }
        said = Some(is_sure);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tell(state: &str, is_sure: bool) {
    if is_sure {
        tracing::info!(state, "the wall clock is synchronised: times of records are those of their receipt");
    } else {
        tracing::warn!(
            state,
            "nobody is known to keep the wall clock right (adjtimex): records are sent with the time of their sending and \
             header tg-clock, and do not expire across restarts; run chronyd or systemd-timesyncd, or set clock.trust to \
             always if it is right by other means"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_believed_if_the_kernel_says_so_or_the_settings_do() {
        let known = |trust, kernel| {
            let wall = Wall::new(trust, kernel);
            let from_the_start = wall.is_sure();
            (wall.look(), from_the_start, wall.is_sure())
        };
        let kernel = |says| known(ClockTrust::Kernel, says);
        assert_eq!(kernel(|| Synchronisation::Synchronised), ("synchronised", true, true));
        assert_eq!(kernel(|| Synchronisation::Unsynchronised), ("unsynchronised", false, false));
        assert_eq!(kernel(|| Synchronisation::Unknown), ("unknown", false, false));
        assert_eq!(known(ClockTrust::Always, || Synchronisation::Unknown), ("trusted", true, true));
    }
}
